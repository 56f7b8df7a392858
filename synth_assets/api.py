"""The library: synthetic rows from a frame, and their evaluation, in one call each."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synth_assets.schema.columns import TableError
from synth_assets.schema.infer import infer_schema
from synth_assets.schema.table import TableSchema, refuse_duplicates
from synth_assets.schema.validation import refuse_invalid

if TYPE_CHECKING:
    from tqdm import tqdm

    from synth_assets.evaluation.evaluate import Evaluation
    from synth_assets.synthesizers.base import Log, Synthesizer, SynthesizerSettings


def synthesize(
    frame: pd.DataFrame,
    rows: int,
    *,
    schema: TableSchema | None = None,
    target: str | None = None,
    seed: int = 0,
    synthesizer: "str | SynthesizerSettings | Synthesizer" = "language_model",
    progress: bool = True,
) -> pd.DataFrame:
    """Fit a synthesizer to a table and draw synthetic rows.

    Parameters
    ----------
    frame : pandas.DataFrame
        The real rows, without missing values. The synthesizer is fitted to all of them: hold rows out before, if the
        synthetic rows are to be evaluated.
    rows : int
        Number of synthetic rows.
    schema : TableSchema, optional
        The table's schema; inferred from the frame by default.
    target : str, optional
        Name of the column that is predicted from the others; by default the schema's target.
    seed : int
        Random seed. The same frame, arguments and library versions give the same rows.
    synthesizer : str, SynthesizerSettings or Synthesizer
        Name of a synthesizer, its settings, or a synthesizer, which is then fitted itself.
    progress : bool
        Whether progress is shown on stderr: a bar on a terminal, else lines.

    Returns
    -------
    pandas.DataFrame
        The synthetic rows, with the columns of the schema: labels as `str`, integers as `int64`, floats as `float64`.

    Raises
    ------
    ForeseenError
        If the frame or an argument is not usable; the message says what was found, what was expected, what to do.

    Examples
    --------
    >>> synthetic = synthesize(train, 1000, target="Rings")  # doctest: +SKIP
    """
    rows = _integer(rows, "rows", "the number of synthetic rows, at least 1", least=1)
    seed = _integer(seed, "seed", "an integer from 0 to 4294967295", least=0, most=2**32 - 1)
    _require_frame(frame, "the frame")
    schema = _resolve_schema(frame, schema, target, origin="the frame")
    train = schema.coerce(frame, origin="the frame")
    refuse_invalid(train, schema, origin="the frame")
    chosen = _create(synthesizer)
    with _fit_log(progress) as log:
        chosen.fit(train, schema, seed=seed, log=log)
    with _bar(progress, total=rows, desc="sampling", unit=" rows") as bar:
        batches = []
        for batch in chosen.sample_batches(rows, seed=seed):
            batches.append(batch)
            bar.update(len(batch))
    return pd.concat(batches, ignore_index=True)


def evaluate(
    synthetic: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    *,
    schema: TableSchema | None = None,
    target: str | None = None,
    title: str = "the table",
    source: str = "the rows given",
    details: dict[str, str] | None = None,
) -> "Evaluation":
    """Evaluate synthetic rows beside real rows that the synthesizer was not fitted to.

    Parameters
    ----------
    synthetic : pandas.DataFrame
        The synthetic rows.
    train : pandas.DataFrame
        The real rows that the synthesizer was fitted to.
    holdout : pandas.DataFrame
        Real rows of the same table that the synthesizer was not fitted to.
    schema : TableSchema, optional
        The table's schema; inferred from the real rows by default.
    target : str, optional
        Name of the column that is predicted from the others; by default the schema's target.
    title, source : str
        Name of the table and origin of the real rows, for the report.
    details : dict of str to str, optional
        Further facts on the origin of the synthetic rows for the report, such as `{"Seed": "17"}`.

    Returns
    -------
    Evaluation
        `.metrics` (a frame), `.gates`, `.passed`, `.save_html(path)`; a notebook shows a summary.

    Raises
    ------
    ForeseenError
        If the columns of the frames differ, or a frame cannot be evaluated.

    Examples
    --------
    >>> evaluate(synthetic, train, holdout, target="Rings").save_html("report.html")  # doctest: +SKIP
    """
    frames = {"train": train, "holdout": holdout, "synthetic": synthetic}
    for name, frame in frames.items():
        _require_frame(frame, f"the {name} frame")
    if schema is None:
        _require_same_columns(frames)
        real = pd.concat([train, holdout[list(train.columns)]], ignore_index=True)
        schema = infer_schema(real, target, origin="the train and holdout frames")
    else:
        schema = _resolve_schema(train, schema, target, origin="the train frame")
    typed = {name: schema.coerce(frame, origin=f"the {name} frame") for name, frame in frames.items()}

    from synth_assets.evaluation.evaluate import evaluate as evaluate_samples
    from synth_assets.evaluation.samples import Samples

    return evaluate_samples(Samples(**typed, schema=schema), title=title, source=source, details=details)


def _integer(value: object, name: str, expected: str, *, least: int, most: int | None = None) -> int:
    """Return an integer argument, which may be one of NumPy's."""
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or int(value) < least or (most is not None and int(value) > most):  # type: ignore[call-overload]
        raise TableError(f"{name} is {value!r}; expected {expected}.")
    return int(value)  # type: ignore[call-overload, no-any-return]


def _require_frame(frame: pd.DataFrame, origin: str) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise TableError(f"{origin}: found {type(frame).__name__}; expected a pandas.DataFrame.")
    refuse_duplicates(frame, origin)


def _require_same_columns(frames: dict[str, pd.DataFrame]) -> None:
    expected = list(frames["train"].columns)
    for name, frame in frames.items():
        missing = [repr(column) for column in expected if column not in frame.columns]
        extra = [repr(column) for column in frame.columns if column not in expected]
        if missing or extra:
            found = " and ".join(
                f"{verb} {', '.join(columns)}" for verb, columns in (("lack", missing), ("have", extra)) if columns
            )
            raise TableError(
                f"the columns of the {name} frame differ from the train frame: they {found}. "
                "Pass frames with the same columns, or a schema of the columns to evaluate."
            )


def _resolve_schema(frame: pd.DataFrame, schema: TableSchema | None, target: str | None, *, origin: str) -> TableSchema:
    if schema is None:
        return infer_schema(frame, target, origin=origin)
    return schema if target is None else schema.with_target(target)


def _create(synthesizer: "str | SynthesizerSettings | Synthesizer") -> "Synthesizer":
    from synth_assets.synthesizers import SYNTHESIZERS, create
    from synth_assets.synthesizers.base import Synthesizer

    if isinstance(synthesizer, Synthesizer):
        return synthesizer
    if not isinstance(synthesizer, str):
        return create(synthesizer)
    if synthesizer not in SYNTHESIZERS:
        raise TableError(f"synthesizer is {synthesizer!r}; expected one of {', '.join(SYNTHESIZERS)}.")
    return SYNTHESIZERS[synthesizer]()


@contextmanager
def _fit_log(progress: bool) -> "Iterator[Log]":
    """Yield the `log` of a fit: on a terminal, one line that is updated; else a line each."""
    if progress and sys.stderr.isatty():
        with _bar(progress, bar_format="{desc} [{elapsed}]", desc="fitting") as bar:
            yield lambda line: bar.set_description_str(line)
    elif progress:
        yield lambda line: print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress of a library call
    else:
        yield lambda line: None


def _bar(progress: bool, **options: object) -> "tqdm[object]":
    from tqdm import tqdm

    return tqdm(disable=not (progress and sys.stderr.isatty()), leave=False, file=sys.stderr, **options)
