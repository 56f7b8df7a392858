"""Could these rows exist? Cells that are missing, out of range or off their grid, and rules that rows break."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synth_assets.errors import ForeseenError
from synth_assets.evaluation.metrics import evidence, evidence_table
from synth_assets.evaluation.reference import SPLITS, floor_of, real_splits
from synth_assets.evaluation.rows import require_columns
from synth_assets.schema.table import Column, TableSchema

if TYPE_CHECKING:
    import duckdb

MISSING, OUT_OF_RANGE, OFF_GRID, RULES = "missing_cells", "out_of_range", "off_grid", "rule_violations"

_DECIMALS = 9
"""Numbers are compared as decimals of so many places: 0.1 + 0.2 is no more than 0.3."""

_TYPES = {"category": "VARCHAR", "integer": "BIGINT", "number": f"DECIMAL(27, {_DECIMALS})"}


@dataclass(frozen=True)
class Rule:
    """A condition that rows of a table keep to, but for errors.

    Parameters
    ----------
    name : str
        What it is called.
    sql : str
        A condition on the raw columns as DuckDB's SQL has it: `Diameter <= Length`.
    description : str
        What it says, in a sentence.
    """

    name: str
    sql: str
    description: str = ""


def check_rules(rules: Sequence[Rule], schema: TableSchema) -> None:
    """Refuse rules that are no conditions on the columns of a table, without looking at a row of it.

    Parameters
    ----------
    rules : sequence of Rule
        The rules.
    schema : TableSchema
        The raw table's schema.

    Raises
    ------
    ForeseenError
        If a name is given twice, or a rule cannot be read, names no column, or is neither true nor false.
    """
    names = [rule.name for rule in rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ForeseenError(f"rules: {', '.join(twice)} stated twice; every rule needs a name of its own.")
    with closing(_connect()) as connection:
        columns = ", ".join(f"{_quoted(column.name)} {_TYPES[column.kind]}" for column in schema.columns)
        connection.execute(f"CREATE TABLE rows ({columns})")
        for rule in rules:
            _broken(connection, rule)


def rule_violations(rows: pd.DataFrame, rules: Sequence[Rule], schema: TableSchema) -> pd.DataFrame:
    """Say which rows break which rules.

    Parameters
    ----------
    rows : pandas.DataFrame
        n rows in the raw table's columns and types.
    rules : sequence of Rule
        The rules.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    pandas.DataFrame
        n booleans for each rule, by its name. A row breaks a rule unless the rule is true of it: of a row with an empty
        or infinite cell in it, it is neither true nor false.

    Raises
    ------
    ForeseenError
        As `check_rules`.
    """
    found = {}
    with closing(_connect()) as connection:
        connection.register("given", rows[schema.names])
        # What is no value of its type, as infinity is no decimal, is as good as empty.
        columns = ", ".join(
            f"TRY_CAST({_quoted(c.name)} AS {_TYPES[c.kind]}) AS {_quoted(c.name)}" for c in schema.columns
        )
        connection.execute(f"CREATE TABLE rows AS SELECT {columns} FROM given")
        for rule in rules:
            found[rule.name] = _broken(connection, rule)
    return pd.DataFrame(found, index=rows.index)


def validity_table(
    synthetic: pd.DataFrame,
    train: pd.DataFrame,
    held_out: pd.DataFrame,
    schema: TableSchema,
    rules: Sequence[Rule] = (),
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Count what could not exist in a synthetic sample, beside what the real table has of it.

    Parameters
    ----------
    synthetic, train, held_out : pandas.DataFrame
        Rows in the raw table's columns and types. Every synthetic row is looked at: one that cannot exist is as bad in
        a million rows.
    schema : TableSchema
        The raw table's schema.
    rules : sequence of Rule
        What rows keep to.
    seed : int
        Of the splits of the real table.

    Returns
    -------
    pandas.DataFrame
        Evidence: the shares of cells that are missing, out of range and off the grid for each column, and the share of
        rows that break each rule. A floor is the real table's own share, with the interval of the shares of as many
        of its rows as are synthetic, but no more than are train rows.

    Raises
    ------
    ForeseenError
        If a set has no row, lacks a column or has one of another type, or a rule cannot be asked.
    """
    require_columns(schema, synthetic=synthetic, train=train, held_out=held_out)
    for name, rows in {"synthetic": synthetic, "train": train, "held-out": held_out}.items():
        if rows.empty:
            raise ForeseenError(f"there are no {name} rows; validity is measured on one at least. Draw a sample first.")
    real = pd.concat([train, held_out], ignore_index=True)
    measured = _faults(synthetic, real, schema, rules)
    of_real = _faults(real, real, schema, rules)
    numbers = pd.DataFrame({"at": np.arange(len(real))})
    drawn = [
        split.train["at"].to_numpy()[: len(synthetic)]
        for split in real_splits(numbers.head(len(train)), numbers.tail(len(held_out)), splits=SPLITS, seed=seed)
    ]
    return evidence_table(
        evidence(
            metric,
            column,
            float(faults.mean()),
            floor_of([float(of_real[metric, column][places].mean()) for places in drawn]),
        )
        for (metric, column), faults in measured.items()
    )


