"""Look for known vulnerabilities of the installed packages with pip-audit.

Exit codes: 0 if none is known, or if the database could not be reached (with a prominent message); 1 if one is known; 2
if pip-audit fails for a reason other than the network.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

OFFLINE = re.compile(r"requests\.exceptions\.\w+|ConnectionError|[Cc]ould not connect|timed out")


def main(pip_audit: str) -> int:
    """Run pip-audit, print its findings, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [pip_audit, "--local", "--skip-editable", "--progress-spinner", "off"]
        done = subprocess.run(
            [*command, "--format", "json", "--output", str(report)], capture_output=True, text=True, check=False
        )
        found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else None
    if found is not None:
        return tell(found["dependencies"])
    if OFFLINE.search(done.stderr):
        return not_audited("the database of vulnerabilities cannot be reached:", done.stderr.strip().splitlines()[-1])
    say("pip-audit failed:", done.stderr)
    return 2


def tell(dependencies: list[dict[str, Any]]) -> int:
    """Print the findings for each dependency."""
    skipped = [each for each in dependencies if "skip_reason" in each]
    vulnerable = [each for each in dependencies if each.get("vulns")]
    for each in vulnerable:
        for known in each["vulns"]:
            fixed = ", ".join(known["fix_versions"]) or "no version yet"
            say(f"{each['name']} {each['version']}: {known['id']}, mended in {fixed}")
    if vulnerable:
        return 1
    # An index without vulnerability data, such as a mirror, reports every package as unknown.
    if len(skipped) == len(dependencies):
        return not_audited("the database knows none of the packages:", skipped[0]["skip_reason"] if skipped else "")
    say(f"No vulnerability is known of {len(dependencies) - len(skipped)} packages.")
    for each in skipped:
        say(f"not audited: {each['skip_reason']}")
    return 0


def not_audited(reason: str, said: str) -> int:
    """Print a prominent message that nothing was audited."""
    say(
        "*" * 72, "THE DEPENDENCIES WERE NOT AUDITED:", f"{reason} {said}", "Run `make audit` where there is a network."
    )
    say("*" * 72)
    return 0


def say(*lines: str) -> None:
    """Print lines."""
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
