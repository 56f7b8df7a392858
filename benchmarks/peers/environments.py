"""Virtual environments of the peers, made once, so that no peer is a dependency of the project."""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENVS = HERE.parent / ".venvs"


@dataclass(frozen=True)
class Peer:
    """A synthesizer to compare with; `<name>.py` here runs it."""

    environment: str  # `<environment>.txt` here pins what is installed in it
    by_default: bool = True  # a fit takes seconds, and the environment is small
    uninstalled: tuple[str, ...] = ()  # dependencies that are removed after installation
    without_dependencies: tuple[str, ...] = ()  # requirements that are installed without their dependencies
    max_seeds: int | None = None  # where a fit takes long


PEERS = {
    "arf": Peer("arf"),
    "cart": Peer("cart"),
    "gaussian_copula": Peer("sdv"),
    "smote": Peer("smote"),
    "realtabformer": Peer("realtabformer", by_default=False, max_seeds=1),  # half an hour of CPU a fit
    # torchvision fails beside a torch that it was not built with, as PyPI's is beside a CPU build; it is not needed.
    "tabular_argn": Peer("tabular_argn", by_default=False, uninstalled=("torchvision", "torchaudio")),
    # synthcity requires torch below 2.3, and 23 libraries that this plugin does not use.
    "tabddpm": Peer("tabddpm", by_default=False, without_dependencies=("synthcity==0.2.12",)),
    "ctgan": Peer("sdv", by_default=False),
    "tvae": Peer("sdv", by_default=False),
}


def script_of(name: str) -> Path:
    """Return the script of a peer; its command line is parsed by `common.run_peer`."""
    return HERE / f"{name}.py"


def requirements_of(name: str) -> Path:
    """Return what is installed in a peer's environment."""
    return HERE / f"{PEERS[name].environment}.txt"


def interpreter_of(name: str) -> Path:
    """Return a peer's interpreter, in an environment that is made if it is missing or outdated.

    Peers with the same requirements share it. If it cannot be made, the next call tries again.
    """
    peer = PEERS[name]
    requirements = requirements_of(name)
    folder = VENVS / peer.environment
    interpreter, marker = folder / "bin" / "python", folder / "installed"
    inputs = (requirements.read_text(), peer.uninstalled, peer.without_dependencies, sys.version_info[:2])
    expected = hashlib.sha256(repr(inputs).encode()).hexdigest()
    if marker.is_file() and marker.read_text() == expected:
        return interpreter
    if folder.exists():
        shutil.rmtree(folder)
    # Without a pip of its own, an environment is made in a fraction of a second.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", interpreter, "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--requirement", requirements], check=True)
    if peer.without_dependencies:
        subprocess.run([*pip, "install", "--no-deps", *peer.without_dependencies], check=True)
    if peer.uninstalled:
        subprocess.run([*pip, "uninstall", "--yes", *peer.uninstalled], check=True)
    # Last, so that an installation that was cut short counts as none.
    marker.write_text(expected)
    return interpreter
