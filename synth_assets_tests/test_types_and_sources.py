"""The page on types and sources: its Python blocks run, its YAML is valid, its lists are complete."""

import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import duckdb
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.schema.columns import Column, Integer, Text
from synth_assets.schema.lock import SchemaLock
from synth_assets.sources import AnySource
from synth_assets_tests.documentation import DOCS, blocks, run_python

PAGE = "types-and-sources.md"

FRAGMENTS = [yaml.safe_load(block) for block in blocks(PAGE, "yaml")]

COMPLETE = {
    "table": "orders",
    "source": {"type": "file", "path": "orders.csv"},
    "columns": [{"name": "items", "type": "integer"}, {"name": "country", "type": "categorical", "categories": ["DE"]}],
}


def test_python_blocks_run_and_the_override_fits_what_they_infer(tmp_path: Path) -> None:
    found = run_python(PAGE)["found"]
    SchemaLock.of(found, {}).write(tmp_path)
    (stated,) = (fragment for fragment in FRAGMENTS if "override" in fragment)
    schema = SyntheticTableSettings.model_validate({**COMPLETE, **stated}).resolved(tmp_path).table_schema()
    assert schema.names == found.schema.names
    assert schema.column("items") == Integer(name="items", minimum=1, maximum=50)
    assert schema.column("note") == Text(name="note", max_length=100)


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda fragment: str(fragment)[:60])
def test_yaml_is_part_of_valid_settings(fragment: dict[str, Any]) -> None:
    settings = SyntheticTableSettings.model_validate({**COMPLETE, **fragment})
    assert set(fragment) <= settings.model_fields_set


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every file that the page's sources name."""
    folder = tmp_path_factory.mktemp("data")
    rows = pd.DataFrame({"ordered": pd.to_datetime(["2024-01-01", "2024-02-29"]), "price": [1092.5, 7.25]})
    rows.to_csv(folder / "orders.csv", sep=";", decimal=",", index=False)
    rows.to_parquet(folder / "orders.parquet")
    rows.to_json(folder / "orders.jsonl", orient="records", lines=True, date_format="iso")
    if find_spec("openpyxl"):
        rows.to_excel(folder / "orders.xlsx", sheet_name="2024", index=False)
    (folder / "orders").mkdir()
    for month in range(2):
        rows.iloc[[month]].to_csv(folder / "orders" / f"2024-0{month + 1}.csv", index=False)
    with closing(sqlite3.connect(folder / "shop.sqlite")) as connection:
        rows.to_sql("orders", connection, index=False)
    with duckdb.connect(str(folder / "shop.duckdb")) as database:
        database.sql("CREATE TABLE orders AS SELECT * FROM rows")
    return folder


LOCAL = [each["source"] for each in FRAGMENTS if each.get("source", {}).get("type") in ("file", "sqlite", "duckdb")]


@pytest.mark.parametrize("source", LOCAL, ids=str)
def test_sources_without_a_server_are_loaded(source: dict[str, Any], data_dir: Path) -> None:
    if source["path"].endswith(".xlsx"):
        pytest.importorskip("openpyxl")
        pytest.importorskip("python_calamine")
    loaded = TypeAdapter(AnySource).validate_python(source).load(data_dir)
    assert loaded.frame["price"].astype(float).tolist() == [1092.5, 7.25]


def test_every_column_type_and_source_has_an_example() -> None:
    def names(union: Any) -> set[str]:
        return {each.model_fields["type"].default for each in get_args(get_args(union)[0])}

    columns = {
        column["type"] for each in FRAGMENTS if isinstance(each.get("columns"), list) for column in each["columns"]
    }
    assert columns == names(Column)
    sources = {each["source"]["type"] for each in FRAGMENTS if "source" in each}
    assert names(AnySource) - sources == {"auto", "placeholder"}  # of abalone


def test_every_setting_is_listed() -> None:
    table = (DOCS / PAGE).read_text(encoding="utf-8").partition("## Keys of a `defs.yaml`")[2]
    assert [name for name in SyntheticTableSettings.model_fields if f"`{name}`" not in table] == []
