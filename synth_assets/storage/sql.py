"""SQL identifiers, and errors of DuckDB."""

NAMESPACES = ("information_schema", "main", "pg_catalog", "system", "temp")
"""The namespaces that a DuckDB database has itself: no table may have their names."""


def quoted(*names: str) -> str:
    """Quote a name, or a dotted path of names, as an SQL identifier."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def text(value: str) -> str:
    """Quote a text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def is_damage(error: BaseException) -> bool:
    """Return whether an error of DuckDB means that its file is damaged; there is no exception class for that."""
    return any(phrase in str(error) for phrase in ("Corrupt ", "not a valid DuckDB", "Could not read enough bytes"))
