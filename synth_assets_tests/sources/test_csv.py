"""CSV files: every cell as it is written, in the dialects that people have, or a message that says what is wrong."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synth_assets.sources import Dialect, SourceError
from synth_assets.sources.file import FileSource, read_file


def read(folder: Path, content: str | bytes, name: str = "t.csv", **stated: Any) -> pd.DataFrame:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_file(folder / name, dialect=Dialect(**stated))


def cells(frame: pd.DataFrame) -> list[list[str | None]]:
    return frame.astype("object").where(frame.notna(), None).to_numpy().tolist()


# Cells


@pytest.mark.parametrize(
    "text",
    ["02116", "NA", "None", "null", "1e5", "-0.0", "1.10", "true", "2020-01-31", " x ", "a is b", "1,234,5", "C:\\t"],
)
def test_a_cell_stays_as_it_is_written(tmp_path: Path, text: str) -> None:
    frame = read(tmp_path, f'a,b\n"{text}",1\n"{text}",2\n')

    assert cells(frame) == [[text, "1"], [text, "2"]]
    assert [str(dtype) for dtype in frame.dtypes] == ["str", "str"]


def test_an_empty_cell_is_missing(tmp_path: Path) -> None:
    assert cells(read(tmp_path, 'a,b\n,1\n"",2\n" ",3\n')) == [[None, "1"], [None, "2"], [" ", "3"]]


_TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=8
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_TEXTS, _TEXTS), min_size=1, max_size=6))
def test_any_text_survives_quotes(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [("a", "b"), *rows]]

    frame = read(tmp_path, "\n".join(quoted) + "\n", decimal=".", thousands="", encoding="utf-8", quote='"', escape='"')

    assert cells(frame) == [list(row) for row in rows]


# Names


def test_names_stay_as_they_are_written(tmp_path: Path) -> None:
    names = ["1st", "load (%)", "select", 'quote"d', "two\nlines", " padded ", "x" * 300, "Temp °C", "Id", "id", "7"]
    header = ",".join('"' + name.replace('"', '""') + '"' for name in names)

    frame = read(tmp_path, f"\ufeff{header}\n{','.join('123456789xy')}\n")

    assert list(frame) == names
    assert cells(frame) == [list("123456789xy")]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a,b,a", r"has the column 'a' twice; every name must be unique\.$"),
        ("a,,b", r"column 2 has no name; name every column"),
        (",a,", r"columns 1, 3 have no name"),
    ],
)
def test_names_that_are_empty_or_equal_are_refused(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(tmp_path, f"{header}\n1,2,3\n")


def test_a_file_without_a_header_is_read_if_stated(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"state `dialect: \{header: false\}` in the source, or"):
        read(tmp_path, "1,1\n2,2\n")

    frame = read(tmp_path, "1,x\n2,y\n", header=False)

    assert list(frame) == ["column_1", "column_2"]
    assert cells(frame) == [["1", "x"], ["2", "y"]]


# Delimiters and quotes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,x; y\n2,z\n", [["1", "x; y"], ["2", "z"]]),
        ("a;b\n1;x, y\n2;z, z\n", [["1", "x, y"], ["2", "z, z"]]),
        ("a\tb\n1, 2\tx;y\n3, 4\tz;z\n", [["1, 2", "x;y"], ["3, 4", "z;z"]]),
        ("a|b\n1|x,y\n2|z,z\n", [["1", "x,y"], ["2", "z,z"]]),
        ("5,66;9\n5,05;8\n", [["5,05", "8"]]),
        ('"a" "b 1" c\n1 2 x\n3 4 y\n', [["1", "2", "x"], ["3", "4", "y"]]),
        ("'a' 'b 1' 'c'\n1 2 'x y'\n3 4 z\n", [["1", "2", "x y"], ["3", "4", "z"]]),
        ("my own note\n1 x y\n2 z\n", [["1 x y"], ["2 z"]]),
        ("my own note\nx y z\nz z z\n", [["x y z"], ["z z z"]]),
        ("my note\n12 kg\n13 kg\n", [["12 kg"], ["13 kg"]]),
    ],
)
def test_the_delimiter_is_found(tmp_path: Path, text: str, expected: list[list[str]]) -> None:
    assert cells(read(tmp_path, text, decimal=".")) == expected


def test_the_delimiter_that_a_file_states_holds(tmp_path: Path) -> None:
    assert read(tmp_path, "sep=;\na;b,c\n1;2,5\n3;4,5\n").to_dict("list") == {"a": ["1", "3"], "b,c": ["2.5", "4.5"]}


def test_a_file_of_one_column_is_read(tmp_path: Path) -> None:
    assert cells(read(tmp_path, "a\n1\n2\n")) == [["1"], ["2"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n'x, y',1\n'z',2\n", [["x, y", "1"], ["z", "2"]]),
        ("a,b\n'tis,1\nit's,2\n", [["'tis", "1"], ["it's", "2"]]),
        ('a,b\n"said \\"x, y\\" to",1\n"z",2\n', [['said "x, y" to', "1"], ["z", "2"]]),
        ('a,b\n"C:\\temp\\",1\n" \\""",2\n', [["C:\\temp\\", "1"], [' \\"', "2"]]),
        ('a,b\n5" pipe,1\n3" pipe,2\n', [['5" pipe', "1"], ['3" pipe', "2"]]),
    ],
)
def test_quotes_are_found(tmp_path: Path, text: str, expected: list[list[str]]) -> None:
    assert cells(read(tmp_path, text)) == expected


