"""Tests of a sample's report: that the page says what it was given, escapes it, and loads nothing."""

import base64
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from synth_assets.evaluation.figures import as_png
from synth_assets.evaluation.gates import GATES as SHIPPED
from synth_assets.evaluation.gates import evaluate_gate
from synth_assets.evaluation.metrics import METRICS, RESULT_COLUMNS
from synth_assets.evaluation.metrics.base import NotComputed
from synth_assets.evaluation.report import (
    MAX_TABLE_ROWS,
    PICTURES,
    SCALE,
    Origin,
    Utility,
    describe_columns,
    report_html,
)
from synth_assets.evaluation.samples import Samples
from synth_assets.schema.columns import Categorical, Id, Text
from synth_assets.schema.constraints import Constraint
from synth_assets.schema.table import TableSchema

ATTACK = "<img src=x onerror=alert(1)>"
VOID = {"meta", "img", "br", "link", "input", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    text: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


class Page(HTMLParser):
    """The elements of a page, each with all the text in it; refuses what is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text.append(data)

    def all(self, *tags: str) -> list[Element]:
        return [element for element in self.elements if element.tag in tags]

    def one(self, tag: str, **attributes: str) -> Element:
        (found,) = [e for e in self.all(tag) if attributes.items() <= e.attributes.items()]
        return found

    def row(self, heading: str) -> str:
        """Return the text of the only row that begins with a heading."""
        (found,) = [row.words for row in self.all("tr") if row.words.startswith(heading)]
        return found


@pytest.fixture(scope="module")
def png() -> bytes:
    return as_png(Figure(figsize=(4, 2)), dpi=50)


ORIGIN = Origin(
    table="creatures",
    day="2026-11-20",
    model_version="cafe01",
    source="file creatures.csv",
    is_real=True,
    facts={"Seed of the sample": "17", "Train rows": "3,000"},
)
GATES = [
    replace(SHIPPED["fidelity"], tolerances=dict.fromkeys(
        ("ks_complement", "tv_complement", "correlation_similarity", "contingency_similarity", "detection_auc_forest"),
        0.03,
    )),
    replace(SHIPPED["validity"], tolerances={"missing_cells": 0.0, "constraint_violations": 0.02}),
    replace(SHIPPED["privacy"], tolerances={"exact_copies": 0.001, "membership_auc": 0.03, "domias_auc": 0.03}),
    replace(SHIPPED["utility"], tolerances={"tstr_score": 0.05}),
]  # fmt: skip
CONSTRAINTS = [
    Constraint(name="light_parts", sql="a + b <= whole", description="The parts weigh no more than the whole.")
]
SCORES = pd.DataFrame(
    [
        ("linear", "real", "r2", 0.51, 0.47, 0.55),
        ("linear", "real", "rmse", 2.5, 2.25, 2.75),
        ("linear", "synthetic", "r2", 0.49, 0.45, 0.53),
        ("linear", "augmented", "r2", 0.52, 0.48, 0.56),
    ],
    columns=["regressor", "trained_on", "metric", "value", "ci_low", "ci_high"],
)
LEARNED = Utility(SCORES, "Adding them made no difference.", "legs")


def _numbers(*rows: tuple[str, str | None, float, float]) -> pd.DataFrame:
    """Return results (metric, column, value, reference), each 0.01 from either end of its interval."""
    wide = [(m, c, v, v - 0.01, v + 0.01, f, f - 0.01, f + 0.01) for m, c, v, f in rows]
    return pd.DataFrame(wide, columns=list(RESULT_COLUMNS)).astype({"column_name": "str"})


RESULTS = {
    "fidelity": _numbers(
        ("ks_complement", "Length", 0.9123, 0.9234),
        ("ks_complement", "Height", 0.9012, 0.9345),
        ("tv_complement", "Sex", 0.8765, 0.8899),
        ("correlation_similarity", "Length, Height", 0.9456, 0.9567),
        ("column_shapes", None, 0.8967, 0.9123),
        ("wasserstein_distance", "Length", 0.0345, 0.0234),
        ("detection_auc_forest", None, 0.5312, 0.5001),
        ("constraint_violations", "light_parts", 0.0456, 0.0371),
        ("missing_cells", "Length", 0.0, 0.0),
    ),
    "privacy": _numbers(("exact_copies", None, 0.0002, 0.0001), ("membership_auc", None, 0.5123, 0.5002)),
    "utility": _numbers(("tstr_score", "linear", 0.4932, 0.5123)),
}
"""A sample that passes every gate."""


def _html(
    results: Mapping[str, pd.DataFrame] = RESULTS,
    origin: Origin = ORIGIN,
    pictures: Mapping[str, bytes] | None = None,
    constraints: list[Constraint] = CONSTRAINTS,
    utility: Utility | None = LEARNED,
    **more: Any,
) -> str:
    every = pd.concat(results.values(), ignore_index=True)
    verdicts = [evaluate_gate(gate, every) for gate in GATES]
    return report_html(
        origin, verdicts, results, constraints=constraints, utility=utility, pictures=pictures or {}, **more
    )


def _with(name: str, *rows: tuple[str, str | None, float, float]) -> dict[str, pd.DataFrame]:
    """Return the results with more numbers in one of its tables."""
    return {**RESULTS, name: pd.concat([RESULTS[name], _numbers(*rows)], ignore_index=True)}


# The verdict


def test_a_sample_that_passes_is_publishable_in_words() -> None:
    page = Page(_html())

    assert page.one("title").words == "creatures, sample of 2026-11-20: publishable"
    assert page.one("p", id="verdict").words.endswith(" Publishable")
    gates = [item.words for item in page.all("li") if "passed" in item.words]
    assert [words.split()[0] for words in gates] == ["Fidelity", "Validity", "Privacy", "Utility"]
    assert "Synthetic rows are distributed like real rows. 5 numbers are within their limits." in gates[0]


def test_the_verdict_comes_before_every_number() -> None:
    tags = [e for e in Page(_html()).elements if e.tag in ("table", "img") or e.attributes.get("id") == "verdict"]

    assert tags[0].attributes.get("id") == "verdict"


def test_a_failed_gate_says_what_was_found_expected_and_to_do() -> None:
    page = Page(_html(_with("privacy", ("domias_auc", None, 0.9, 0.5))))

    assert page.one("title").words.endswith(": not publishable")
    assert page.one("p", id="verdict").words.endswith(" Not publishable")
    assert "The sample fails the gate privacy." in page.one("main").words
    (text,) = [item.words for item in page.all("li") if "failed" in item.words]
    assert text.startswith("Privacy ✗ failed")
    for part in ("Attack by density ratio (DOMIAS): 0.9000", "expected at most 0.5400", SHIPPED["privacy"].remediation):
        assert part in text
    assert page.row("Attack by density ratio (DOMIAS)").endswith("✗ failed")


def test_several_failed_gates_are_all_named() -> None:
    page = Page(_html({**RESULTS, "fidelity": _numbers(*[
        ("ks_complement", "Length", 0.1, 0.9), ("missing_cells", "Length", 0.5, 0.0),
    ])}))  # fmt: skip

    assert "The sample fails the gates fidelity, validity." in page.one("main").words


def test_a_gate_that_stops_nothing_warns() -> None:
    page = Page(_html({**RESULTS, "utility": _numbers(("tstr_score", "linear", 0.1, 0.5))}))

    assert page.one("p", id="verdict").words.endswith(" Publishable")
    (text,) = [item.words for item in page.all("li") if "warning" in item.words]
    assert text.startswith("Utility ! warning")
    assert page.row("linear 0.1000").endswith("! warning")


def test_no_status_is_shown_by_colour_alone() -> None:
    page = Page(_html(_with("privacy", ("domias_auc", None, 0.9, 0.5))))

    coloured = [
        e for e in page.elements if {"passed", "failed", "warning"} & set(str(e.attributes.get("class")).split())
    ]
    assert len(coloured) > 10
    for element in coloured:
        assert re.search(r"passed|failed|warning|[Pp]ublishable", element.words), element


@pytest.mark.parametrize("is_real", [True, False])
def test_a_placeholder_has_a_banner(is_real: bool) -> None:
    page = Page(_html(origin=replace(ORIGIN, source="placeholder of creatures", is_real=is_real)))

    banners = [e.words for e in page.all("div") if e.attributes.get("role") == "note"]
    assert len(banners) == (not is_real)
    for words in banners:
        assert "No real data." in words
        assert "placeholder of creatures" in words


# The numbers


def test_every_number_of_the_results_is_in_a_row_with_its_reference_and_intervals() -> None:
    page = Page(_html())

    rows = [row.words for row in page.all("tr")]
    for number in pd.concat(RESULTS.values()).itertuples():
        named = METRICS[number.metric].title if pd.isna(number.column_name) else number.column_name
        expected = [
            f"{number.value:.4f}",
            f"{number.value_low:.4f} to {number.value_high:.4f}",
            f"{number.reference:.4f}",
            f"{number.reference_low:.4f} to {number.reference_high:.4f}",
        ]
        assert [r for r in rows if r.startswith(named) and " ".join(expected) in r], (named, expected)


def test_metrics_of_gates_have_limits_and_other_metrics_have_none() -> None:
    page = Page(_html())

    assert page.row("Length 0.9123").endswith("0.8834 ✓ passed")  # 0.9234 - 0.01, and 0.03 less
    assert page.row("Length 0.0345").endswith("— no gate")
    assert page.row("Mean similarity of the columns").endswith("— no gate")


def test_the_farthest_from_its_limit_comes_first() -> None:
    words = Page(_html()).one("main").words

    assert words.index("Height 0.9012") < words.index("Length 0.9123")


def test_a_number_that_is_not_defined_fails_and_is_shown_so() -> None:
    page = Page(_html(_with("privacy", ("domias_auc", None, float("nan"), 0.5))))

    assert page.row("Attack by density ratio (DOMIAS) (lower is better) — — 0.5000").endswith("✗ failed")


def test_a_long_table_is_folded_but_for_one_with_a_failed_number() -> None:
    names = [f"c{i}" for i in range(40)]
    alike, off = (
        Page(_html(_with("fidelity", *(("contingency_similarity", name, value, 0.9) for name in names))))
        for value in (0.895, 0.1)
    )

    for page, is_open in ((alike, False), (off, True)):
        (details,) = [d for d in page.all("details") if "joint distribution" in d.words]
        assert ("open" in details.attributes) == is_open
        assert all(f"{name} 0." in details.words for name in names)


def test_what_is_as_in_real_rows_is_folded() -> None:
    (details,) = Page(_html()).all("details")

    assert "Missing cells of a column: 1 number all equal to real rows" in details.words


def test_of_very_many_numbers_the_worst_are_listed_and_the_rest_counted() -> None:
    rows = [("contingency_similarity", f"c{i}", 0.9 - i / 1e5, 0.9) for i in range(MAX_TABLE_ROWS + 50)]

    page = Page(_html(_with("fidelity", *rows)))

    assert f"The worst {MAX_TABLE_ROWS} of {MAX_TABLE_ROWS + 50}." in page.one("main").words
    listed = [row for row in page.all("tr") if re.match(r"c\d+ 0\.", row.words)]
    assert len(listed) == MAX_TABLE_ROWS
    assert listed[0].words.startswith(f"c{MAX_TABLE_ROWS + 49} ")


def test_a_constraint_is_listed_with_its_condition_and_the_rate_of_real_rows() -> None:
    row = Page(_html()).row("light_parts")

    assert "The parts weigh no more than the whole. a + b <= whole 0.0456" in row
    assert "0.0371 0.0271 to 0.0471" in row


def test_leaked_rows_are_named_by_their_row_id() -> None:
    leaks = [("leaked_row", f"row_id {i}", 0.9, float("nan")) for i in (17, 3)]

    with_leaks, without = Page(_html(_with("privacy", *leaks))), Page(_html())

    assert with_leaks.row("row_id 17").startswith("row_id 17 0.9000")
    assert "2 train rows are suspected by at least 2 attacks" in with_leaks.one("main").words
    assert "No train row is suspected by 2 attacks" not in with_leaks.one("main").words
    assert "No train row is suspected by 2 attacks" in without.one("main").words


def test_utility_has_its_verdict_and_scores_with_intervals() -> None:
    page = Page(_html())

    assert "Adding them made no difference." in page.one("main").words
    assert page.row("linear real rows") == "linear real rows 0.5100 (0.4700 to 0.5500) 2.5000 (2.2500 to 2.7500)"
    assert page.row("linear both") == "linear both 0.5200 (0.4800 to 0.5600) —"
    assert "RMSE, legs, lower is better" in page.row("Estimator Trained on")


def test_every_metric_is_explained_with_direction_range_and_source() -> None:
    page = Page(_html())

    words = page.one("section", **{"aria-labelledby": "how"}).words
    for name in pd.concat(RESULTS.values())["metric"].unique():
        metric = METRICS[name]
        for part in (
            metric.title,
            name,
            metric.description,
            f"{metric.better} is better",
            f"Citation: {metric.citation}.",
        ):
            assert part in words
    assert "higher is better: best 1, worst without limit" in words
    assert METRICS["contingency_similarity"].description not in words  # it was not measured
    assert "Only training with differential privacy comes with a proof." in words


def test_the_origin_is_stated() -> None:
    page = Page(_html())

    for row in (
        "Date of the sample 2026-11-20", "Real rows file creatures.csv", "Model version cafe01",
        "Seed of the sample 17", "Train rows 3,000",
    ):  # fmt: skip
        assert page.row(row) == row


def test_columns_are_described_with_their_empty_cells_and_names_are_text() -> None:
    name = """<script>"it's" &\n two"""
    schema = TableSchema(
        columns=(
            Categorical(name=name, categories=("a", "b"), nullable=True),
            Id(name="key", pattern="AB-####"),
            Text(name="note", nullable=True),
        ),
    )
    rows = pd.DataFrame({name: ["a"] * 9 + [None], "key": [f"AB-{i:04d}" for i in range(10)], "note": "x"})
    train = schema.coerce(rows, origin="rows")
    samples = Samples(train, train, train.drop(columns="note").assign(**{name: "a"}), schema)

    columns = describe_columns(samples)

    html = _html(columns=columns, not_computed=[NotComputed("ks_complement", name, "there is no value")])
    page = Page(html)
    assert page.row("<script>") == """<script>"it's" & two categorical allowed 10.0% 0.0% 2 labels"""
    assert page.row("key") == "key id not allowed 0.0% 0.0% made by pattern, not learned: AB-####"
    assert page.row("note") == "note text allowed 0.0% — text, not published"
    (reason,) = [item.words for item in page.all("li") if "Reason" in item.words]
    assert reason == """Similarity of a numeric column, of <script>"it's" & two . Reason: there is no value."""
    assert not page.all("script")


# The page


def test_nothing_is_loaded_from_elsewhere_and_no_script_runs(png: bytes) -> None:
    html = _html(pictures=dict.fromkeys(PICTURES, png))
    page = Page(html)

    assert not page.all("script", "link", "iframe", "object", "embed", "base", "form", "svg")
    for element in page.elements:
        assert not [name for name in element.attributes if name.startswith("on")], element
        for name in ("src", "href"):
            assert re.match(r"data:image/png;base64,|#", element.attributes.get(name) or "#"), element
    style = page.one("style").words
    assert "url(" not in style
    assert "@import" not in style
    policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_pictures_are_whole_have_their_size_and_are_described(png: bytes) -> None:
    page = Page(_html(pictures=dict.fromkeys(PICTURES, png)))

    images = page.all("img")
    assert len(images) == len(PICTURES) == len(page.all("figcaption"))
    for image, picture in zip(images, PICTURES.values(), strict=True):
        assert base64.b64decode(str(image.attributes["src"]).split(",")[1]) == png
        assert image.attributes["alt"] == picture.alt
        assert len(picture.alt) > 40
        assert (image.attributes["width"], image.attributes["height"]) == (f"{200 * SCALE:.0f}", f"{100 * SCALE:.0f}")


def test_pictures_that_are_not_given_are_not_shown(png: bytes) -> None:
    page = Page(_html(pictures={"densities": png}))

    assert [image.attributes["alt"] for image in page.all("img")] == [PICTURES["densities"].alt]


def test_headings_are_in_order_tables_named_and_links_lead_somewhere(png: bytes) -> None:
    leaks = ("leaked_row", "row_id 17", 0.9, float("nan"))
    page = Page(_html(_with("privacy", leaks), pictures=dict.fromkeys(PICTURES, png)))

    levels = [
        int(e.attributes.get("aria-level") or e.tag[1])
        for e in page.elements
        if e.tag in ("h1", "h2", "h3") or e.attributes.get("role") == "heading"
    ]
    assert levels[:2] == [1, 2]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [str(e.attributes["id"]) for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in page.elements:
        for name in ("href", "aria-labelledby"):
            if name in element.attributes:
                assert str(element.attributes[name]).removeprefix("#") in ids, element
    assert all(e.attributes.get("scope") in ("col", "row") for e in page.all("th"))
    for scrolled in [e for e in page.elements if e.attributes.get("class") == "scroll"]:
        assert scrolled.attributes["tabindex"] == "0"
        assert "aria-label" in scrolled.attributes or "aria-labelledby" in scrolled.attributes
    assert page.one("html").attributes["lang"] == "en"


def test_whatever_comes_from_data_is_text(png: bytes) -> None:
    quoted = 'it\'s "quoted" & <b>bold</b> {{ 7 * 7 }}'
    results = {
        name: frame.assign(column_name=[None if pd.isna(c) else f"{quoted} {ATTACK} {c}" for c in frame["column_name"]])
        for name, frame in RESULTS.items()
    }
    origin = Origin(ATTACK, f"file {ATTACK}.csv", {f"{quoted} of {ATTACK}": ATTACK}, ATTACK, ATTACK, False)
    constraints = [
        Constraint.model_construct(name=f"{quoted} {ATTACK} light_parts", sql=f"a <= '{ATTACK}'", description=ATTACK)
    ]
    utility = Utility(SCORES.replace("linear", ATTACK), ATTACK, ATTACK)

    page = Page(_html(results, origin, dict.fromkeys(PICTURES, png), constraints, utility))

    assert len(page.all("img")) == len(PICTURES)
    assert not page.all("b")
    assert not [e for e in page.elements if "onerror" in e.attributes]
    assert f"{quoted} {ATTACK} Length 0.9123" in page.one("main").words
    assert f"{ATTACK} a <= '{ATTACK}' 0.0456" in page.one("main").words
    assert ATTACK in page.one("title").words


def test_the_same_input_gives_the_same_page(png: bytes) -> None:
    pictures = dict.fromkeys(PICTURES, png)

    assert _html(pictures=pictures) == _html(pictures=dict(reversed(pictures.items())))


def test_a_picture_on_white_is_readable_on_a_dark_page() -> None:
    """The page gives every picture a white ground, and so do the pictures themselves."""
    from matplotlib.image import imread

    pixels = imread(io.BytesIO(as_png(Figure(figsize=(1, 1)), dpi=20)))

    assert pixels.min() == 1.0
    assert "background: #ffffff" in Page(_html()).one("style").words


def test_a_table_without_a_target_and_a_sample_without_a_date_have_a_report() -> None:
    results = {name: frame for name, frame in RESULTS.items() if name != "utility"}
    every = pd.concat(results.values(), ignore_index=True)
    verdicts = [evaluate_gate(gate, every) for gate in GATES[:3]]
    origin = Origin("creatures", "the rows given", {})

    html = report_html(origin, verdicts, results, constraints=CONSTRAINTS, utility=None, pictures={})

    assert Page(html).one("title").words == "creatures: publishable"
    assert "Utility" not in html
