"""`synth-assets`: what a person reads after a run."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from synth_assets.cli import main
from synth_assets_tests.world import DAY, Outcome, World


def test_status_says_what_to_do_where_nothing_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTH_ASSETS_DATA", str(tmp_path))
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 1
    assert f"nothing is published in {tmp_path}/published/synthetic.duckdb yet; `make demo` does it." in result.output


@pytest.mark.slow
def test_status_tells_the_main_numbers_and_where_the_files_are(
    first_run: tuple[World, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, outcome = first_run
    monkeypatch.setenv("SYNTH_ASSETS_DATA", str(world.root))
    monkeypatch.chdir(world.root.parent)
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 0, result.output
    model = outcome.metadata("fine_tuned_model")["model_version"]
    lines = result.output.splitlines()
    assert lines[0] == f"abalone: 40 synthetic rows of {DAY}, model {model}, real rows: file abalone.csv"
    assert outcome.metadata("regression_comparison")["verdict"] in lines
    ((value, floor),) = world.query("SELECT value, floor FROM abalone.fidelity WHERE column_name = 'Length'")
    assert ["Length", "ks_complement", f"{value:.3f}", f"{floor:.3f}"] in [line.split() for line in lines]
    assert f"plot: data/plots/abalone/{DAY}/densities.png" in lines
    assert "published: data/published/synthetic.duckdb" in lines
