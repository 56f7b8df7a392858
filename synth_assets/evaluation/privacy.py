"""Does a synthetic sample give train rows away? Copies, partial copies, and an attack that infers membership.

What chance alone gives is measured with real rows: held-out rows in the place of the synthetic ones are the floor of
the copies; an attack that learns nothing has an area of 0.5 under its ROC curve. A sample that passes here is not
thereby private: only a model that was trained with differential privacy comes with a proof.
"""

import numpy as np
import pandas as pd

from synth_assets.evaluation.fidelity import numeric_names
from synth_assets.evaluation.rows import category_names, labels_seen, require_rows
from synth_assets.tables.schema import TableSchema

EXACT = "exact_copies"
"""The share of rows that are a train row, cell by cell; lower is better, and held-out rows have their share too."""

PARTIAL = "partial_copies"
"""The share of rows that agree with one train row in more than half of the cells; lower is better, likewise."""

MEMBERSHIP = "membership_auc"
"""The area under the ROC curve of `membership_auc`; 0.5 is best, 1 worst."""

COPIES_ALLOWED = 1.2
"""Times the held-out rows' share of copies: so much is between any two halves of a table whose rows are alike."""

MEMBERSHIP_ALLOWED = 0.03
"""Above 0.5: an attack that is right in 53 of 100 pairs of a train row and another knows next to nothing."""

_ERRORS = 3.0
"""Standard errors beyond what is allowed from which it is sure (1 in 700 samples at the limit) that there is more."""

_DIGITS = 9
"""Decimal numbers agree that are the same to so many digits of their column's largest train value."""

_PAIRS = 2_000_000
"""As many pairs of rows are compared at once: some 10 MB, however long the tables are."""


