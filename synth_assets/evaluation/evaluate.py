"""Evaluation of a synthetic sample: its metrics, the verdicts of the gates, and a report."""

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.gates import Verdict, evaluate_gates, gates_with, is_publishable
from synth_assets.evaluation.metrics import FIDELITY_FAMILIES, PRIVACY_FAMILIES, Metric, NotComputed, result_frame
from synth_assets.evaluation.metrics.attacks import BY_KNOWLEDGE, LEAKED_ROW, ONE_SAMPLE, Knowledge, leaked_rows
from synth_assets.evaluation.metrics.base import Step, no_step
from synth_assets.evaluation.metrics.utility import (
    NO_SCORE,
    Comparison,
    compare_training_sets,
    utility_results,
    why_not,
)
from synth_assets.evaluation.metrics.validity import CONSTRAINT_VIOLATIONS
from synth_assets.evaluation.samples import Samples
from synth_assets.execution import LOCAL, Execution
from synth_assets.execution.processes import cores
from synth_assets.execution.threads import one_thread
from synth_assets.schema.constraints import Constraint, check_constraints

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIBRARIES = ("numpy", "pandas", "scipy", "scikit-learn", "rapidfuzz")
"""Libraries on which the numbers depend."""

NOT_COMPUTED = "not_computed"
"""The attribute of a frame of results that lists what has no value, each as the fields of a `NotComputed`."""

MOST_CELLS_ALONE = 250_000
"""Cells of the longest set up to which this process evaluates alone; to start others, or a cluster, takes seconds."""

MOST_PROCESSES = 4
"""Processes that evaluate at once; each holds the rows, and one family of metrics takes a quarter of the time."""

UTILITY, LEAKED = "utility", "leaked_rows"

_ALONE = ("detection by a random forest", "detection by gradient boosting", "prediction of columns")
PARTS = [*([name] for name in _ALONE), [name for name in FIDELITY_FAMILIES if name not in _ALONE]]
"""Families of fidelity metrics that are computed in one process each, those that take longest first."""

STEP_S = 5.0
"""Seconds without a line of progress after which a step is logged."""

Log = Callable[[str], None]

_FAMILIES = {**FIDELITY_FAMILIES, **PRIVACY_FAMILIES}

_NOUNS = {"label": "labels", "number": "numbers", "text": "text", "id": "keys"}


def silent(line: str) -> None:
    """Ignore a line of progress."""
    del line


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """The evaluation of a synthetic sample.

    Parameters
    ----------
    samples : Samples
        The rows.
    results : mapping of str to pandas.DataFrame
        Metric results of 'fidelity', 'privacy' and, where the schema has a target, 'utility'.
    gates : list of Verdict
        The verdicts of the gates.
    comparison : Comparison, optional
        Training on real rows, synthetic rows and both, where the schema has a target.
    constraints : sequence of Constraint
        The constraints that the rows were checked against.
    title, source : str
        Name of the table and origin of the real rows, for the report.
    not_computed : sequence of NotComputed
        The metrics that have no value, for a column or for the table, each with the reason.
    details : mapping of str to str
        Further facts on the origin of the synthetic rows for the report, such as their seed.
    """

    samples: Samples
    results: Mapping[str, pd.DataFrame]
    gates: list[Verdict]
    comparison: Comparison | None = None
    constraints: Sequence[Constraint] = field(default=())
    title: str = "the table"
    source: str = "the rows given"
    not_computed: Sequence[NotComputed] = field(default=())
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def metrics(self) -> pd.DataFrame:
        """All metric results, with the columns of `metrics.RESULT_COLUMNS`."""
        return pd.concat(self.results.values(), ignore_index=True)

    @property
    def passed(self) -> bool:
        """Whether every blocking gate is passed."""
        return is_publishable(self.gates)

    def figures(self) -> "dict[str, Figure]":
        """Draw the figures of the report, by their names in `report.PICTURES`."""
        from synth_assets.evaluation import figures

        options = {"title": f"{self.title}, synthetic sample", "source": self.source}
        findings = pd.concat([verdict.findings for verdict in self.gates], ignore_index=True)
        drawn = {
            "metrics": figures.metric_dots(findings, **options),
            **figures.fidelity_figures(self.samples, self.results["fidelity"], **options),
        }
        if self.samples.schema.compared:
            drawn["distances"] = figures.distance_figure(self.samples, **options)
        if self.comparison is not None:
            compared = self.comparison.scores, self.comparison.differences
            drawn["regression_comparison"] = figures.regression_points(*compared, unit=self._unit, **options)
        return drawn

    @cached_property
    def html(self) -> str:
        """The report: one HTML page with all numbers and figures, without scripts or external files."""
        from synth_assets.evaluation.figures import FILE_DPI, as_png
        from synth_assets.evaluation.report import Origin, Utility, describe_columns, report_html

        counts = {
            "Synthetic rows": self.samples.synthetic,
            "Train rows": self.samples.train,
            "Holdout rows": self.samples.holdout,
        }
        facts = {name: f"{len(rows):,}" for name, rows in counts.items()}
        facts.update(self.details)
        facts["Evaluated with"] = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
        return report_html(
            Origin(table=self.title, source=self.source, facts=facts),
            self.gates,
            self.results,
            constraints=self.constraints,
            utility=None
            if self.comparison is None
            else Utility(self.comparison.scores, self.comparison.verdict, self._unit),
            pictures={name: as_png(figure, dpi=FILE_DPI) for name, figure in self.figures().items()},
            columns=describe_columns(self.samples),
            not_computed=self.not_computed,
        )

    def save_html(self, path: str | Path) -> None:
        """Write the report to a file, which is replaced.

        Raises
        ------
        ForeseenError
            If the file cannot be written.
        """
        try:
            Path(path).write_text(self.html, encoding="utf-8")
        except OSError as error:
            raise ForeseenError(f"{path} cannot be written: {error.strerror}.") from error

    @property
    def _unit(self) -> str:
        return target_unit(self.samples)

    def _repr_html_(self) -> str:
        from synth_assets.evaluation.report import summary_html

        return summary_html(self.gates, self.metrics)

    def __repr__(self) -> str:
        verdicts = ", ".join(f"{each.gate.name} {each.status}" for each in self.gates)
        return f"Evaluation({verdicts}; {len(self.metrics)} metric results)"


