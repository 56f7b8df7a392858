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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from synth_assets.execution.processes import cores
from synth_assets.execution.threads import one_thread
from synth_assets.schema.conditions import Condition
from synth_assets.synthesizers.base import (
    BATCH_ROWS,
    Log,
    Synthesizer,
    SynthesizerSettings,
    load_rows,
    rows_of,
    save_rows,
)
from synth_assets.synthesizers.density_ratio import DensityRatio, features_of
from synth_assets.synthesizers.language_model.encoders import (
    MISSING,
    CategoricalEncoder,
    NumericEncoder,
    RowEncoder,
)
from synth_assets.synthesizers.language_model.encoders.numeric import find_atoms
from synth_assets.synthesizers.language_model.encoders.support import is_function

MIN_DIGIT_PREFERENCE = 0.1
"""Nats by which the entropy of the last two digits must fall short of the maximum for them to be resampled. Resampling
moves a value by up to half of their range; for evenly distributed digits, that would only be noise."""

RATIO_ROWS, RATIO_TREES = 20_000, 100
"""Generated rows that the density ratio is estimated from, and its trees."""

MAX_LOG_RATIO = np.log(4.0)
"""Magnitude at which the log of the density ratio is clipped, since few rows support values beyond."""

MAX_SHOWN_LABELS = 50
"""Labels of a column, the most frequent ones, that have a feature of their own in the forests of later columns."""

MIN_MEAN_ERRORS = 3.0
"""Standard errors of a correlation that means of labels must have with what is predicted, to be features."""

MANY_FREQUENT_LABELS = 25
"""Frequent labels, as Simpson's index counts them (Hill, *Diversity and Evenness*, Ecology 54, 1973), from which on
trees get means of labels beside a feature of each. On two folds each of 15 tables with such a column, on which nothing
was chosen, boosted trees told rows of the forest at a mean AUC of 0.610 with these means and label functions (0.508 to
0.765), and of 0.690 without (0.509 to 0.905)."""

MEAN_FOLDS, MEAN_PRIOR = 5, 1.0
"""Folds of the train rows: a row gets the means of its label in the other folds. The prior counts as so many rows of
each label, with the mean of all rows."""

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


@dataclass(frozen=True)
class _Leaves:
    """The leaves of a tree that n rows are assigned to: ranges of the train rows, sorted by leaf.

    Parameters
    ----------
    order : numpy.ndarray
        The train rows, sorted by leaf.
    start, count : numpy.ndarray
        (n,) the first position in `order` of the leaf of each row, and the number of its train rows.
    """

    order: np.ndarray
    start: np.ndarray
    count: np.ndarray


