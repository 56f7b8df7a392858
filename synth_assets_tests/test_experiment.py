"""The page on the original experiment: its YAML is a valid variation of abalone's settings."""

from pathlib import Path

import yaml

import synth_assets
from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets_tests.documentation import blocks

ABALONE = Path(synth_assets.__file__).parent / "defs" / "abalone" / "defs.yaml"


def test_both_variations_are_valid_and_state_the_experiment() -> None:
    abalone = yaml.safe_load(ABALONE.read_text(encoding="utf-8"))["attributes"]
    variations = [yaml.safe_load(block) for block in blocks("experiment.md", "yaml")]
    settings = [SyntheticTableSettings.model_validate({**abalone, **each}) for each in variations]
    assert [each.synthesizer.type for each in settings] == ["be_great", "language_model"]
    for each in settings:
        assert each.table == "abalone_distilgpt2"
        stated = each.synthesizer.model_dump()
        assert (stated["base"], stated["epochs"], stated["batch_size"]) == ("distilgpt2", 30, 16)
