"""What the tests let a forked process do: runs of the lineage, under the conditions that a fault makes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from synth_assets.evaluation.gates import GATES
from synth_assets.resources import warehouse as warehouse_module
from synth_assets_tests.live.tiny_location import tiny_settings
from synth_assets_tests.world import World

Tell = Callable[..., None]

ROWS, TRAIN_ROWS = 240, 160
MONDAY, TUESDAY = "2026-11-16", "2026-11-17"


def settings() -> dict[str, Any]:
    """Give what is changed of the tiny lineage: it is smaller still, and no gate stops what few trees have judged."""
    tiny = tiny_settings()
    model = tiny.language_model.model_dump()
    training = {**model["training"], "teacher_rows": 400, "teacher_epochs": 2}
    return {
        "language_model": {**model, "epochs": 3, "training": training},
        "split": {**tiny.split.model_dump(), "train_size": TRAIN_ROWS},
        "gates": {name: dict.fromkeys(gate.allowances, 1e6) for name, gate in GATES.items()},
    }


def write_table(world: World, stand_in: Path, *, changed: bool) -> None:
    """Write the real table: the first rows of the stand-in, or the same with one cell that is another one."""
    table = pd.read_csv(stand_in).head(ROWS).round(1)
    if changed:
        table.loc[0, "Length"] += 0.1
    table.to_csv(world.csv, index=False)


def lineage(
    tell: Tell,
    root: str,
    day: str,
    assets: list[str] = [],
    wait_for_lock_s: float | None = None,  # noqa: B006
) -> dict[str, Any]:
    """Run the lineage, or some assets of it, and tell of each step that starts and ends."""
    if wait_for_lock_s is not None:
        warehouse_module.WAIT_FOR_LOCK_S = wait_for_lock_s
    world = World(Path(root))
    handle_new_event = world.instance.handle_new_event

    def telling(event: Any, **options: Any) -> None:
        handle_new_event(event, **options)
        kind = event.dagster_event and event.dagster_event.event_type_value
        if kind in ("STEP_START", "STEP_SUCCESS"):
            tell(event=kind, step=event.dagster_event.step_key)

    world.instance.handle_new_event = telling  # type: ignore[method-assign]
    outcome = world.run(*assets, day=day, **settings())
    return {"success": outcome.success, "messages": list(outcome.messages)}
