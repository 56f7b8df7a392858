"""Parquet, JSON and Excel files, folders and patterns of files."""

import bz2
import datetime
import json
import lzma
import os
import sys
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from synth_assets.schema.columns import TableError
from synth_assets.schema.infer import infer_schema
from synth_assets.sources import Dialect, LoadedTable, SourceError
from synth_assets.sources.file import FileSource, fingerprint_of, read_file, write_file


@pytest.fixture
def typed() -> pd.DataFrame:
    """Return a frame with a column of each dtype that `schema.coerce` returns."""
    return pd.DataFrame(
        {
            "label": pd.Series(["02116", None, 'ß,\n"'], dtype="str"),
            "whole": [1, 2**60 + 1, 3],
            "gap": pd.array([2**60 + 1, None, 3], dtype="Int64"),
            "number": [0.1, None, -0.0],
            "flag": [True, False, True],
            "maybe": pd.array([True, None, False], dtype="boolean"),
            "day": pd.to_datetime(["2020-01-31", None, "1850-01-01"]).astype("datetime64[s]"),
            "time": pd.to_datetime(["2020-01-31 10:00:00.000001", None, "1850-01-01 00:00:00.5"]).astype(
                "datetime64[us]"
            ),
            "zoned": pd.to_datetime(["2020-01-31 10:00", None, "2020-07-01 00:00"]).tz_localize("UTC").as_unit("us"),
        }
    )


def load(folder: Path, path: str, **stated: Any) -> LoadedTable:
    return FileSource.model_validate({"path": path, **stated}).load(folder)


# Parquet


def test_parquet_gives_every_dtype_back(tmp_path: Path, typed: pd.DataFrame) -> None:
    write_file(typed, tmp_path / "t.parquet", suffix=".parquet")

    pd.testing.assert_frame_equal(read_file(tmp_path / "t.parquet"), typed, check_exact=True)
    assert parquet.read_schema(tmp_path / "t.parquet").field("day").type == pa.date32()


def test_csv_gives_every_cell_as_text(tmp_path: Path, typed: pd.DataFrame) -> None:
    write_file(typed, tmp_path / "t.csv", suffix=".csv")

    frame = read_file(tmp_path / "t.csv")

    assert frame.iloc[0].tolist() == [
        "02116", "1", "1152921504606846977", "0.1", "True", "True", "2020-01-31", "2020-01-31 10:00:00.000001",
        "2020-01-31 10:00:00+00:00",
    ]  # fmt: skip
    assert frame.iloc[1].isna().tolist() == typed.iloc[1].isna().tolist()


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".xlsx"])
def test_what_is_written_is_read_with_its_values(tmp_path: Path, typed: pd.DataFrame, suffix: str) -> None:
    written = typed.assign(text=["=1+1", None, "+x"])
    write_file(written, tmp_path / f"t{suffix}", suffix=suffix)

    frame = read_file(tmp_path / f"t{suffix}")
    schema = infer_schema(written)
    pd.testing.assert_frame_equal(schema.coerce(frame, origin="t"), schema.coerce(written, origin="t"))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".xlsx"])
def test_decimals_are_written_with_their_digits(tmp_path: Path, suffix: str) -> None:
    prices, keys = [Decimal("6.20"), None], [Decimal(10**20 + 1), Decimal(7)]
    table = pa.table({"price": pa.array(prices, pa.decimal128(9, 2)), "key": pa.array(keys, pa.decimal128(30, 0))})
    parquet.write_table(table, tmp_path / "source.parquet")
    frame = read_file(tmp_path / "source.parquet")

    write_file(frame, tmp_path / f"t{suffix}", suffix=suffix)

    found = read_file(tmp_path / f"t{suffix}")
    assert found["price"].dropna().map(lambda price: Decimal(str(price))).tolist() == [Decimal("6.20")]
    assert found["key"].map(int).tolist() == keys
    if suffix == ".parquet":
        assert found.dtypes.equals(frame.dtypes)


