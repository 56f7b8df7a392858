"""The library: synthetic rows from a frame, their evaluation, and mock rows from a schema, in one call each."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synth_assets.schema.columns import Categorical, TableError
from synth_assets.schema.dtypes import restore_dtypes
from synth_assets.schema.infer import Inference, infer
from synth_assets.schema.table import TableSchema, refuse_duplicates
from synth_assets.schema.validation import refuse_invalid, refuse_unlearnable

if TYPE_CHECKING:
    from tqdm import tqdm

    from synth_assets.evaluation.evaluate import Evaluation
    from synth_assets.execution import Execution
    from synth_assets.schema.constraints import Constraint
    from synth_assets.synthesizers.base import Log, Synthesizer, SynthesizerSettings


_LOGGER = logging.getLogger(__name__)


def synthesize(
    frame: pd.DataFrame,
    rows: int,
    *,
    schema: TableSchema | None = None,
    target: str | None = None,
    private: bool = True,
    seed: int = 0,
    synthesizer: "str | SynthesizerSettings | Synthesizer | None" = None,
    processes: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Fit a synthesizer to a table and draw synthetic rows.

    Parameters
    ----------
    frame : pandas.DataFrame
        The real rows: numbers, booleans, dates, labels, text and keys, with or without empty cells. The synthesizer is
        fitted to all of them: hold rows out before, if the synthetic rows are to be evaluated.
    rows : int
        Number of synthetic rows.
    schema : TableSchema, optional
        The table's schema; inferred from the frame by default.
    target : str, optional
        Name of the column that is predicted from the others; by default the schema's target.
    private : bool
        Whether the rows are confidential: labels that few rows have are hidden, and columns of text are left out, as
        they are by a synthesizer that writes none. A schema states it itself.
    seed : int
        Random seed. The same frame, arguments and library versions give the same rows.
    synthesizer : str, SynthesizerSettings or Synthesizer, optional
        Name of a synthesizer, its settings, or a synthesizer, which is then fitted itself. By default
        'language_model', and 'forest' for a table of more than 100 columns.
    processes : int, optional
        Number of processes that draw rows, as for `Synthesizer.sample`: the rows do not depend on it.
    progress : bool
        Whether progress is shown on stderr: a bar on a terminal, else lines.

    Returns
    -------
    pandas.DataFrame
        The synthetic rows. A column has the dtype that it has in the frame, if that holds every value; what is text in
        the frame and read as plain numbers, dates in ISO 8601 or booleans is not turned into text again. With a schema,
        columns have the dtypes of `TableSchema.coerce`. Columns that are left out are named in the lines of progress,
        or else in a warning of `logging`.

    Raises
    ------
    ForeseenError
        If the frame or an argument is not usable; the message says what was found, what was expected, what to do.

    Examples
    --------
    >>> synthetic = synthesize(train, 1000, target="Rings")  # doctest: +SKIP
    """
    from synth_assets.synthesizers import default_for

    rows = _integer(rows, "rows", "the number of synthetic rows, at least 1", least=1)
    seed = _integer(seed, "seed", "an integer from 0 to 4294967295", least=0, most=2**32 - 1)
    _require_frame(frame, "the frame")
    given, frame, target = frame, _with_text_names(frame), None if target is None else str(target)
    if named := [repr(name) for name in frame.index.names if name is not None]:
        _LOGGER.warning("Left out: the index, %s. Call reset_index() to have it learned.", ", ".join(named))
    stated = None if synthesizer is None else _create(synthesizer)
    is_inferred = schema is None
    schema = _resolve_schema(frame, schema, target, private=private, origin="the frame")
    chosen = _create(default_for(schema)) if stated is None else stated
    schema = chosen.written_schema(schema)
    if not is_inferred and (unstated := unstated_text(frame, schema)):
        _LOGGER.warning("%s", unstated)
    train = schema.coerce(frame, origin="the frame")
    refuse_invalid(train, schema, origin="the frame")
    refuse_unlearnable(schema, len(train), origin="the frame")
    hidden = schema.unpublished
    if hidden and not _prints_lines(progress):  # the log of the fit says it too
        reason = "The text of a table that is private" if chosen.supports_text else f"Text, with {chosen.name},"
        _LOGGER.warning("Left out of the synthetic rows: %s. %s is not written.", ", ".join(map(repr, hidden)), reason)
    with _log(progress, "fitting") as log:
        if stated is None and chosen.name == "forest":
            log(f"synthesizer: forest, which learns a table of {len(schema.learned):,} columns better than a model")
        chosen.fit(train, schema, seed=seed, log=log)
    with _bar(progress, total=rows, desc="sampling", unit=" rows") as bar:
        batches = []
        for batch in chosen.sample_batches(rows, seed=seed, processes=processes):
            batches.append(batch)
            bar.update(len(batch))
    synthetic = pd.concat(batches, ignore_index=True)
    return restore_dtypes(synthetic, given, schema) if is_inferred else synthetic


