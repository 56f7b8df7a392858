"""Fixtures of the tests of tables: the settings that the project ships, and tables of that shape."""

from pathlib import Path

import pytest
import yaml

from synth_assets.orchestration.settings import SyntheticTableSettings

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def abalone() -> SyntheticTableSettings:
    """Read what the project's own `defs.yaml` states of the abalone table."""
    stated = yaml.safe_load((PROJECT / "synth_assets" / "defs" / "abalone" / "defs.yaml").read_text(encoding="utf-8"))
    return SyntheticTableSettings.model_validate(stated["attributes"])
