"""Atomic, durable writes of files, and folders whose files are verified against a manifest of hashes."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

MANIFEST = "manifest.json"
"""The manifest of an immutable folder: `files` holds the size and the SHA-256 of every other file."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk: a rename is only as durable as what it renames."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it: readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid4().hex}")  # unique: another process may write the same file
    try:
        unfinished.write_bytes(content)
        sync(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync(path.parent)


def write_manifest(folder: Path, **manifest: Any) -> dict[str, Any]:
    """Write the manifest of a complete folder, with further entries; flush the folder; return the manifest."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    complete = {**manifest, "files": files}
    (folder / MANIFEST).write_text(json.dumps(complete, indent=1, ensure_ascii=False), encoding="utf-8")
    for path in (*folder.rglob("*"), folder):
        sync(path)
    return complete


def verify_manifest(folder: Path, manifest: Mapping[str, Any] | None = None) -> list[str]:
    """Compare every file of a folder with its manifest, by default the one in the folder.

    Returns
    -------
    list of str
        One message for each missing or changed file; empty if the folder is intact.
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
