"""The environments of the peers: each has its own, made once, so that none of them is a dependency of the project."""

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
    """A synthesizer to compare with; `<name>.py` here runs it.

    Attributes
    ----------
    environment : str
        The environment that it runs in. `<environment>.txt` here pins what is installed there.
    by_default : bool
        Whether it is measured without being asked for: it takes seconds, and its environment is small.
    unwanted : tuple of str
        What the requirements bring along that is removed again.
    alone : tuple of str
        Requirements that are installed without what they ask for.
    most_seeds : int, optional
        With how many of the seeds it is measured, where a fit takes too long for all of them.
    """

    environment: str
    by_default: bool = True
    unwanted: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    most_seeds: int | None = None


PEERS = {
    "arf": Peer("arf"),
    "cart": Peer("cart"),
    "gaussian_copula": Peer("sdv"),
    "smote": Peer("smote"),
    "realtabformer": Peer("realtabformer", by_default=False, most_seeds=1),  # half an hour of CPU a fit
    # torchvision fails beside a torch that it was not built with, as PyPI's is beside a CPU build; it is not needed.
    "tabular_argn": Peer("tabular_argn", by_default=False, unwanted=("torchvision", "torchaudio")),
    # synthcity asks for torch below 2.3, and for 23 libraries that are of no use here.
    "tabddpm": Peer("tabddpm", by_default=False, alone=("synthcity==0.2.12",)),
    "ctgan": Peer("sdv", by_default=False),
    "tvae": Peer("sdv", by_default=False),
}


def script_of(name: str) -> Path:
    """Return the script of a peer; `run_peer` in `common.py` says what its command line is."""
    return HERE / f"{name}.py"


def requirements_of(name: str) -> Path:
    """Return what is installed in a peer's environment."""
    return HERE / f"{PEERS[name].environment}.txt"


def interpreter_of(name: str) -> Path:
    """Return the interpreter that runs a peer, from an environment that is made if it is missing or outdated.

    Parameters
    ----------
    name : str
        One of `PEERS`.

    Returns
    -------
    pathlib.Path
        The interpreter in `benchmarks/.venvs/`. Peers with the same requirements share it.

    Raises
    ------
    subprocess.CalledProcessError
        If the environment cannot be made. The next call tries anew.
    """
    peer = PEERS[name]
    requirements = requirements_of(name)
    folder = VENVS / peer.environment
    interpreter, marker = folder / "bin" / "python", folder / "installed"
    asked = (requirements.read_text(), peer.unwanted, peer.alone, sys.version_info[:2])
    wanted = hashlib.sha256(repr(asked).encode()).hexdigest()
    if marker.is_file() and marker.read_text() == wanted:
        return interpreter
    if folder.exists():
        shutil.rmtree(folder)
    # Without a pip of its own, an environment is made in a fraction of a second.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", interpreter, "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--requirement", requirements], check=True)
    if peer.alone:
        subprocess.run([*pip, "install", "--no-deps", *peer.alone], check=True)
    if peer.unwanted:
        subprocess.run([*pip, "uninstall", "--yes", *peer.unwanted], check=True)
    # Last, so that an installation that was cut short counts as none.
    marker.write_text(wanted)
    return interpreter
