"""What the UI shows as Markdown: nothing that comes from data becomes markup."""

import re

import dagster as dg
import pandas as pd
import pytest

from synth_assets.orchestration.assets.common import markdown_table
from synth_assets_tests.live.tiny_location import tiny_settings, tiny_table
from synth_assets_tests.world import World

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    "text",
    [
        HOSTILE,
        "[here](javascript:alert(1))",
        "![x](http://elsewhere/pixel.png)",
        "a | b",
        "one\ntwo",
        "`code`",
        "**bold** ~~gone~~ _slanted_",
        "\\<b>",
        "&lt;img&gt;",
    ],
)
def test_a_cell_stays_text(text: str) -> None:
    header, _, cells = markdown_table(pd.DataFrame({text: [text]})).value.split("\n")
    for line in (header, cells):
        inside = re.sub(r"&#\d+;", "", line.removeprefix("| ").removesuffix(" |"))
        assert not set(inside) & set("<>|`*_~[]\\&")
        assert "&#38;lt;" in line or "&lt;" not in text  # what looks like an entity is shown as it is


def test_a_number_stays_readable() -> None:
    assert markdown_table(pd.DataFrame({"x": [-0.123456]})).value.endswith("| -0.1235 |")


@pytest.mark.slow
def test_a_label_that_is_a_tag_is_shown_as_text_by_every_asset(empty_world: World, placeholder_csv: object) -> None:
    table = tiny_table(pd.read_csv(str(placeholder_csv)))
    table.assign(Sex=table["Sex"].replace("F", HOSTILE)).to_csv(empty_world.csv, index=False)
    columns = [column.model_dump() for column in tiny_settings().columns]
    columns[0]["categories"] = [HOSTILE, "I", "M"]
    outcome = empty_world.run(columns=columns)
    assert outcome.success, outcome.messages

    shown = {
        (event.asset_key.path[1], name): value.value or ""
        for event in outcome.result.get_asset_materialization_events()
        for name, value in event.materialization.metadata.items()
        if isinstance(value, dg.MarkdownMetadataValue)
    }
    assert "&#60;img src=x onerror=alert(1)&#62;" in shown["raw", "preview"]
    assert "&#60;img src=x onerror=alert(1)&#62;" in shown["synthetic_sample", "preview"]
    for where, text in shown.items():
        assert not re.search(r"<\w", text), where
