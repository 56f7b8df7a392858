"""Numbers that a source writes in a format are read, and written in it again."""

from collections.abc import Sequence

import pandas as pd
import pytest

from synth_assets.schema.number_formats import find_format, parse_format

RUN = range(40)
HOURS = [i * 37 for i in RUN]


@pytest.mark.parametrize(
    ("texts", "pattern", "unit", "last"),
    [
        ([f"${i * 137:,}.{i:02d}" for i in RUN], "$#,##0.00", "$", 5343.39),
        ([f"{'-' * (i % 3 == 0)}${i * 137:,}.05" for i in RUN], "$#,##0.00", "$", -5343.05),
        ([f"${'-' * (i % 3 == 0)}{i * 137}.05" for i in RUN], "$0.00;$-0.00", "$", -5343.05),
        ([f"({i}.5)" if i % 3 == 0 else f"{i}.5" for i in RUN], "0.0;(0.0)", "", -39.5),
        ([f"+{i}.5%" for i in RUN] + ["0.0%", "-3.5%"], "+0.0%;-0.0%;0.0%", "%", -3.5),
        ([f"{i}.{i * 7 + 100},{i:02d} €" for i in RUN[1:]], "#.##0,00 €", "€", 39373.39),
        ([f"{i}.{i * 7 + 100} €" for i in RUN[1:]] + ["950 €"], "#.##0 €", "€", 950),
        ([f"CHF {i}'{i * 7 + 100}.50" for i in RUN[1:]], "CHF #'##0.00", "CHF", 39373.5),
        ([f"{i * 137:,}".replace(",", " ") for i in RUN], "# ##0", "", 5343),
        ([f"{i * 137 * 137:,}".replace(",", "'") for i in RUN], "#'##0", "", 731991),
        ([f"{i + 1}\u00a0{i * 7 + 100}" for i in RUN], "#\u00a0##0", "", 40373),
        ([f"{i / 4:g}kg" for i in RUN], "0.#kg", "kg", 9.75),
        ([f"{i - 50} °C" for i in RUN], "0 °C", "°C", -11),
        ([f"{i},5" for i in RUN], "0,0", "", 39.5),
        ([f"{m // 60 % 24:02d}:{m % 60:02d}" for m in HOURS], "%H:%M", "min", 3),
        ([f"{m // 60 % 12 + 1}:{m % 60:02d} {'AP'[m % 2]}M" for m in HOURS], "%-I:%M %p", "min", 783),
        ([f"{m}:{m % 60:02d}:30" for m in HOURS], "%-H:%M:%S", "s", 1443 * 3600 + 210),
        ([f"{i % 3 + 1}:{i:02d}.{i * 7:03d}" for i in RUN], "%-M:%S.000", "s", 99.273),
        ([str(pd.Timedelta(hours=h)) for h in HOURS], "%d days %H:%M:%S", "s", 1443 * 3600),
        ([str(pd.Timedelta(seconds=h - 99.25)) for h in HOURS], "%d days %H:%M:%S", "s", 1343.75),
    ],
)
def test_a_format_is_found_read_and_written(texts: Sequence[str], pattern: str, unit: str, last: float) -> None:
    values = pd.Series(texts, dtype="str")
    found = parse_format(pattern)

    numbers = pd.to_numeric(found.read(values))

    assert (find_format(values), found.unit, numbers.iloc[-1]) == (pattern, unit, last)
    assert found.write(numbers).tolist() == texts


@pytest.mark.parametrize(
    "text",
    [
        "A{}",
        "A-{}",
        "FLT {}",
        "{}-seat",
        "{:04d} kg",
        "{}/2024",
        "1.{}.3",
        "555 1{:02d}",
        "{} 123",
        "{}'123",
        "{}:5",
        "#{}",
        "{} ({} kg)",
    ],
)
def test_codes_are_no_numbers(text: str) -> None:
    assert find_format(pd.Series([text.format(i, i) for i in RUN])) is None


def test_texts_of_several_formats_have_none() -> None:
    assert find_format(pd.Series([f"{i} {'kg' if i % 2 else 'lb'}" for i in RUN])) is None
    assert find_format(pd.Series([f"{i}:30{':00' * (i % 2)}" for i in RUN])) is None
    assert find_format(pd.Series([*map(str, RUN), "4,6", "18,19"])) is None


def test_what_is_in_another_format_stays_as_it_is() -> None:
    values = pd.Series(["$5", "6", "five", None], dtype="str")
    assert parse_format("$0").read(values).fillna("").tolist() == ["5", "6", "five", ""]
    assert parse_format("$0").write(pd.Series([-3, pd.NA], dtype="Int64")).fillna("").tolist() == ["-$3", ""]


@pytest.mark.parametrize("pattern", ["kg", "0 0", "%d.%m", "%I:%M", "0;0;0;0"])
def test_an_unknown_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_format(pattern)