def test_quotes_that_begin_late_in_a_file_are_quotes(tmp_path: Path) -> None:
    frame = read(tmp_path, "a,b\n" + "1,x\n" * 100_000 + '2,"x, y"\n')

    assert cells(frame.tail(1)) == [["2", "x, y"]]


@pytest.mark.parametrize("text", ['a,b\r\n"x\ny",1\r\nz,2\r\n', 'a,b\n"x\ny",1\r\nz,2\n', 'a,b\r"x\ny",1\rz,2\r'])
def test_line_breaks_of_any_kind_end_rows(tmp_path: Path, text: str) -> None:
    assert cells(read(tmp_path, text)) == [["x\ny", "1"], ["z", "2"]]


def test_blank_lines_above_the_header_are_skipped(tmp_path: Path) -> None:
    assert cells(read(tmp_path, "\n\na,b\n1,2\n")) == [["1", "2"]]


@pytest.mark.parametrize(
    "above",
    [
        "\ufeff\ufeff",
        "# exported by x, y and z\n#\n",
        "Sales report\n",
        "Sales report\n2024\n\n",
        "\n# title\n",
        "sep=,\n# title\n",
    ],
)
def test_comments_and_titles_above_the_header_are_skipped(tmp_path: Path, above: str) -> None:
    frame = read(tmp_path, above + "a,b\n1,x\n2,y\n")

    assert list(frame) == ["a", "b"]
    assert cells(frame) == [["1", "x"], ["2", "y"]]


def test_a_name_with_a_line_break_is_no_title(tmp_path: Path) -> None:
    frame = read(tmp_path, '"load\n(%)",b\n1.5,x\n2,y\n3,x\n')

    assert list(frame) == ["load\n(%)", "b"]
    assert len(frame) == 3


@pytest.mark.parametrize(
    "text", ["name\nSmith, Ann\nJones, Bob\nBrown, Eve\n", 'price\n"1,5"\n"2,5"\n"3,5"\n', "#id,b\n1,2\n3,4\n5,6\n"]
)
def test_a_header_is_no_title(tmp_path: Path, text: str) -> None:
    assert list(read(tmp_path, text)) == text.splitlines()[0].split(",")


def test_delimiters_at_the_end_of_every_line_make_no_column(tmp_path: Path) -> None:
    frame = read(tmp_path, "a,b,,\n1,x,,\n2,,,\n")

    assert list(frame) == ["a", "b"]
    assert cells(frame) == [["1", "x"], ["2", None]]
    with pytest.raises(SourceError, match="columns 3, 4 have no name"):
        read(tmp_path, "a,b,,\n1,x,,\n2,y,,z\n")


