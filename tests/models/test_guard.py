"""Ctrl-C and prints while a network runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest
import torch
from networks import Residual, loaded, seeded
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


class PressesCtrlC(TorchDispatchMode):
    """Someone who watches a network's operations, interrupted at the first of them."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("compiled", [False, True])
def test_an_interrupt_inside_a_network_is_not_taken_for_its_failure(compiled: bool) -> None:
    module = seeded(Residual())
    model = loaded(torch.jit.script(module) if compiled else module)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), torch.inference_mode(), PressesCtrlC():
        model(torch.zeros(1, 3, 16, 16))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_failure_without_an_interrupt_stays_one() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("no")

    with pytest.raises(Exception, match="ValueError: no"):
        loaded(Fails())(torch.zeros(1, 3, 16, 16))


NOISY = """
import os, sys
from shiftaudit.models.guard import stdout_to_stderr
print("before")
try:
    with stdout_to_stderr():
        print("printed")
        os.write(1, b"written by compiled code\\n")
        raise ValueError
except ValueError:
    pass
print("after")
"""


def test_stdout_is_kept_clean_at_the_file_descriptor_and_restored_after_an_error() -> None:
    done = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, text=True, check=True)
    assert done.stdout == "before\nafter\n"
    assert sorted(done.stderr.splitlines()) == ["printed", "written by compiled code"]
