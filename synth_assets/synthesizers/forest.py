"""A forest that writes as many rows as a model wants to learn from before it sees the real ones.

Row by row and column by column, in the written order: a random forest of the train rows predicts a column from those
before it; a row falls into a leaf of one of its trees, and takes the value of one of the train rows there (Reiter,
*Using CART to generate partially synthetic public use microdata*, 2005, section 3, with a forest in place of a tree).
The forest works on the differences that the row encoder is made of, but unrounded: a number is the prediction for this
row plus the difference of another, which is seldom a value that was there before; and that difference is smoothed
within its leaf (Silverman, *Density Estimation*, 1986, section 6.4.1: the smoothed bootstrap that keeps the variance).
"""

from typing import Any

import numpy as np

from synth_assets.synthesizers.language_model.encoders import CategoricalEncoder, NumericEncoder, RowEncoder
from synth_assets.synthesizers.settings import TeacherSpec

A_HABIT = 0.1
"""Nats that the last two digits must fall short of an even spread to be drawn anew. Drawing them moves
a value by up to half of what they span; where they are spread evenly, that would be noise and nothing else."""

JUDGED = 20_000
"""TokenBatch rows that the density ratio is learned from."""

MOST_RATIO = 4.0
"""A ratio beyond this, either way, is taken for this: few rows are behind it."""


