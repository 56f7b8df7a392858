"""Which publication is current, how an earlier one becomes it again, and what is on record of it."""

import shutil
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from synth_assets.publishing.publications import PublicationError, Publications, folder_name
from synth_assets.publishing.publisher import Publisher
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse
from synth_assets_tests.storage.toy import MONDAY, TUESDAY, WEDNESDAY, spec, write, write_sample


@pytest.fixture(scope="module")
def three_publications(toy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with publications of two, three and four days."""
    root = tmp_path_factory.mktemp("three") / "data"
    shutil.copytree(toy_folder, root, symlinks=True)
    paths = DataPaths(root)
    publisher = Publisher(paths, warehouse=Warehouse(paths))
    for day, values in ((WEDNESDAY, [7]), ("2026-01-08", [8])):
        write_sample(publisher.warehouse, day, values)
        publisher.publish(spec())
    return root


@pytest.fixture
def ids(toy: Publisher, three_publications: Path) -> list[str]:
    """Let `toy` have three publications; return their ids, oldest first."""
    shutil.rmtree(toy.paths.root)
    shutil.copytree(three_publications, toy.paths.root, symlinks=True)
    return [each.id for each in toy.publications.all()[::-1]]


def latest(toy: Publisher) -> list[int]:
    with duckdb.connect(str(toy.path), read_only=True) as connection:
        return [x for (x,) in connection.execute("SELECT x FROM toy.synthetic_latest").fetchall()]


def test_a_rollback_makes_the_one_before_current(toy: Publisher, ids: list[str]) -> None:
    with duckdb.connect(str(toy.path), read_only=True) as reader:
        assert toy.publications.rollback().id == ids[1]
        assert latest(toy) == [7]
        assert reader.execute("SELECT x FROM toy.synthetic_latest").fetchall() == [(8,)]
    assert {path.name for path in (toy.path.parent / "toy" / "synthetic_sample").iterdir()} == {
        f"resample_date={day}" for day in (MONDAY, TUESDAY, WEDNESDAY)
    }
    assert toy.publications.rollback().id == ids[0]
    assert latest(toy) == [4, 3]
    with pytest.raises(PublicationError, match=f"{ids[0]} is the first publication: there is none before it"):
        toy.publications.rollback()
    assert [(entry["action"], entry["publication"]) for entry in toy.publications.history()] == [
        *(("publish", id_) for id_ in ids),
        ("rollback", ids[1]),
        ("rollback", ids[0]),
    ]
    assert toy.publications.rollback(ids[2]).id == ids[2]
    assert latest(toy) == [8]


def test_what_passed_is_published_again_after_a_rollback_and_a_deleted_day_is_not(
    toy: Publisher, ids: list[str]
) -> None:
    toy.publications.rollback()
    done = toy.publish(spec())
    assert (done.publication.id, done.is_new) == (ids[2], True)  # the same rows: no second publication is made of them
    assert len(toy.publications.all()) == 3

    toy.publications.rollback()
    toy.delete("toy", "2026-01-08")
    assert not toy.publish(spec()).is_new
    assert latest(toy) == [7]


@pytest.mark.parametrize("id_", ["nonsense", "..", "current", "history.json", ""])
def test_there_is_no_rollback_to_what_is_no_publication(toy: Publisher, ids: list[str], id_: str) -> None:
    with pytest.raises(PublicationError, match=f"there is no publication '{id_}'; kept are: {ids[2]}, {ids[1]}"):
        toy.publications.rollback(id_)
    assert toy.publications.current().id == ids[2]


def test_there_is_no_rollback_to_what_is_current_or_damaged(toy: Publisher, ids: list[str]) -> None:
    with pytest.raises(PublicationError, match=f"{ids[2]} is current already"):
        toy.publications.rollback(ids[2])
    file = toy.publications.get(ids[1]).file
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(PublicationError, match=r"is damaged: synthetic\.duckdb has .* bytes instead of"):
        toy.publications.rollback()
    assert toy.publications.current().id == ids[2]
    (toy.publications.get(ids[0]).folder / "manifest.json").write_text("{")
    with pytest.raises(PublicationError, match=r"is damaged: .*manifest\.json cannot be read"):
        toy.publications.rollback(ids[0])
    assert [each.id for each in toy.publications.all()] == [ids[2], ids[1]]


def test_an_entry_whose_switch_never_came_is_not_history(toy: Publisher, ids: list[str]) -> None:
    publications = toy.publications
    entries = publications.history()
    publications.rollback()
    # As if killed before the switch: the entry is there, and the old one is current.
    (publications.folder / "current").unlink()
    (publications.folder / "current").symlink_to(ids[2])
    assert publications.history() == entries
    publications.rollback(ids[0])
    assert [entry["publication"] for entry in publications.history()] == [*ids, ids[0]]


def test_the_current_one_is_never_pruned(toy: Publisher, ids: list[str]) -> None:
    publications = toy.publications
    publications.rollback(ids[0])
    publications.prune(keep=1, grace=timedelta(0))
    assert {each.id for each in publications.all()} == {ids[0], ids[2]}  # the newest, too
    assert latest(toy) == [4, 3]


def test_where_nothing_is_published_it_is_said_what_to_do(toy: Publisher) -> None:
    shutil.rmtree(toy.publications.folder)
    publications = Publications(toy.paths)
    with pytest.raises(PublicationError, match=f"nothing is published in {toy.path} yet; run `make demo`"):
        publications.current()
    assert publications.all() == publications.history() == []
    write(toy.warehouse, "raw", ["new"])
    toy.publish(spec())
    assert latest(toy) == [4, 3]


@pytest.mark.parametrize(
    ("table", "folder"),
    [
        ("abalone", "abalone"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("a/b", "a%2Fb"),
        ('x"; drop table y; --', "x%22%3B drop table y%3B --"),
    ],
)
def test_a_table_has_a_folder_whatever_it_is_called(table: str, folder: str) -> None:
    assert folder_name(table) == folder
