"""Names in SQL, which takes no parameter for them, and what an error of DuckDB is about."""


def quoted(*names: str) -> str:
    """Write a name, or a path of names, as an SQL identifier, whatever is in it."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def is_damage(error: BaseException) -> bool:
    """Tell whether an error of DuckDB means that its file is not what was written: it has no class for that."""
    return any(said in str(error) for said in ("Corrupt ", "not a valid DuckDB", "Could not read enough bytes"))
