"""What the assets of a table have in common."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.orchestration.io_manager import DATA_VERSION
from synth_assets.schema.columns import Column
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.split import TEST, TRAIN, select
from synth_assets.schema.table import TableSchema, content_hash
from synth_assets.storage.files import atomic_write
from synth_assets.storage.warehouse import RESAMPLE_DATE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INLINE_BYTES = 300_000
"""A picture in the UI lives in Dagster's event log: one that is larger is given by its path alone."""

LANGUAGE_MODEL_POOL = "language_model"
"""Runs that train or sample; as many at a time as dagster.yaml allows."""


@dataclass(frozen=True)
class Table:
    """A table whose lineage is built: what its assets need to know of it.

    Parameters
    ----------
    name : str
        The prefix of its asset keys, and the name of its schema in DuckDB.
    owner : str
        Who answers for it, as Dagster writes owners.
    encoding : Encoding
        Its schema, and how `encoded_split` writes its rows.
    partitions : dagster.DailyPartitionsDefinition
        The days of its samples.
    """

    name: str
    owner: str
    encoding: Encoding
    partitions: dg.DailyPartitionsDefinition

    @property
    def schema(self) -> TableSchema:
        """Its raw columns."""
        return self.encoding.schema

    @property
    def target_unit(self) -> str:
        """The unit of the target, as a label of an axis."""
        unit = None if self.schema.target is None else self.schema.column(self.schema.target).unit
        return unit or "in the target's unit"

    def key(self, asset: str) -> dg.AssetKey:
        """Give the key of one of its assets."""
        return dg.AssetKey([self.name, asset])

    def sample_title(self, day: str, model_version: str) -> str:
        """Say which sample a figure is of."""
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
            date = [dg.TableColumn(RESAMPLE_DATE, "date", "Resample date.")] if of_sample else []
            metadata["dagster/column_schema"] = dg.TableSchema(columns=[*date, *columns])
            metadata["dagster/table_name"] = f"{self.name}.{name}"
        return dg.asset(
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

    def raw_columns(self, *, encoded: bool = False) -> list[dg.TableColumn]:
        """Describe the table's columns, as they came or encoded."""
        return [
            _describe(
                column,
                self.encoding.name_of(column) if encoded else column.name,
                encoded=encoded,
                target=column.name == self.schema.target,
            )
            for column in self.schema.columns
        ]


def judged_and_real(
    table: Table, synthetic_sample: pd.DataFrame, raw: pd.DataFrame, encoded_split: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the sample's rows, the train rows and the held-out rows, all in the raw table's columns and dtypes."""
    train, held_out = (select(raw, encoded_split, part) for part in (TRAIN, TEST))
    return synthetic_sample[table.schema.names], train, held_out


def column(name: str, type_: str, description: str, *, nullable: bool = False) -> dg.TableColumn:
    """Describe a column of a table that an asset writes."""
    return dg.TableColumn(name, type_.lower(), description, constraints=dg.TableColumnConstraints(nullable=nullable))


def evidence_columns() -> list[dg.TableColumn]:
    """Describe the columns of a table of evidence."""
    return [
        column("metric", "varchar", "The measure; evaluation/metrics.py says how it is made and which way is better."),
        column(
            "column_name",
            "varchar",
            "What was measured: a column, 'one, other' for a pair, a rule's name; empty for the whole table.",
            nullable=True,
        ),
        column("value", "double", "What the synthetic rows score.", nullable=True),
        column("value_low", "double", "The lower end of its 95% interval, where there is one.", nullable=True),
        column("value_high", "double", "Its upper end.", nullable=True),
        column("floor", "double", "What real rows score in their place, on average.", nullable=True),
        column("floor_low", "double", "Where another set of real rows would lie, 95 times in 100: from", nullable=True),
        column("floor_high", "double", "and to.", nullable=True),
        column("model_version", "varchar", "The model that wrote the rows."),
    ]


def result(
    frame: pd.DataFrame, *, data_version: str | None = None, **metadata: Any
) -> dg.MaterializeResult[pd.DataFrame]:
    """Return a table from an asset, with its data version.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows.
    data_version : str, optional
        Version of the rows; by default the hash of their cells.
    **metadata
        Metadata for the UI and the provenance.

    Returns
    -------
    dagster.MaterializeResult
        The result. The I/O manager adds the number of rows.
    """
    version = data_version or content_hash(frame)
    return dg.MaterializeResult(
        value=frame, data_version=dg.DataVersion(version), metadata={**metadata, DATA_VERSION: version}
    )


def preview(frame: pd.DataFrame, rows: int = 8) -> dg.MarkdownMetadataValue:
    """Show the first rows of a table in the UI."""
    return markdown_table(frame.head(rows))


def markdown_table(frame: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """Show a small table in the UI; what comes from data cannot become markup."""
    lines = [list(map(str, frame.columns)), ["---"] * len(frame.columns)]
    lines += [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines))


def picture(figure: "Figure", path: Path) -> dict[str, Any]:
    """Write a figure to a file at full size, and show it in the UI at a modest one.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    path : pathlib.Path
        The PNG file; its stem names the metadata.

    Returns
    -------
    dict
        The metadata: the picture (if it is small enough for the event log) and the file's path.
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


def _describe(column: Column, name: str, *, encoded: bool, target: bool) -> dg.TableColumn:
    type_ = column.sql_type
    limits = column.range_text
    if encoded:
        type_ = "DOUBLE" if target else column.encoded_sql_type
        if not column.is_numeric:
            limits = [", ".join(f"{code} = {label}" for code, label in enumerate(column.categories))]
    description = column.description + (f" Unit: {column.unit}." if column.unit else "")
    return dg.TableColumn(
        name, type_.lower(), description, constraints=dg.TableColumnConstraints(nullable=False, other=limits)
    )


def _cell(value: object) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_MARKUP = str.maketrans({"\n": " ", "\r": " ", **{character: f"&#{ord(character)};" for character in "&<>|`*_~[]\\"}})


def _escaped(text: str) -> str:
    # Entities: in Markdown they stand for the character, and never for what it would begin.
    return text.translate(_MARKUP)
