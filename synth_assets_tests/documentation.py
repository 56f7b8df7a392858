"""The examples of a page of the documentation."""

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a page in a language."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def run_python(page: str) -> dict[str, Any]:
    """Run the Python blocks of a page in order, in one namespace, and return it."""
    namespace: dict[str, Any] = {"__name__": page}
    for number, block in enumerate(blocks(page, "python"), start=1):
        exec(compile(block, f"{page}, Python block {number}", "exec"), namespace)  # noqa: S102
    return namespace
