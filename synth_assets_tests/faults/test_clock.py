"""The clock is set back by a year: what is published later is newer all the same."""

from pathlib import Path

from synth_assets_tests.faults.record import Record
from synth_assets_tests.storage.processes import result_of

KIND = "the clock set back by a year"

_SET_BACK = """
import datetime as dt, json, sys
from pathlib import Path
import duckdb
from synth_assets import read_table
from synth_assets.publishing import publications
from synth_assets.storage import warehouse as warehouses
from synth_assets.storage.paths import DataPaths
from synth_assets.publishing.publisher import Publisher
from synth_assets.storage.warehouse import Warehouse
from synth_assets_tests.storage.toy import MONDAY, TUESDAY, spec, write_sample

DAYS = 0

class Clock(dt.datetime):
    @classmethod
    def now(cls, tz=None):
        return dt.datetime.now(tz) + dt.timedelta(days=DAYS)

publications.datetime = warehouses.datetime = Clock
folder = DataPaths(Path(sys.argv[1]))
warehouse = Warehouse(folder)
publisher = Publisher(folder, warehouse=warehouse, keep=2, grace_hours=0)
told = []
for version, DAYS in enumerate((0, -365, -365, 0)):
    write_sample(warehouse, MONDAY, [version])
    id_ = publisher.publish(spec()).publication.id
    current = publisher.publications.current()
    with duckdb.connect(str(publisher.path), read_only=True) as connection:
        recorded = connection.execute(
            "SELECT year(materialized_at) FROM toy.provenance WHERE asset = 'synthetic_sample'"
        ).fetchall()
    told.append({
        "is_current": current.id == id_,
        "newest_first": [each.id for each in publisher.publications.all()],
        "id": id_,
        "read": read_table("toy", data=folder.root)["x"].tolist(),
        "record_of_the_day": recorded,
        "year": Clock.now().year,
        "previous": current.manifest["previous"],
    })
back = publisher.publications.rollback().id
print(json.dumps([told, back, read_table("toy", data=folder.root)["x"].tolist()]))
"""


def test_what_is_published_after_the_clock_was_set_back_is_current(tmp_path: Path, record: Record) -> None:
    with record.fault(KIND, count=2):  # back, and forward again
        told, rolled_back_to, read = result_of(_SET_BACK, tmp_path)
        ids = [each["id"] for each in told]
        for version, each in enumerate(told):
            assert each["is_current"], version
            assert each["read"] == [version]
            assert each["newest_first"] == ids[max(0, version - 1) : version + 1][::-1], version
            assert each["previous"] == (ids[version - 1] if version else None)
            # Of rows that were made twice, the record is that of the second time.
            assert each["record_of_the_day"] == [[each["year"]]], version
        assert ids != sorted(ids)
        assert rolled_back_to == ids[-2]
        assert read == [2]
