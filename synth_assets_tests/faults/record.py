"""What was injected, and what came of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from synth_assets.storage.files import atomic_write


@dataclass
class Counts:
    """Of one kind of fault: how many were injected and survived, and what else was counted."""

    injected: int = 0
    survived: int = 0
    noted: dict[str, int] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """After how many something that was stored was gone, torn, or not found to be damaged."""
        return self.injected - self.survived


@dataclass
class Record:
    """The counts, by kind of fault.

    Parameters
    ----------
    file : pathlib.Path, optional
        Where they are kept, as JSON, from fault to fault: a run that is stopped has counted too.
    """

    file: Path | None = None
    kinds: dict[str, Counts] = field(default_factory=dict)

    @contextmanager
    def fault(self, kind: str, count: int = 1) -> Iterator[Counts]:
        """Count faults as injected, and as survived if the block that asks for what they did comes to its end."""
        counts = self.kinds.setdefault(kind, Counts())
        counts.injected += count
        self._keep()
        yield counts
        counts.survived += count
        self._keep()

    def note(self, kind: str, **counted: int) -> None:
        """Add to what else is counted of a kind."""
        noted = self.kinds.setdefault(kind, Counts()).noted
        for name, count in counted.items():
            noted[name] = noted.get(name, 0) + count
        self._keep()

    def _keep(self) -> None:
        if self.file:
            atomic_write(self.file, json.dumps(self.as_json(), indent=1).encode())

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {kind: {**asdict(counts), "lost": counts.lost} for kind, counts in self.kinds.items()}

    def as_markdown(self) -> str:
        """Return it as a table."""
        lines = ["| fault | injected | survived | lost | and |", "| --- | ---: | ---: | ---: | --- |"]
        for kind, counts in self.kinds.items():
            noted = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.noted.items())
            lines.append(f"| {kind} | {counts.injected} | {counts.survived} | {counts.lost} | {noted} |")
        return "\n".join(lines)
