"""Sequential random-forest synthesizer. Generates the rows that the language model is pretrained on.

Column by column, in the column order: a random forest predicts a column from those before it; a row falls into a leaf
of one of its trees, and takes the value of one of the train rows there (Reiter, *Using CART to generate partially
synthetic public use microdata*, 2005, section 3, with a forest in place of a tree). The forest works on unrounded
residuals: a number is the prediction for this row plus the residual of another, which is seldom a value of the train
rows; and the residual is smoothed within its leaf (Silverman, *Density Estimation*, 1986, section 6.4.1: the smoothed
bootstrap, which keeps the variance). With one tree and no smoothing, it is sequential CART.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from synth_assets.synthesizers.base import BATCH_ROWS, Log, ModelError, Synthesizer, SynthesizerSettings
from synth_assets.synthesizers.language_model.encoders import CategoricalEncoder, NumericEncoder, RowEncoder

UNITS_FILE = "rows.safetensors"
"""The train rows as whole numbers; the forest is fitted to them again when it is loaded."""

MIN_DIGIT_PREFERENCE = 0.1
"""Nats by which the entropy of the last two digits must fall short of the maximum for them to be resampled. Resampling
moves a value by up to half of their range; for evenly distributed digits, that would only be noise."""

RATIO_ROWS = 20_000
"""Generated rows that the density ratio is estimated from."""

MAX_RATIO = 4.0
"""The density ratio is clipped to between 1 / MAX_RATIO and MAX_RATIO, since few rows support values beyond."""


class ForestSettings(SynthesizerSettings):
    """Settings of the sequential random forest."""

    type: Literal["forest"] = "forest"
    n_estimators: int = Field(
        default=100, ge=1, description="Number of trees of a column; 1 fits a single tree to all train rows (CART)."
    )
    min_samples_leaf: int = Field(default=10, ge=1, description="Minimum number of train rows in a leaf.")
    max_features: float = Field(default=1.0, gt=0.0, le=1.0, description="Share of the columns that a split considers.")
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
    units : numpy.ndarray
        (n, m) quantised train rows, as `RowEncoder.units` returns them.
    settings : ForestSettings
        The settings.
    seed : int
        The seed of the trees.
    """

    def __init__(self, row_encoder: RowEncoder, units: np.ndarray, settings: ForestSettings, *, seed: int) -> None:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        self.row_encoder, self.units, self.settings = row_encoder, units, settings
        places = range(len(row_encoder.columns))
        self.residuals = np.column_stack([units[:, place] - row_encoder.predictions(place, units) for place in places])
        self.forests: list[tuple[Any, np.ndarray] | None] = [None]
        for place, column in enumerate(row_encoder.columns[1:], start=1):
            forest = (RandomForestClassifier if isinstance(column, CategoricalEncoder) else RandomForestRegressor)(
                settings.n_estimators,
                min_samples_leaf=min(settings.min_samples_leaf, len(units)),
                max_features=settings.max_features,
                bootstrap=settings.n_estimators > 1,
                random_state=seed,
            )
            before = self._inputs(units, self.residuals, place)
            forest.fit(before, self.residuals[:, place])
            self.forests.append((forest, forest.apply(before)))

    def sample(self, n: int, *, seed: int) -> np.ndarray:
        """Generate rows.

        Parameters
        ----------
        n : int
            Number of rows.
        seed : int
            The seed of the draws.

        Returns
        -------
        numpy.ndarray
            (n, m) quantised rows, within the range of the train rows and on their grid.
        """
        rng = np.random.default_rng(seed)
        units = np.zeros((n, len(self.row_encoder.columns)), np.int64)
        residuals = np.zeros(units.shape)
        for place, column in enumerate(self.row_encoder.columns):
            predictions = self.row_encoder.predictions(place, units)
            values = predictions + self._drawn(place, self._inputs(units, residuals, place), rng)
            shifts = self.row_encoder.offsets(place, units)
            codes = self._with_digit_preference(
                place, np.rint((values - shifts) / column.grid_step).astype(np.int64), rng
            )
            low, high = self.row_encoder.bounds(place)
            # A value beyond the limits is put on the nearest code within them.
            codes = np.clip(codes, -((shifts - low) // column.grid_step), (high - shifts) // column.grid_step)
            units[:, place] = self.row_encoder.dequantise(place, codes, shifts)
            residuals[:, place] = units[:, place] - predictions
        return units

    def resample(self, n: int, *, seed: int) -> np.ndarray:
        """Generate rows, and correct their distribution by an estimated density ratio.

        A classifier of generated and train rows estimates the ratio of their densities (Sugiyama, Suzuki and Kanamori,
        *Density Ratio Estimation in Machine Learning*, 2012, chapter 4). Other generated rows, which it was not fitted
        to, are resampled with this ratio, systematically, so that a row of ratio 1 is kept once (Kitagawa, *Monte Carlo
        Filter and Smoother*, 1996, appendix).

        Parameters
        ----------
        n : int
            Number of rows.
        seed : int
            The seed of the draws.

        Returns
        -------
        numpy.ndarray
            (n, m) quantised rows; those of a high ratio more than once.
        """
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits

        seen, rows = np.split(self.sample(RATIO_ROWS + n, seed=seed), [RATIO_ROWS])
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
        both = np.vstack([seen, self.units])
        is_real = np.repeat([0, 1], [len(seen), len(self.units)])
        with threadpool_limits(1, "openmp"):
            classifier.fit(
                self._ratio_features(both), is_real, sample_weight=np.where(is_real, len(seen) / len(self.units), 1.0)
            )
            share = classifier.predict_proba(self._ratio_features(rows))[:, 1]
        ratio = np.clip(share / (1 - share), 1 / MAX_RATIO, MAX_RATIO)
        places = (np.arange(n) + np.random.default_rng(seed).random()) / n
        found: np.ndarray = rows[np.searchsorted(np.cumsum(ratio / ratio.sum()), places).clip(max=n - 1)]
        return found

    def _ratio_features(self, units: np.ndarray) -> np.ndarray:
        return np.hstack([units, self.row_encoder.codes(units)]).astype("float32")

    def _inputs(self, units: np.ndarray, residuals: np.ndarray, place: int) -> np.ndarray:
        """Return the features of a column's forest: the columns before it, and their residuals."""
        parts = []
        for i, column in enumerate(self.row_encoder.columns[:place]):
            values = units[:, i]
            if isinstance(column, CategoricalEncoder):
                parts.append(values[:, None] == np.arange(column.cardinality))
                continue
            parts.append(values[:, None])
            if column.predictor:
                parts.append(residuals[:, [i]])
        return np.hstack(parts or [np.zeros((len(units), 0))]).astype("float32")

    def _drawn(self, place: int, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a column's residuals, given the features of its forest."""
        column, residuals = self.row_encoder.columns[place], self.residuals[:, place]
        found = self.forests[place]
        if found is None:
            return rng.choice(residuals, len(inputs))
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
            values = residuals[order]
            taken = values[start + (rng.random(len(rows)) * count).astype(np.int64)]
            if isinstance(column, NumericEncoder) and self.settings.kernel_bandwidth:
                sums, squares = (np.concatenate([[0.0], np.cumsum(values**p)]) for p in (1, 2))
                mean = (sums[start + count] - sums[start]) / count
                spread = np.sqrt(np.maximum((squares[start + count] - squares[start]) / count - mean**2, 0.0))
                noise = self.settings.kernel_bandwidth * spread * rng.standard_normal(len(rows))
                taken = mean + (taken - mean) * np.sqrt(1 - self.settings.kernel_bandwidth**2) + noise
            drawn[rows] = taken
        return drawn

    def _with_digit_preference(self, place: int, codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Resample the last two digits from the train rows, where these prefer some digits and smoothing hid it."""
        column = self.row_encoder.columns[place]
        if not (isinstance(column, NumericEncoder) and column.has_suffix_token):
            return codes
        if not (self.settings.kernel_bandwidth or column.predictor):
            return codes
        period = column.prediction_step // column.grid_step
        digits = self.row_encoder.codes(self.units)[:, place] % period
        shares = np.bincount(digits, minlength=period) / len(digits)
        if np.log(period) + (shares * np.log(np.where(shares > 0, shares, 1.0))).sum() < MIN_DIGIT_PREFERENCE:
            return codes
        drawn = rng.choice(digits, len(codes))
        found: np.ndarray = codes + (drawn - codes + period // 2) % period - period // 2
        return found


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
        # Without smoothing, values are those of train rows: then there is no prediction to add residuals to.
        row_encoder = RowEncoder.fit(train, use_residuals=self.settings.kernel_bandwidth > 0)
        self._grow(row_encoder, row_encoder.quantise(train), seed)
        log(f"forest: fitted to {len(train):,} rows")

    def _grow(self, row_encoder: RowEncoder, units: np.ndarray, seed: int) -> None:
        self.seed = seed
        self.forest = SequentialForest(row_encoder, units, self.settings, seed=seed)
        self.n_parameters = sum(
            tree.tree_.node_count for fitted in self.forest.forests if fitted for tree in fitted[0].estimators_
        )

    def _sample_batches(
        self, n: int, *, seed: int, conditions: Mapping[str, str], temperature: float, log: Log
    ) -> Iterator[pd.DataFrame]:
        del conditions, temperature
        for start in range(0, n, BATCH_ROWS):
            batch_seed = int(np.random.SeedSequence((seed, start)).generate_state(1)[0])
            units = self.forest.sample(BATCH_ROWS, seed=batch_seed)[: n - start]
            yield self.forest.row_encoder.to_frame(units)
            log(f"{min(start + BATCH_ROWS, n):,} of {n:,} rows")

    def _save(self, folder: Path) -> dict[str, Any]:
        from safetensors.numpy import save_file

        save_file({"units": self.forest.units}, folder / UNITS_FILE)
        return {"row_encoder": self.forest.row_encoder.to_json(), "seed": self.seed}

    def _load(self, folder: Path, learned: dict[str, Any]) -> None:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            units = load_file(folder / UNITS_FILE)["units"]
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{folder / UNITS_FILE} cannot be read ({error}); fit the model again.") from error
        self._grow(RowEncoder.from_json(learned["row_encoder"]), units, learned["seed"])
