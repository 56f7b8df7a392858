"""Sequential random-forest synthesizer. Generates the rows that the language model is pretrained on.

Column by column, in the column order: a random forest predicts a column from those before it; a row is assigned to a
leaf of one of its trees, and gets the value of one of the train rows there (Reiter, *Using CART to generate partially
synthetic public use microdata*, 2005, section 3, with a forest instead of a tree). The forest works on unrounded
residuals: a number is the prediction for this row plus the residual of another, which is seldom a value of the train
rows; and the residual is smoothed within its leaf (Silverman, *Density Estimation*, 1986, section 6.4.1: the smoothed
bootstrap, which keeps the variance). Numbers of the first column are drawn from a distribution function that is linear
between every few train values, which do not come back one by one. With one tree and no smoothing, it is sequential
CART.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from synth_assets.execution.processes import cores
from synth_assets.execution.threads import one_thread
from synth_assets.synthesizers.base import (
    BATCH_ROWS,
    Log,
    Synthesizer,
    SynthesizerSettings,
    load_rows,
    rows_of,
    save_rows,
)
from synth_assets.synthesizers.language_model.encoders import (
    MISSING,
    CategoricalEncoder,
    NumericEncoder,
    RowEncoder,
    ValueEncoder,
)
from synth_assets.synthesizers.language_model.encoders.numeric import find_atoms

MIN_DIGIT_PREFERENCE = 0.1
"""Nats by which the entropy of the last two digits must fall short of the maximum for them to be resampled. Resampling
moves a value by up to half of their range; for evenly distributed digits, that would only be noise."""

RATIO_ROWS = 20_000
"""Generated rows that the density ratio is estimated from."""

MAX_RATIO = 4.0
"""The density ratio is clipped to between 1 / MAX_RATIO and MAX_RATIO, since few rows support values beyond."""


MAX_SHOWN_LABELS = 50
"""Labels of a column, the most frequent ones, that have a feature of their own in the forests of later columns."""

MAX_CLASSES, PROJECTIONS = 64, 8
"""Labels of a column that are predicted as classes, and the number of random projections of more."""

MAX_SPLIT_FEATURES = 50
"""Features that a split considers, at most; of more, as many are drawn for each split."""

MAX_FEATURES = 150
"""Features of a column's forest; of more, only the `MAX_SPLIT_FEATURES` that are most associated with the column are
used. Draws from all of them would seldom have one of the few that matter: in 100 mixed columns, Spearman correlations
of 0.55 came out as 0.22."""

MANY_COLUMNS, FEW_FEATURES = 30, 20
"""Columns before a column from which on its forest uses the features that are most associated, and so many of them. In
60 and 100 mixed columns of groups that depend on each other, the stronger correlations of the train rows (Spearman's,
above 0.4) came out as 0.84 and 0.88 of them without this rule, 0.95 and 0.92 with it, and 0.91 and 0.90 with 30
features."""

MAX_INDICATORS = 16
"""Missing values and atoms of a column, the most frequent ones, that are predicted beside its numbers."""


MAX_TAIL = 3.0
"""Numbers have a heavy tail if their standard deviation is more times that of a normal distribution with the same
quartiles: 2 for a log-normal distribution with sigma 1, 5 with sigma 1.5, at most 2.6 in the tables of docs/results.md.
They are predicted and smoothed as normal scores. Noise in proportion to the standard deviation would be greater than
most of them: medians came out twice as great, and numbers below the least one became zeros, 68% of the rows for 60%."""

MIN_DISTINCT = 20
"""Different numbers that are needed to tell a heavy tail."""

NORMAL_QUARTILES = 1.349
"""Distance of the quartiles of a normal distribution, in standard deviations."""


class NormalScores:
    """Normal scores of numbers (van der Waerden, 1952): normal quantiles of their ranks; and numbers of scores.

    Parameters
    ----------
    numbers : numpy.ndarray
        The numbers whose distribution counts. Equal ones have one score, and a range of scores is theirs.
    """

    def __init__(self, numbers: np.ndarray) -> None:
        from scipy.special import ndtri

        self.distinct, counts = np.unique(numbers, return_counts=True)
        last = np.cumsum(counts)
        self.first_scores, self.last_scores = (ndtri(ranks / last[-1]) for ranks in (last - counts + 0.5, last - 0.5))

    def scores(self, numbers: np.ndarray) -> np.ndarray:
        """Return the scores of numbers."""
        found: np.ndarray = np.interp(numbers, self.distinct, (self.first_scores + self.last_scores) / 2)
        return found

    def numbers(self, scores: np.ndarray) -> np.ndarray:
        """Return the numbers of scores, none beyond the least and the greatest."""
        known = np.column_stack([self.first_scores, self.last_scores]).ravel()
        found: np.ndarray = np.interp(scores, known, np.repeat(self.distinct, 2))
        return found


class ForestSettings(SynthesizerSettings):
    """Settings of the sequential random forest."""

    type: Literal["forest"] = "forest"
    n_estimators: int = Field(
        default=100, ge=1, description="Number of trees of a column; 1 fits a single tree to all train rows (CART)."
    )
    min_samples_leaf: int = Field(default=10, ge=1, description="Minimum number of train rows in a leaf.")
    max_features: float = Field(default=1.0, gt=0.0, le=1.0, description="Share of the columns that a split considers.")
    max_samples: int | None = Field(
        default=None, ge=1, description="Maximum number of train rows that a tree is fitted to; all of them by default."
    )
    kernel_bandwidth: float = Field(
        default=0.15,
        ge=0.0,
        lt=1.0,
        description="Standard deviation of the noise on a number, relative to the values of its leaf; 0 copies values "
        "of train rows.",
    )


class SequentialForest:
    """A forest of every column, fitted to quantised rows.

    Parameters
    ----------
    row_encoder : RowEncoder
        The table's row encoder.
    quantised : numpy.ndarray
        (n, m) quantised train rows.
    settings : ForestSettings
        The settings.
    seed : int
        The seed of the trees.
    """

    def __init__(self, row_encoder: RowEncoder, quantised: np.ndarray, settings: ForestSettings, *, seed: int) -> None:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        self.row_encoder, self.quantised, self.settings = row_encoder, quantised, settings
        columns = row_encoder.columns
        self.has_digits = np.column_stack([_has_digits(column, quantised[:, i]) for i, column in enumerate(columns)])
        self.fills = np.array(
            [np.median(quantised[has, i]) if (has := self.has_digits[:, i]).any() else 0.0 for i in range(len(columns))]
        )
        self.residuals = self._residuals(quantised)
        self.normal_scores = [
            NormalScores(numbers)
            if isinstance(column, NumericEncoder)
            and _has_heavy_tail(numbers := self.residuals[self.has_digits[:, i], i])
            else None
            for i, column in enumerate(columns)
        ]
        self.shown = [_most_frequent(quantised[:, i], MAX_SHOWN_LABELS) for i in range(len(columns))]
        self.forests: list[tuple[Any, np.ndarray] | None] = [None]
        self.selected: list[Mapping[int, np.ndarray | slice]] = [{}]
        of_columns = [self._features_of(0, quantised, self.residuals)]
        for i, column in enumerate(columns[1:], start=1):
            features = np.hstack(of_columns)
            of_columns.append(self._features_of(i, quantised, self.residuals))
            target = self._target(i, np.random.default_rng(seed))
            is_class = target.ndim == 1 and isinstance(column, CategoricalEncoder)
            self.selected.append(dict.fromkeys(range(i), slice(None)))
            if i > MANY_COLUMNS or features.shape[1] > MAX_FEATURES:
                outputs = target[:, None] == np.unique(target) if is_class else target.reshape(len(target), -1)
                n_selected = FEW_FEATURES if i > MANY_COLUMNS else MAX_SPLIT_FEATURES
                selected = most_associated(features, outputs, n_selected)
                self.selected[i] = _by_column(selected, [each.shape[1] for each in of_columns[:i]])
                features = features[:, selected]
            forest = (RandomForestClassifier if is_class else RandomForestRegressor)(
                settings.n_estimators,
                min_samples_leaf=min(settings.min_samples_leaf, len(quantised)),
                max_features=min(settings.max_features, MAX_SPLIT_FEATURES / max(features.shape[1], 1)),
                bootstrap=settings.n_estimators > 1,
                max_samples=min(settings.max_samples or len(quantised), len(quantised))
                if settings.n_estimators > 1
                else None,
                random_state=seed,
                n_jobs=cores(),
            )
            forest.fit(features, target)
            leaves = forest.apply(features)
            # NumPy sorts integers of 16 bits by radix.
            self.forests.append((forest, leaves.astype(np.uint16) if leaves.max() < 1 << 16 else leaves))

    def sample(self, n: int, *, seed: int) -> np.ndarray:
        """Generate n quantised rows, (n, m), within the bounds of the train rows and on their grid."""
        rng = np.random.default_rng(seed)
        quantised = np.zeros((n, len(self.row_encoder.columns)), np.int64)
        residuals = np.zeros(quantised.shape)
        for i, column in enumerate(self.row_encoder.columns):
            predictions = column.predictions(quantised)
            donors, drawn = self._draw(i, self._features(quantised, residuals, i), rng)
            if isinstance(column, CategoricalEncoder):
                quantised[:, i] = self.quantised[donors, i]
                residuals[:, i] = self.residuals[donors, i]
                continue
            values = predictions + drawn
            offsets = column.offsets(quantised)
            codes = np.rint((values - offsets) / column.grid_step).astype(np.int64)
            codes = self._with_digit_preference(i, codes, rng)
            # A value beyond the bounds of the train rows becomes the nearest one within them.
            least, greatest = -((offsets - column.low) // column.grid_step), (column.high - offsets) // column.grid_step
            quantised[:, i] = np.clip(codes, least, greatest) * column.grid_step + offsets
            # A missing value, one that many rows share, and one of a list is the donor's; any is, where nothing is
            # added to it.
            is_copied = column.listed or (not self.settings.kernel_bandwidth and column.predictor is None)
            is_kept = ~self.has_digits[donors, i] | bool(is_copied)
            quantised[is_kept, i] = self.quantised[donors[is_kept], i]
            if not column.listed:
                self._put_in_order(i, column, quantised, donors)
            is_missing = quantised[:, i] == MISSING
            residuals[:, i] = np.where(is_missing, 0.0, np.where(is_missing, 0, quantised[:, i]) - predictions)
        return quantised

    def _put_in_order(self, i: int, column: NumericEncoder, quantised: np.ndarray, donors: np.ndarray) -> None:
        """Reflect numbers of a column that break its order with an earlier column; cells equal in the donor stay equal.

        Reflection at a bound keeps a smoothed distribution (Silverman, 1986, section 2.10); clipping would add rows in
        which both are equal.
        """
        for first, second in self.row_encoder.not_before:
            other = first if second == i else second
            if i not in (first, second) or other > i:
                continue
            present = np.flatnonzero((quantised[:, i] != MISSING) & (quantised[:, other] != MISSING))
            known = [quantised[present, other], self.quantised[donors[present], other]]
            bounds, donated = (self.row_encoder.in_unit_of(other, i, each, latest=other == second) for each in known)
            cells = quantised[present, i]
            gaps = cells - bounds
            gaps[self.quantised[donors[present], i] == donated] = 0
            gaps = np.abs(gaps) if second == i else -np.abs(gaps)
            least = column.low + (bounds - column.low + column.grid_step - 1) // column.grid_step * column.grid_step
            most = column.low + (bounds - column.low) // column.grid_step * column.grid_step
            cells = column.low + (bounds + gaps - column.low) // column.grid_step * column.grid_step
            cells = np.maximum(cells, least) if second == i else np.minimum(cells, most)
            quantised[present, i] = np.clip(cells, column.low, column.high)

    def resample(self, n: int, *, seed: int) -> np.ndarray:
        """Generate n quantised rows, (n, m), and correct their distribution by an estimated density ratio.

        A classifier of generated and train rows estimates the ratio of their densities (Sugiyama, Suzuki and Kanamori,
        *Density Ratio Estimation in Machine Learning*, 2012, chapter 4). Other generated rows, which it was not fitted
        to, are resampled with this ratio, systematically, so that a row of ratio 1 is kept once (Kitagawa, *Monte Carlo
        Filter and Smoother*, 1996, appendix); rows of a high ratio occur more than once.
        """
        from sklearn.ensemble import HistGradientBoostingClassifier

        reference, rows = np.split(self.sample(RATIO_ROWS + n, seed=seed), [RATIO_ROWS])
        # Leaves of many rows and few small steps, so that single train rows are not singled out.
        classifier = HistGradientBoostingClassifier(
            max_iter=100,
            learning_rate=0.05,
            max_leaf_nodes=16,
            min_samples_leaf=40,
            l2_regularization=5.0,
            early_stopping=False,
            random_state=seed,
        )
        both = np.vstack([reference, self.quantised])
        is_real = np.repeat([0, 1], [len(reference), len(self.quantised)])
        with one_thread("openmp"):
            weights = np.where(is_real, len(reference) / len(self.quantised), 1.0)
            classifier.fit(self._ratio_features(both), is_real, sample_weight=weights)
            probability = classifier.predict_proba(self._ratio_features(rows))[:, 1]
        ratio = np.clip(probability / (1 - probability), 1 / MAX_RATIO, MAX_RATIO)
        quantiles = (np.arange(n) + np.random.default_rng(seed).random()) / n
        resampled: np.ndarray = rows[np.searchsorted(np.cumsum(ratio / ratio.sum()), quantiles).clip(max=n - 1)]
        return resampled

    def _ratio_features(self, quantised: np.ndarray) -> np.ndarray:
        indices = self.row_encoder.to_indices(quantised, len(self.row_encoder.columns))
        values = quantised[:, [bool(column.n_values) for column in self.row_encoder.columns]]
        return np.hstack([np.where(values == MISSING, np.nan, values), indices]).astype("float32")

    def _residuals(self, quantised: np.ndarray) -> np.ndarray:
        """Return what the predictors leave of quantised rows, (n, m); 0 of a missing value."""
        return np.column_stack(
            [
                np.where(cells == MISSING, 0.0, np.where(cells == MISSING, 0, cells) - column.predictions(quantised))
                for column, cells in zip(self.row_encoder.columns, quantised.T, strict=True)
            ]
        )

    def _target(self, i: int, rng: np.random.Generator) -> np.ndarray:
        """Return what a column's forest predicts: labels, (n), or numbers, (n) or (n, k).

        Many labels are random projections of their indicators, of which trees split the variance as they would the Gini
        impurity of the labels (Joly, Geurts and Wehenkel, *Random Forests with Random Projections of the Output Space
        for High Dimensional Multi-label Classification*, 2014). Missing values and atoms have indicators beside the
        numbers, in units of their standard deviation.
        """
        column, cells = self.row_encoder.columns[i], self.quantised[:, i]
        if isinstance(column, CategoricalEncoder):
            labels, codes = np.unique(cells, return_inverse=True)
            if len(labels) <= MAX_CLASSES:
                return cells
            return rng.standard_normal((len(labels), PROJECTIONS))[codes]
        has_digits, residuals = self.has_digits[:, i], self._on_scale(i)
        if has_digits.all():
            return residuals
        present = residuals[has_digits]
        center, scale = (present.mean(), present.std() or 1.0) if len(present) else (0.0, 1.0)
        standardised = np.where(has_digits, (residuals - center) / scale, 0.0)
        indicators = [cells == value for value in _most_frequent(cells[~has_digits], MAX_INDICATORS)]
        return np.column_stack([standardised, *(each / (each.std() or 1.0) for each in indicators)])

    def _on_scale(self, i: int) -> np.ndarray:
        """Return the residuals of the train rows as they are predicted and smoothed: normal scores of a heavy tail."""
        scale = self.normal_scores[i]
        return self.residuals[:, i] if scale is None else scale.scores(self.residuals[:, i])

    def _features(self, quantised: np.ndarray, residuals: np.ndarray, i: int) -> np.ndarray:
        """Return the features of a column's forest: the selected ones of the columns before it."""
        parts = [self._features_of(j, quantised, residuals)[:, own] for j, own in self.selected[i].items()]
        return np.hstack(parts or [np.zeros((len(quantised), 0), np.float32)])

    def _features_of(self, j: int, quantised: np.ndarray, residuals: np.ndarray) -> np.ndarray:
        """Return what a column adds to the features of later ones: its labels, or its value and its residual."""
        column, cells = self.row_encoder.columns[j], quantised[:, j]
        if isinstance(column, CategoricalEncoder):
            return np.asarray(cells[:, None] == self.shown[j], np.float32)
        parts = [np.where(cells == MISSING, self.fills[j], cells)]
        if column.predictor:
            parts.append(residuals[:, j])
        if column.has_missing:
            parts.append(cells == MISSING)
        return np.column_stack(parts).astype(np.float32)

    def _draw(self, i: int, features: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw a train row for each row, given the features of a column's forest, and its residual, smoothed."""
        column, residuals = self.row_encoder.columns[i], self.residuals[:, i]
        fitted = self.forests[i]
        if fitted is None:
            donors = rng.choice(len(residuals), len(features))
            ordered = np.sort(residuals[self.has_digits[:, i]])
            # The values of a column of few, which has no further digits, are shared by many rows.
            is_smooth = isinstance(column, NumericEncoder) and not (
                column.listed or column.is_sparse or not column.radices
            )
            if not (is_smooth and self.settings.kernel_bandwidth and len(ordered)):
                return donors, residuals[donors]
            # Between every few values the distribution function is linear: values that more rows share stay.
            ranks = np.linspace(0, len(ordered) - 1, len(ordered) // self.settings.min_samples_leaf + 2).round()
            drawn = np.interp(rng.uniform(0, len(ordered) - 1, len(donors)), ranks, ordered[ranks.astype(np.int64)])
            return donors, drawn
        residuals, scale = self._on_scale(i), self.normal_scores[i]
        forest, train_leaves = fitted
        tree_index = rng.integers(0, len(forest.estimators_), len(features))
        donors, drawn = np.empty(len(features), np.int64), np.empty(len(features))
        for t, tree in enumerate(forest.estimators_):
            rows = np.flatnonzero(tree_index == t)
            leaves = tree.apply(features[rows], check_input=False).astype(train_leaves.dtype)
            order = np.argsort(train_leaves[:, t], kind="stable")
            sorted_leaves = train_leaves[order, t]
            start = np.searchsorted(sorted_leaves, leaves, "left")
            count = np.searchsorted(sorted_leaves, leaves, "right") - start
            chosen = order[start + (rng.random(len(rows)) * count).astype(np.int64)]
            draws = residuals[chosen]
            bandwidth = self.settings.kernel_bandwidth
            if isinstance(column, NumericEncoder) and bandwidth:
                has_digits = self.has_digits[order, i]
                candidates = np.where(has_digits, residuals[order], 0.0)
                n, sums, squares = (
                    np.concatenate([[0.0], np.cumsum(each)]) for each in (has_digits, candidates, candidates**2)
                )
                smoothed = np.maximum(n[start + count] - n[start], 1.0)
                mean = (sums[start + count] - sums[start]) / smoothed
                std = np.sqrt(np.maximum((squares[start + count] - squares[start]) / smoothed - mean**2, 0.0))
                noise = bandwidth * std * rng.standard_normal(len(rows))
                draws = mean + (draws - mean) * np.sqrt(1 - bandwidth**2) + noise
            donors[rows], drawn[rows] = chosen, draws
        return donors, drawn if scale is None else scale.numbers(drawn)

    def _with_digit_preference(self, i: int, codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Resample the last two digits from the train rows, where these prefer some digits and smoothing hid it."""
        column = self.row_encoder.columns[i]
        if not (isinstance(column, NumericEncoder) and column.radices and self.has_digits[:, i].any()):
            return codes
        if not (self.settings.kernel_bandwidth or column.predictor):
            return codes
        if column.predictor and column.prediction_step % (column.radices[-1] * column.grid_step):
            return codes  # the last digits are no digits of the value
        period = column.radices[-1]
        present = self.quantised[self.has_digits[:, i]]
        digits = (present[:, i] - column.offsets(present)) // column.grid_step % period
        shares = np.bincount(digits, minlength=period) / len(digits)
        if np.log(period) + (shares * np.log(np.where(shares > 0, shares, 1.0))).sum() < MIN_DIGIT_PREFERENCE:
            return codes
        drawn = rng.choice(digits, len(codes))
        resampled: np.ndarray = codes + (drawn - codes + period // 2) % period - period // 2
        return resampled


def most_associated(features: np.ndarray, outputs: np.ndarray, n: int) -> np.ndarray:
    """Return the indices, ascending, of the n of (rows, p) features that are most associated with (rows, k) outputs.

    By the greatest correlation with an output: of the feature itself or of its distance from its mean, with the output
    or with its distance from its mean. The last three find even relations, and differences of variance.
    """
    sides = []
    for values in (features.astype("float64"), outputs.astype("float64")):
        centered = values - values.mean(axis=0)
        both = np.hstack([centered, np.abs(centered) - np.abs(centered).mean(axis=0)])
        norms = np.sqrt((both**2).sum(axis=0))
        sides.append(both / np.where(norms > 0, norms, 1.0))
    with one_thread("blas"):  # sums of products would depend on the number of threads
        correlations = np.abs(sides[0].T @ sides[1]).max(axis=1).reshape(2, -1).max(axis=0)
    selected: np.ndarray = np.sort(np.argsort(-correlations, kind="stable")[:n])
    return selected


def _by_column(selected: np.ndarray, widths: Sequence[int]) -> dict[int, np.ndarray]:
    """Return the selected features, ascending, by column: for each that has one, their positions among its own."""
    starts = np.cumsum([0, *widths])
    columns = np.searchsorted(starts, selected, "right") - 1
    return {int(j): selected[columns == j] - starts[j] for j in np.unique(columns)}


def _has_digits(column: ValueEncoder, cells: np.ndarray) -> np.ndarray:
    """Return which train values are smoothed: numbers that are no atoms, of columns of few values either."""
    if not isinstance(column, NumericEncoder):
        return np.ones(len(cells), bool)
    has_digits = column.has_digits(cells)
    if not column.atoms and has_digits.any():
        has_digits &= ~np.isin(cells, find_atoms(cells[has_digits], column.grid_step))
    return has_digits


def _has_heavy_tail(numbers: np.ndarray) -> bool:
    """Return whether numbers, unlike those of a column of few values, have a tail that is heavy for their quartiles."""
    if len(np.unique(numbers)) < MIN_DISTINCT:
        return False
    low, high = np.quantile(numbers, [0.25, 0.75])
    return bool(high > low and numbers.std() > MAX_TAIL * (high - low) / NORMAL_QUARTILES)


def _most_frequent(values: np.ndarray, n: int) -> np.ndarray:
    """Return the n most frequent values, ascending."""
    distinct, counts = np.unique(values, return_counts=True)
    most: np.ndarray = np.sort(distinct[np.argsort(-counts, kind="stable")[:n]])
    return most


class Forest(Synthesizer):
    """The sequential random forest as a synthesizer of its own.

    With `n_estimators` 1, `kernel_bandwidth` 0 and `min_samples_leaf` 5 it is sequential CART with the defaults of
    synthpop (Nowok, Raab and Dibben, Journal of Statistical Software 74(11), 2016).
    """

    name: ClassVar[str] = "forest"
    Settings: ClassVar[type[SynthesizerSettings]] = ForestSettings
    settings: ForestSettings

    def _fit(self, train: pd.DataFrame, *, seed: int, checkpoints: Path | None, log: Log) -> None:
        del checkpoints
        # Without smoothing, values are copied from train rows, and residuals are not used.
        row_encoder = RowEncoder.fit(train, use_residuals=self.settings.kernel_bandwidth > 0)
        self._fit_forest(row_encoder, row_encoder.quantise(train), seed)
        log(f"forest: fitted to {len(train):,} rows")

    def _fit_forest(self, row_encoder: RowEncoder, quantised: np.ndarray, seed: int) -> None:
        self.seed = seed
        self.forest = SequentialForest(row_encoder, quantised, self.settings, seed=seed)
        self.n_parameters = sum(
            tree.tree_.node_count for fitted in self.forest.forests if fitted for tree in fitted[0].estimators_
        )

    def _sample_batches(
        self, n: int, batches: range, *, seed: int, conditions: Mapping[str, str], temperature: float, log: Log
    ) -> Iterator[pd.DataFrame]:
        del conditions, temperature
        for batch in batches:
            batch_seed = int(np.random.SeedSequence((seed, batch)).generate_state(1)[0])
            quantised = self.forest.sample(BATCH_ROWS, seed=batch_seed)[: rows_of(batch, n)]
            yield self.forest.row_encoder.to_frame(quantised)
            log(f"{batch * BATCH_ROWS + len(quantised):,} of {n:,} rows")

    def _save(self, folder: Path) -> dict[str, Any]:
        save_rows(self.forest.quantised, folder)
        return {"row_encoder": self.forest.row_encoder.to_json(), "seed": self.seed}

    def _load(self, folder: Path, learned: dict[str, Any]) -> None:
        self._fit_forest(RowEncoder.from_json(learned["row_encoder"]), load_rows(folder), learned["seed"])