def _faults(
    rows: pd.DataFrame, real: pd.DataFrame, schema: TableSchema, rules: Sequence[Rule]
) -> dict[tuple[str, str], np.ndarray]:
    found = {}
    for column in schema.columns:
        values = rows[column.name]
        missing = values.isna().to_numpy()
        found[MISSING, column.name] = missing
        found[OUT_OF_RANGE, column.name] = ~missing & ~_in_range(values, column)
        if column.kind != "category":
            found[OFF_GRID, column.name] = ~missing & ~_on_grid(values, real[column.name])
    broken = rule_violations(rows, rules, schema)
    for rule in rules:
        found[RULES, rule.name] = broken[rule.name].to_numpy()
    return found


def _in_range(values: pd.Series, column: Column) -> np.ndarray:
    if column.kind == "category":
        known: np.ndarray = values.isin(column.categories).to_numpy()
        return known
    numbers = values.to_numpy("float64", na_value=np.nan)
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    within: np.ndarray = np.isfinite(numbers) & (numbers >= low) & (numbers <= high)
    return within


def _on_grid(values: pd.Series, real: pd.Series) -> np.ndarray:
    """Whether values are as many whole steps from the least real one as real values are: the steps' common divisor."""
    known = np.unique(real.to_numpy("float64", na_value=np.nan))
    known = known[np.isfinite(known)]
    decimals = next((d for d in range(_DECIMALS) if np.array_equal(np.round(known, d), known)), None)
    numbers = values.to_numpy("float64", na_value=np.nan)
    if decimals is None or not len(known):  # real values keep to no grid
        return np.ones(len(numbers), bool)
    units = np.rint(known * 10**decimals).astype(np.int64)
    step = max(int(np.gcd.reduce(np.diff(units))), 1) if len(units) > 1 else 1
    finite = np.where(np.isfinite(numbers), numbers, 0.5 / 10**decimals)
    nearest = np.rint(finite * 10**decimals)
    exact = np.isclose(finite * 10**decimals, nearest, rtol=1e-12, atol=1e-6)
    on_grid: np.ndarray = exact & ((nearest - units[0]) % step == 0)
    return on_grid


def _connect() -> "duckdb.DuckDBPyConnection":
    import duckdb

    # Rules come from a file: they see the rows that they are given, and nothing else of this machine.
    return duckdb.connect(config={"enable_external_access": False, "lock_configuration": True})


def _broken(connection: "duckdb.DuckDBPyConnection", rule: Rule) -> np.ndarray:
    import duckdb

    try:
        relation = connection.sql(f"SELECT ({rule.sql}) AS kept FROM rows")
        kept = relation.types[0]
        if len(relation.types) == 1 and kept == "BOOLEAN":
            frame = connection.execute(f"SELECT coalesce(({rule.sql}), false) AS kept FROM rows").df()
            broken: np.ndarray = ~frame["kept"].to_numpy(dtype=bool)
            return broken
    except duckdb.Error as error:
        raise ForeseenError(
            f"rule {rule.name!r} ({rule.sql}) cannot be asked: {_reason(error)}. Expected a condition on columns, such "
            'as "Diameter" <= "Length".'
        ) from error
    raise ForeseenError(
        f"rule {rule.name!r} ({rule.sql}) gives {kept}; expected a condition, which is true or false of a row."
    )


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
