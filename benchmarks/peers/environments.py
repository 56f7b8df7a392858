"""Virtual environments of the peers, made once, so that no peer is a dependency of the project."""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from synth_assets.storage.paths import DataPaths

HERE = Path(__file__).resolve().parent
VENVS = DataPaths.from_environment().root / "bench" / "environments"


@dataclass(frozen=True)
class Environment:
    """What is done beside the installation of `<name>.txt`, which pins what is in it."""

    uninstalled: tuple[str, ...] = ()  # dependencies that are removed after installation
    without_dependencies: tuple[str, ...] = ()  # requirements that are installed without their dependencies


@dataclass(frozen=True)
class Peer:
    """A synthesizer to compare with; `<name>.py` here runs it."""

    environment: str
    by_default: bool = False  # measured by `make bench`: a fit takes seconds, and the environment is small
    max_seeds: int | None = None  # where a fit takes long


FIELD = "boosting"
"""The environment of `field_measures.py`."""

ENVIRONMENTS = {
    "arf": Environment(),
    "cart": Environment(),
    "nrgboost": Environment(),
    "origami": Environment(),
    "realtabformer": Environment(),
    "sdv": Environment(),
    "smote": Environment(),
    # synthcity requires torch below 2.3, and 23 libraries that this plugin does not use.
    "tabddpm": Environment(without_dependencies=("synthcity==0.2.12",)),
    "tabpfn": Environment(),
    # torchvision fails beside a torch that it was not built with, as PyPI's is beside a CPU build; it is not needed.
    "tabular_argn": Environment(uninstalled=("torchvision", "torchaudio")),
    # Both require xgboost, whose package for Linux brings CUDA libraries, where xgboost-cpu does not.
    FIELD: Environment(without_dependencies=("ForestDiffusion==1.0.6", "utrees==0.3.0")),
}

PEERS = {
    "gaussian_copula": Peer("sdv", by_default=True),
    "smote": Peer("smote", by_default=True),
    "cart": Peer("cart", by_default=True),
    "arf": Peer("arf", by_default=True),
    "tabular_argn": Peer("tabular_argn"),
    "unmasking_trees": Peer(FIELD),
    "nrgboost": Peer("nrgboost"),
    "forest_diffusion": Peer(FIELD),
    "origami": Peer("origami"),
    "tvae": Peer("sdv"),
    "ctgan": Peer("sdv"),
    "tabddpm": Peer("tabddpm"),
    "realtabformer": Peer("realtabformer", max_seeds=1),  # half an hour of CPU a fit
    "tabpfn": Peer("tabpfn", max_seeds=1),
}
"""In the order in which they are run: the fast ones first."""


def script_of(name: str) -> Path:
    """Return the script of a peer; its command line is parsed by `common.run_peer`."""
    return HERE / f"{name}.py"


def requirements_of(environment: str) -> Path:
    """Return what is installed in an environment."""
    return HERE / f"{environment}.txt"


def inputs_of(environment: str) -> tuple[object, ...]:
    """Return everything that decides what an environment holds."""
    made = ENVIRONMENTS[environment]
    requirements = requirements_of(environment).read_text()
    return requirements, made.uninstalled, made.without_dependencies, sys.version_info[:2]


def interpreter_of(environment: str) -> Path:
    """Return the interpreter of an environment, which is made if it is missing or outdated.

    If it cannot be made, the next call tries again.
    """
    VENVS.mkdir(parents=True, exist_ok=True)
    with FileLock(VENVS / f"{environment}.lock"):  # of several runs at the same time, one makes it
        return _made(environment)


def _made(environment: str) -> Path:
    made = ENVIRONMENTS[environment]
    folder = VENVS / environment
    interpreter, marker = folder / "bin" / "python", folder / "installed"
    expected = hashlib.sha256(repr(inputs_of(environment)).encode()).hexdigest()
    if marker.is_file() and marker.read_text() == expected:
        return interpreter
    if folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Without a pip of its own, an environment is made in a fraction of a second.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", interpreter, "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--requirement", requirements_of(environment)], check=True)
    if made.without_dependencies:
        subprocess.run([*pip, "install", "--no-deps", *made.without_dependencies], check=True)
    if made.uninstalled:
        subprocess.run([*pip, "uninstall", "--yes", *made.uninstalled], check=True)
    # Last, so that an installation that was cut short counts as none.
    marker.write_text(expected)
    return interpreter
