"""`columns: infer`: the columns of the lock beside a defs.yaml, and what may be stated beside them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.schema.columns import TableError
from synth_assets.schema.lock import SchemaLock
from synth_assets_tests.conftest import PROJECT

DEFS = PROJECT / "synth_assets" / "defs" / "abalone" / "defs.yaml"


@pytest.fixture
def attributes() -> dict[str, Any]:
    return yaml.safe_load(DEFS.read_text())["attributes"]


@pytest.fixture
def inferred(attributes: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Return settings with `columns: infer`, and write their lock into `tmp_path`."""
    SchemaLock(columns=attributes["columns"]).write(tmp_path)
    return attributes | {"columns": "infer"}


def test_inferred_columns_are_read_from_the_lock(
    attributes: dict[str, Any], inferred: dict[str, Any], tmp_path: Path
) -> None:
    stated = SyntheticTableSettings(**attributes)

    assert SyntheticTableSettings(**inferred).resolved(tmp_path) == stated
    assert stated.resolved(tmp_path / "no folder") == stated
    override = {"name": "Sex", "type": "categorical", "categories": ["M", "F", "I"]}
    overridden = SyntheticTableSettings(**inferred, override=[override]).resolved(tmp_path)
    assert overridden.table_schema().names == stated.table_schema().names
    assert overridden.table_schema().column("Sex").labels == ("M", "F", "I")


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"override": [{"name": "Rungs", "type": "float"}]}, "override: 'Rungs' is not a column of schema.lock.yaml"),
        ({"target": "Rungs"}, "target: 'Rungs' is not a column of the table"),
        ({"constraints": [{"name": "it", "sql": "Rungs > 0"}]}, "Rungs"),
        ({"columns": "guess"}, "found 'guess'; expected a list of columns, or `infer`"),
        ({"columns": []}, "found no column; expected at least one, or `infer`"),
    ],
)
def test_a_mistake_beside_inferred_columns_is_refused(
    inferred: dict[str, Any], tmp_path: Path, stated: dict[str, Any], said: str
) -> None:
    with pytest.raises((ValidationError, TableError)) as caught:
        SyntheticTableSettings(**(inferred | stated)).resolved(tmp_path)
    assert said in str(caught.value)


def test_columns_without_a_lock_say_what_writes_one(inferred: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "schema.lock.yaml").unlink()
    with pytest.raises(
        TableError, match=r"needs the file schema\.lock\.yaml beside defs\.yaml.* Run `synth-assets init`"
    ):
        SyntheticTableSettings(**inferred).resolved(tmp_path)


def test_columns_that_are_listed_have_no_override(attributes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="override: the columns are listed; change them there"):
        SyntheticTableSettings(**attributes, override=[{"name": "Sex", "type": "text"}])
