"""A local OpenML: a filled cache of ``sklearn.datasets.fetch_openml``, and answers to requests from such a cache."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import Request

import pandas as pd
import pytest
from pandas.api.types import is_numeric_dtype

_TARGET = "Class_number_of_rings"


def _arff(frame: pd.DataFrame, nominal: list[str], name: str) -> bytes:
    """Return the table as ARFF, in which a float that is a whole number keeps its decimal point."""
    lines = [f"@RELATION {name}", ""]
    for column in frame.columns:
        values = ",".join(str(value) for value in frame[column].dropna().unique())
        lines.append(f"@ATTRIBUTE {column} " + (f"{{{values}}}" if column in nominal else "NUMERIC"))
    rows = frame.to_csv(header=False, index=False, na_rep="?", lineterminator="\n")
    return "\n".join([*lines, "", "@DATA", rows]).encode()


def fill_openml_cache(
    data_home: Path, frame: pd.DataFrame, *, name: str = "abalone", version: int = 1, quoted: bool = True
) -> None:
    """Write the cache files that ``fetch_openml(name=name, version=version, data_home=data_home)`` looks for.

    Columns of text and the target ``Class_number_of_rings`` are nominal, as on OpenML, so they arrive as
    categories, whose values are text; the other columns arrive as numbers.

    Parameters
    ----------
    data_home : pathlib.Path
        The folder to give to ``fetch_openml``.
    frame : pandas.DataFrame
        The table, columns and rows in the order in which they have to arrive.
    name : str, optional
        Name of the data set.
    version : int, optional
        Version of the data set.
    quoted : bool, optional
        Whether nominal values stand in single quotes; ARFF allows both. Without them, a nominal column of
        numbers makes scikit-learn 1.9 fail on pandas 3.1 (scikit-learn issue 34892) except with
        ``parser="liac-arff"``.
    """
    # fetch_openml asks for the name in lower case, whatever the caller wrote.
    name = name.lower()
    # Any number will do, but two tables in one cache have to differ.
    data_id = zlib.crc32(f"{name} {version}".encode())
    arff_path = f"data/v1/download/{data_id}/{name}.arff"
    nominal = [column for column in frame.columns if column == _TARGET or not is_numeric_dtype(frame[column])]
    if quoted:
        frame = frame.assign(**{c: frame[c].map("'{}'".format, na_action="ignore") for c in nominal})
    arff = _arff(frame, nominal, name)

    listed = {"did": data_id, "name": name, "version": version, "status": "active", "format": "ARFF"}
    description = {
        "id": str(data_id),
        "name": name,
        "version": str(version),
        "description": f"Local stand-in for the table {name}.",
        "format": "ARFF",
        "url": f"https://api.openml.org/{arff_path}",
        "default_target_attribute": _TARGET,
        "status": "active",
        "md5_checksum": hashlib.md5(arff, usedforsecurity=False).hexdigest(),
    }
    features = [
        {
            "index": str(index),
            "name": column,
            "data_type": "nominal" if column in nominal else "numeric",
            "is_target": "true" if column == _TARGET else "false",
            "is_ignore": "false",
            "is_row_identifier": "false",
            "number_of_missing_values": str(int(frame[column].isna().sum())),
        }
        for index, column in enumerate(frame.columns)
    ]
    qualities = [{"name": "NumberOfInstances", "value": str(float(len(frame)))}]

    api = "api/v1/json/data"
    answers = {
        f"{api}/list/data_name/{name}/limit/2/data_version/{version}": {"data": {"dataset": [listed]}},
        f"{api}/{data_id}": {"data_set_description": description},
        f"{api}/features/{data_id}": {"data_features": {"feature": features}},
        f"{api}/qualities/{data_id}": {"data_qualities": {"quality": qualities}},
    }
    contents = {path: json.dumps(answer).encode() for path, answer in answers.items()} | {arff_path: arff}
    # The first folder is fetch_openml's own, the second the host, whatever host an address names.
    cache = data_home / "openml" / "openml.org"
    for path, content in contents.items():
        file = cache / f"{path}.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(content))


class _Answer(io.BytesIO):
    def info(self) -> dict[str, str]:
        return {}


def answer_from(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let OpenML answer with what is in a filled cache.

    Parameters
    ----------
    cache : pathlib.Path
        The folder that `fill_openml_cache` filled.
    monkeypatch : pytest.MonkeyPatch
        Puts the network back.

    Returns
    -------
    list of str
        The paths that were requested; it grows.
    """
    requested: list[str] = []

    def urlopen(request: Request | str, timeout: float | None = None) -> _Answer:
        path = urlparse(request if isinstance(request, str) else request.full_url).path.lstrip("/")
        requested.append(path)
        return _Answer(gzip.decompress((cache / "openml" / "openml.org" / f"{path}.gz").read_bytes()))

    for module in ("sklearn.datasets._openml", "synth_assets.sources.openml"):
        monkeypatch.setattr(f"{module}.urlopen", urlopen)
    return requested