class _Labels:
    """A column of labels in the forest: a row gets the label of a train row.

    Parameters
    ----------
    cells : numpy.ndarray
        (n,) quantised values of the train rows.
    """

    def __init__(self, cells: np.ndarray) -> None:
        self.cells = cells
        self.shown = _most_frequent(cells, MAX_SHOWN_LABELS)
        self.has_classes = len(np.unique(cells)) <= MAX_CLASSES

    @property
    def has_many(self) -> bool:
        """Whether some labels have no feature, or trees need many splits to tell them, since many are frequent."""
        shares = np.unique(self.cells, return_counts=True)[1] / len(self.cells)
        return len(shares) > MAX_SHOWN_LABELS or 1 / (shares**2).sum() > MANY_FREQUENT_LABELS

    def target(self, rng: np.random.Generator) -> np.ndarray:
        """Return what the forest predicts: the labels, (n,), or (n, k) numbers.

        Many labels are random projections of their indicators, of which trees split the variance as they would the Gini
        impurity of the labels (Joly, Geurts and Wehenkel, *Random Forests with Random Projections of the Output Space
        for High Dimensional Multi-label Classification*, 2014).
        """
        if self.has_classes:
            return self.cells
        labels, codes = np.unique(self.cells, return_inverse=True)
        return rng.standard_normal((len(labels), PROJECTIONS))[codes]

    def features(self, cells: np.ndarray, residuals: np.ndarray) -> np.ndarray:
        """Return what the column adds to the features of later ones: indicators of its labels."""
        del residuals
        return np.asarray(cells[:, None] == self.shown, np.float32)

    def residuals_of(self, quantised: np.ndarray) -> np.ndarray:
        """Return 0 for each row: labels have no residuals."""
        return np.zeros(len(quantised))

    def draw(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw a train row for each of n rows, where no column is before this one, and its residual."""
        return rng.choice(len(self.cells), n), np.zeros(n)

    def draw_residuals(self, donors: np.ndarray, leaves: _Leaves, rng: np.random.Generator) -> np.ndarray:
        """Return the residuals of train rows, which were drawn from their leaves."""
        del leaves, rng
        return np.zeros(len(donors))

    def generate(
        self, quantised: np.ndarray, donors: np.ndarray, residuals: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the labels of the drawn train rows."""
        del quantised, residuals, rng
        return np.asarray(self.cells[donors])


class _LabelMeans:
    """Means of what a forest predicts, by label of an earlier column that has too many for a feature of each.

    Splits by them find the best sets of labels (Breiman, Friedman, Olshen and Stone, *Classification and Regression
    Trees*, 1984, section 4.2.2). A train row's means are of the other folds: its own value would tell it
    (Micci-Barreca, *A preprocessing scheme for high-cardinality categorical attributes*, 2001, has the means). Means
    that tell nothing are left out.

    Parameters
    ----------
    cells : numpy.ndarray
        (n,) labels of the train rows.
    outputs : numpy.ndarray
        (n, k) what is predicted.
    rng : numpy.random.Generator
        Draws the folds, and projections of many outputs.
    """

    def __init__(self, cells: np.ndarray, outputs: np.ndarray, rng: np.random.Generator) -> None:
        outputs = np.asarray(outputs, "float64")
        if outputs.shape[1] > PROJECTIONS:
            outputs = outputs @ rng.standard_normal((outputs.shape[1], PROJECTIONS))
        self.labels, codes = np.unique(cells, return_inverse=True)
        of_train = np.empty(outputs.shape)
        fold = rng.permutation(len(cells)) % MEAN_FOLDS
        for k in range(MEAN_FOLDS):
            of_train[fold == k] = self._means(codes[fold != k], outputs[fold != k])[codes[fold == k]]
        centered = [each - each.mean(axis=0) for each in (of_train, outputs)]
        norms = np.sqrt((centered[0] ** 2).sum(axis=0) * (centered[1] ** 2).sum(axis=0))
        correlations = (centered[0] * centered[1]).sum(axis=0) / np.where(norms > 0, norms, 1.0)
        is_used = correlations > MIN_MEAN_ERRORS / np.sqrt(len(cells))
        self.of_train = of_train[:, is_used].astype(np.float32)
        self.means = self._means(codes, outputs)[:, is_used].astype(np.float32)

    def _means(self, codes: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        counts = np.bincount(codes, minlength=len(self.labels))[:, None] + MEAN_PRIOR
        sums = np.column_stack([np.bincount(codes, each, minlength=len(self.labels)) for each in outputs.T])
        return np.asarray((sums + MEAN_PRIOR * outputs.mean(axis=0)) / counts)

    def features(self, cells: np.ndarray) -> np.ndarray:
        """Return the means of the labels of (n,) cells."""
        return self.means[np.searchsorted(self.labels, cells)]


class _Numbers:
    """A column of numbers in the forest: a row gets the prediction for it plus the residual of a train row, smoothed.

    Parameters
    ----------
    row_encoder : RowEncoder
        The table's row encoder.
    encoder : NumericEncoder
        The encoder of the column.
    i : int
        Position of the column.
    quantised : numpy.ndarray
        (n, m) quantised train rows.
    settings : ForestSettings
        The settings.
    """

    has_classes: ClassVar[bool] = False

    def __init__(
        self,
        row_encoder: RowEncoder,
        encoder: NumericEncoder,
        i: int,
        quantised: np.ndarray,
        settings: ForestSettings,
    ) -> None:
        self.row_encoder, self.encoder, self.i, self.settings = row_encoder, encoder, i, settings
        self.quantised, self.cells = quantised, quantised[:, i]
        # First days of months are listed for months, too, that no train row has.
        has_all = encoder.grid.type != "date" or bool(np.isin(encoder.listed, self.cells).all())
        self.is_copied = bool(encoder.listed) and has_all
        self.has_digits = _has_digits(encoder, self.cells)
        self.fill = np.median(self.cells[self.has_digits]) if self.has_digits.any() else 0.0
        self.residuals = self.residuals_of(quantised)
        present = self.residuals[self.has_digits]
        self.scale = NormalScores(present) if _has_heavy_tail(present) else None
        self.scaled = self.residuals if self.scale is None else self.scale.scores(self.residuals)

    def target(self, rng: np.random.Generator) -> np.ndarray:
        """Return what the forest predicts: residuals, (n,), or (n, k) numbers; of a heavy tail, normal scores.

        Missing values and atoms have indicators beside the residuals, in units of their standard deviation.
        """
        del rng
        if self.has_digits.all():
            return self.scaled
        present = self.scaled[self.has_digits]
        center, scale = (present.mean(), present.std() or 1.0) if len(present) else (0.0, 1.0)
        standardised = np.where(self.has_digits, (self.scaled - center) / scale, 0.0)
        frequent = _most_frequent(self.cells[~self.has_digits], MAX_INDICATORS)
        indicators = [self.cells == value for value in frequent]
        return np.column_stack([standardised, *(each / (each.std() or 1.0) for each in indicators)])

    def features(self, cells: np.ndarray, residuals: np.ndarray) -> np.ndarray:
        """Return what the column adds to the features of later ones: its value, its residual, whether it is missing."""
        parts = [np.where(cells == MISSING, self.fill, cells)]
        if self.encoder.predictor:
            parts.append(residuals)
        if self.encoder.has_missing:
            parts.append(cells == MISSING)
        return np.column_stack(parts).astype(np.float32)

    def residuals_of(self, quantised: np.ndarray) -> np.ndarray:
        """Return what the predictor leaves of (n, m) quantised rows; 0 of a missing value."""
        cells = quantised[:, self.i]
        is_missing = cells == MISSING
        return np.where(is_missing, 0.0, np.where(is_missing, 0, cells) - self.encoder.predictions(quantised))

    def draw(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw a train row for each of n rows, where no column is before this one, and its residual, smoothed."""
        donors = rng.choice(len(self.residuals), n)
        ordered = np.sort(self.residuals[self.has_digits])
        # The values of a column of few, which has no further digits, are shared by many rows.
        is_smooth = not (self.is_copied or self.encoder.is_sparse or not self.encoder.radices)
        if not (is_smooth and self.settings.kernel_bandwidth and len(ordered)):
            return donors, self.residuals[donors]
        # Between every few values the distribution function is linear: values that more rows share stay.
        ranks = np.linspace(0, len(ordered) - 1, len(ordered) // self.settings.min_samples_leaf + 2).round()
        drawn = np.interp(rng.uniform(0, len(ordered) - 1, n), ranks, ordered[ranks.astype(np.int64)])
        return donors, drawn

    def draw_residuals(self, donors: np.ndarray, leaves: _Leaves, rng: np.random.Generator) -> np.ndarray:
        """Return the residuals of train rows, which were drawn from their leaves, smoothed within these."""
        drawn, bandwidth = self.scaled[donors], self.settings.kernel_bandwidth
        if not bandwidth:
            return np.asarray(self.residuals[donors])
        order, start, end = leaves.order, leaves.start, leaves.start + leaves.count
        has_digits = self.has_digits[order]
        candidates = np.where(has_digits, self.scaled[order], 0.0)
        n, sums, squares = (
            np.concatenate([[0.0], np.cumsum(each)]) for each in (has_digits, candidates, candidates**2)
        )
        smoothed = np.maximum(n[end] - n[start], 1.0)
        mean = (sums[end] - sums[start]) / smoothed
        std = np.sqrt(np.maximum((squares[end] - squares[start]) / smoothed - mean**2, 0.0))
        noise = bandwidth * std * rng.standard_normal(len(donors))
        smooth = mean + (drawn - mean) * np.sqrt(1 - bandwidth**2) + noise
        return np.asarray(smooth if self.scale is None else self.scale.numbers(smooth))

    def generate(
        self, quantised: np.ndarray, donors: np.ndarray, residuals: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the numbers of (n, m) quantised rows, of which the columns before are known, on the grid."""
        encoder = self.encoder
        offsets = encoder.offsets(quantised)
        codes = np.rint((encoder.predictions(quantised) + residuals - offsets) / encoder.grid_step).astype(np.int64)
        codes = self._with_digit_preference(codes, rng)
        # A value beyond the bounds of the train rows becomes the nearest one within them.
        least, greatest = -((offsets - encoder.low) // encoder.grid_step), (encoder.high - offsets) // encoder.grid_step
        cells = np.clip(codes, least, greatest) * encoder.grid_step + offsets
        # A missing value, one that many rows share, and one of a list is the donor's; any is, where nothing is
        # added to it.
        is_copied = self.is_copied or (not self.settings.kernel_bandwidth and encoder.predictor is None)
        is_kept = ~self.has_digits[donors] | bool(is_copied)
        if encoder.listed:
            listed = np.asarray(encoder.listed)
            cells = listed[np.searchsorted((listed[1:] + listed[:-1]) / 2, cells)]
        cells[is_kept] = self.cells[donors[is_kept]]
        return cells if encoder.listed else self._in_order(cells, quantised, donors)

    def _with_digit_preference(self, codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Resample the last two digits from the train rows, where these prefer some digits and smoothing hid it."""
        encoder = self.encoder
        if not (encoder.radices and self.has_digits.any()):
            return codes
        if not (self.settings.kernel_bandwidth or encoder.predictor):
            return codes
        if encoder.predictor and encoder.prediction_step % (encoder.radices[-1] * encoder.grid_step):
            return codes  # the last digits are no digits of the value
        period = encoder.radices[-1]
        present = self.quantised[self.has_digits]
        digits = (present[:, self.i] - encoder.offsets(present)) // encoder.grid_step % period
        shares = np.bincount(digits, minlength=period) / len(digits)
        if np.log(period) + (shares * np.log(np.where(shares > 0, shares, 1.0))).sum() < MIN_DIGIT_PREFERENCE:
            return codes
        drawn = rng.choice(digits, len(codes))
        resampled: np.ndarray = codes + (drawn - codes + period // 2) % period - period // 2
        return resampled

    def _in_order(self, cells: np.ndarray, quantised: np.ndarray, donors: np.ndarray) -> np.ndarray:
        """Reflect numbers that break the order with an earlier column; cells that are equal in the donor stay equal.

        Reflection at a bound keeps a smoothed distribution (Silverman, 1986, section 2.10); clipping would add rows in
        which both are equal.
        """
        i, low, step = self.i, self.encoder.low, self.encoder.grid_step
        for first, second in self.row_encoder.not_before:
            other = first if second == i else second
            if i not in (first, second) or other > i:
                continue
            present = np.flatnonzero((cells != MISSING) & (quantised[:, other] != MISSING))
            known = [quantised[present, other], self.quantised[donors[present], other]]
            bounds, donated = (self.row_encoder.in_unit_of(other, i, each, latest=other == second) for each in known)
            gaps = cells[present] - bounds
            gaps[self.cells[donors[present]] == donated] = 0
            gaps = np.abs(gaps) if second == i else -np.abs(gaps)
            least = low + (bounds - low + step - 1) // step * step
            most = low + (bounds - low) // step * step
            reflected = low + (bounds + gaps - low) // step * step
            reflected = np.maximum(reflected, least) if second == i else np.minimum(reflected, most)
            cells[present] = np.clip(reflected, low, self.encoder.high)
        return cells


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
        self.row_encoder, self.quantised, self.settings = row_encoder, quantised, settings
        self.columns = [
            _Labels(quantised[:, i])
            if isinstance(encoder, CategoricalEncoder)
            else _Numbers(row_encoder, encoder, i, quantised, settings)
            for i, encoder in enumerate(row_encoder.columns)
        ]
        self.forests: list[tuple[Any, np.ndarray] | None] = [None]
        self.selected: list[Mapping[int, np.ndarray | slice]] = [{}]
        self.label_means: list[Mapping[int, _LabelMeans]] = [{}]
        many = [j for j, column in enumerate(self.columns) if isinstance(column, _Labels) and column.has_many]
        of_columns = [
            column.features(quantised[:, i], column.residuals_of(quantised)) for i, column in enumerate(self.columns)
        ]
        self.functions: list[tuple[int, np.ndarray, np.ndarray] | None] = [None]
        for i, column in enumerate(self.columns[1:], start=1):
            self.functions.append(self._function(i))
            features = np.hstack(of_columns[:i])
            target = column.target(np.random.default_rng(seed))
            self.selected.append(dict.fromkeys(range(i), slice(None)))
            outputs = target[:, None] == np.unique(target) if column.has_classes else target.reshape(len(target), -1)
            if i > MANY_COLUMNS or features.shape[1] > MAX_FEATURES:
                n_selected = FEW_FEATURES if i > MANY_COLUMNS else MAX_SPLIT_FEATURES
                selected = most_associated(features, outputs, n_selected)
                self.selected[i] = _by_column(selected, [each.shape[1] for each in of_columns[:i]])
                features = features[:, selected]
            means = {
                j: _LabelMeans(quantised[:, j], outputs, np.random.default_rng((seed, i, j))) for j in many if j < i
            }
            self.label_means.append(means)
            features = np.hstack([features, *(each.of_train for each in means.values())])
            self.forests.append(self._fitted(features, target, is_class=column.has_classes, seed=seed))

    def _function(self, i: int) -> tuple[int, np.ndarray, np.ndarray] | None:
        """Return the column of labels of which one of labels is a function, its labels and the values for them.

        Leaves of several rows would mix the values of rare labels.
        """
        if isinstance(self.columns[i], _Labels):
            for j in range(i):
                before = self.quantised[:, j]
                if isinstance(self.columns[j], _Labels) and is_function(before, self.quantised[:, i]):
                    labels, first = np.unique(before, return_index=True)
                    return j, labels, self.quantised[first, i]
        return None

    def _fitted(self, features: np.ndarray, target: np.ndarray, *, is_class: bool, seed: int) -> tuple[Any, np.ndarray]:
        """Return a forest of a column, and the leaves of the train rows in its trees."""
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        settings, n = self.settings, len(target)
        forest = (RandomForestClassifier if is_class else RandomForestRegressor)(
            settings.n_estimators,
            min_samples_leaf=min(settings.min_samples_leaf, n),
            max_features=min(settings.max_features, MAX_SPLIT_FEATURES / max(features.shape[1], 1)),
            bootstrap=settings.n_estimators > 1,
            max_samples=min(settings.max_samples or n, n) if settings.n_estimators > 1 else None,
            random_state=seed,
            n_jobs=cores(),
        )
        forest.fit(features, target)
        leaves = forest.apply(features)
        # NumPy sorts integers of 16 bits by radix.
        return forest, leaves.astype(np.uint16) if leaves.max() < 1 << 16 else leaves

    def sample(self, n: int, *, seed: int) -> np.ndarray:
        """Generate n quantised rows, (n, m), within the bounds of the train rows and on their grid."""
        rng = np.random.default_rng(seed)
        quantised = np.zeros((n, len(self.columns)), np.int64)
        residuals = np.zeros(quantised.shape)
        for i, column in enumerate(self.columns):
            donors, drawn = self._draw(i, self._features(quantised, residuals, i), rng)
            quantised[:, i] = column.generate(quantised, donors, drawn, rng)
            if (function := self.functions[i]) is not None:
                j, labels, values = function
                quantised[:, i] = values[np.searchsorted(labels, quantised[:, j])]
            residuals[:, i] = column.residuals_of(quantised)
        return quantised

    def resample(self, n: int, *, seed: int) -> np.ndarray:
        """Generate n quantised rows, (n, m), and correct their distribution by an estimated density ratio.

        Rows that the ratio was not fitted to are resampled with it, systematically, so that a row of ratio 1 is kept
        once (Kitagawa, *Monte Carlo Filter and Smoother*, 1996, appendix); rows of a high ratio occur more than once.
        """
        reference, rows = np.split(self.sample(RATIO_ROWS + n, seed=seed), [RATIO_ROWS])
        real, generated = (features_of(self.row_encoder, each) for each in (self.quantised, reference))
        fitted = DensityRatio.fit(real, generated, max_trees=RATIO_TREES, seed=seed)
        log_ratio = fitted.log_ratio(features_of(self.row_encoder, rows))
        ratio = np.exp(np.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO))
        quantiles = (np.arange(n) + np.random.default_rng(seed).random()) / n
        resampled: np.ndarray = rows[np.searchsorted(np.cumsum(ratio / ratio.sum()), quantiles).clip(max=n - 1)]
        return resampled

    def _features(self, quantised: np.ndarray, residuals: np.ndarray, i: int) -> np.ndarray:
        """Return the features of a column's forest: the selected ones of the columns before it."""
        parts = [
            self.columns[j].features(quantised[:, j], residuals[:, j])[:, own] for j, own in self.selected[i].items()
        ]
        parts += [means.features(quantised[:, j]) for j, means in self.label_means[i].items()]
        return np.hstack(parts or [np.zeros((len(quantised), 0), np.float32)])

    def _draw(self, i: int, features: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw a train row for each row, given the features of a column's forest, and its residual, smoothed."""
        column, fitted = self.columns[i], self.forests[i]
        if fitted is None:
            return column.draw(len(features), rng)
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
            donors[rows] = order[start + (rng.random(len(rows)) * count).astype(np.int64)]
            drawn[rows] = column.draw_residuals(donors[rows], _Leaves(order, start, count), rng)
        return donors, drawn


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


def _has_digits(column: NumericEncoder, cells: np.ndarray) -> np.ndarray:
    """Return which train values are smoothed: numbers that are no atoms, of columns of few values either."""
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
        self, n: int, batches: range, *, seed: int, conditions: Mapping[str, Condition], temperature: float, log: Log
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
