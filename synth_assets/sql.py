"""Names in SQL, which takes no parameter for them."""


def quoted(*names: str) -> str:
    """Write a name, or a path of names, as an SQL identifier, whatever is in it."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)
