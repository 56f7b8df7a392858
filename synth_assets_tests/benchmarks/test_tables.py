"""The tables of the benchmark: how their rows are had and split."""

from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from synth_assets.sources import SourceError

ROWS = pd.DataFrame({"No": range(1, 41), "kind": ["a", "b"] * 20, "size": [0.5, 1.25, 2.0, 3.5] * 10})


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    import tables

    stated = {"files": {"train": "things.csv.gz"}, "drop": ["No"], "target": "size"}
    with_test = {**stated, "files": {"train": "things.csv.gz", "test": "more.csv"}}
    missing = {"files": {"train": "not_there.csv"}, "target": "size"}
    entries = {"things": stated, "tested": with_test, "missing": missing}
    monkeypatch.setattr(tables, "_stated", lambda: entries)
    monkeypatch.setenv("TABLES", str(tmp_path))
    ROWS.to_csv(tmp_path / "things.csv.gz", index=False)
    ROWS.head(7).to_csv(tmp_path / "more.csv", index=False)
    return tables


def test_a_tenth_is_held_out_with_the_seed(tables: ModuleType) -> None:
    first, again, other = (tables.load("things", seed) for seed in (0, 0, 1))
    assert (len(first.train), len(first.holdout)) == (36, 4)
    assert list(first.train) == ["kind", "size"]
    assert first.schema.target == "size"
    assert first.holdout.equals(again.holdout)
    assert not first.holdout.equals(other.holdout)


def test_a_test_part_of_its_own_is_held_out(tables: ModuleType) -> None:
    found = tables.load("tested", seed=5)
    assert (len(found.train), len(found.holdout)) == (40, 7)


def test_a_table_that_cannot_be_had_says_what_to_do(tables: ModuleType) -> None:
    with pytest.raises(SourceError, match=r"missing has no source\. Set TABLES"):
        tables.load("missing")


def test_the_stated_tables_are_valid() -> None:
    import tables

    for name, entry in tables._stated().items():
        stated = tables.TableSettings.model_validate(entry)
        assert bool(stated.defs) != bool(stated.files and stated.source and stated.target), name
