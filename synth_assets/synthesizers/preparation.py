"""Preparation of a table for a synthesizer: keys, text that is not published, and labels that few rows have.

It is the same for every synthesizer, and happens around it: a synthesizer sees neither keys nor hidden labels.
"""

import re
import zlib
from collections.abc import Mapping
from functools import partial
from typing import Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from synth_assets.errors import ModelError
from synth_assets.schema.columns import (
    FALSE_TEXTS,
    TRUE_TEXTS,
    Boolean,
    Categorical,
    Column,
    Float,
    Id,
    NumericColumn,
    Text,
    TimeColumn,
)
from synth_assets.schema.conditions import Clause, Condition
from synth_assets.schema.table import OTHER, TableSchema
from synth_assets.synthesizers.derived import DatePart, TextForm, find_date_parts, learned_column
from synth_assets.synthesizers.formulas import Formula, find_durations, find_formulas, meets
from synth_assets.synthesizers.precision import has_single_precision, shortest_decimals, to_single

RARE = "(rare)"
"""What a synthesizer learns in place of a hidden label that is drawn; extended where the column has this label."""


class RareLabels(BaseModel):
    """How the hidden labels of a column are drawn.

    Parameters
    ----------
    token : str
        The label that stands for them in the rows that a synthesizer learns.
    counts : dict of str to int
        Number of train rows of each label that is shown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: str
    counts: dict[str, int]

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n labels by their frequency in the train rows; a longer draw begins with the shorter one."""
        shares = np.cumsum(list(self.counts.values()))
        drawn: np.ndarray = np.array(list(self.counts), dtype=object)[
            np.searchsorted(shares, rng.random(n) * shares[-1], side="right")
        ]
        return drawn


class KeyRows(BaseModel):
    """In how many rows a key of a column is that may repeat.

    Parameters
    ----------
    counts : dict of int to int
        Number of keys of the train rows, by the number of rows that have one. The greatest numbers of rows, which
        fewer keys have than may be shown of a label, count as the greatest that so many keys reach.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    counts: dict[int, int]

    @classmethod
    def fit(cls, keys: pd.Series, least: int) -> Self:
        """Count the rows of each key; at least `least` keys have the greatest number of rows."""
        rows = np.sort(keys.value_counts().to_numpy())
        rows = np.minimum(rows, rows[-min(least, len(rows))]) if len(rows) else np.ones(1, np.int64)
        return cls(counts=dict(zip(*(each.tolist() for each in np.unique(rows, return_counts=True)), strict=True)))

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return which key, from 0, each of n rows has; a longer draw begins with the shorter one."""
        sizes, shares = np.array(list(self.counts)), np.cumsum(list(self.counts.values()))
        drawn = sizes[np.searchsorted(shares, rng.random(n) * shares[-1], side="right")]  # at most a key for each row
        keys: np.ndarray = np.repeat(np.arange(n), drawn)[:n]
        return keys


