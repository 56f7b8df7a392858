"""The section of the results: who is ahead, who did not finish, and that nothing else of the page is changed."""

from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from synth_assets.errors import ForeseenError


@pytest.fixture
def report() -> ModuleType:
    import tables_report

    return tables_report


def _results(**values: float) -> pd.DataFrame:
    measure = "XGBoost detection, holdout"
    rows = [("adult", name.replace("_", " ") if "real" in name else name, 0, measure, v) for name, v in values.items()]
    return pd.DataFrame(rows, columns=["table", "method", "seed", "measure", "value"])


def _run(status: str, reason: str, seed: int = 0) -> object:
    from runs import Limits, Run

    return Run("adult", "origami", seed, "", Limits(600, 4096), status, reason)


def test_the_verdict_names_those_that_are_ahead(report: ModuleType) -> None:
    ahead = report.verdict(_results(real_rows=0.5, language_model=0.52, arf=0.61, cart=0.57))
    assert "0.520: ahead of every peer that finished; the next is cart (0.570)." in ahead
    behind = report.verdict(_results(real_rows=0.5, language_model=0.58, arf=0.61, cart=0.57))
    assert "0.580: behind cart (0.570)." in behind


def test_the_section_replaces_what_is_between_the_markers(report: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text(f"# Results\n{report.BEGIN}\nan earlier section\n{report.END}\n## Next\n")
    ended = [_run("CPU limit", "more than 10 CPU minutes", seed) for seed in (1, 0)]
    report.write_section(
        page, _results(real_rows=0.5, language_model=0.52), ended, {"adult": "file adult.csv: few rows"}
    )
    text = page.read_text()
    assert text.startswith(f"# Results\n{report.BEGIN}\n")
    assert text.endswith(f"{report.END}\n## Next\n")
    assert "an earlier section" not in text
    assert "within limits:\n600 CPU s, 4,096 MB." in text
    assert "| origami (seeds 0, 1: more than 10 CPU minutes) | 0 | - |" in text
    assert "| adult | TabPC | 0.572 | 0.58 |" in text
    assert "| shoppers |" not in text


def test_a_failure_is_named_as_one(report: ModuleType) -> None:
    assert report.reasons([_run("failed", "no rows today")]) == {"origami": "seed 0: failed: no rows today"}


def test_a_page_without_markers_is_refused(report: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Results\n")
    with pytest.raises(ForeseenError, match="has no place for the section"):
        report.write_section(page, _results(language_model=0.52), [], {})
    assert page.read_text() == "# Results\n"


def test_every_measure_of_the_section_can_be_shown(report: ModuleType) -> None:
    from bench_report import MEASURES

    assert {name for names in report.GROUPS.values() for name in names} <= set(MEASURES)
