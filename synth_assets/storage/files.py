"""Files that can be relied on: whole or not there, on the disk once they are said to be, and told by their hashes."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

MANIFEST = "manifest.json"
"""In a folder that never changes once it is there: under `files`, the size and the SHA-256 of each other file."""


def sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk: a rename is only as lasting as what it renames."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file beside where it belongs and rename it: what is there is always whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.{uuid4().hex}")  # a name that no other process takes
    try:
        building.write_bytes(content)
        sync(building)
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)
    sync(path.parent)


def write_manifest(folder: Path, **manifest: Any) -> dict[str, Any]:
    """Write the manifest of a folder that is complete, and bring all of it to the disk.

    Parameters
    ----------
    folder : pathlib.Path
        The folder.
    **manifest
        What else the manifest says.

    Returns
    -------
    dict
        The manifest.
    """
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    whole = {**manifest, "files": files}
    (folder / MANIFEST).write_text(json.dumps(whole, indent=1, ensure_ascii=False), encoding="utf-8")
    for path in (*folder.rglob("*"), folder):
        sync(path)
    return whole


def verify_manifest(folder: Path, manifest: Mapping[str, Any] | None = None) -> list[str]:
    """Compare every file of a sealed folder with what its manifest says.

    Parameters
    ----------
    folder : pathlib.Path
        The folder.
    manifest : mapping, optional
        Its manifest, where it was read already.

    Returns
    -------
    list of str
        Each file that is missing or another one, and how; empty if all is as it was sealed.
    """
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8")) if manifest is None else manifest
        files = {name: (int(stated["bytes"]), str(stated["sha256"])) for name, stated in found["files"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return [f"{MANIFEST} cannot be read ({error})"]
    damaged = []
    for name, (size, hashed) in files.items():
        path = folder / name
        if not path.is_file():
            damaged.append(f"{name} is missing")
        elif path.stat().st_size != size:
            damaged.append(f"{name} has {path.stat().st_size:,} bytes instead of {size:,}")
        elif sha256(path) != hashed:
            damaged.append(f"{name} has another SHA-256")
    return damaged