def test_what_a_sheet_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"cannot hold the text 'a\\x01b"):
        write_file(pd.DataFrame({"x": ["a\x01b"]}), tmp_path / "t.xlsx", suffix=".xlsx")
    with pytest.raises(TableError, match=r"the table 1 and 20,000; name a \.csv or \.parquet file"):
        write_file(pd.DataFrame(np.zeros((1, 20_000))), tmp_path / "t.xlsx", suffix=".xlsx")


def test_values_of_other_types_come_as_numbers_text_or_objects(tmp_path: Path) -> None:
    table = pa.table(
        {
            "price": [Decimal("6.27"), None],
            "lot": pa.array([Decimal(7), None], pa.decimal128(20, 0)),
            "kind": pa.array(["a", None]).dictionary_encode(),
            "list": [[1, 2], None],
            "struct": [{"a": 1}, None],
            "bytes": [b"ab", None],
            "clock": [datetime.time(3, 4), None],
            "nothing": pa.nulls(2),
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")

    frame = read_file(tmp_path / "t.parquet")

    assert frame.iloc[0, :-1].tolist() == [Decimal("6.27"), 7, "a", [1, 2], {"a": 1}, b"ab", "03:04:00"]
    assert frame.iloc[1].isna().all()


def test_names_that_differ_by_case_stay_and_equal_ones_are_refused(tmp_path: Path) -> None:
    parquet.write_table(pa.table([[1], [2]], names=["a", "A"]), tmp_path / "case.parquet")
    parquet.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "twice.parquet")

    assert list(read_file(tmp_path / "case.parquet")) == ["a", "A"]
    with pytest.raises(SourceError, match=r"twice\.parquet has the column 'a' twice"):
        read_file(tmp_path / "twice.parquet")


# JSON


@pytest.mark.parametrize("name", ["t.jsonl", "t.ndjson", "t.json"])
def test_json_gives_typed_columns_and_leaves_text_alone(tmp_path: Path, name: str) -> None:
    rows = [
        {
            "zip": "02116",
            "day": "2020-01-31",
            "n": 2**60 + 1,
            "x": 1.5,
            "ok": True,
            "tags": ["a"],
            "any": {"b": 1},
            "of": 1,
        },
        {"zip": "NA", "day": None, "x": 2, "any": [1], "of": "a", "odd name": "1e5"},
    ]
    text = json.dumps(rows) if name == "t.json" else "\n".join(map(json.dumps, rows))
    (tmp_path / name).write_text(text)

    frame = read_file(tmp_path / name)

    assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == {
        "zip": "str", "day": "str", "n": "Int64", "x": "float64", "ok": "boolean", "tags": "object", "any": "object",
        "of": "str", "odd name": "str",
    }  # fmt: skip
    assert frame.drop(columns=["tags", "any", "odd name"]).iloc[0].tolist() == [
        "02116",
        "2020-01-31",
        2**60 + 1,
        1.5,
        True,
        "1",
    ]
    assert frame["tags"].isna().tolist() == [False, True]


# Excel


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    for package in ("openpyxl", "python_calamine"):
        pytest.importorskip(package, reason=f"needs {package}: `pip install 'synth-assets[dev]'`")
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_excel_gives_typed_columns(tmp_path: Path) -> None:
    day = datetime.date(2020, 1, 31)
    header = ["zip", "n", "x", "ok", "day", "mixed", 2020, None]
    rows = [["02116", 10**15 + 1, 1.5, True, day, 1, 1], ["NA", None, 2, False, None, "?", 2], [None] * 7]
    path = workbook(tmp_path / "t.xlsx", first=[header, *rows], second=[["a"], [1]])

    frame = read_file(path)

    assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == {
        "zip": "str", "n": "Int64", "x": "float64", "ok": "bool", "day": "datetime64[s]", "mixed": "str",
        "2020": "int64",
    }  # fmt: skip
    assert frame.iloc[0].tolist() == ["02116", 10**15 + 1, 1.5, True, pd.Timestamp(day), "1", 1]
    assert len(frame) == 2
    assert load(tmp_path, "t.xlsx", sheet="second").frame.to_dict("list") == {"a": [1]}
    with pytest.raises(SourceError, match=r"has no sheet 'third'; its sheets are 'first' or 'second'\.$"):
        read_file(path, sheet="third")


def test_row_numbers_without_a_name_are_no_column_of_a_sheet_and_durations_are_kept(tmp_path: Path) -> None:
    hours = [datetime.timedelta(hours=30), datetime.timedelta(hours=2)]
    workbook(tmp_path / "t.xlsx", one=[[None, "a", "for"], [0, "x", hours[0]], [1, "y", hours[1]]])

    frame = read_file(tmp_path / "t.xlsx")

    assert list(frame) == ["a", "for"]
    assert frame["for"].tolist() == hours
    with pytest.raises(SourceError, match="column 1 has no name"):
        read_file(workbook(tmp_path / "u.xlsx", one=[[None, "a"], [0, "x"], [2, "y"]]))


def test_an_empty_sheet_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the sheet 'first' is empty; expected a header"):
        read_file(workbook(tmp_path / "t.xlsx", first=[]))


# What is no table


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.parquet", b"", r"t\.parquet is empty"),
        ("t.parquet", b"a,b\n1,2\n", r"t\.parquet is not a Parquet file: "),
        ("t.xlsx", b"a,b\n1,2\n", r"t\.xlsx is not an Excel workbook; expected one"),
        ("t.xlsx", b"PAR1", r"t\.xlsx is a Parquet file; rename it to t\.parquet"),
        ("t.jsonl", b'{"a": 1}\n{"a": ', r"t\.jsonl is not a JSON table: .*Expected an array of objects, or one"),
        ("t.json", b'{"a": [1, 2], "b": [3, 4]}', r"t\.json is one JSON object of lists; expected"),
        ("t.json", b"[1, 2]", r"t\.json has values that are no objects"),
    ],
)
def test_a_file_that_is_not_of_its_format_is_said(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(SourceError, match=message):
        read_file(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "stated", "message"),
    [
        ("t.csv", {"sheet": "first"}, "has no sheets, and 'first' is stated; remove `sheet`"),
        ("t.json", {"dialect": Dialect()}, "is no CSV file, and a dialect is stated; remove `dialect`"),
    ],
)
def test_a_setting_of_another_format_is_refused(
    tmp_path: Path, name: str, stated: dict[str, Any], message: str
) -> None:
    (tmp_path / name).write_text('[{"a": 1}]' if name == "t.json" else "a,b\n1,2\n")

    with pytest.raises(SourceError, match=message):
        read_file(tmp_path / name, **stated)


