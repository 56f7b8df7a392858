"""Data-parallel training: several processes hold the same weights, and each takes a share of every step's rows."""

import os
import socket
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Group:
    """The processes that train a model together; by default, this one alone.

    Parameters
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        Number of processes.
    """

    rank: int = 0
    size: int = 1

    def share(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the share of rows, by their indices, that this process computes."""
        return rows if self.size == 1 else rows.tensor_split(self.size)[self.rank]

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Replace a tensor by its sum over the processes."""
        if self.size > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.size > 1:
            torch.distributed.barrier()

    def copy_from_first(self, tensor: torch.Tensor) -> None:
        """Replace a tensor by the one of the first process."""
        if self.size > 1:
            torch.distributed.broadcast(tensor, 0)


def current_group() -> Group:
    """Join the processes that this one was started with, by `devices` of the settings or by `accelerate launch`."""
    if "LOCAL_RANK" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        return Group()
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())  # takes the GPU of its number; without one, it uses gloo
    return Group(state.process_index, state.num_processes)


def environments(size: int) -> list[dict[str, str]]:
    """Return the environment variables by which `size` processes on this machine find each other."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    common = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        {name: str(value) for name, value in {**common, "RANK": rank, "LOCAL_RANK": rank}.items()}
        for rank in range(size)
    ]
