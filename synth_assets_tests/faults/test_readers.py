"""Readers that poll what is published while it is published again and again: no error, no torn read."""

import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from synth_assets.publishing.publisher import Publisher
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse
from synth_assets_tests.faults.record import Record
from synth_assets_tests.storage.processes import started
from synth_assets_tests.storage.toy import MONDAY, spec, write, write_sample

KIND = "a publication under several readers"

_READ = """
import json, os, sys, time
import duckdb
from synth_assets import connect

how, root, stop = sys.argv[1:]
tables = ("raw", "synthetic_sample", "synthetic_latest", "synthetic_all", "fidelity")
seen, problems, reads = [], [], 0

def opened():
    return connect(root) if how == "client" else duckdb.connect(f"{root}/published/synthetic.duckdb", read_only=True)

print("ready", flush=True)
stopping = False
while not stopping:
    stopping = os.path.exists(stop)  # one more read finds what was published last
    reads += 1
    time.sleep(0.03)
    try:
        with opened() as connection:
            ids = [id_ for (id_,) in connection.execute("SELECT DISTINCT publication FROM main.publication").fetchall()]
            found = {
                table: connection.execute(f"SELECT DISTINCT x FROM toy.{table}").fetchall() for table in tables
            }
            counts = connection.execute("SELECT table_name, row_count FROM main.publication").fetchall()
            counted = [
                (table, *connection.execute(f"SELECT count(*) FROM toy.{table}").fetchone()) for table, _ in counts
            ]
    except Exception as error:
        problems.append(repr(error))
        continue
    versions = {row for rows in found.values() for row in rows}
    if len(ids) != 1 or len(versions) != 1 or counts != counted:
        problems.append(f"publications {ids}, versions {found}, counts {counts} and {counted}")
    elif ids[0] not in seen:
        seen.append(ids[0])
print(json.dumps([reads, seen, problems]))
"""


def test_who_reads_finds_one_whole_publication_at_every_moment(
    tmp_path: Path, record: Record, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DataPaths(tmp_path / "data")
    warehouse = Warehouse(folder)
    # Old ones are removed under the readers' eyes: no period of grace.
    publisher = Publisher(folder, warehouse=warehouse, keep=2, grace_hours=0)

    def publish(version: int) -> str:
        write(warehouse, "raw", [version] * 20_000)
        write_sample(warehouse, MONDAY, [version] * 1000)
        return publisher.publish(spec()).publication.id

    ids = [publish(0)]
    stop = tmp_path / "stop"
    with ExitStack() as stack:
        readers = [
            stack.enter_context(started(_READ, how, tmp_path / "data", stop))
            for how in ("client", "plain") * (2 if full else 1)
        ]
        for version in range(1, 51 if full else 9):
            with record.fault(KIND):
                ids.append(publish(version))
                time.sleep(0.1)
        stop.touch()
        found = [json.loads(reader.communicate(timeout=60)[0]) for reader in readers]

    for reads, seen, problems in found:
        assert problems == []
        assert seen == [id_ for id_ in ids if id_ in seen], "an earlier publication was read after a later one"
        assert seen[-1] == ids[-1]
        assert len(seen) > 2
        record.note(KIND, reads=reads)
    record.note(KIND, errors=0, torn_reads=0)
