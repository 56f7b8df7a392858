"""Atomic writes of files, and folders that are verified by the hashes of their files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from synth_assets.storage.files import MANIFEST, atomic_write, verify_manifest, write_manifest
from synth_assets_tests.storage.processes import files_limited_to


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "one.txt").write_text("one")
    (folder / "inner" / "two.txt").write_text("two")
    assert write_manifest(folder, made="by hand")["made"] == "by hand"
    return folder


def test_what_is_sealed_is_as_it_was(sealed: Path) -> None:
    assert verify_manifest(sealed) == []
    assert set(json.loads((sealed / MANIFEST).read_text())["files"]) == {"one.txt", "inner/two.txt"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "one.txt").unlink(), "one.txt is missing"),
        (lambda folder: (folder / "one.txt").write_text("o"), "one.txt has 1 bytes instead of 3"),
        (lambda folder: (folder / "inner" / "two.txt").write_text("twp"), "inner/two.txt has another SHA-256"),
        (lambda folder: (folder / MANIFEST).unlink(), "manifest.json cannot be read"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "manifest.json cannot be read"),
        (lambda folder: (folder / MANIFEST).write_text('{"files": {"one.txt": 3}}'), "manifest.json cannot be read"),
    ],
)
def test_each_damaged_file_is_named(sealed: Path, change: Callable[[Path], object], message: str) -> None:
    change(sealed)
    (damage,) = verify_manifest(sealed)
    assert damage.startswith(message)


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    atomic_write(path, b"before")
    with files_limited_to(3), pytest.raises(OSError, match="File too large"):
        atomic_write(path, b"after all")
    assert path.read_bytes() == b"before"
    atomic_write(path, b"after all")
    assert path.read_bytes() == b"after all"
    assert [each.name for each in path.parent.iterdir()] == ["page.html"]
