"""Several processes under `torchrun`: each scores its shard, rank 0 collects the rows and writes the report.

Only rows travel, so the control channel is gloo on every device; each process keeps its own accelerator.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from shiftaudit.audit.samples import Line
from shiftaudit.errors import InputError, ShiftAuditError, first_line
from shiftaudit.records.digits import whole_number
from shiftaudit.records.settings import Shard

TIMEOUT_VARIABLE = "SHIFTAUDIT_RANK_TIMEOUT"
_TIMEOUT_SECONDS = 1800.0
_LONGEST_TIMEOUT = 1e8
_MOST = 10**7
_UNSET = "start with torchrun, or unset RANK and WORLD_SIZE to run alone"


@dataclass(frozen=True)
class Ranks:
    """This process among those that `torchrun` started; alone when it was not started so."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Rank 0 draws the bar, prints and writes; the others only score."""
        return self.rank == 0

    @property
    def shard(self) -> Shard:
        """The images of this process."""
        return Shard(self.rank + 1, self.world)

    def device(self, device: str) -> str:
        """`cuda` without a number is this process's own accelerator."""
        return f"cuda:{self.local_rank}" if device == "cuda" and self.world > 1 else device


def ranks() -> Ranks:
    """What `torchrun` put into the environment.

    Raises:
        InputError: the variables are no numbers, or do not fit each other; or those of another launcher, which do not say where
            the processes meet.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return Ranks()
    world, rank, local_rank = (_count(name) for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"))
    if not 0 <= rank < world:
        raise InputError(f"RANK={rank} and WORLD_SIZE={world} do not fit each other", hint=_UNSET)
    if world > 1 and not all(os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT")):
        raise InputError(
            f"RANK={rank} and WORLD_SIZE={world} are set, but MASTER_ADDR and MASTER_PORT, where processes meet, are not",
            hint=_UNSET,
        )
    return Ranks(rank, world, local_rank)


def _count(name: str) -> int:
    text = os.environ.get(name, "0")
    number = whole_number(text)
    if number is None or number > _MOST:
        raise InputError(f"{name} got {text[:40]!r}; expected a number of processes as torchrun sets it", hint=_UNSET)
    return number


@contextmanager
def process_group(here: Ranks) -> Iterator[None]:
    """Join the other processes for the time of the block; does nothing when alone.

    Raises:
        ShiftAuditError: a process died or did not answer in time. Nothing was written.
    """
    if here.world == 1:
        yield
        return
    import torch.distributed as dist

    timeout = timedelta(seconds=_timeout())
    try:
        dist.init_process_group("gloo", timeout=timeout)
        yield
    except (RuntimeError, dist.DistError) as error:
        raise ShiftAuditError(
            f"the processes of this run lost each other: {first_line(error)}",
            hint=f"see the error of the process that ended first; {TIMEOUT_VARIABLE} is how many seconds to wait for a slow one",
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def gather(here: Ranks, lines: list[Line]) -> list[Line]:
    """The rows of all processes on rank 0, nothing elsewhere. Waits for every process, and names one that does not come."""
    if here.world == 1:
        return lines
    import torch.distributed as dist

    dist.monitored_barrier(timeout=timedelta(seconds=_timeout()), wait_all_ranks=True)
    parts: list[Any] | None = [None] * here.world if here.is_first else None
    dist.gather_object(lines, parts, dst=0)
    return [line for part in parts for line in part] if parts else []


def _timeout() -> float:
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    if not text:
        return _TIMEOUT_SECONDS
    try:
        seconds = float(text)
    except ValueError as error:
        raise InputError(f"{TIMEOUT_VARIABLE} got {text!r}; expected seconds") from error
    if not 0 < seconds < _LONGEST_TIMEOUT:
        raise InputError(f"{TIMEOUT_VARIABLE} got {text}; expected a positive number of seconds")
    return seconds
