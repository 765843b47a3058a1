"""Files whose operations torchvision brings, in processes that have not imported it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

LOAD = """
import sys
from shiftaudit.models import load_model
from shiftaudit.records.settings import ModelOptions
model = load_model(sys.argv[1], ModelOptions(size=16, trust=True))
print(*model(model.example_input(2)).shape)
"""


class Deformed(nn.Module):
    """A strided deformable convolution and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.offsets, self.conv = nn.Conv2d(3, 18, 3, 2, 1), DeformConv2d(3, 8, 3, 2, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.conv(x, self.offsets(x)).mean((2, 3)))
        return out


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["trace.pt", "script.pt", "program.pt2"])
def test_operations_of_torchvision_are_found_when_a_file_needs_them(form: str, tmp_path: Path) -> None:
    network, example = Deformed().eval(), torch.rand(2, 3, 16, 16)
    path = tmp_path / form
    if form == "program.pt2":
        torch.export.save(torch.export.export(network, (example,)), path)
    else:
        made = torch.jit.trace(network, example) if form == "trace.pt" else torch.jit.script(network)
        made.save(str(path))
    done = subprocess.run([sys.executable, "-c", LOAD, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "2 5\n"), done.stderr
