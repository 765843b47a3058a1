"""What single ATen calls say of themselves."""

from __future__ import annotations

import torch

from shiftaudit.stages.ops import is_low_pass


def test_a_learned_or_uneven_kernel_is_no_low_pass_filter() -> None:
    binomial = torch.tensor([1.0, 2.0, 1.0])
    blur = (binomial[:, None] * binomial / 16).repeat(5, 1, 1, 1)
    assert is_low_pass(blur)
    assert not is_low_pass(blur * 1.1)
    assert not is_low_pass(torch.cat([blur, -blur]))
    assert not is_low_pass(torch.cat([blur, blur.roll(1, -1)]))
