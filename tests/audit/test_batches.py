"""How many views go through the network at a time."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from shiftaudit.audit.batches import batch_size, even_parts
from shiftaudit.stages.find import discover


@given(st.integers(0, 200), st.integers(1, 40))
def test_parts_are_complete_ordered_even_and_small_enough(n: int, most: int) -> None:
    parts = [list(part) for part in even_parts(range(n), most)]
    assert [item for part in parts for item in part] == list(range(n))
    sizes = [len(part) for part in parts]
    assert all(0 < size <= most for size in sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert len(parts) == -(-n // most)


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 10, 3, padding=1), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))


def test_the_size_of_a_batch_follows_from_the_largest_map() -> None:
    module = Wide().eval()
    found = discover(module, module, torch.zeros(2, 3, 32, 32))
    assert found.largest_bytes == 10 * 32 * 32 * 4
    for largest in (1, found.largest_bytes, 3_000_000, 10**9):
        views = batch_size(largest, "cpu")
        assert 4 <= views <= 64
        assert views in (4, 64) or views * largest < 2**25 <= (views + 1) * largest