def evaluate(
    synthetic: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    *,
    schema: TableSchema | None = None,
    target: str | None = None,
    private: bool = True,
    constraints: "Sequence[Constraint]" = (),
    title: str = "the table",
    source: str = "the rows given",
    synthesizer: "Synthesizer | None" = None,
    details: dict[str, str] | None = None,
    execution: "Execution | None" = None,
    progress: bool = True,
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
        Name of the column that is predicted from the others; by default the schema's target. Without one, estimators
        of a target are not compared.
    private : bool
        Whether the real rows are confidential. A schema states it itself.
    constraints : sequence of Constraint
        Conditions in SQL that every row should satisfy.
    title, source : str
        Name of the table and origin of the real rows, for the report.
    synthesizer : Synthesizer, optional
        The fitted synthesizer, for the attacks of who holds the model; a `language_model` computes the likelihood of
        real rows.
    details : dict of str to str, optional
        Further facts on the origin of the synthetic rows for the report, such as `{"Seed": "17"}`.
    execution : Execution, optional
        Where long tables are evaluated: by default in processes of this machine, or on a Ray cluster.
    progress : bool
        Whether progress is shown on stderr: a bar on a terminal, else lines as families of metrics begin and end.

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
    target = None if target is None else str(target)
    frames = {"train": train, "holdout": holdout, "synthetic": synthetic}
    for name, frame in frames.items():
        _require_frame(frame, f"the {name} frame")
        frames[name] = _with_text_names(frame)
    if schema is None:
        _require_same_columns(frames, "holdout", optional=())
        real = pd.concat([frames["train"], frames["holdout"][list(frames["train"])]], ignore_index=True)
        found = infer(real, target, origin="the train and holdout frames", private=private)
        _warn_of(found)
        schema = _as_by_train(found.schema, frames["train"], frames["holdout"], target, private=private)
        _require_same_columns(frames, "synthetic", optional=(*found.left_out, *schema.names_of("text")))
    else:
        schema = schema if target is None else schema.with_target(target)
    texts = schema.names_of("text")
    lacking = [name for name in texts if name not in frames["synthetic"]]
    if lacking and lacking == texts and not schema.publish_text:  # a synthesizer that writes none
        schema = schema.model_copy(update={"publish_text": False})
    given = schema.select([name for name in schema.names if name not in lacking])
    typed = {
        name: (given if name == "synthetic" else schema).coerce(frame, origin=f"the {name} frame")
        for name, frame in frames.items()
    }

    from synth_assets.evaluation.evaluate import evaluate as evaluate_samples
    from synth_assets.evaluation.metrics.attacks import Knowledge
    from synth_assets.evaluation.samples import Samples
    from synth_assets.execution import LOCAL

    samples = Samples(**typed, schema=schema)
    has_likelihood = synthesizer is not None and synthesizer.supports_likelihood
    knowledge = Knowledge(log_likelihood=synthesizer.log_likelihood if has_likelihood else None)  # type: ignore[union-attr]
    with _log(progress, "evaluating") as log:
        return evaluate_samples(
            samples,
            title=title,
            source=source,
            constraints=constraints,
            knowledge=knowledge,
            log=log,
            details=details,
            execution=execution or LOCAL,
        )


def mock(
    schema: TableSchema | Path | str,
    n: int,
    *,
    seed: int = 0,
    constraints: "Sequence[Constraint]" = (),
    base: str | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Draw mock rows from a schema alone, before there is a table.

    They are valid: of the declared types, limits, labels and keys, and they satisfy the constraints. They are no
    synthetic rows, since nothing was learned: they say nothing about real ones. Their `attrs` and the log say so.

    Parameters
    ----------
    schema : TableSchema, pathlib.Path or str
        The schema, or a YAML file with the `columns` and, optionally, `constraints`; a `defs.yaml` is one.
    n : int
        Number of rows.
    seed : int
        Random seed. The same arguments give the same rows, and more rows begin with fewer.
    constraints : sequence of Constraint
        Conditions in SQL that every row satisfies, beside the conditions in the file.
    base : str, optional
        A pretrained language model that chooses the values, from the names and descriptions of the columns: a folder,
        or a name on the model hub. By default, values are uniform and columns are independent.
    progress : bool
        Whether progress is shown on stderr: a bar on a terminal, else lines.

    Returns
    -------
    pandas.DataFrame
        n rows in the schema's columns and dtypes.

    Raises
    ------
    ForeseenError
        If the schema or an argument is not usable, or too few rows meet a constraint; the message names it.

    Examples
    --------
    >>> from synth_assets.schema.columns import Categorical, Integer
    >>> columns = (Categorical(name="colour", categories=("blue", "red")), Integer(name="size", minimum=1, maximum=9))
    >>> mock(TableSchema(columns=columns), 3, progress=False)["size"].between(1, 9).all()
    np.True_
    """
    from synth_assets.schema.definition import TableDefinition
    from synth_assets.synthesizers.mock import mock_rows, notice

    n = _integer(n, "n", "the number of mock rows, at least 1", least=1)
    seed = _integer(seed, "seed", "an integer from 0 to 4294967295", least=0, most=2**32 - 1)
    stated = TableDefinition("", schema) if isinstance(schema, TableSchema) else TableDefinition.from_yaml(Path(schema))
    with _log(progress, "drawing mock rows") as log:
        log(notice(seed, base))
        return mock_rows(
            stated.schema,
            n,
            seed=seed,
            constraints=(*stated.constraints, *constraints),
            base=base,
            name=stated.name,
            log=log,
        )


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


def _with_text_names(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose column names are text: a name such as 7 becomes '7', one of two levels "('a', 'b')"."""
    is_text = all(isinstance(name, str) for name in frame.columns)
    return frame if is_text else frame.set_axis([str(name) for name in frame.columns], axis="columns")


def _require_same_columns(frames: dict[str, pd.DataFrame], name: str, *, optional: Sequence[str]) -> None:
    expected, frame = list(frames["train"].columns), frames[name]
    missing = [repr(column) for column in expected if column not in frame.columns and column not in optional]
    extra = [repr(column) for column in frame.columns if column not in expected]
    if missing or extra:
        found = " and ".join(
            f"{verb} {', '.join(columns)}" for verb, columns in (("lack", missing), ("have", extra)) if columns
        )
        raise TableError(
            f"the columns of the {name} frame differ from the train frame: they {found}. "
            "Pass frames with the same columns, or a schema of the columns to evaluate."
        )


def _as_by_train(
    schema: TableSchema, train: pd.DataFrame, holdout: pd.DataFrame, target: str | None, *, private: bool
) -> TableSchema:
    """Return a schema of all real rows in which columns are labels, numbers, keys or text as by the train rows alone.

    `synthesize` has taken them so: with the holdout rows, strings may repeat enough for labels, or numbers be
    consecutive, as keys are.
    """
    by_train = infer(train, target, origin="the train frame", private=private).schema
    columns = []
    for column in schema.columns:
        other = by_train.column(column.name) if column.name in by_train.names else column
        if other.role != column.role:
            other = other.model_copy(update={"nullable": column.nullable})
            if isinstance(other, Categorical):
                more = holdout[column.name].dropna().astype("str").unique()
                other = other.model_copy(update={"categories": tuple(dict.fromkeys((*other.categories, *more)))})
            column = other if other.is_readable(holdout[column.name]).all() else column
        columns.append(column)
    return schema.model_copy(update={"columns": tuple(columns)})


def _resolve_schema(
    frame: pd.DataFrame, schema: TableSchema | None, target: str | None, *, private: bool, origin: str
) -> TableSchema:
    if schema is None:
        found = infer(frame, target, origin=origin, private=private)
        _warn_of(found)
        return found.schema
    return schema if target is None else schema.with_target(target)


def unstated_text(frame: pd.DataFrame, schema: TableSchema) -> str:
    """Return a sentence that names the columns of a frame that its schema does not state; empty if there are none."""
    unstated = [repr(name) for name in frame.columns if name not in schema.names]
    return f"Left out: {', '.join(unstated)}. The schema does not state them." if unstated else ""


def _warn_of(found: Inference) -> None:
    for line in filter(None, (found.left_out_text, *found.notices)):
        _LOGGER.warning("%s", line)


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
def _log(progress: bool, work: str) -> "Iterator[Log]":
    """Yield the `log` of a piece of work: on a terminal, one line that is updated; else a line each."""
    if progress and sys.stderr.isatty():
        with _bar(progress, bar_format="{desc} [{elapsed}]", desc=work) as bar:
            yield lambda line: bar.set_description_str(line)
    elif _prints_lines(progress):
        yield lambda line: print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress of a library call
    else:
        yield lambda line: None


def _prints_lines(progress: bool) -> bool:
    return progress and not sys.stderr.isatty()


def _bar(progress: bool, **options: object) -> "tqdm[object]":
    from tqdm import tqdm

    return tqdm(disable=not (progress and sys.stderr.isatty()), leave=False, file=sys.stderr, **options)
