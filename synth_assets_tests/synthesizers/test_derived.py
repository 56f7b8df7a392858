"""Codes of one form, and columns that state parts of dates."""

import math
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from synth_assets.errors import ModelError
from synth_assets.schema.conditions import Condition
from synth_assets.schema.infer import infer_schema
from synth_assets.synthesizers.derived import DatePart, TextForm
from synth_assets.synthesizers.preparation import Preparation

RNG = np.random.default_rng(0)
DAYS = pd.Series(pd.date_range("2023-01-01", periods=600, freq="D"))


def test_codes_are_numbers_and_come_back() -> None:
    codes = pd.Series([f"{'ABK'[i % 3]}-{i:04d}" for i in range(90)] + [None], dtype="str")
    form = TextForm.fit(codes)

    places = (tuple(each) for each in ("ABK", "-", "0", "0", "012345678", "0123456789"))
    assert form == TextForm(forms=(tuple(places),))
    numbers = form.to_numbers(codes)
    pd.testing.assert_series_equal(form.to_texts(numbers), codes)
    assert numbers.dropna().is_unique
    assert form.to_numbers(pd.Series(["X-0000", "A-1000", "A-00000"], dtype="str")).tolist() == [-1, -1, -1]
    assert form.to_texts(numbers[:0]).tolist() == []


@pytest.mark.parametrize(
    "code",
    [
        lambda i: f"{'INV' if i % 3 else 'RX'}-{i}",
        lambda i: f"{chr(65 + i % 26)}{chr(65 + i // 26) if i > 25 else ''}-{i * 7 + 10}",
        lambda i: f"{i % 5}.{i % 12}.{i} €",
    ],
)
def test_codes_of_several_forms_keep_them(code: Callable[[int], str]) -> None:
    codes = pd.Series(list(map(code, range(99))), dtype="str")
    form = TextForm.fit(codes)
    assert form is not None
    pd.testing.assert_series_equal(form.to_texts(form.to_numbers(codes)), codes)

    drawn = form.to_texts(pd.Series(range(0, sum(math.prod(map(len, places)) for places in form.forms), 97)))

    shape = {re.sub("[0-9]", "0", re.sub("[A-HJ-MO-QSTUWYZ]", "A", each)) for each in codes}
    assert {re.sub("[0-9]", "0", re.sub("[A-HJ-MO-QSTUWYZ]", "A", each)) for each in drawn} <= shape


@pytest.mark.parametrize(
    "texts",
    [
        ["".join(RNG.choice(list("abcdefgh"), 5)) for _ in range(99)],  # words
        [f"{i * 7919 * 977 % 2**24:06x}" for i in range(99)],
        [f"{i:03d}-{i:03d}" for i in range(9)],
    ],
)
def test_other_texts_have_no_form(texts: list[str]) -> None:
    assert TextForm.fit(pd.Series(texts, dtype="str")) is None


def _rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "day": DAYS,
            "month": DAYS.dt.month_name(),
            "year": DAYS.dt.year,
            "code": [f"{i * 7919 % 10**6:06d}-{i % 7}" for i in range(600)],
            "kind": RNG.choice(["a", "b"], 600),
        }
    )


def _fitted(rows: pd.DataFrame) -> Preparation:
    schema = infer_schema(rows, private=False)
    return Preparation.fit(schema.coerce(rows, origin="x"), schema)


def test_parts_of_dates_are_found_and_hold_in_every_row() -> None:
    rows = _rows()
    preparation = _fitted(rows)
    learned = preparation.prepare(rows)
    assert {name: (part.of, part.part) for name, part in preparation.date_parts.items()} == {
        "month": ("day", "month"),
        "year": ("day", "year"),
    }
    shuffled = learned.assign(month=learned["month"].sample(frac=1, random_state=0).to_numpy())

    restored = preparation.restore(shuffled, seed=0, batch=0, first_key=0)
    assert (restored["month"] == rows["month"]).all()
    assert restored["year"].dtype == "int64"
    kept = preparation.is_acceptable(shuffled, {"month": "== 'May'"})  # which the synthesizer met
    assert kept is not None
    assert (kept == (shuffled["month"] == rows["month"])).all()
    assert preparation.is_acceptable(shuffled, {"kind": "== 'a'"}) is None


def test_quarters_weeks_and_first_days_of_months_are_parts_of_dates() -> None:
    days = pd.Series(pd.date_range("2022-01-03", periods=600)).astype("datetime64[s]")
    calendar = days.dt.isocalendar()
    rows = pd.DataFrame(
        {
            "month": days.dt.to_period("M").dt.start_time.astype("datetime64[s]"),
            "day": days,
            "quarter": days.dt.year.astype("str") + "-Q" + days.dt.quarter.astype("str"),
            "week": calendar["year"].astype("str") + "-W" + calendar["week"].astype("str"),
        }
    )
    preparation = _fitted(rows)
    assert {name: (part.of, part.part) for name, part in preparation.date_parts.items()} == {
        "month": ("day", "year_month"),
        "quarter": ("day", "year_quarter"),
        "week": ("day", "year_week"),
    }
    learned = preparation.prepare(rows)
    shuffled = learned.sample(frac=1, random_state=0).reset_index(drop=True).assign(day=learned["day"])
    restored = preparation.restore(shuffled, seed=0, batch=0, first_key=0)
    pd.testing.assert_frame_equal(restored, rows)


def test_a_part_that_some_rows_do_not_state_is_not_computed() -> None:
    rows = _rows()
    assert "month" not in _fitted(rows.assign(month=rows["month"].mask(rows.index == 3, "May"))).date_parts
    assert "month" not in _fitted(rows.assign(month=rows["month"].mask(rows.index == 3))).date_parts
    missing = rows.assign(day=rows["day"].mask(rows.index == 3), month=rows["month"].mask(rows.index == 3))
    part = _fitted(missing).date_parts["month"]
    assert part == DatePart(of="day", part="month", values={i: f"{pd.Timestamp(2024, i, 1):%B}" for i in range(1, 13)})
    assert part.apply(missing["month"], missing["day"]).isna().sum() == 1


def test_codes_are_learned_as_numbers_and_take_conditions_of_text() -> None:
    preparation = _fitted(rows := _rows())

    assert preparation.learned_schema.column("code").type == "integer"
    assert preparation.table_schema.column("code").type == "text"
    learned = preparation.prepare(rows)
    restored = preparation.restore(learned, seed=0, batch=0, first_key=0)
    assert restored["code"].tolist() == rows["code"].tolist()
    assert preparation.restrict({"code": "is not null"}) == {"code": Condition.parse("is not null", "code")}
    codes = rows["code"].dropna().unique()[:2].tolist()
    numbers = learned["code"][rows["code"].isin(codes)].unique().tolist()
    (clause,) = preparation.restrict({"code": f"in {tuple(codes)}"})["code"].clauses
    assert sorted(map(int, clause.values)) == sorted(numbers)
    with pytest.raises(ModelError, match="codes take ==, !=, in, not in, `is null`"):
        preparation.restrict({"code": ">= 5"})
    with pytest.raises(ModelError, match="'5' has not the form that the codes of the train rows have, such as"):
        preparation.restrict({"code": "!= 5"})