@pytest.mark.parametrize("first", [0, 1])
def test_a_column_of_row_numbers_without_a_name_is_left_out(tmp_path: Path, first: int) -> None:
    frame = read(tmp_path, f",a,b\n{first},x,1\n{first + 1},y,2\n")

    assert list(frame) == ["a", "b"]
    assert cells(frame) == [["x", "1"], ["y", "2"]]
    with pytest.raises(SourceError, match="column 1 has no name"):
        read(tmp_path, f",a,b\n{first},x,1\n{first + 2},y,2\n")


# Numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a;b\n5,66;x\n1,5;y\n", [["5.66", "x"], ["1.5", "y"]]),
        ("a;b\n1.092,5;x\n2;y\n", [["1092.5", "x"], ["2", "y"]]),
        ("a;b\n1 092,5;x\n2\u00a0000,25;y\n", [["1092.5", "x"], ["2000.25", "y"]]),
        ("a;b\n1'092.5;x\n2;y\n", [["1092.5", "x"], ["2", "y"]]),
        ('a,b\n"1,092.5",x\n"12,345,678",y\n', [["1092.5", "x"], ["12345678", "y"]]),
        ("a\tb\n1,5\tx\n-,5\ty\n", [["1.5", "x"], ["-.5", "y"]]),
        ("a;b\n1,5;x\n?;y\n;z\n-1,5E-3;NA\n", [["1.5", "x"], ["?", "y"], [None, "z"], ["-1.5E-3", "NA"]]),
    ],
)
def test_numbers_get_a_decimal_point(tmp_path: Path, text: str, expected: list[list[str | None]]) -> None:
    assert cells(read(tmp_path, text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a;b\n1,5;2,5 kg\n2,5;1,5 kg\n", ["2,5 kg", "1,5 kg"]),
        ('a,b\n1.5,"1,2"\n2.5,"3,4"\n', ["1,2", "3,4"]),  # beside decimal points, 1,2 is a label
        ("a;b\n1.5;12.345\n2.5;1.234\n", ["12.345", "1.234"]),
        ("a,b\n1.5,555 123 456\n2.5,555 123 457\n", ["555 123 456", "555 123 457"]),  # telephone numbers
        ("a;b\n1,5;01.02.2020\n2,5;03.02.2020\n", ["01.02.2020", "03.02.2020"]),
        ("a;b\n1.234,5;0.125\n2;0.250\n", ["0.125", "0.250"]),
    ],
)
def test_what_is_no_number_of_the_dialect_stays(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert read(tmp_path, text)["b"].tolist() == expected


def test_a_stated_number_format_holds(tmp_path: Path) -> None:
    text = "a;b\n1.234;x\n5.678;y\n"

    assert cells(read(tmp_path, text)) == [["1.234", "x"], ["5.678", "y"]]
    assert cells(read(tmp_path, text, thousands=".")) == [["1234", "x"], ["5678", "y"]]


# Encodings


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("cp1252", "cp1252"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
    ],
)
def test_the_encoding_is_found(tmp_path: Path, encoding: str, found: str) -> None:
    frame = read(tmp_path, "größe,preis\nsüß € ß,1\n".encode(encoding))

    assert list(frame) == ["größe", "preis"]
    assert cells(frame) == [["süß € ß", "1"]]
    dialect = FileSource(path="t.csv").load(tmp_path).dialect
    assert dialect is not None
    assert dialect.encoding == found


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1250", "Łódź Kraków żonaty mężatka"),
        ("cp1250", "Gdańsk Toruń średnie"),
        ("cp1250", "Plzeň Ústí muž středoškolské"),
        ("cp1250", "Győr Székesfehérvár nő férfi"),
        ("cp1250", "Čakovec muškarac srednja oženjen"),
        ("cp1250", "Iaşi bărbat căsătorit"),
        ("cp1254", "Kad\u0131n İzmir Eskişehir Muğla"),
        ("cp1254", "boşanm\u0131ş üniversite ilköğretim"),
        ("cp1257", "Šiauliai ištekėjusi vedęs"),
        ("cp1252", "München Düsseldorf weiß"),
        ("cp1252", "Besançon août forêt élève où"),
        ("cp1252", "España niño ¿sí? Málaga"),
        ("cp1252", "São coração opções não"),
        ("cp1252", "Århus høj lørdag Malmö"),
        ("cp1252", "Kópavogur Ísafjörður þriðjudagur"),
        ("cp1252", "città è lunedì"),
        ("cp1252", "Võru Põlva kõrgharidus"),
        ("cp1252", "20°C m² m³ £100 ½ “ok”"),
    ],
)
def test_an_encoding_is_told_by_its_letters_and_said(tmp_path: Path, encoding: str, words: str) -> None:
    frame = read(tmp_path, ("id,kind\n" + "".join(f"1,{word}\n" for word in words.split())).encode(encoding))

    assert frame["kind"].tolist() == words.split()
    assert f"{encoding} was taken" in FileSource(path="t.csv").load(tmp_path).notice
    stated = FileSource(path="t.csv", dialect=Dialect(encoding=encoding)).load(tmp_path)
    assert stated.notice == ""