def test_a_file_without_a_known_suffix_is_read_by_its_content(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "export")
    (tmp_path / "table.dat").write_text("a;b\n1;2\n")

    assert read_file(tmp_path / "export").to_dict("list") == {"a": [1]}
    assert read_file(tmp_path / "table.dat").to_dict("list") == {"a": ["1"], "b": ["2"]}


# Several files


@pytest.mark.parametrize("path", ["sales", "sales/*.csv", "s*/2020-*.csv"])
def test_the_files_of_a_folder_or_pattern_are_one_table(tmp_path: Path, path: str) -> None:
    (tmp_path / "sales").mkdir()
    (tmp_path / "sales" / "2020-02.csv").write_text("b;a\n2,5;y\n")
    (tmp_path / "sales" / "2020-01.csv").write_text("a,b\nx,1.5\n")
    (tmp_path / "sales" / "README").write_text("not a table\n")

    loaded = load(tmp_path, path)

    assert loaded.frame.to_dict("list") == {"a": ["x", "y"], "b": ["1.5", "2.5"]}
    assert loaded.label == f"file {path}"
    source = FileSource(path=path)
    assert source.fingerprint(tmp_path) == loaded.fingerprint
    (tmp_path / "sales" / "2020-03.csv").write_text("a,b\nz,3\n")
    assert source.fingerprint(tmp_path) != loaded.fingerprint


