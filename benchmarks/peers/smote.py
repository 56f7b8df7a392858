"""Interpolation between neighbours: SMOTE (Chawla et al. 2002), by imbalanced-learn.

SMOTE oversamples rare classes. Here it generates a table: the classes are the combinations of labels, the number of new
rows of each is drawn from a multinomial of their shares among the train rows, and the train rows that imbalanced-learn
returns with them are left out. A new row lies between a train row and one of its five nearest
neighbours with the same labels, by distances in which every column has a standard deviation of one.
"""

import numpy as np
import pandas as pd
from common import Sampler, run_peer
from imblearn.over_sampling import SMOTE


def fit(train: pd.DataFrame, categories: list[str], seed: int) -> Sampler:
    """Prepare the train rows; neighbours are searched for when rows are drawn. See `run_peer`."""
    numbers = train.drop(columns=categories)
    centre, scale = numbers.mean(), numbers.std().replace(0, 1)
    classes = train.groupby(categories, sort=True)
    member = classes.ngroup()
    labels = train[categories].groupby(member).first()
    counts = member.value_counts().sort_index()
    generator = np.random.RandomState(seed)

    def sample(rows: int) -> pd.DataFrame:
        class_sizes = counts + generator.multinomial(rows, counts / len(train))
        # A generator and not the seed, which would draw the same rows and steps for each class.
        smote = SMOTE(sampling_strategy=class_sizes.to_dict(), random_state=generator)
        values, drawn = smote.fit_resample((numbers - centre) / scale, member)
        new = values.iloc[len(train) :].reset_index(drop=True) * scale + centre
        return new.join(labels.loc[drawn.iloc[len(train) :]].reset_index(drop=True))

    return sample


if __name__ == "__main__":
    run_peer("imbalanced-learn", fit)
