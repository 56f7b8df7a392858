"""The table of a lineage, and what its assets share: declaration, results, column descriptions, figures."""

import base64
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from synth_assets.evaluation.samples import Samples
from synth_assets.orchestration.days import Days
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.orchestration.io_manager import COLUMN_SCHEMA, DATA_VERSION
from synth_assets.schema.columns import Column, Id
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.split import TEST, TRAIN, select
from synth_assets.schema.table import TableSchema, content_hash
from synth_assets.storage.files import atomic_write
from synth_assets.storage.warehouse import CHECKS, RESAMPLE_DATE, Parts, Warehouse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INLINE_BYTES = 300_000
"""Maximum size of a figure in the UI, which is stored in Dagster's event log; larger ones are shown as a path."""

MAX_COLUMNS_SHOWN, MAX_TEXT_SHOWN = 50, 200
"""Columns of a preview, and characters of a cell in the UI."""

MAX_CODES = 50
"""Labels whose codes the description of a column lists."""

LANGUAGE_MODEL_POOL = "language_model"
"""Pool of the runs that train or sample; dagster.yaml limits how many run at a time."""


@dataclass(frozen=True)
class Table:
    """A table whose lineage is built.

    Parameters
    ----------
    name : str
        Prefix of its asset keys, and its namespace in the warehouse.
    owner : str
        Owner, as Dagster writes it: an e-mail address, or `team:<name>`.
    encoding : Encoding
        Its schema, and the encoding of `encoded_split`.
    partitions : Days
        Resample dates.
    inferred : collection of str
        The columns whose types were inferred from the source.
    """

    name: str
    owner: str
    encoding: Encoding
    partitions: Days
    inferred: Collection[str] = ()

    @property
    def schema(self) -> TableSchema:
        """Schema of the raw table."""
        return self.encoding.schema

    @property
    def target_unit(self) -> str:
        """Unit of the target, as an axis label."""
        unit = None if self.schema.target is None else self.schema.column(self.schema.target).unit
        return unit or "in the target's unit"

    def key(self, asset: str) -> dg.AssetKey:
        """Return the key of one of its assets."""
        return dg.AssetKey([self.name, asset])

    def sample_title(self, day: str, model_version: str) -> str:
        """Return the title of a figure of a sample."""
        return f"{self.name}, sample of {day}, model {model_version}"

    def asset(
        self,
        name: str,
        *,
        code_version: str,
        kinds: set[str],
        description: str,
        columns: Sequence[dg.TableColumn] = (),
        inputs: Sequence[str] = (),
        of_sample: bool = False,
        **options: Any,
    ) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """Declare an asset of the table; a decorator, as `dagster.asset` is.

        Parameters
        ----------
        name : str
            Name of the asset within the table.
        code_version : str
            Version of the asset's code; increase it when the same inputs give another result.
        kinds : set of str
            Labels in the UI: what it is computed with.
        description : str
            Description in the UI.
        columns : sequence of dagster.TableColumn
            Columns of the table that it writes; none if it writes no table.
        inputs : sequence of str
            Assets of the same table whose rows it takes, each as the parameter of that name.
        of_sample : bool
            Whether it belongs to a sample; it is then partitioned by resample date.
        **options
            Further arguments of `dagster.asset`.

        Returns
        -------
        callable
            The decorator.
        """
        metadata: dict[str, Any] = {}
        if columns:
            date = [column(RESAMPLE_DATE, "date", "Day of the sample, which is its partition.")] if of_sample else []
            metadata[COLUMN_SCHEMA] = dg.TableSchema(columns=[*date, *columns])
            metadata["dagster/table_name"] = f"{self.name}.{name}"
        decorator: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
            key=self.key(name),
            group_name=self.name,
            owners=[self.owner],
            code_version=code_version,
            kinds=kinds,
            description=description,
            metadata=metadata,
            ins={each: dg.AssetIn(self.key(each)) for each in inputs},
            partitions_def=self.partitions if of_sample else None,
            **options,
        )
        return decorator

    def raw_columns(self, *, encoded: bool = False, only: Sequence[str] | None = None) -> list[dg.TableColumn]:
        """Return the descriptions of the table's columns, raw or encoded: of all, or `only` of some."""
        return [
            _describe(
                column,
                self.encoding.name_of(column) if encoded else column.name,
                encoded=encoded,
                target=column.name == self.schema.target,
                inferred=column.name in self.inferred,
            )
            for column in self.schema.columns
            if only is None or column.name in only
        ]


def samples_of(table: Table, synthetic_sample: pd.DataFrame, raw: pd.DataFrame, encoded_split: pd.DataFrame) -> Samples:
    """Return the train, holdout and synthetic rows, checked."""
    train, holdout = (select(raw, encoded_split, part) for part in (TRAIN, TEST))
    with as_dagster_failure():
        return Samples(train, holdout, synthetic_sample, table.schema)


def column(name: str, type_: str, description: str, *, nullable: bool = False) -> dg.TableColumn:
    """Return the description of a column that an asset writes."""
    return dg.TableColumn(name, type_.lower(), description, constraints=dg.TableColumnConstraints(nullable=nullable))


