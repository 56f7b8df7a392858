"""Publications and warehouses of an earlier version of the package: read where that needs nothing, else refused."""

import json

import duckdb
import pandas as pd
import pytest
from click.testing import CliRunner

from synth_assets import read_table
from synth_assets.cli import main
from synth_assets.publishing.publications import FORMAT, Publication, PublicationError
from synth_assets.publishing.publisher import Publisher
from synth_assets.storage.files import MANIFEST, write_manifest
from synth_assets.storage.warehouse import Provenance, WarehouseError
from synth_assets_tests.storage.toy import MONDAY, TUESDAY, spec, write_sample


@pytest.fixture
def old(toy: Publisher) -> Publication:
    """Turn the current publication into one of format 1."""
    publication = toy.publications.current()
    manifest = json.loads((publication.folder / MANIFEST).read_text())
    manifest.pop("files")
    manifest["format"] = 1
    entry = manifest["tables"]["toy"]
    entry["schema"] = {"columns": [{"name": "x", "kind": "integer", "categories": []}], "target": "x"}
    entry["sample_spec"] = {"n_samples": 2}
    for key in ("target_name", "sample"):
        del entry[key]
    for sample in entry["samples"].values():
        for verdict in sample["gates"]:
            verdict["said"] = verdict.pop("message")
    with duckdb.connect(str(publication.file)) as connection:
        connection.execute("ALTER TABLE toy.report RENAME COLUMN message TO said")
    (publication.folder / MANIFEST).unlink()
    write_manifest(publication.folder, **manifest)
    return toy.publications.current()


def run(toy: Publisher, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["--data", str(toy.paths.root), *arguments])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    "arguments",
    [["tables"], ["query", "from toy.synthetic_all"], ["export", "toy"], ["publications"], ["history"], ["verify"]],
    ids=lambda arguments: arguments[0],
)
def test_an_old_publication_is_read(toy: Publisher, old: Publication, arguments: list[str]) -> None:
    assert run(toy, *arguments)[0] == 0
    assert read_table("toy", data=toy.paths.root)["x"].tolist() == [4, 3]


@pytest.mark.parametrize("command", ["status", "sample"])
def test_commands_that_need_the_present_format_say_what_to_do(toy: Publisher, old: Publication, command: str) -> None:
    code, output = run(toy, command)
    assert code == 1
    assert f"publication {old.id} was written by another version of synth-assets (format 1; this version" in output
    assert "materialize the lineage to publish a new one" in output


def test_an_old_publication_is_not_built_on_and_stays_for_rollback(toy: Publisher, old: Publication) -> None:
    with pytest.raises(PublicationError, match=f"format 1.*Nothing was deleted: first publish again.*{MONDAY}"):
        toy.delete("toy", MONDAY)
    toy.warehouse.delete_sample("toy", MONDAY)

    done = toy.publish(spec())

    assert done.publication.manifest["format"] == FORMAT
    assert list(done.publication.samples("toy")) == [TUESDAY]
    assert "format 1" in done.skipped_bases[0]
    assert toy.publications.rollback().id == old.id
    toy.delete("toy", MONDAY)
    assert [each.id for each in toy.publications.all()] == [done.publication.id]


def test_an_old_warehouse_is_refused_with_what_to_do(toy: Publisher) -> None:
    with duckdb.connect(str(toy.warehouse.path)) as connection:
        connection.execute("COMMENT ON TABLE toy.provenance IS NULL")
    before = toy.warehouse.path.read_bytes()
    refused = r"written by another version .*\(Format 1; .* move it away and materialize the lineage again"
    for use in (
        lambda: write_sample(toy.warehouse, TUESDAY, [1]),
        lambda: toy.warehouse.record("other", "model", provenance=Provenance("a run")),
        lambda: toy.warehouse.read("toy", "raw"),
        lambda: toy.publish(spec()),
    ):
        with pytest.raises(WarehouseError, match=refused):
            use()
    assert toy.warehouse.path.read_bytes() == before
    assert toy.warehouse.verify() > 0
    toy.delete("toy", MONDAY)  # deletion works on any format
    assert pd.unique(read_table("toy.synthetic_all", data=toy.paths.root)["x"]).tolist() == [4, 3]