def privacy_table(
    synthetic: pd.DataFrame, train: pd.DataFrame, held_out: pd.DataFrame, schema: TableSchema
) -> pd.DataFrame:
    """Measure what a synthetic sample gives away of the train rows, beside what real rows score, and a limit.

    Parameters
    ----------
    synthetic, train, held_out : pandas.DataFrame
        Rows in the raw table's columns and types. Copies are counted among as many synthetic rows as there are train
        rows, the first ones.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    pandas.DataFrame
        One row a measure: `metric`, `column_name` (None: the whole table), `value`, `floor`, `limit`. What is above
        the limit is surely more than is allowed: for copies `COPIES_ALLOWED` times the floor, for the attack
        `MEMBERSHIP_ALLOWED` above 0.5, and three standard errors of the difference on top of each.

    Raises
    ------
    ForeseenError
        If a set has no row, or a cell that is empty or infinite.
    """
    compared = synthetic.head(len(train))
    agreeing, by_chance = (agreeing_cells(rows, train, schema) for rows in (compared, held_out))
    found = []
    for metric, cells in ((EXACT, len(schema.columns)), (PARTIAL, len(schema.columns) // 2 + 1)):
        floor = float((by_chance >= cells).mean())
        # None among n rows may still be one among n: the error of a share is never taken for nothing.
        share = min(max(floor, 1 / len(held_out)), 0.5)
        error = np.sqrt(share * (1 - share) * (1 / len(compared) + 1 / len(held_out)))
        limit = min(COPIES_ALLOWED * floor + _ERRORS * error, 1.0)
        found.append((metric, float((agreeing >= cells).mean()), floor, limit))
    # The error of an area where nothing is known (Hanley and McNeil, Radiology 143, 1982, for the area 0.5).
    error = np.sqrt((len(train) + len(held_out) + 1) / (12 * len(train) * len(held_out)))
    limit = min(0.5 + MEMBERSHIP_ALLOWED + _ERRORS * error, 1.0)
    found.append((MEMBERSHIP, membership_auc(synthetic, train, held_out, schema), 0.5, limit))
    frame = pd.DataFrame(found, columns=["metric", "value", "floor", "limit"])
    frame.insert(1, "column_name", pd.Series([None] * len(frame), dtype="str"))
    return frame


def leaks(found: pd.DataFrame) -> list[str]:
    """Say what a sample gives away beyond its limits.

    Parameters
    ----------
    found : pandas.DataFrame
        What `privacy_table` gave.

    Returns
    -------
    list of str
        A sentence for each measure above its limit: what was found, what real rows score, and what is allowed.
    """
    return [
        f"{row.metric} is {row.value:.4f}; real rows that were held out score {row.floor:.4f}, and up to "
        f"{row.limit:.4f} is allowed"
        for row in found[found["value"] > found["limit"]].itertuples()
    ]


def agreeing_cells(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    """Count, for each row, the cells in which it agrees with the train row that it agrees with most.

    Parameters
    ----------
    rows, train : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    numpy.ndarray
        A count for each of `rows`, from 0 to the number of columns. Labels and whole numbers agree if they are the
        same, decimal numbers if they are after rounding: 0.1 + 0.2 agrees with 0.3.

    Raises
    ------
    ForeseenError
        If a set has no row, or a cell that is empty or infinite.
    """
    require_rows(schema, compared=rows, train=train)
    cells = [_cell_codes(rows[column.name], train[column.name], column.kind == "number") for column in schema.columns]
    most = np.zeros(len(rows), dtype=np.int64)
    at_once = max(1, _PAIRS // len(train))
    for start in range(0, len(rows), at_once):
        block = slice(start, start + at_once)
        agreeing = np.zeros((len(most[block]), len(train)), dtype=np.int16)
        for row_codes, train_codes in cells:
            agreeing += row_codes[block, np.newaxis] == train_codes
        most[block] = agreeing.max(axis=1)
    return most


def partial_copies(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema, *, cells: int) -> float:
    """Give the share of rows that agree with one train row in so many cells or more.

    Parameters
    ----------
    rows, train : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.
    cells : int
        How many cells make a partial copy.

    Returns
    -------
    float
        From 0 to 1; held-out rows in the place of `rows` give the floor.

    Raises
    ------
    ForeseenError
        As `agreeing_cells`.
    """
    return float((agreeing_cells(rows, train, schema) >= cells).mean())


def exact_copies(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema) -> float:
    """Give the share of rows that are a train row, cell by cell.

    Parameters
    ----------
    rows, train : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    float
        From 0 to 1; held-out rows in the place of `rows` give the floor.

    Raises
    ------
    ForeseenError
        As `agreeing_cells`.
    """
    return partial_copies(rows, train, schema, cells=len(schema.columns))


def membership_auc(synthetic: pd.DataFrame, train: pd.DataFrame, held_out: pd.DataFrame, schema: TableSchema) -> float:
    """Attack the sample: call a real row a train row the closer it lies to its nearest synthetic row.

    This is the full black-box attack of Chen, Yu, Zhang and Fritz, GAN-Leaks: A Taxonomy of Membership Inference
    Attacks against Generative Models, CCS 2020, on rows as they are: it knows nothing but the synthetic rows. Lengths
    are Euclidean, over numbers in standard deviations of the train rows and over labels as one column each.

    Parameters
    ----------
    synthetic, train, held_out : pandas.DataFrame
        Rows in the raw table's columns and types.
    schema : TableSchema
        The raw table's schema.

    Returns
    -------
    float
        The area under the attack's ROC curve: 0.5 where it learns nothing, 1 where it knows every train row. Clearly
        below 0.5, the synthetic rows lie closer to the held-out rows than to the train rows.

    Raises
    ------
    ForeseenError
        If a set has no row, or a cell that is empty or infinite.
    """
    from scipy.spatial import KDTree
    from sklearn.metrics import roc_auc_score

    require_rows(schema, synthetic=synthetic, train=train, held_out=held_out)
    labels = {name: labels_seen(name, schema, synthetic, train, held_out) for name in category_names(schema)}
    points = KDTree(_points(synthetic, train, schema, labels))
    near_train, near_held_out = (points.query(_points(rows, train, schema, labels))[0] for rows in (train, held_out))
    is_train = np.repeat([1, 0], [len(train), len(held_out)])
    return float(roc_auc_score(is_train, -np.concatenate([near_train, near_held_out])))


def _cell_codes(rows: pd.Series, train: pd.Series, rounded: bool) -> tuple[np.ndarray, np.ndarray]:
    both = pd.concat([rows, train], ignore_index=True)
    if rounded:
        largest = float(train.abs().max()) or 1.0
        both = both.round(_DIGITS - 1 - int(np.floor(np.log10(largest))))
    codes = pd.factorize(both)[0].astype(np.int32)
    return codes[: len(rows)], codes[len(rows) :]


def _points(rows: pd.DataFrame, train: pd.DataFrame, schema: TableSchema, labels: dict[str, list[str]]) -> np.ndarray:
    columns = []
    for name in numeric_names(schema):
        known = train[name].to_numpy("float64")
        # The deviation of equal decimals is a rounding error, and no unit to measure in.
        unit = known.std() if known.min() < known.max() else 1.0
        columns.append((rows[name].to_numpy("float64") - known.mean()) / unit)
    for name, seen in labels.items():
        columns.extend((rows[name] == label).to_numpy("float64") for label in seen)
    return np.column_stack(columns)
