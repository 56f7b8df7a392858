"""Numeric libraries use one thread within, and as many as before afterwards."""

import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from synth_assets.execution.threads import one_thread


def used(api: str) -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == api}


def test_one_thread_within_and_as_many_as_before_afterwards() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(3, "blas"):
        with one_thread():
            assert used("blas") == {1}
        assert used("blas") == {3}
        with one_thread("openmp"):
            assert used("blas") == {3}


def test_a_library_that_was_loaded_since_is_limited_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    monkeypatch.setattr("threadpoolctl.ThreadpoolController._load_libraries", lambda self: found.append(1))
    for name in ("a_module", "another_module"):
        monkeypatch.setitem(sys.modules, name, sys)
        for _ in range(2):
            with one_thread():
                pass
    assert len(found) == 2