def check_results(
    context: dg.AssetCheckExecutionContext,
    warehouse: Warehouse,
    key: dg.AssetKey,
    problems: Mapping[str, Sequence[str]],
    *,
    warnings: Collection[str],
    passed: str,
    day: str | None = None,
) -> Iterator[dg.AssetCheckResult]:
    """Store and log what the checks of an asset found, and yield the results of the selected ones.

    Parameters
    ----------
    context : dagster.AssetCheckExecutionContext
        The context of the checks.
    warehouse : Warehouse
        Keeps the findings for `synth-assets status`.
    key : dagster.AssetKey
        The asset.
    problems : mapping of str to sequence of str
        By check: what was found, each as a sentence; nothing for one that is passed.
    warnings : collection of str
        The checks that do not stop what follows.
    passed : str
        Description of a check that is passed.
    day : str, optional
        The resample date, for an asset of a sample.

    Yields
    ------
    dagster.AssetCheckResult
        The result of a check.
    """
    namespace, asset = key.path
    messages = {name: "; ".join(found).rstrip(".") + "." if found else passed for name, found in problems.items()}
    findings = pd.DataFrame(
        [(name, name not in warnings, not problems[name], message) for name, message in messages.items()],
        columns=["check_name", "blocking", "passed", "message"],
    )
    with as_dagster_failure():
        warehouse.write(namespace, asset + CHECKS, findings, provenance=None, resample_date=day)
    for selected in sorted(context.selected_asset_check_keys, key=lambda each: each.name):
        name = selected.name
        is_warning = name in warnings
        if problems[name]:
            log = context.log.warning if is_warning else context.log.error
            log(f"{namespace}/{asset}: the check {name} found: {messages[name]}")
        yield dg.AssetCheckResult(
            check_name=name,
            asset_key=key,
            passed=not problems[name],
            severity=dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR,
            description=messages[name],
        )


def result_columns() -> list[dg.TableColumn]:
    """Return the descriptions of the columns of metric results."""
    return [
        column("metric", "varchar", "Name of the metric; the report defines it."),
        column(
            "column_name",
            "varchar",
            "Column, 'one, other' for a pair, or name of a constraint; empty for the whole table.",
            nullable=True,
        ),
        column("value", "double", "Metric of the synthetic rows.", nullable=True),
        column("value_low", "double", "Lower end of its 95% confidence interval, where there is one.", nullable=True),
        column("value_high", "double", "Upper end of the interval.", nullable=True),
        column("reference", "double", "Mean of the same metric of real rows.", nullable=True),
        column("reference_low", "double", "Lower end of the 95% prediction interval of real rows.", nullable=True),
        column("reference_high", "double", "Upper end of the prediction interval.", nullable=True),
        column("model_version", "varchar", "Version of the model that generated the rows."),
    ]


def result(frame: pd.DataFrame | Parts, **metadata: Any) -> dg.MaterializeResult[Any]:
    """Return a table from an asset.

    Parameters
    ----------
    frame : pandas.DataFrame or Parts
        The rows, or the files of a large sample.
    **metadata
        Metadata for the UI and the provenance. `data_version` is the version of the rows; by default, the hash of their
        cells. The I/O manager adds the number of rows.

    Returns
    -------
    dagster.MaterializeResult
        The result.
    """
    if DATA_VERSION not in metadata:
        metadata[DATA_VERSION] = frame.content if isinstance(frame, Parts) else content_hash(frame)
    return dg.MaterializeResult(value=frame, data_version=dg.DataVersion(metadata[DATA_VERSION]), metadata=metadata)


def preview(frame: pd.DataFrame, rows: int = 8) -> dg.MarkdownMetadataValue:
    """Return the first rows of a table as Markdown for the UI; of many columns, the first."""
    return markdown_table(frame.iloc[:rows, :MAX_COLUMNS_SHOWN])


def markdown_table(frame: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """Return a small table as Markdown for the UI; text from data is escaped."""
    lines = [list(map(str, frame.columns)), ["---"] * len(frame.columns)]
    lines += [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines))


def picture(figure: "Figure", path: Path) -> dict[str, Any]:
    """Write a figure to a file at full size, and return it as metadata at a smaller one.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    path : pathlib.Path
        The PNG file; its stem is the metadata key.

    Returns
    -------
    dict
        The figure (if it is small enough for the event log), and the path of the file.
    """
    from synth_assets.evaluation.figures import FILE_DPI, INLINE_DPI, as_png

    with as_dagster_failure():
        atomic_write(path, as_png(figure, dpi=FILE_DPI))
    metadata: dict[str, Any] = {f"{path.stem}_file": dg.MetadataValue.path(path)}
    inline = as_png(figure, dpi=INLINE_DPI)
    if len(inline) <= INLINE_BYTES:
        encoded = base64.b64encode(inline).decode()
        metadata[path.stem] = dg.MetadataValue.md(f"![{path.stem}](data:image/png;base64,{encoded})")
    return metadata


def _describe(column: Column, name: str, *, encoded: bool, target: bool, inferred: bool) -> dg.TableColumn:
    type_ = column.sql_type
    limits = column.range_text
    if encoded:
        type_ = "DOUBLE" if target else column.encoded_sql_type
        if column.role == "label":
            codes = [f"{code} = {label}" for code, label in enumerate(column.labels)]
            more = [f"and {len(codes) - MAX_CODES:,} more"] if len(codes) > MAX_CODES else []
            limits = [", ".join(codes[:MAX_CODES] + more)]
    sentences = (
        column.description or f"Column of type {column.type}.",
        f"Unit: {column.unit}." if column.unit else "",
        "Inferred from the source." if inferred else "",
    )
    is_unique = isinstance(column, Id) and not column.repeats
    return dg.TableColumn(
        name,
        type_.lower(),
        " ".join(filter(None, sentences)),
        constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=is_unique, other=limits),
    )


def _cell(value: object) -> str:
    if pd.isna(value):
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_TEXT_SHOWN else f"{text[:MAX_TEXT_SHOWN]}..."


_MARKUP = str.maketrans({"\n": " ", "\r": " ", **{character: f"&#{ord(character)};" for character in "&<>|`*_~[]\\"}})


def _escaped(text: str) -> str:
    # HTML entities: Markdown shows the character and never interprets it as markup.
    return text.translate(_MARKUP)
