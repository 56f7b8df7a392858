"""Real tables in, trustworthy synthetic tables out: a Dagster project, and how its tables are read."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synth_assets.publishing.client import connect, read_table

__all__ = ["connect", "read_table"]


def __getattr__(name: str) -> Any:
    # Only on demand: whoever imports the package for anything else does not wait for this.
    if name in __all__:
        from synth_assets.publishing import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
