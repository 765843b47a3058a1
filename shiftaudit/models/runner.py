"""Whatever answers images: an inference engine, a server, a model of another framework. It needs no torch.

A runner is asked for answers alone. Its feature maps stay its own, so stages are not measured and there is nothing to patch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shiftaudit.errors import InputError

ANSWERS_ALONE = "the model gives answers alone; feature maps cannot be seen"


class Runner(Protocol):
    """What `package.module:callable` may return, and `score` takes, instead of a network.

    These attributes are read where an object has them:
        name: text for the report; the name of the class otherwise.
        classes: names of the classes, in the order of the logits.
        batch_size: the only number of images that `run` takes at a time; smaller batches are filled up.

    >>> class Brightest:
    ...     classes = ("red", "green", "blue")
    ...     def run(self, images):
    ...         return images.mean(axis=(2, 3))
    >>> is_runner(Brightest())
    True
    """

    def run(self, images: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        """Logits (N, classes) of normalised images (N, C, S, S), float32 and contiguous, which may be kept but not written to.

        Several outputs may be a dict, or a tuple: `--output` says which holds the logits.
        """


def is_runner(value: object) -> TypeGuard[Runner]:
    """Whether an object is a runner; a class is none, and a network never is."""
    return not isinstance(value, (type, nn.Module)) and callable(getattr(value, "run", None))


class RunnerModule(nn.Module):
    """A runner in the place of a network: (N, C, S, S) → what the runner returns, as tensors on the input's device."""

    def __init__(self, runner: Runner, unseen: str = ANSWERS_ALONE) -> None:
        super().__init__()
        self.runner = runner
        self.unseen = unseen
        """Why the feature maps cannot be seen."""

    @property
    def name(self) -> str:
        """What the runner is called in a report."""
        return str(getattr(self.runner, "name", type(self.runner).__name__))

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes.

        Raises:
            InputError: the runner's `classes` are no names.
        """
        names = getattr(self.runner, "classes", None)
        if names is None:
            return None
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise InputError(f"classes of runner {self.name} are no names; expected one text for each class")
        return tuple(names)

    @property
    def fixed_batch(self) -> int | None:
        """The only batch size the runner takes, None for any.

        Raises:
            InputError: the runner's `batch_size` is no positive whole number.
        """
        size = getattr(self.runner, "batch_size", None)
        if size is not None and (not isinstance(size, int) or size < 1):
            raise InputError(f"batch_size of runner {self.name} is {size!r}; expected a positive whole number, or None")
        return size

    def forward(self, x: Tensor) -> Any:
        """What the runner returns for a batch."""
        images = x.detach().to(device="cpu", dtype=torch.float32).contiguous().numpy()
        return _tensors(self.runner.run(images), x.device)


def _tensors(value: Any, device: torch.device) -> Any:
    """Arrays as tensors that share no memory with them, since a runner may use its buffers again."""
    if isinstance(value, Mapping):
        return {str(name): _tensors(item, device) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_tensors(item, device) for item in value)
    if isinstance(value, Tensor):
        return value.detach().clone().to(device)
    return torch.from_numpy(np.array(value)).to(device)
