"""Seeing the ATen calls of a running network, without loading the compiler that PyTorch loads for it."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Mode(TorchDispatchMode):
    """A `TorchDispatchMode` whose subclasses override `handle`.

    PyTorch keeps its compiler away from what a mode does, and imports the compiler to do so: as long as `import torch` itself
    takes. Where nobody has imported it there is nothing to keep away.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # done below

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        handled = _uncompiled() if "torch._dynamo" in sys.modules else _handled
        return handled(self, func, args, kwargs or {})

    def handle(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run a call; what is returned is what the network goes on with."""
        raise NotImplementedError


def _handled(mode: Mode, func: Any, args: Any, kwargs: Any) -> Any:
    return mode.handle(func, args, kwargs)


@cache
def _uncompiled() -> Any:
    return torch.compiler.disable(_handled)