class Teacher:
    """A forest fitted to coded rows.

    Parameters
    ----------
    row_encoder : RowEncoder
        The table's row_encoder.
    units : numpy.ndarray
        n by m train rows in units, as `RowEncoder.units` gives them.
    spec : TeacherSpec
        How it is grown.
    seed : int
        Of the trees.
    """

    def __init__(self, row_encoder: RowEncoder, units: np.ndarray, spec: TeacherSpec, *, seed: int) -> None:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        self.row_encoder, self.units, self.spec = row_encoder, units, spec
        places = range(len(row_encoder.columns))
        self.differences = np.column_stack(
            [units[:, place] - row_encoder.predictions(place, units) for place in places]
        )
        self.forests: list[tuple[Any, np.ndarray] | None] = [None]
        for place, column in enumerate(row_encoder.columns[1:], start=1):
            forest = (RandomForestClassifier if isinstance(column, CategoricalEncoder) else RandomForestRegressor)(
                spec.trees,
                min_samples_leaf=min(spec.leaf, len(units)),
                max_features=spec.features,
                random_state=seed,
            )
            before = self._inputs(units, self.differences, place)
            forest.fit(before, self.differences[:, place])
            self.forests.append((forest, forest.apply(before)))

    def sample(self, n: int, *, seed: int) -> np.ndarray:
        """Write rows.

        Parameters
        ----------
        n : int
            How many.
        seed : int
            Of the draws.

        Returns
        -------
        numpy.ndarray
            n by m rows in units, each within the limits of the train rows and on their grid.
        """
        rng = np.random.default_rng(seed)
        units = np.zeros((n, len(self.row_encoder.columns)), np.int64)
        differences = np.zeros(units.shape)
        for place, column in enumerate(self.row_encoder.columns):
            predictions = self.row_encoder.predictions(place, units)
            values = predictions + self._drawn(place, self._inputs(units, differences, place), rng)
            shifts = self.row_encoder.offsets(place, units)
            step = column.grid_step if isinstance(column, NumericEncoder) else 1
            codes = self._on_habits(place, np.rint((values - shifts) / step).astype(np.int64), rng)
            low, high = self.row_encoder.bounds(place)
            # A value beyond the limits is put on the nearest code within them.
            codes = np.clip(codes, -((shifts - low) // step), (high - shifts) // step)
            units[:, place] = self.row_encoder.dequantise(place, codes, shifts)
            differences[:, place] = units[:, place] - predictions
        return units

    def resample(self, n: int, *, seed: int) -> np.ndarray:
        """Write rows, and correct their shares by what boosted trees still tell of them and the train rows.

        A classifier of written and train rows estimates the ratio of their densities (Sugiyama, Suzuki and Kanamori,
        *Density Ratio Estimation in Machine Learning*, 2012, chapter 4). Other written rows, which it has not seen, are
        then drawn anew with this ratio, systematically, so that a row of ratio 1 stays as it is (Kitagawa, *Monte Carlo
        Filter and Smoother*, 1996, appendix).

        Parameters
        ----------
        n : int
            How many.
        seed : int
            Of the draws.

        Returns
        -------
        numpy.ndarray
            n by m rows in units; those of a high ratio more than once.
        """
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits

        seen, rows = np.split(self.sample(JUDGED + n, seed=seed), [JUDGED])
        # Leaves of many rows, and few small steps: what sets single train rows apart is not to be learned.
        judge = HistGradientBoostingClassifier(
            max_iter=100,
            learning_rate=0.05,
            max_leaf_nodes=16,
            min_samples_leaf=40,
            l2_regularization=5.0,
            early_stopping=False,
            random_state=seed,
        )
        both = np.vstack([seen, self.units])
        is_real = np.repeat([0, 1], [len(seen), len(self.units)])
        with threadpool_limits(1, "openmp"):
            judge.fit(self._judged(both), is_real, sample_weight=np.where(is_real, len(seen) / len(self.units), 1.0))
            share = judge.predict_proba(self._judged(rows))[:, 1]
        ratio = np.clip(share / (1 - share), 1 / MOST_RATIO, MOST_RATIO)
        places = (np.arange(n) + np.random.default_rng(seed).random()) / n
        found: np.ndarray = rows[np.searchsorted(np.cumsum(ratio / ratio.sum()), places).clip(max=n - 1)]
        return found

    def _judged(self, units: np.ndarray) -> np.ndarray:
        return np.hstack([units, self.row_encoder.codes(units)]).astype("float32")

    def _inputs(self, units: np.ndarray, differences: np.ndarray, place: int) -> np.ndarray:
        """Give what a column is drawn by: those before it, and how much they differ from what was predicted."""
        parts = []
        for i, column in enumerate(self.row_encoder.columns[:place]):
            values = units[:, i]
            if isinstance(column, CategoricalEncoder):
                parts.append(values[:, None] == np.arange(column.cardinality))
                continue
            parts.append(values[:, None])
            if column.predictor:
                parts.append(differences[:, [i]])
        return np.hstack(parts or [np.zeros((len(units), 0))]).astype("float32")

    def _drawn(self, place: int, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a column's differences for rows by their inputs."""
        column, differences = self.row_encoder.columns[place], self.differences[:, place]
        found = self.forests[place]
        if found is None:
            return rng.choice(differences, len(inputs))
        forest, leaves = found
        trees = rng.integers(0, len(forest.estimators_), len(inputs))
        drawn = np.empty(len(inputs))
        for tree, grown in enumerate(forest.estimators_):
            rows = np.flatnonzero(trees == tree)
            falls = grown.apply(inputs[rows], check_input=False)
            order = np.argsort(leaves[:, tree], kind="stable")
            ranked = leaves[order, tree]
            start = np.searchsorted(ranked, falls, "left")
            count = np.searchsorted(ranked, falls, "right") - start
            values = differences[order]
            taken = values[start + (rng.random(len(rows)) * count).astype(np.int64)]
            if isinstance(column, NumericEncoder) and self.spec.smoothing:
                sums, squares = (np.concatenate([[0.0], np.cumsum(values**p)]) for p in (1, 2))
                mean = (sums[start + count] - sums[start]) / count
                spread = np.sqrt(np.maximum((squares[start + count] - squares[start]) / count - mean**2, 0.0))
                noise = self.spec.smoothing * spread * rng.standard_normal(len(rows))
                taken = mean + (taken - mean) * np.sqrt(1 - self.spec.smoothing**2) + noise
            drawn[rows] = taken
        return drawn

    def _on_habits(self, place: int, codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Give numbers last digits as those of the train rows, where these have a habit that has been blurred."""
        column = self.row_encoder.columns[place]
        if not (isinstance(column, NumericEncoder) and column.has_suffix_token):
            return codes
        if not (self.spec.smoothing or column.predictor):
            return codes
        period = column.prediction_step // column.grid_step
        digits = self.row_encoder.codes(self.units)[:, place] % period
        shares = np.bincount(digits, minlength=period) / len(digits)
        if np.log(period) + (shares * np.log(np.where(shares > 0, shares, 1.0))).sum() < A_HABIT:
            return codes
        drawn = rng.choice(digits, len(codes))
        found: np.ndarray = codes + (drawn - codes + period // 2) % period - period // 2
        return found