def test_an_encoding_is_found_by_a_late_character(tmp_path: Path) -> None:
    frame = read(tmp_path, b"a,b\n" + b"1,x\n" * 600_000 + "2,é\n".encode("latin-1"))

    assert frame["b"].iloc[-1] == "é"


@pytest.mark.parametrize(
    ("encoding", "label"), [("cp1251", "Москва"), ("iso8859-7", "Αθήνα"), ("shift_jis", "東京都"), ("gbk", "北京市")]
)
def test_an_encoding_of_another_script_is_stated(tmp_path: Path, encoding: str, label: str) -> None:
    content = ("name,n\n" + f"{label},1\n" * 10).encode(encoding)

    assert read(tmp_path, content, encoding=encoding)["name"].unique().tolist() == [label]
    with pytest.raises(
        SourceError, match=r"is not in UTF-8, and (in no other encoding that can be told|may be in).*State it"
    ):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("encoding", "label"),
    [("cp932", "男"), ("cp932", "ﾀﾅｶ"), ("big5", "臺北"), ("gb18030", "男"), ("cp949", "서울"), ("euc_jp", "はい")],
)
def test_few_east_asian_characters_are_not_read_as_western_ones(tmp_path: Path, encoding: str, label: str) -> None:
    content = ("id,kind\n" + f"1,{label}\n2,yes\n" * 10).encode(encoding)

    with pytest.raises(SourceError, match=rf"may be in .*{encoding}.*State it in the source, such as `dialect"):
        read(tmp_path, content)
    assert read(tmp_path, content, encoding=encoding)["kind"].unique().tolist() == [label, "yes"]


@pytest.mark.parametrize(
    "label", ["niño", "ÄÖÜ süß", "O\u2019Brien", "“Köln”", "coração", "20 °C", "20°C", "5 €", "à côté"]
)
def test_western_letters_and_signs_are_not_taken_for_east_asian_ones(tmp_path: Path, label: str) -> None:
    assert read(tmp_path, f"id,kind\n1,{label}\n2,yes\n".encode("cp1252"))["kind"][0] == label


def test_few_letters_are_enough_to_find_a_western_encoding(tmp_path: Path) -> None:
    frame = read(tmp_path, ("größe;art\n" + "1,5;süß\n" * 1000).encode("cp1252"))

    assert frame["art"].unique().tolist() == ["süß"]


@pytest.mark.parametrize("compressed", [gzip.compress, lambda content: pa.compress(content, "zstd", asbytes=True)])
def test_a_compressed_file_is_read(tmp_path: Path, compressed: Any) -> None:
    for name in ("t.csv.gz", "t.csv"):
        frame = read(tmp_path, compressed("größe;art\n5,5;süß\n".encode("cp1252")), name)
        assert frame.to_dict("list") == {"größe": ["5.5"], "art": ["süß"]}