def target_unit(samples: Samples) -> str:
    """Return the unit of the target as an axis label."""
    target = samples.schema.target
    unit = None if target is None else samples.schema.column(target).unit
    return unit or "in the target's unit"


def evaluate(
    samples: Samples,
    constraints: Sequence[Constraint] = (),
    tolerances: Mapping[str, Mapping[str, float]] | None = None,
    *,
    title: str = "the table",
    source: str = "the rows given",
    knowledge: Knowledge = ONE_SAMPLE,
    log: Log = silent,
    details: Mapping[str, str] | None = None,
    execution: Execution = LOCAL,
) -> Evaluation:
    """Evaluate a synthetic sample.

    Parameters
    ----------
    samples : Samples
        Train, holdout and synthetic rows.
    constraints : sequence of Constraint
        Constraints that rows should satisfy.
    tolerances : mapping of str to mapping of str to float, optional
        By gate and metric: how much worse than real rows the sample may be; otherwise the metric's own tolerance.
    title, source : str
        Name of the table and origin of the real rows, for the report.
    knowledge : Knowledge
        What attackers know beside the sample.
    log : callable
        Called with a line of what is evaluated, and lines as families of metrics begin and end.
    details : mapping of str to str, optional
        Further facts on the origin of the synthetic rows for the report, such as their seed.
    execution : Execution
        Where long sets are evaluated; no number depends on it. Privacy is evaluated in this process, beside the rest.

    Returns
    -------
    Evaluation
        Without a target in the schema, or where too few rows have one, there is no comparison and no utility gate.

    Raises
    ------
    ForeseenError
        If a tolerance or a constraint is invalid.
    """
    gates = gates_with(tolerances or {})
    check_constraints(constraints, samples.schema)
    options = {CONSTRAINT_VIOLATIONS: {"constraints": constraints}}
    reason = why_not(samples)
    parts = [*([[UTILITY]] if reason is None else []), *PARTS]
    progress = _Progress(samples, [*PRIVACY_FAMILIES, *chain.from_iterable(parts)], log)
    with _started(parts, samples, options, execution, _processes(samples), progress) as computed:
        privacy = _privacy(samples, None, knowledge, LOCAL, progress)  # here, while other processes compute the rest
        found = dict(computed)
    comparison: Comparison | None = found.get(UTILITY)
    results = {"fidelity": _frame(found[name] for name in FIDELITY_FAMILIES), "privacy": privacy}
    if comparison is not None:
        scores = utility_results(comparison.table())
        if len(scores):
            results["utility"] = scores
        else:
            reason = NO_SCORE
    not_computed = [NotComputed(**each) for frame in results.values() for each in frame.attrs.get(NOT_COMPUTED, ())]
    if reason:
        not_computed.append(NotComputed("tstr_score", None, reason))
    verdicts = evaluate_gates(gates.values(), results)
    return Evaluation(
        samples, results, verdicts, comparison, tuple(constraints), title, source, tuple(not_computed), details or {}
    )


