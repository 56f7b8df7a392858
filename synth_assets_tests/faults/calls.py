"""What the tests let a forked process do: runs of the lineage, under the conditions that a fault makes."""

import math
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from synth_assets.publishing.builder import PublishSpec
from synth_assets.publishing.publisher import Publisher
from synth_assets.storage import warehouse as warehouse_module
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse
from synth_assets_tests.faults.days import SECOND_DAY, settings
from synth_assets_tests.faults.states import assert_models_whole, assert_published, left_behind, models_of, rows_of
from synth_assets_tests.storage.processes import leave_free
from synth_assets_tests.world import World

Tell = Callable[..., None]


def lineage(
    tell: Tell,
    root: str,
    day: str,
    assets: Sequence[str] = (),
    wait_for_lock_s: float | None = None,
    epochs_reported: float = math.inf,
) -> dict[str, Any]:
    """Run the lineage, or some assets of it, and tell of each step that starts and ends.

    After so many reports of an epoch, of which each but the first is made after a checkpoint was written, it kills
    itself.
    """
    if wait_for_lock_s is not None:
        warehouse_module.WAIT_FOR_LOCK_S = wait_for_lock_s
    world = World(Path(root))
    logged: list[str] = []
    handle_new_event = world.instance.handle_new_event

    def telling(event: Any, **options: Any) -> None:
        handle_new_event(event, **options)
        kind = event.dagster_event and event.dagster_event.event_type_value
        if kind is None:
            logged.append(event.user_message)
            if sum(": epoch " in line for line in logged) >= epochs_reported:
                os.kill(os.getpid(), signal.SIGKILL)
        if kind in ("STEP_START", "STEP_SUCCESS"):
            tell(event=kind, step=event.dagster_event.step_key)

    world.instance.handle_new_event = telling  # type: ignore[method-assign]
    outcome = world.run(*assets, day=day, **settings())
    return {"success": outcome.success, "messages": list(outcome.messages), "logged": logged}


def publish(tell: Tell, root: str) -> dict[str, Any]:
    """Publish what the warehouse holds, as the asset does for a table without partitions."""
    del tell
    folder = DataPaths(Path(root))
    publisher = Publisher(folder, warehouse=Warehouse(folder))
    (current, *_) = publisher.publications.all()
    spec = PublishSpec.from_json("abalone", current.manifest["tables"]["abalone"])
    done = publisher.publish(spec)
    return {"damaged": done.skipped_bases, "is_new": done.is_new}


def fill_the_disk(
    tell: Tell, disk: str, before: str, after: str, asset: str, free: Sequence[int]
) -> list[dict[str, Any]]:
    """Materialize an asset of the second day with so many kilobytes left, once for each number.

    Returns
    -------
    list of dict
        Of each attempt, what a person is told, and what is wrong with the data folder afterwards: without the room,
        all has to be as before the attempt.
    """
    root, ballast = Path(disk) / "data", Path(disk) / "ballast"
    attempts = []
    for kilobytes in free:
        ballast.unlink(missing_ok=True)
        _just_before(asset, root, Path(before), Path(after))
        stored = stored_in(root)
        leave_free(disk, kilobytes)
        outcome = World(root).run(asset, day=SECOND_DAY, **settings())
        ballast.unlink()
        problem = None
        try:
            if not outcome.success:
                assert stored_in(root) == stored, "something else is stored than before"
                again = World(root).run(asset, day=SECOND_DAY, **settings())
                assert again.success, again.messages
            assert stored_in(root) != stored or asset in ("fidelity_plots", "report"), "nothing new is stored"
            assert left_behind(DataPaths(root)) == []
        except Exception as error:  # noqa: BLE001 - the test shall see it
            problem = repr(error)
        attempts.append(
            {"free": kilobytes, "success": outcome.success, "messages": list(outcome.messages), "problem": problem}
        )
    return attempts


def stored_in(root: Path) -> tuple[Any, ...]:
    """Return what is stored: the rows of the warehouse, what is published, the models; each is whole."""
    paths = DataPaths(root)
    assert_models_whole(paths)
    return rows_of(root), assert_published(paths).id, models_of(root)


def _just_before(asset: str, root: Path, before: Path, after: Path) -> None:
    """Make a data folder in which all that the second day's asset is made from is there, and it itself is not."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(before if asset == "raw" else after, root, symlinks=True)
    paths = DataPaths(root)
    if asset == "fine_tuned_model":
        shutil.rmtree(paths.base_models, ignore_errors=True)  # there is none where the model is made from scratch
        for version in models_of(after).keys() - models_of(before).keys():
            shutil.rmtree(paths.models("abalone") / version)
    elif asset == "fidelity_plots":
        shutil.rmtree(paths.plots("abalone", SECOND_DAY))
    elif asset == "published":
        shutil.rmtree(paths.published.parent)
        shutil.copytree(before / "published", paths.published.parent, symlinks=True)