# Messages


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"t\.csv is empty; expected a header and at least one row\.$"),
        (b"\n\n", r"t\.csv is empty; expected a header"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\xff\xfe", r"t\.csv is not text"),
        (b"PAR1\x15\x04\xff", r"t\.csv is a Parquet file; rename it to t\.parquet\.$"),
        (b"PK\x03\x04\x14", r"t\.csv cannot be unpacked: File is not a zip file\."),
        (b'[{"a": 1}]', r"t\.csv is a JSON file; rename it to t\.json\.$"),
        (b"SQLite format 3\0", r"t\.csv is a SQLite database; .*the source `{ type: sqlite,"),
        (b"<!DOCTYPE html>", r"t\.csv is a web page"),
        ("a,b\nä,1\nü,2\n".encode() + b"\xe4,3\n", r"line 4 is not in UTF-8, as expected\. State it"),
        (b"a,b\n1,2\n3,4,5\n", r"line 3 has 3 cells, and the header has 2\. Correct the line, or state the dialect"),
        (b"a,b\n1,2\n3\n", r"line 3 has 1 cell, and the header has 2\."),
        (b'a,b\n"x\n\ny",1\n1,2,3\n', r"line 5 has 3 cells"),
        (b"# of x\n\na,b\n1,2\n3,4\n5,6\n7,8\n# end\n", r"line 8 has 1 cell, and the header has 2\."),
        (b"a,b\r\n1,2\n3,4,5\r\n", r"line 3 has 3 cells"),
        (b'a,b\n1,2\n3,"4\n5,6\n', r"a quoted cell in line 3 does not end"),
        (b'a,b\n1,2\n3,"4"x\n', r"a quoted cell in line 3 is followed by text"),
        (b"a,b\n1," + b"x" * 3_000_000 + b"\n", r"a quoted cell in line 2 does not end|cannot be split into rows"),
    ],
)
def test_what_is_no_table_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read(tmp_path, content)
    assert "codec" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_wrong_encoding_that_is_stated_is_said_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"line 2 is not in UTF-8, as expected"):
        read(tmp_path, "a,b\nä,1\n".encode("latin-1"), encoding="utf-8")
    with pytest.raises(SourceError, match=r"line 1000002 is not in UTF-8, as expected"):
        read(tmp_path, b"a,b\n" + b"1,x\n" * 1_000_000 + b"\xe4,1\n", encoding="utf-8")


def test_values_never_move_to_another_column(tmp_path: Path) -> None:
    """Lines that end in a comma are read under their own names."""
    frame = read(tmp_path, "Sex,Length\nM,0.5,\nF,0.7,\n")

    assert frame.to_dict("list") == {"Sex": ["M", "F"], "Length": ["0.5", "0.7"]}


@pytest.mark.parametrize(
    "stated",
    [
        {"delimiter": '"'},
        {"delimiter": ",,"},
        {"encoding": "klingon"},
        {"encoding": "base64"},
        {"decimal": ",", "thousands": ","},
    ],
)
def test_a_dialect_that_cannot_be_is_refused(stated: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Dialect(**stated)


def test_the_dialect_found_reads_the_file_as_finding_does(tmp_path: Path) -> None:
    frame = read(tmp_path, "größe;art;preis\n5,66;süß;1.092,5\n4,1;salzig;12\n".encode("cp1252"))
    found = FileSource(path="t.csv").load(tmp_path).dialect

    assert found is not None
    assert found == Dialect(delimiter=";", decimal=",", thousands=".", encoding="cp1252", quote='"', escape='"', skip=0)
    stated = FileSource.model_validate({"path": "t.csv", "dialect": found.model_dump()})
    pd.testing.assert_frame_equal(stated.load(tmp_path).frame, frame)


def test_cells_are_no_python_objects(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 10**6, 200_000)
    pd.DataFrame({"a": numbers, "b": numbers / 7, "c": "x"}).to_csv(tmp_path / "t.csv", index=False)

    frame = read_file(tmp_path / "t.csv")

    assert frame["a"].astype("int64").tolist() == numbers.tolist()
    assert frame.memory_usage(deep=True).sum() < 60 * len(frame)


@pytest.mark.parametrize("name", ["t[1].csv", "t*.csv", "t?.csv", "it's.csv"])
def test_a_file_name_is_no_pattern(tmp_path: Path, name: str) -> None:
    (tmp_path / "t1.csv").write_text("a,b\n9,9\n")

    assert cells(read(tmp_path, "a,b\n1,2\n", name)) == [["1", "2"]]