def test_files_of_typed_columns_are_one_table(tmp_path: Path) -> None:
    for name, values in (("1", [1, 2]), ("2", [2**60 + 1, None])):
        parquet.write_table(pa.table({"a": pa.array(values, pa.int64())}), tmp_path / f"{name}.parquet")

    assert load(tmp_path, "*.parquet").frame["a"].tolist() == [1, 2, 2**60 + 1, pd.NA]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("2.csv", "a,c\n1,2\n", r"^2\.csv lacks 'b' and has 'c' besides, unlike 1\.csv; expected the same columns"),
        ("2.csv", "a\n1\n", r"^2\.csv lacks 'b', unlike 1\.csv"),
        ("2.json", '[{"a": 1, "b": 2}]', r"^1\.csv is a file of CSV and 2\.json one of JSON; expected one format"),
    ],
)
def test_files_that_differ_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / "sales").mkdir()
    (tmp_path / "sales" / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "sales" / name).write_text(content)

    with pytest.raises(SourceError, match=message):
        load(tmp_path, "sales")


def test_no_file_in_a_folder_or_pattern_is_said(tmp_path: Path) -> None:
    (tmp_path / "sales").mkdir()

    for path in ("sales", "sales/*.csv"):
        with pytest.raises(SourceError, match=r"in the data folder: there is no file .*Put the table there"):
            load(tmp_path, path)


def test_a_large_file_is_not_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_assets.sources.file.HASHED_BYTES", 3)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    before = fingerprint_of([path])

    os.utime(path, (0, 0))

    assert before.startswith("size-mtime:8-")
    assert fingerprint_of([path]) != before


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04")
    monkeypatch.setitem(sys.modules, "python_calamine", None)

    with pytest.raises(SourceError, match=r"python-calamine\. Run `pip install 'synth-assets\[excel\]'`"):
        read_file(tmp_path / "t.xlsx")


def _zip(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_a_packed_table_is_read_with_its_dialect(tmp_path: Path) -> None:
    text = "a;b\n1,5;x\n2,5;y\n"
    _zip(tmp_path / "t.zip", **{"data/t.csv": text, "__MACOSX/data/._t.csv": "?"})
    (tmp_path / "t.csv.bz2").write_bytes(bz2.compress(text.encode()))
    (tmp_path / "t.csv.xz").write_bytes(lzma.compress(text.encode()))

    for name in ("t.zip", "t.csv.bz2", "t.csv.xz"):
        loaded = load(tmp_path, name)
        assert loaded.frame.to_dict("list") == {"a": ["1.5", "2.5"], "b": ["x", "y"]}
        assert loaded.dialect is not None
        assert (loaded.origin, loaded.dialect.delimiter) == (name, ";")


def test_an_archive_of_several_files_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    two = _zip(tmp_path / "two.zip", **{"a.csv": "a\n1\n", "b.csv": "a\n1\n"})
    with pytest.raises(SourceError, match=r"two\.zip contains 2 files: 'a\.csv', 'b\.csv'; expected one table"):
        read_file(two)
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(two.read_bytes()[:40])
    with pytest.raises(SourceError, match=r"damaged\.zip cannot be unpacked: File is not a zip file"):
        read_file(damaged)
    ragged = _zip(tmp_path / "ragged.zip", **{"t.csv": "a,b\n1,2\n3\n"})
    with pytest.raises(SourceError, match=r"ragged\.zip: line 3 has 1 cell"):
        read_file(ragged)


def test_an_arrow_file_is_read(tmp_path: Path, typed: pd.DataFrame) -> None:
    typed.to_feather(tmp_path / "t.feather")

    pd.testing.assert_frame_equal(read_file(tmp_path / "t.feather"), typed, check_dtype=False)


def test_titles_above_the_header_of_a_sheet_are_skipped(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["Report 2024"], [], ["region", "sales", "staff"], ["north", 3, 1], ["south", 4, 2]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")

    assert read_file(tmp_path / "t.xlsx").to_dict("list") == {
        **{"region": ["north", "south"], "sales": [3, 4], "staff": [1, 2]}
    }
