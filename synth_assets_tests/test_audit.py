"""The audit of dependencies fails on what is known, and says loudly when nobody could be asked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from synth_assets_tests.conftest import PROJECT

GOOD = {"name": "good", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}]}
UNKNOWN = {"name": "other", "skip_reason": "Dependency not found on PyPI and could not be audited: other (2.0)"}


@pytest.mark.parametrize(
    ("dependencies", "stderr", "code", "said"),
    [
        ([GOOD], "", 0, "No vulnerability is known of 1 packages."),
        ([GOOD, UNKNOWN], "", 0, "not audited: Dependency not found on PyPI"),
        ([GOOD, BAD, UNKNOWN], "", 1, "bad 1.0: PYSEC-1, mended in 1.1"),
        ([UNKNOWN], "", 0, "THE DEPENDENCIES WERE NOT AUDITED"),
        (None, "requests.exceptions.ProxyError: HTTPSConnectionPool", 0, "THE DEPENDENCIES WERE NOT AUDITED"),
        (None, "ValueError: something else", 2, "pip-audit failed:\nValueError: something else"),
    ],
)
def test_the_audit(
    tmp_path: Path, dependencies: list[dict[str, Any]] | None, stderr: str, code: int, said: str
) -> None:
    pip_audit = tmp_path / "pip-audit"
    pip_audit.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"report = {json.dumps(json.dumps({'dependencies': dependencies}))}\n"
        f"if {dependencies is not None}: open(sys.argv[sys.argv.index('--output') + 1], 'w').write(report)\n"
        f"sys.exit({stderr!r} or {int(bool(dependencies and BAD in dependencies))})\n"
    )
    pip_audit.chmod(0o755)
    command = [sys.executable, str(PROJECT / ".ci" / "audit.py"), str(pip_audit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stdout
