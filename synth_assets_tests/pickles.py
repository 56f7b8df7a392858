"""Finds pickles by what is in a file, whatever it is called."""

import io
import pickletools
import zipfile
from pathlib import Path


def pickles_in(folder: Path) -> list[str]:
    """Return the files below a folder that are pickles, or archives (as torch writes them) that hold one."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and _holds(path))


def _holds(path: Path) -> bool:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(_is_pickle(archive.read(name)) for name in archive.namelist())
    return _is_pickle(path.read_bytes())


def _is_pickle(content: bytes) -> bool:
    # A stream of opcodes up to a STOP. Protocol 0 is text: of one byte, or of two, other files may begin so.
    try:
        opcodes = list(pickletools.genops(io.BytesIO(content)))
    except (ValueError, UnicodeDecodeError, IndexError, EOFError):
        return False
    return len(opcodes) > 2
