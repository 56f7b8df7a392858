"""Loading the tables of `defs/`: one that cannot be loaded stops itself alone, with its reason in the UI."""

import os
import re
from collections.abc import Collection
from pathlib import Path
from types import ModuleType

import dagster as dg
from dagster._utils.warnings import suppress_dagster_warnings
from dagster.components.core.component_tree import ComponentTree
from dagster.components.core.defs_module import find_defs_or_component_yaml
from pydantic import ValidationError
from yaml import YAMLError, safe_load

from synth_assets.errors import ForeseenError, validation_message

VALIDATING = "DAGSTER_IS_DEFS_VALIDATION_CLI"
"""Set by Dagster during `dg check defs`, which then fails with the reason and the line of the file."""

_FORESEEN = (ValidationError, ForeseenError, YAMLError)

NAME, CHECK = "raw", "settings"
"""The asset of a table that cannot be loaded, and its check."""


@suppress_dagster_warnings
def load_tables(project: Path, shared: dg.Definitions) -> dg.Definitions:
    """Load every table of `defs/`.

    Parameters
    ----------
    project : pathlib.Path
        A path in the project.
    shared : dagster.Definitions
        What all tables need: resources and executor.

    Returns
    -------
    dagster.Definitions
        All definitions. A table that cannot be loaded has one asset, `<table>/raw`, whose check fails with the reason.

    Raises
    ------
    ForeseenError
        During `dg check defs`, with the reason of every table that cannot be loaded.
    """
    try:
        whole = dg.Definitions.merge(dg.load_from_defs_folder(path_within_project=project), shared)
        whole.get_repository_def()  # two tables of one name are noticed here
    except Exception as error:
        loaded, reasons = _one_by_one(project, shared)
        if not reasons:
            raise
        if os.environ.get(VALIDATING):
            raise ForeseenError("\n".join(reasons)) from (None if isinstance(_cause(error), _FORESEEN) else error)
        return dg.Definitions.merge(*loaded, shared)
    return whole


def _one_by_one(project: Path, shared: dg.Definitions) -> tuple[list[dg.Definitions], list[str]]:
    """Load the tables each by itself; return their definitions, and why some cannot be loaded."""
    root = ComponentTree.for_project(project).defs_module_path
    folders = sorted(path for path in root.iterdir() if path.is_dir() and find_defs_or_component_yaml(path))
    loaded: list[dg.Definitions] = []
    reasons: list[str] = []
    taken: set[str] = set()
    for folder in folders:
        try:
            found = _load(project, folder)
            complete = dg.Definitions.merge(found, shared)
            names = {spec.key.path[0] for spec in complete.resolve_all_asset_specs()}
            if names & taken:
                raise ForeseenError(  # noqa: TRY301 - as any other reason
                    f"table: {', '.join(sorted(names & taken))} is the table of another folder too; choose another name"
                )
        except Exception as error:  # noqa: BLE001 - whatever stops one table must not stop the others
            reason = _reason(error, folder)
            name = _table_of(folder, taken)
            found, names = _broken(name, f"{reason}. Correct the file and reload the code location."), {name}
            reasons.append(f"{reason}.")
        loaded.append(found)
        taken |= names
    return loaded, reasons


def _load(project: Path, folder: Path) -> dg.Definitions:
    """Load the table of one folder, as if it were the only one."""
    tree = ComponentTree.for_project(project)
    module = ModuleType(f"{tree.defs_module.__name__}.{folder.name}")
    module.__path__, module.__file__ = [str(folder)], str(folder / "__init__.py")
    alone = ComponentTree(defs_module=module, project_root=tree.project_root)
    return alone.build_defs(folder)


def _table_of(folder: Path, taken: Collection[str]) -> str:
    """Return the name of the table that a folder states; the folder's, if it states none or another table has it."""
    try:
        stated = safe_load((folder / "defs.yaml").read_text(encoding="utf-8"))["attributes"]["table"]
    except (OSError, ValueError, LookupError, TypeError, YAMLError):
        stated = None
    if isinstance(stated, str) and stated.isidentifier() and stated not in taken:
        return stated
    name = re.sub(r"\W", "_", folder.name)
    return name if name not in taken else f"{name}_not_loaded"


def _reason(error: BaseException, folder: Path) -> str:
    """Return what went wrong first, with the file."""
    error = _cause(error)
    message = validation_message(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
    message = (message or type(error).__name__).replace(f"{folder.parent}/", "").rstrip(" .:^")
    file = f"{folder.name}/defs.yaml"
    return message if file in message else f"{file}: {message}"


def _cause(error: BaseException) -> BaseException:
    """Return the error of a user that another error was raised from; if there is none, the first error."""
    while error.__cause__ is not None and not isinstance(error, _FORESEEN):
        error = error.__cause__
    return error


def _broken(table: str, message: str) -> dg.Definitions:
    """Build the asset of a table that cannot be loaded: its check is red, and a run of it fails with the reason."""
    key = dg.AssetKey([table, NAME])

    @dg.asset(key=key, group_name=table, description=f"This table is not loaded. {message}")
    def raw() -> None:
        raise dg.Failure(description=message, allow_retries=False)

    @dg.asset_check(asset=key, name=CHECK, description="The settings of the table are valid.")
    def settings() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, description=message)

    # A sensor reports the failed check without a run, so that the UI shows it at once.
    @dg.sensor(
        name=f"{table}_source",
        asset_selection=[key],
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Report why {table} is not loaded.",
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        if context.cursor == message:
            return dg.SensorResult(skip_reason=message)
        failed = dg.AssetCheckEvaluation(
            asset_key=key, check_name=CHECK, passed=False, metadata={}, description=message
        )
        return dg.SensorResult(asset_events=[failed], cursor=message, skip_reason=message)

    return dg.Definitions(assets=[raw], asset_checks=[settings], sensors=[watch])
