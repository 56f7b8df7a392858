"""A table with a column of every type: gaps, time zones, empty columns, 19 digits, odd names and labels."""

import pandas as pd

from synth_assets.schema.columns import Boolean, Categorical, Column, Date, Datetime, Float, Id, Integer, Text
from synth_assets.schema.table import TableSchema

LABELS = ("a,b", 'say "hi"', "it's", "two\nlines", "ünï 漢字", " x ", "NULL", "-")
LONG = "n" * 130

COLUMNS: tuple[Column, ...] = (
    Id(name="key"),
    Categorical(name='quote"d', categories=LABELS, nullable=True),
    Boolean(name="load (%)"),
    Boolean(name="select", nullable=True),
    Integer(name="1st reading", nullable=True),
    Integer(name="19 digits"),
    Float(name="new\nline", nullable=True),
    Date(name=LONG, nullable=True),
    Datetime(name="at, or before", nullable=True),
    Datetime(name="in Berlin", timezone="Europe/Berlin", nullable=True),
    Text(name="note", nullable=True),
    Id(name="code", pattern="AB-####"),
    Float(name="no number", nullable=True),
    Categorical(name="no label", categories=("x",), nullable=True),
    Integer(name="no integer", nullable=True),
    Boolean(name="no boolean", nullable=True),
    Date(name="no date", nullable=True),
    Datetime(name="no time", timezone="UTC", nullable=True),
)

SQL_TYPES = {
    "key": "BIGINT",
    'quote"d': "VARCHAR",
    "load (%)": "BOOLEAN",
    "select": "BOOLEAN",
    "1st reading": "BIGINT",
    "19 digits": "BIGINT",
    "new\nline": "DOUBLE",
    LONG: "DATE",
    "at, or before": "TIMESTAMP",
    "in Berlin": "TIMESTAMP WITH TIME ZONE",
    "note": "VARCHAR",
    "code": "VARCHAR",
    "no number": "DOUBLE",
    "no label": "VARCHAR",
    "no integer": "BIGINT",
    "no boolean": "BOOLEAN",
    "no date": "DATE",
    "no time": "TIMESTAMP WITH TIME ZONE",
}

ROWS = 40


def any_schema(**options: object) -> TableSchema:
    """Return the schema of the table."""
    return TableSchema.model_validate({"columns": COLUMNS, **options})


def any_source() -> pd.DataFrame:
    """Return the rows as a CSV file holds them: text, with empty cells."""

    def cycle(*values: str) -> list[str]:
        return [values[row % len(values)] for row in range(ROWS)]

    return pd.DataFrame(
        {
            "key": [str(-row - 1) for row in range(ROWS)],
            'quote"d': cycle(*LABELS, ""),
            "load (%)": cycle("yes", "no", "true"),
            "select": cycle("true", "", "false"),
            "1st reading": cycle("1", "", "9223372036854775807", "-5"),
            "19 digits": cycle("9223372036854775807", "1234567890123456789", "0"),
            "new\nline": cycle("1.5", "", "1e300", "-0.25"),
            LONG: cycle("2024-01-31", "", "1890-01-01", "2300-12-31"),
            "at, or before": cycle("2024-01-31 08:30:00.123456", "", "1890-01-01", "2300-12-31 23:59:59"),
            "in Berlin": cycle("2024-03-31T00:59:59Z", "", "2024-01-01T00:00:00+05:00", "1950-01-01T12:00:00Z"),
            "note": cycle("it's; DROP TABLE x --", "", "two\nlines", "漢字"),
            "code": [f"AB-{9000 + row}" for row in range(ROWS)],
            **{name: [""] * ROWS for name in SQL_TYPES if name.startswith("no ")},
        },
        dtype="str",
    )


def any_rows() -> pd.DataFrame:
    """Return the typed rows."""
    return any_schema().coerce(any_source(), origin="a test")
