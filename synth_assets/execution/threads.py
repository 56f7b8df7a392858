"""How many threads numeric libraries use."""

import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


def one_thread(api: Literal["blas", "openmp"] | None = None) -> AbstractContextManager[Any]:
    """Let BLAS, OpenMP or both (by default) use one thread within a `with` statement.

    `threadpoolctl.threadpool_limits` looks for the loaded libraries at each call, which takes milliseconds: as long as
    a small fit. Here they are looked for again only after a module was imported, which may have loaded a library.
    """
    limits: AbstractContextManager[Any] = _controller(len(sys.modules)).limit(limits=1, user_api=api)
    return limits


@lru_cache(maxsize=1)
def _controller(n_modules: int) -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    del n_modules
    return ThreadpoolController()
