"""The code of docs/python.md runs as it stands, in its order, on the bundled sample."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

import shiftaudit
from shiftaudit import sample

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.DOTALL)
# What the package's own docstring shows.
EXAMPLE = "\n".join(re.findall(r"^    .+", shiftaudit.__doc__ or "", re.M))


class Small(nn.Module):
    """Answers for images of one channel or three, as the page's own examples give it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.act = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.act(self.stem(x.mean(1, keepdim=True)))).mean((2, 3)))


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(sample.model_path(), "model.pt")
    images = sorted(sample.images_path().rglob("*.jpg"))[::20]
    for folder in ("photos/0", "photos/1", "a", "b", "tests/images"):
        Path(folder).mkdir(parents=True)
        for number, image in enumerate(images):
            shutil.copy(image, Path(folder) / f"{number}.jpg")
    shutil.copy(images[0], "b/one.png")
    shutil.copy(images[0], "cat.jpg")
    torch.manual_seed(0)
    names = {"my_module": Small().eval()}
    assert len(BLOCKS) >= 8
    for block in BLOCKS:
        if "weights.safetensors" in block:
            continue  # 100 MB that the sample does not have
        exec(compile(block, str(PAGE), "exec"), names)
    exec(compile(textwrap.dedent(EXAMPLE), "shiftaudit/__init__.py", "exec"), names)
    assert "same answer for" in capsys.readouterr().out
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
