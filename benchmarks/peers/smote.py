"""Interpolation between neighbours: SMOTE (Chawla et al. 2002), by imbalanced-learn.

SMOTE oversamples rare classes. Here it generates a table: the classes are the labels of the column with the fewest (the
last of those that tie), the number of new rows of each is drawn from a multinomial of their shares among the train
rows, and the train rows that imbalanced-learn returns with them are left out. A new row lies between a train row and
one of its five nearest neighbours of the same class, by distances in which every number has a standard deviation of
one; other labels are the most frequent ones among the neighbours (SMOTENC).
"""

from typing import Any

import numpy as np
import pandas as pd
from common import Sampler, run_peer
from imblearn.over_sampling import SMOTE, SMOTENC


def fit(train: pd.DataFrame, categories: list[str], seed: int) -> tuple[Any, Sampler]:
    """Prepare the train rows; neighbours are searched for when rows are drawn. See `run_peer`."""
    by_class = min(reversed(categories), key=lambda name: train[name].nunique())
    numbers = train.drop(columns=categories)
    centre, scale = numbers.mean(), numbers.std().replace(0, 1)
    others = [name for name in categories if name != by_class]
    standardised = ((numbers - centre) / scale).join(train[others])
    member = train[by_class]
    counts = member.value_counts().sort_index()
    generator = np.random.RandomState(seed)

    def sample(rows: int) -> pd.DataFrame:
        class_sizes = (counts + generator.multinomial(rows, counts / len(train))).to_dict()
        # A generator and not the seed, which would draw the same rows and steps for each class.
        options = {"sampling_strategy": class_sizes, "random_state": generator}
        smote = SMOTENC(categorical_features=others, **options) if others else SMOTE(**options)
        values, drawn = smote.fit_resample(standardised, member)
        new = values.iloc[len(train) :].reset_index(drop=True)
        new[list(numbers)] = new[list(numbers)] * scale + centre
        return new.assign(**{by_class: drawn.iloc[len(train) :].to_numpy()})

    return train, sample


if __name__ == "__main__":
    run_peer("imbalanced-learn", fit)
