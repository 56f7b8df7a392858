"""What the assets of a table have in common."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from synth_assets.evaluation.samples import Samples
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.schema.columns import Column
from synth_assets.schema.encoding import Encoding
from synth_assets.schema.split import TEST, TRAIN, select
from synth_assets.schema.table import TableSchema
from synth_assets.storage.files import atomic_write
from synth_assets.storage.warehouse import PARTITION_COLUMN

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
        columns: list[dg.TableColumn] | None = None,
        of_sample: bool = False,
        **options: Any,
    ) -> dict[str, Any]:
        """Give the arguments of `dagster.asset` that all assets of the table have in common.

        Parameters
        ----------
        name : str
            The asset's own name.
        code_version : str
            Raised by hand whenever the asset's code gives something else for the same inputs.
        kinds : set of str
            What it is made with, as the UI's labels.
        columns : list of dagster.TableColumn, optional
            The columns of the table that it writes.
        of_sample : bool
            Whether it belongs to a sample, and so is partitioned by day.
        **options
            Further arguments.

        Returns
        -------
        dict
            The arguments.
        """
        metadata: dict[str, Any] = {}
        if columns is not None:
            partition = [dg.TableColumn(PARTITION_COLUMN, "date", "The day of the sample.")] if of_sample else []
            metadata["dagster/column_schema"] = dg.TableSchema(columns=[*partition, *columns])
            metadata["dagster/table_name"] = f"{self.name}.{name}"
        return {
            "key": self.key(name),
            "group_name": self.name,
            "owners": [self.owner],
            "code_version": code_version,
            "kinds": kinds,
            "metadata": metadata,
            "partitions_def": self.partitions if of_sample else None,
            **options,
        }

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


def samples_of(table: Table, synthetic_sample: pd.DataFrame, raw: pd.DataFrame, encoded_split: pd.DataFrame) -> Samples:
    """Return the train, holdout and synthetic rows, checked."""
    train, holdout = (select(raw, encoded_split, part) for part in (TRAIN, TEST))
    with as_dagster_failure():
        return Samples(train, holdout, synthetic_sample, table.schema)


def column(name: str, type_: str, description: str, *, nullable: bool = False) -> dg.TableColumn:
    """Describe a column of a table that an asset writes."""
    return dg.TableColumn(name, type_.lower(), description, constraints=dg.TableColumnConstraints(nullable=nullable))


def result_columns() -> list[dg.TableColumn]:
    """Describe the columns of a table of metric results."""
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
        column("model_version", "varchar", "The model that wrote the rows."),
    ]


def row_count(frame: pd.DataFrame, *, partition: bool = False) -> dict[str, int]:
    """Give the row count under the name that the UI looks for."""
    return {"dagster/partition_row_count" if partition else "dagster/row_count": len(frame)}


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
