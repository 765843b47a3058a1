"""The memory layout that a copy and its original are trained in: channels last, which is faster, where both can take it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shiftaudit.errors import ModelError
from shiftaudit.models import LoadedModel
from shiftaudit.tune.targets import Tapped


@dataclass(frozen=True)
class Layout:
    """One order of a map's values in memory."""

    order: torch.memory_format

    def laid(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in this order."""
        return x.contiguous(memory_format=self.order)

    def answers(self, run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """The same network, given images in this order."""
        return lambda x: run(self.laid(x))

    def taps(self, network: Tapped) -> Tapped:
        """The same network, given images in this order."""
        return _LaidTaps(network, self)


@dataclass(frozen=True)
class _LaidTaps:
    network: Tapped
    layout: Layout

    @property
    def names(self) -> tuple[str, ...]:
        return self.network.names

    def run(self, x: Tensor, taps: Sequence[str]) -> tuple[Tensor, list[Tensor | None]]:
        return self.network.run(self.layout.laid(x), taps)


def settle_layout(models: Sequence[LoadedModel], size: int) -> Layout:
    """Put the models into the layout that all of them run in on crops of this side, in place.

    A network with a `.view()` behind its last map takes for granted that channels come first.

    Raises:
        ModelError: a model does not take crops of this side.
    """
    with contextlib.suppress(ModelError):
        return _tried(models, size, Layout(torch.channels_last))
    return _tried(models, size, Layout(torch.contiguous_format))


def _tried(models: Sequence[LoadedModel], size: int, layout: Layout) -> Layout:
    for model in models:
        model.module.to(memory_format=layout.order)
        device = next(model.module.parameters()).device
        with torch.no_grad():
            model(layout.laid(torch.zeros(2, model.preprocessing.channels, size, size, device=device)))
    return layout
