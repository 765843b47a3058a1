"""Tiny networks and images for tests."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from shiftaudit.models import LoadedModel
from shiftaudit.records.report import AuditReport, Preprocessing


def preprocessing(size: int = 16, resize: int = 20, channels: int = 3) -> Preprocessing:
    return Preprocessing(size, resize, (0.5,), (0.25,), "bilinear", channels, "options")


def loaded(module: nn.Module, size: int = 16, resize: int = 20, channels: int = 3) -> LoadedModel:
    return LoadedModel.from_module(module, preprocessing(size, resize, channels))


class Residual(nn.Module):
    """A strided stem, a max-pool, and a residual block with a strided shortcut: all that a stage can be, in little."""

    def __init__(self, channels: int = 3, padding_mode: str = "zeros", classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 6, 3, stride=2, padding=1, padding_mode=padding_mode)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.branch = nn.Conv2d(6, 8, 3, stride=2, padding=1, padding_mode=padding_mode)
        self.shortcut = nn.Conv2d(6, 8, 1, stride=2)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.norm(self.stem(x))))
        x = self.relu(self.branch(x) + self.shortcut(x))
        return self.head(x.mean((2, 3)))


def seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    """The same module with weights drawn from a seed, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in sorted(module.state_dict().items()):
            if tensor.is_floating_point():
                if name.endswith("running_var"):
                    tensor.uniform_(0.5, 1.5, generator=generator)
                else:
                    tensor.normal_(0, 0.5, generator=generator)
    return module.eval()


def scripted(module: nn.Module) -> torch.jit.ScriptModule:
    """`torch.jit.script` without its notice of deprecation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(module)


def reloaded(script: nn.Module) -> torch.jit.ScriptModule:
    """A scripted or traced network as it comes from its file."""
    buffer = io.BytesIO()
    torch.jit.save(script, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


def reexported(module: nn.Module, example: Tensor, *, any_batch: bool = False) -> nn.Module:
    """A network as it comes from its `.pt2` file."""
    buffer, shapes = io.BytesIO(), ({0: torch.export.Dim("batch")},) if any_batch else None
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=shapes), buffer)
    buffer.seek(0)
    return torch.export.load(buffer).module()


def write_images(folder: Path, n: int = 4, side: int = 24, seed: int = 0) -> Path:
    """Images of smooth random noise, as PNG, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for i in range(n):
        coarse = generator.integers(0, 256, size=(6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((side + i, side), Image.Resampling.BICUBIC).save(folder / f"{i:02d}.png")
    return folder


def assert_same_errors(ours: AuditReport, theirs: AuditReport, tolerance: float) -> None:
    """Whether all stages of two reports have the same equivariance errors."""
    for one, other in zip(ours.stages, theirs.stages, strict=True):
        for protocol, errors in other.errors.items():
            assert abs(one.errors[protocol].output.value - errors.output.value) <= tolerance
            assert abs(one.errors[protocol].input_cos.value - errors.input_cos.value) <= tolerance
