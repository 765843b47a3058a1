"""Networks that torch.fx cannot follow, recorded in another way: by torch.export, as a script, or as a trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from shiftaudit.errors import PatchError
from shiftaudit.models.guard import silent
from shiftaudit.surgery.fx.graph import alike
from shiftaudit.surgery.fx.trace import NotFollowedError, evaluating, independent
from shiftaudit.surgery.graph import Graph
from shiftaudit.surgery.patch import open_graph
from shiftaudit.surgery.save import exported

_BATCHES = (2, 5)
"""Sizes of the batches, in examples, on which a recorded network has to answer as the original does."""


@dataclass(frozen=True)
class _Form:
    record: Callable[[nn.Module, Tensor], Any]
    note: str
    advice: str
    """For a network that is recorded, but answers the example's batch alone."""


# In this order: an export refuses what it cannot follow, and a script holds all control flow; a trace may hold less than all.
_FORMS = (
    _Form(
        lambda module, example: exported(module, example)[0].module(),
        "torch.fx cannot follow the network; it was read by torch.export",
        "export it with torch.export.export at the size it is used with, and patch the .pt2 file",
    ),
    _Form(
        lambda module, _: torch.jit.script(module),
        "torch.fx and torch.export cannot follow the network; it was read by torch.jit.script",
        "save it with torch.jit.script and patch the file, which may hold any control flow",
    ),
    _Form(
        lambda module, example: torch.jit.trace(module, example, check_trace=False),
        "torch.fx and torch.export cannot follow the network; it was read by torch.jit.trace, as it ran on random numbers: "
        "branches that depend on the image are fixed",
        "save it with torch.jit.trace at the size it is used with, and patch the file",
    ),
)


def recorded(module: nn.Module, example: Tensor, refused: NotFollowedError) -> Graph:
    """The graph of a copy of `module` in the first form that takes it and answers as it does, whatever the batch.

    Args:
        example: (N, C, H, W).
        refused: why torch.fx does not take it.

    Raises:
        PatchError: no form does; `refused`, with what to do about it.
    """
    own = evaluating(independent(module))
    advice = None
    with silent("torch"), torch.no_grad():
        batches = [example, *(_mixed(example, count) for count in _BATCHES)]
        expected = [own(batch) for batch in batches]
        for form in _FORMS:
            try:
                network = form.record(own, example)
            except Exception:
                continue
            advice = advice or form.advice
            try:
                if not all(alike(network(batch), answers) for batch, answers in zip(batches, expected, strict=True)):
                    continue
                graph = open_graph(network, example)
            except Exception:
                continue
            graph.notes = (form.note, *graph.notes)
            return graph
    raise PatchError(refused.message, hint=advice) from refused


def _mixed(example: Tensor, count: int) -> Tensor:
    """A batch of `count` examples, each of another strength and every second one negative, for other branches to run."""
    return torch.cat([example * ((-1) ** index * index) for index in range(1, count + 1)])