class Preparation(BaseModel):
    """How the rows of a table become the rows that a synthesizer learns, and its samples rows of the table.

    Parameters
    ----------
    schema : TableSchema
        The table's schema without the labels that are hidden.
    hidden_labels : dict of str to int
        Number of labels that are hidden, by column; of the columns where there are some.
    rare_labels : dict of str to RareLabels
        How these labels are drawn, by column; none where they are written 'other'.
    key_rows : dict of str to KeyRows
        How often keys repeat, by column; of the columns where they may.
    text_forms : dict of str to TextForm
        The forms of the texts that are codes, which are learned as numbers, by column.
    date_parts : dict of str to DatePart
        What columns state of dates, by column: a synthetic row states it of its own date.
    durations : dict of str to Formula
        The columns of numbers that are the time between two dates. They are learned, and then computed.
    formulas : dict of str to Formula
        The columns of numbers that are computed from others, each after its inputs. They are not learned.
    single_precision : tuple of str
        The columns of numbers of single precision; see `precision`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    table_schema: TableSchema = Field(alias="schema")
    hidden_labels: dict[str, int]
    rare_labels: dict[str, RareLabels]
    key_rows: dict[str, KeyRows]
    text_forms: dict[str, TextForm]
    date_parts: dict[str, DatePart]
    durations: dict[str, Formula]
    formulas: dict[str, Formula]
    single_precision: tuple[str, ...]

    @classmethod
    def fit(cls, train: pd.DataFrame, schema: TableSchema) -> Self:
        """Determine which labels are hidden: those that fewer than `schema.label_threshold` train rows have.

        Parameters
        ----------
        train : pandas.DataFrame
            Rows in the schema's dtypes.
        schema : TableSchema
            The table's schema.

        Raises
        ------
        TableError
            If a label is not one of its column's.
        ModelError
            If every column is left out, or no label of a column can be shown.
        """
        if not schema.learned:
            raise ModelError(
                "the table has nothing to learn: every column is a key, or text that is not published. State another "
                "type for a column, or publish_text: true with a synthesizer that writes text."
            )
        hidden, rare, key_rows, forms, columns = {}, {}, {}, {}, []
        for column in schema.columns:
            if isinstance(column, Id) and column.repeats:
                key_rows[column.name] = KeyRows.fit(train[column.name], schema.label_threshold)
            if isinstance(column, Categorical):
                column.encode(train[column.name])
                if schema.label_threshold > 1:
                    counts = train[column.name].value_counts().reindex(list(column.categories), fill_value=0)
                    shown = [
                        label
                        for label, count in counts.items()
                        if count >= schema.label_threshold or (label == OTHER and schema.rare_labels == "other")
                    ]
                    n_hidden = int((counts.drop(shown) > 0).sum())
                    if n_hidden:
                        hidden[column.name] = n_hidden
                        if schema.rare_labels == "draw":
                            rare[column.name] = _rare_labels(column, counts[shown], schema.label_threshold)
                    column = column.model_copy(update={"categories": tuple(shown) or (OTHER,)})
            if isinstance(column, Text) and column.name in schema.published_texts:
                form = TextForm.fit(train[column.name])
                forms.update({} if form is None else {column.name: form})
            columns.append(column)
        floats = [column.name for column in schema.columns if isinstance(column, Float)]
        single = tuple(name for name in floats if has_single_precision(train[name]))
        date_parts = find_date_parts(train, [column for column in schema.columns if column.name not in hidden])
        durations = find_durations(train, [column for column in schema.columns if column.name not in date_parts])
        return cls(
            schema=schema.model_copy(update={"columns": tuple(columns)}),
            hidden_labels=hidden,
            rare_labels=rare,
            key_rows=key_rows,
            text_forms=forms,
            date_parts=date_parts,
            durations=durations,
            formulas=find_formulas(train, schema.columns, [*date_parts, *durations], single),
            single_precision=single,
        )

    @property
    def learned_schema(self) -> TableSchema:
        """The schema of the rows that a synthesizer learns."""
        learned = self.table_schema.select(self._learned_names)
        return learned.model_copy(update={"columns": tuple(map(self._learned_column, learned.columns))})

    @property
    def computed(self) -> dict[str, Formula]:
        """The formulas of all columns of numbers that are computed, in their order."""
        return self.durations | self.formulas

    @property
    def _learned_names(self) -> list[str]:
        return [name for name in self.table_schema.learned if name not in self.formulas]

    def _learned_column(self, column: Column) -> Column:
        if column.name in self.rare_labels:
            return column.model_copy(update={"categories": (*column.labels, self.rare_labels[column.name].token)})
        if isinstance(column, Text) and column.name in self.text_forms:
            return learned_column(column)
        return column.model_copy(update={"format": None}) if isinstance(column, NumericColumn) else column

    def prepare(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Select the columns that are learned, and replace the labels that are hidden.

        Parameters
        ----------
        rows : pandas.DataFrame
            Rows in the schema's dtypes.

        Returns
        -------
        pandas.DataFrame
            Rows of `learned_schema`.
        """
        learned = rows[self._learned_names].copy()
        for name in self.single_precision:
            if name in learned:
                learned[name] = shortest_decimals(learned[name].to_numpy("float64"))
        for name in self.hidden_labels:
            is_hidden = learned[name].notna() & ~learned[name].isin(self.table_schema.column(name).labels)
            learned[name] = learned[name].mask(is_hidden, self._replacement(name))
        for name, form in self.text_forms.items():
            learned[name] = form.to_numbers(learned[name])
        return learned

    def restore(self, learned: pd.DataFrame, *, seed: int, batch: int, first_key: int) -> pd.DataFrame:
        """Make rows of the table from rows that a synthesizer sampled.

        Parameters
        ----------
        learned : pandas.DataFrame
            Rows of `learned_schema`.
        seed, batch : int
            The seed of the sample, and how many batches were before this one: they decide what stands for hidden
            labels.
        first_key : int
            Number of keys that were made before.

        Returns
        -------
        pandas.DataFrame
            The rows with the columns `schema.published`, in the schema's dtypes.
        """
        cells = {}
        unpublished = set(self.table_schema.unpublished)
        for column in self.table_schema.columns:
            name = column.name
            if name in unpublished or name in self.formulas:
                continue
            if isinstance(column, Id):
                values = column.generate(len(learned), offset=first_key, seed=seed)
                if name in self.key_rows:
                    rng = np.random.default_rng((seed, batch, zlib.crc32(name.encode())))
                    values = values.iloc[self.key_rows[name].draw(len(values), rng)].reset_index(drop=True)
            else:
                values = learned[name].reset_index(drop=True)
            if name in self.text_forms:
                values = self.text_forms[name].to_texts(values)
            if name in self.rare_labels:
                rng = np.random.default_rng((seed, batch, zlib.crc32(name.encode())))
                drawn = self.rare_labels[name].draw(len(values), rng)
                values = values.mask(values == self.rare_labels[name].token, pd.Series(drawn, dtype="str"))
            # Most methods return the schema's dtypes; to check them again would take a fifth of sampling.
            is_converted = not column.nullable and values.dtype != object and column.has_dtype(values)
            cells[name] = values if is_converted else column.coerce(values, origin="the sample")
        self._compute(cells)
        return pd.DataFrame({name: cells[name] for name in self.table_schema.published})

    def _compute(self, cells: dict[str, pd.Series]) -> None:
        """Compute the columns of rows that others determine, from numbers of the precision that the column has."""
        cells.update({name: to_single(cells[name]) for name in self.single_precision if name in cells})
        for name, stated in self.date_parts.items():
            values = stated.apply(cells[name], cells[stated.of])
            cells[name] = self.table_schema.column(name).coerce(values, origin="the sample")
        for name, formula in self.computed.items():
            values = pd.Series(formula.compute(cells), index=cells[formula.inputs[0]].index, name=name)
            values = to_single(values) if name in self.single_precision else values
            cells[name] = self.table_schema.column(name).coerce(values, origin="the sample")

    def is_acceptable(self, learned: pd.DataFrame, conditions: Mapping[str, str]) -> np.ndarray | None:
        """Return which sampled rows are kept, given conditions on rows of the table; None if all are.

        Rows are left out whose computed numbers are beyond the train rows, or do not meet a condition; and rows in
        which the month, or a duration, that a condition is on is not the one of the dates. What remains are the model's
        rows that meet the conditions, by rejection sampling.
        """
        stated = [name for name in self.date_parts if name in conditions]
        if not (stated or self.durations or self.formulas):
            return None
        cells = {name: learned[name].reset_index(drop=True) for name in learned}
        for column in self.table_schema.columns:
            name, is_value = column.name, isinstance(column, NumericColumn | TimeColumn)
            if name in cells and is_value and not column.has_dtype(cells[name]):
                cells[name] = column.model_copy(update={"format": None}).coerce(cells[name], origin="the sample")
        before = {name: cells[name] for name in (*stated, *self.durations)}
        self._compute(cells)
        kept = np.ones(len(learned), bool)
        for name, formula in self.computed.items():
            values = cells[name].to_numpy("float64", na_value=np.nan)
            kept &= np.isnan(values) | formula.is_within(values)
            if not self.table_schema.column(name).nullable:
                kept &= ~np.isnan(values)
            if name in conditions and name in self.formulas:
                kept &= meets(values, self._condition(name, conditions[name]), name, formula)
        for name in (*stated, *(each for each in self.durations if each in conditions)):
            one, other = before[name].astype("object"), cells[name].astype("object")
            kept &= ((one == other) | (one.isna() & other.isna())).to_numpy(bool)
        return kept

    def _condition(self, name: str, stated: str) -> Condition:
        """Read a condition on a column of the table, with its values as the column's values are written here."""
        column = self.table_schema.column(name)
        condition = Condition.parse(stated, name, column.labels)
        if isinstance(column, Boolean):
            return condition.with_values(_boolean)
        if isinstance(column, TimeColumn):
            return condition.with_values(partial(_iso_time, column))
        format_ = column.number_format if isinstance(column, NumericColumn) else None
        return (
            condition
            if format_ is None
            else condition.with_values(lambda text: str(format_.read(pd.Series([text]))[0]))
        )

    def _of_codes(self, condition: Condition, name: str) -> Condition:
        """Return a condition on codes as one on the numbers that they are learned as."""
        form = self.text_forms[name]
        if not {clause.operator for clause in condition.clauses if clause.values} <= {"==", "!=", "in"}:
            raise ModelError(
                f"condition {name} {condition} cannot be met: codes take ==, !=, in, not in, `is null` and "
                "`is not null`."
            )

        def number(text: str) -> str:
            found = int(form.to_numbers(pd.Series([text], dtype="str"))[0])
            if found < 0:
                raise ModelError(
                    f"condition {name} {condition} cannot be met: {text!r} has not the form that the codes of the "
                    f"train rows have, such as {form.to_texts(pd.Series([0]))[0]!r}."
                )
            return str(found)

        return condition.with_values(number)

    def solve(self, rows: pd.DataFrame, *, given: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return rows in which cells that a formula and the rest of the row determine are filled in.

        Parameters
        ----------
        rows : pandas.DataFrame
            Rows of the table; cells may be missing.
        given : pandas.DataFrame, optional
            The same rows with fewer cells: of the others, one is replaced where a formula does not hold.
        """
        solved = rows.copy()
        for name, formula in reversed(self.computed.items()):
            known = solved if given is None else given
            for source in formula.inputs:
                is_gap = known[source].isna() & known[name].notna()
                is_wrong = is_gap & (solved[source].isna() if given is None else ~formula.holds(solved, name))
                if not is_wrong.any():
                    continue
                found = pd.Series(formula.solve(solved, name, source), index=rows.index)
                column = self.table_schema.column(source)
                if isinstance(column, TimeColumn):
                    values = pd.to_datetime(found, unit="s").dt.round("us")
                    zone = getattr(column, "timezone", None)
                    values = values.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else values
                    tried = values.astype(solved[source].dtype)
                else:
                    tried = to_single(found) if source in self.single_precision else found.round(9)
                    if column.type == "integer":
                        tried = tried.mask(tried != tried.round()).astype("Float64").astype("Int64")
                candidate = {each: solved[each] for each in (*formula.inputs, name)} | {source: tried}
                is_solved = is_wrong & tried.notna() & formula.holds(candidate, name)
                solved[source] = solved[source].mask(is_solved, tried)
        return solved

    def restrict(self, conditions: Mapping[str, str]) -> dict[str, Condition]:
        """Return the conditions on learned rows that conditions on rows of the table amount to.

        A row with a hidden label never meets `!=`, since what is drawn in its place might not.

        Raises
        ------
        ModelError
            If a condition cannot be read, or is on a column that is not there or not learned, or on a label that is
            hidden.
        """
        restricted = {}
        for name, stated in conditions.items():
            if name not in self.table_schema.names:
                raise ModelError(
                    f"conditions name {name!r}, which is no column; the columns are "
                    f"{', '.join(self.table_schema.published)}."
                )
            column = self.table_schema.column(name)
            if column.role == "id":
                raise ModelError(
                    f"conditions name {name!r}, a column of keys, which are made and not learned; state conditions on "
                    "other columns."
                )
            if name not in self.table_schema.published:
                raise ModelError(
                    f"conditions name {name!r}, a column of text, which is not published; state conditions on other "
                    "columns, or publish_text: true, and fit again."
                )
            condition = self._condition(name, stated)
            if name in self.formulas:
                if not column.nullable and Clause("is null") in condition.clauses:
                    raise ModelError(
                        f"condition {name} {condition} cannot be met: no train row has a missing value in this column."
                    )
                meets(np.zeros(0), condition, name, self.formulas[name])
                continue
            if name in self.text_forms:
                condition = self._of_codes(condition, name)
            if name in self.hidden_labels and not condition.is_about_gaps:
                values = {value for clause in condition.clauses for value in clause.values}
                if wrong := sorted(values.difference(column.labels)):
                    raise ModelError(
                        f"the condition {stated!r} on {name!r} names {', '.join(map(repr, wrong))}, no label that is "
                        f"shown; expected {column.range_text[0]}. Labels that fewer than "
                        f"{self.table_schema.label_threshold} train rows have are hidden, {self.hidden_labels[name]} "
                        "in this column."
                    )
                if name in self.rare_labels and any(clause.operator == "!=" for clause in condition.clauses):
                    condition = condition.excluding(self.rare_labels[name].token)
            restricted[name] = condition
        return restricted

    def describe(self, *, writes_text: bool) -> list[str]:
        """Return what a synthesizer, which writes text or not, does not learn, as lines of a log."""
        schema, lines = self.table_schema, []
        if names := schema.names_of("id"):
            lines.append(f"keys are made and not learned: {', '.join(names)}")
        if self.key_rows:
            lines.append(f"of them, keys repeat as often as in the train rows: {', '.join(self.key_rows)}")
        if names := schema.unpublished:
            how = (
                "publish_text: true in the schema has it learned and published"
                if writes_text
                else "this synthesizer writes none, language_model does"
            )
            lines.append(f"text is left out: {', '.join(names)}; {how}")
        if self.text_forms:
            lines.append(f"text that has a few forms is learned as numbers: {', '.join(self.text_forms)}")
        if self.date_parts:
            parts = (f"{name} of {stated.of}" for name, stated in self.date_parts.items())
            lines.append(f"parts of dates are computed: {', '.join(parts)}")
        for name, formula in self.computed.items():
            lines.append(f"computed in every row: {name} = {formula.text}")
        instead = "written 'other'" if schema.rare_labels == "other" else "replaced by draws from the others"
        lines += [
            f"{name}: {count:,} label{'s' if count > 1 else ''} that fewer than {schema.label_threshold} train rows "
            f"have {'are' if count > 1 else 'is'} hidden, and {instead}"
            for name, count in self.hidden_labels.items()
        ]
        return lines

    def _replacement(self, name: str) -> str:
        return self.rare_labels[name].token if name in self.rare_labels else OTHER


def refuse_missing_cells(rows: pd.DataFrame, schema: TableSchema) -> None:
    """Raise a `ModelError` if a cell is missing in a column that is learned and not nullable."""
    learned = schema.select(schema.learned)
    counts = {c.name: int(rows[c.name].isna().sum()) for c in learned.columns if not c.nullable}
    if any(counts.values()):
        listed_counts = ", ".join(f"{count} in {name!r}" for name, count in counts.items() if count)
        raise ModelError(
            f"the {len(rows)} train rows have missing values ({listed_counts}) in columns that are not nullable. State "
            "nullable: true for these columns, or drop the rows, or fill them in."
        )


def _boolean(text: str) -> str:
    """Return true or false for the text of one, whatever the source writes."""
    is_true, is_false = (text.lower() in texts for texts in (TRUE_TEXTS, FALSE_TEXTS))
    return "true" if is_true else "false" if is_false else text


def _iso_time(column: TimeColumn, text: str) -> str:
    """Return a date in the format of a column in ISO 8601, and any other one as it is."""
    time = pd.to_datetime(text, format=column.format, errors="coerce") if column.format else pd.NaT
    if time is not pd.NaT:
        return str(time.isoformat())
    if re.fullmatch(r"\d{1,2}([./-])\d{1,2}\1\d{2,4}.*", text):
        format_ = f", or in the format {column.format!r}" if column.format else ""
        raise ModelError(
            f"a condition on {column.name!r} has {text!r}, which may have the day or the month first; expected a date "
            f"such as 2024-01-31{format_}."
        )
    return text


def _rare_labels(column: Categorical, counts: pd.Series, threshold: int) -> RareLabels:
    if counts.empty:
        raise ModelError(
            f"column {column.name!r} has no label that at least {threshold} train rows have, so that none may be "
            "shown. Declare the column text or id, lower min_label_rows, or state rare_labels: other; or, if the rows "
            "are not confidential, that the table is not private (`--public`, private=False)."
        )
    token = RARE
    while token in column.categories:
        token = f"({token})"
    return RareLabels(token=token, counts={str(label): int(count) for label, count in counts.items()})