def fidelity_results(
    samples: Samples,
    constraints: Sequence[Constraint] = (),
    *,
    log: Log = silent,
    execution: Execution = LOCAL,
) -> pd.DataFrame:
    """Compute the metrics of similarity, detection and validity.

    Parameters
    ----------
    samples, constraints, log
        As in `evaluate`.
    execution : Execution
        Where long sets are evaluated: in this process, or as tasks of a cluster, one for each of `PARTS`.

    Returns
    -------
    pandas.DataFrame
        Metric results. `attrs["not_computed"]` lists the metrics without a value: 'metric', 'column_name', 'reason'.
    """
    options = {CONSTRAINT_VIOLATIONS: {"constraints": constraints}}
    progress = _Progress(samples, list(chain.from_iterable(PARTS)), log)
    with _started(PARTS, samples, options, execution, 1, progress) as computed:
        found = dict(computed)
    return _frame(found[name] for name in FIDELITY_FAMILIES)


def compared_training_sets(samples: Samples, *, log: Log = silent, execution: Execution = LOCAL) -> Comparison:
    """Compare training on real rows, synthetic rows and both; see `compare_training_sets` and `evaluate`."""
    progress = _Progress(samples, [UTILITY], log)
    with _started([[UTILITY]], samples, {}, execution, 1, progress) as computed:
        comparison: Comparison = dict(computed)[UTILITY]
    return comparison


def privacy_results(
    samples: Samples,
    row_ids: Sequence[int] | None = None,
    *,
    knowledge: Knowledge = ONE_SAMPLE,
    log: Log = silent,
    execution: Execution = LOCAL,
) -> pd.DataFrame:
    """Compute the metrics of copies, distances and membership inference attacks, and list the leaked rows.

    Parameters
    ----------
    samples : Samples
        The rows.
    row_ids : sequence of int, optional
        The `row_id` of each train row; its position if not given.
    knowledge : Knowledge
        What attackers know beside the sample.
    log : callable
        Called with a line of what is evaluated, and lines as families of metrics begin and end.
    execution : Execution
        Where long sets are evaluated: in this process, or as tasks of a cluster, one for each family.

    Returns
    -------
    pandas.DataFrame
        Metric results; leaked rows have `column_name` 'row_id 17'. `attrs["not_computed"]` is as of
        `fidelity_results`; `attrs["leaked_rows"]` lists the rows of `leaked_rows`.
    """
    return _privacy(samples, row_ids, knowledge, execution, _Progress(samples, list(PRIVACY_FAMILIES), log))


def _privacy(
    samples: Samples,
    row_ids: Sequence[int] | None,
    knowledge: Knowledge,
    execution: Execution,
    progress: "_Progress",
) -> pd.DataFrame:
    options: dict[str, dict[str, Any]] = {name: {"knowledge": knowledge} for name in BY_KNOWLEDGE}
    options[LEAKED_ROW] = {"row_ids": row_ids}
    *others, attacks = PRIVACY_FAMILIES
    parts = [*([name] for name in others), [attacks, LEAKED]]  # leaked rows are the ones that attacks suspect
    with _started(parts, samples, options, execution, 1, progress) as computed:
        found = dict(computed)
    frame = _frame(found[name] for name in PRIVACY_FAMILIES)
    frame.attrs[LEAKED] = found[LEAKED]
    return frame


@dataclass(frozen=True)
class _Family:
    """The results of a family of metrics."""

    computed: Sequence[Mapping[str, Any]]
    not_computed: Sequence[NotComputed]


class _Progress:
    """The lines of progress of an evaluation.

    Parameters
    ----------
    samples : Samples
        The rows.
    names : sequence of str
        The parts: families of metrics, and `UTILITY`. The ones without a column to evaluate are not counted.
    log : callable
        Called with each line.
    """

    def __init__(self, samples: Samples, names: Sequence[str], log: Log) -> None:
        roles = {column.role for column in samples.schema.columns}
        of_family = {name: {role for metric in metrics for role in metric.roles} for name, metrics in _FAMILIES.items()}
        self._names = [name for name in names if name == UTILITY or roles & of_family[name]]
        self._ended = 0
        self._log, self._logged = log, time.monotonic()
        if self._names:
            self._say(
                f"evaluating {len(samples.synthetic):,} synthetic rows beside {len(samples.train):,} train rows and "
                f"{len(samples.holdout):,} holdout rows: {', '.join(self._names)}"
            )

    def begin(self, name: str) -> Step:
        """Log that a part begins, and return what logs its steps."""
        if name not in self._names:
            return no_step
        self._say(f"{name}: started")
        start = time.monotonic()

        def step(ended: int, count: int, steps: str) -> None:
            if ended < count and time.monotonic() - self._logged >= STEP_S:
                self._say(f"{name}: {ended} of {count} {steps} in {time.monotonic() - start:.0f} s")

        return step

    def end(self, name: str, outcome: Any, seconds: float) -> None:
        """Log that a part has ended."""
        if name not in self._names:
            return
        self._ended += 1
        count = len(outcome.scores if isinstance(outcome, Comparison) else outcome.computed)
        results = f"{count} result{'' if count == 1 else 's'}"
        self._say(f"{name}: {results} in {seconds:.0f} s ({self._ended} of {len(self._names)})")

    def _say(self, line: str) -> None:
        self._log(line)
        self._logged = time.monotonic()


