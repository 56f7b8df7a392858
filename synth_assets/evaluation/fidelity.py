"""Does a synthetic sample look like the real table? Each number stands beside its floor.

Every measure compares a set of rows with the held-out rows of the real table. For `value` these are the synthetic
rows; for `floor` they are the real train rows, which come from the same source as the held-out ones: what they score
is what nobody can honestly beat. Where there are as many synthetic rows as train rows, as in the experiment, both
are measured at the same sizes.
"""

import numpy as np
import pandas as pd

from synth_assets.tables.schema import Column, TableSchema

KS = "ks_complement"
"""1 - the two-sample Kolmogorov-Smirnov statistic of a numeric column; 1 is best, 0 worst (SDMetrics: KSComplement)."""

TV = "tv_complement"
"""1 - the total variation distance of a category's shares; 1 is best, 0 worst (SDMetrics: TVComplement)."""

SHAPES = "column_shapes"
"""The mean over the columns of the two above (SDMetrics: Column Shapes)."""

CORRELATION = "correlation_similarity"
"""1 - half the mean absolute difference of the Spearman correlations of pairs of numeric columns; 1 is best, 0 worst
(SDMetrics: CorrelationSimilarity, averaged over the pairs)."""


def fidelity_table(
    synthetic: pd.DataFrame, train: pd.DataFrame, held_out: pd.DataFrame, schema: TableSchema
) -> pd.DataFrame:
    """Measure a synthetic sample against held-out rows, column by column and as a whole.

    Parameters
    ----------
    synthetic, train, held_out : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    pandas.DataFrame
        One row a measure: `metric`, `column_name` (None for the whole table), `value`, `floor`.
    """
    rows = [
        {
            "metric": TV if column.kind == "category" else KS,
            "column_name": column.name,
            "value": column_similarity(synthetic[column.name], held_out[column.name], column),
            "floor": column_similarity(train[column.name], held_out[column.name], column),
        }
        for column in schema.columns
    ]
    columns = pd.DataFrame(rows)
    whole = [
        {
            "metric": SHAPES,
            "column_name": None,
            "value": columns["value"].mean(),
            "floor": columns["floor"].mean(),
        }
    ]
    if len(numeric_names(schema)) > 1:
        whole.append(
            {
                "metric": CORRELATION,
                "column_name": None,
                "value": correlation_similarity(synthetic, held_out, schema),
                "floor": correlation_similarity(train, held_out, schema),
            }
        )
    return pd.concat([columns, pd.DataFrame(whole)], ignore_index=True).astype({"column_name": "str"})


def column_similarity(one: pd.Series, other: pd.Series, column: Column) -> float:
    """Compare two sets of values of a column.

    Parameters
    ----------
    one, other : pandas.Series
        Values; their lengths may differ.
    column : Column
        What they are values of.

    Returns
    -------
    float
        From 0 (nothing in common) to 1 (the same distribution).
    """
    if column.kind == "category":
        shares = pd.concat(
            [one.value_counts(normalize=True), other.value_counts(normalize=True)], axis="columns"
        ).fillna(0.0)
        return 1.0 - float((shares.iloc[:, 0] - shares.iloc[:, 1]).abs().sum()) / 2
    from scipy.stats import ks_2samp

    return 1.0 - float(ks_2samp(one, other).statistic)


def correlations(frame: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    """Give the Spearman correlations of the numeric columns.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    pandas.DataFrame
        m by m, for the m numeric columns; a column of one value correlates 0 with the others.
    """
    names = numeric_names(schema)
    found = frame[names].corr(method="spearman").fillna(0.0).to_numpy(copy=True)
    np.fill_diagonal(found, 1.0)
    return pd.DataFrame(found, index=names, columns=names)


def correlation_similarity(one: pd.DataFrame, other: pd.DataFrame, schema: TableSchema) -> float:
    """Compare the correlations of two sets of rows.

    Parameters
    ----------
    one, other : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema, with two numeric columns at least.

    Returns
    -------
    float
        From 0 (every correlation turned around) to 1 (the same).
    """
    difference = (correlations(one, schema) - correlations(other, schema)).abs().to_numpy()
    m = len(difference)
    return 1.0 - float(difference.sum()) / (m * (m - 1)) / 2


def numeric_names(schema: TableSchema) -> list[str]:
    """Give the names of the numeric columns, in order."""
    return [column.name for column in schema.columns if column.kind != "category"]
