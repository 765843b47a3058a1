"""Convolutions that do their padding and their batch-norm themselves."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from patch_networks import randomise
from torch import Tensor, nn

from shiftaudit.surgery.refit.fuse import fused
from shiftaudit.surgery.refit.tape import Pass, Tape, record


class Branches(nn.Module):
    """A padded convolution with a norm, one whose output is read twice, and one that is padded on one side."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.second, self.other = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.third = nn.Conv2d(4, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(F.pad(x, (2, 2, 1, 1)))).relu()
        x = self.second(x)
        x = x + self.other(x)
        return self.third(F.pad(x, (0, 1, 0, 1)))


def outcome(tape: Tape, x: Tensor) -> Tensor:
    one_pass = Pass(tape, tape.start(x))
    one_pass.advance(len(tape.steps))
    (value,) = one_pass.values.values()
    return value


def test_a_fused_tape_computes_the_same_in_fewer_steps() -> None:
    network = randomise(Branches()).eval()
    x = torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    tape = record(network, x)
    joined = fused(tape)
    assert len(tape.steps) - len(joined.steps) == 2  # the even padding and the norm that alone reads its convolution
    with torch.inference_mode():
        torch.testing.assert_close(outcome(joined, x), network(x))
        torch.testing.assert_close(outcome(tape, x), network(x))
    assert [step.norm is not None for step in joined.steps if "conv" in step.name] == [True, False, False]


def test_an_activation_writes_into_what_it_reads_but_never_into_a_kept_state() -> None:
    network = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardtanh(), nn.Conv2d(4, 2, 1), nn.ReLU())).eval()
    x = torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    tape = fused(record(network, x))
    assert [step.in_place is not None for step in tape.steps] == [False, True, False, True]
    with torch.inference_mode():
        expected = network(x)
        between = network[0](x)
    first = Pass(tape, tape.start(x))
    first.advance(4, keep_at=1)
    assert first.kept is not None
    for one_pass in (first, Pass(tape, first.kept)):
        one_pass.advance(4)
        torch.testing.assert_close(*one_pass.values.values(), expected)
    torch.testing.assert_close(*first.kept.values.values(), between)