def _compute_family(
    metrics: Sequence[Metric], samples: Samples, options: Mapping[str, dict[str, Any]], step: Step = no_step
) -> _Family:
    roles = {column.role for column in samples.schema.columns}
    computed: list[Mapping[str, Any]] = []
    not_computed: list[NotComputed] = []
    for i, metric in enumerate(metrics):
        step(i, len(metrics), "metrics")
        if roles.isdisjoint(metric.roles):
            nouns = " or ".join(_NOUNS[role] for role in metric.roles)
            not_computed.append(NotComputed(metric.name, None, f"the table has no column of {nouns}"))
            continue
        with one_thread():  # sums of products would depend on the number of threads
            rows = list(metric.compute(samples, **options.get(metric.name, {})))
        computed += [{**row, **_within(row, metric)} for row in rows if not isinstance(row, NotComputed)]
        not_computed += [row for row in rows if isinstance(row, NotComputed)]
        if not rows and metric.name not in (CONSTRAINT_VIOLATIONS, LEAKED_ROW):
            not_computed.append(NotComputed(metric.name, None, "no column or pair of columns can be compared"))
    return _Family(computed, not_computed)


@contextmanager
def _started(
    parts: Sequence[Sequence[str]],
    samples: Samples,
    options: Mapping[str, dict[str, Any]],
    execution: Execution,
    processes: int,
    progress: _Progress,
) -> Iterator[Iterator[tuple[str, Any]]]:
    """Start to compute parts of an evaluation: short sets here, long ones where the execution says."""
    where = execution if _is_long(samples) else LOCAL
    if where.is_local and min(processes, where.local_processes or processes) == 1:
        yield (_here(name, samples, options, progress) for name in chain.from_iterable(parts))
        return
    calls = [(part,) for part in parts]
    with where.started(_compute_part, calls, shared=(samples, options), processes=processes) as computed:
        yield (_logged(progress, *each) for each in chain.from_iterable(computed))


def _here(name: str, samples: Samples, options: Mapping[str, dict[str, Any]], progress: _Progress) -> tuple[str, Any]:
    step = progress.begin(name)
    return _logged(progress, *_compute(name, samples, options, step))


def _logged(progress: _Progress, name: str, outcome: Any, seconds: float) -> tuple[str, Any]:
    progress.end(name, outcome, seconds)
    return name, outcome


def _compute_part(
    shared: tuple[Samples, Mapping[str, dict[str, Any]]], names: Sequence[str]
) -> list[tuple[str, Any, float]]:
    return [_compute(name, *shared) for name in names]


def _compute(
    name: str, samples: Samples, options: Mapping[str, dict[str, Any]], step: Step = no_step
) -> tuple[str, Any, float]:
    """Compute a family of metrics, leaked rows, or the comparison of training sets, and how many seconds it took."""
    start = time.monotonic()
    outcome: _Family | Comparison | list[dict[Hashable, Any]]
    if name == UTILITY:
        outcome = compare_training_sets(samples, step)
    elif name == LEAKED:
        outcome = leaked_rows(samples).to_dict("records")
    else:
        outcome = _compute_family(_FAMILIES[name], samples, options, step)
    return name, outcome, time.monotonic() - start


def _is_long(samples: Samples) -> bool:
    rows = max(len(samples.train), len(samples.holdout), len(samples.subsample))
    return rows * len(samples.schema.compared) > MOST_CELLS_ALONE


def _processes(samples: Samples) -> int:
    return min(MOST_PROCESSES, cores()) if _is_long(samples) else 1


def _frame(families: Iterable[_Family]) -> pd.DataFrame:
    families = list(families)
    frame = result_frame(row for family in families for row in family.computed)
    frame.attrs[NOT_COMPUTED] = [asdict(each) for family in families for each in family.not_computed]
    return frame


def _within(row: Mapping[str, Any], metric: Metric) -> dict[str, float]:
    """Return the ends of the intervals of a result, within the metric's range."""
    ends = ("value_low", "value_high", "reference_low", "reference_high")
    return {end: float(np.clip(row[end], *metric.possible)) for end in ends}
