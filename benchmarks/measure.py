"""The contenders and their clock."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torchvision import transforms

from shiftaudit import sample
from shiftaudit.audit.audit import Audit
from shiftaudit.audit.run import run
from shiftaudit.images.file import ImageFile
from shiftaudit.images.find import find_images
from shiftaudit.metrics.counts import view_counts
from shiftaudit.models import LoadedModel, load_model
from shiftaudit.records.settings import Settings

TITLES: dict[str, Sequence[str]] = {
    "a": (
        "network",
        "form",
        "bare pass, s",
        "views a pass",
        "stages ÷ bare",
        "--no-stages ÷ bare",
        "unfolded NCHW ÷ bare",
    ),
    "b": ("network", "K", "our s/image", "usual s/image", "variance ÷ usual", "times faster at equal width"),
    "c": ("network", "images", "shifts K", "peak memory, MiB"),
    "d": ("network", "images", "shifts K", "input px", "views", "CPU s", "ms a view"),
}
_BATCH = 32
_VIEWS = 18
"""Of an image with the default settings: 8 shifts of each protocol, the unshifted view, and the padding check."""
_SPLITS = (1, 2, 3)
"""Passes that the bare pass may split an image's views into; the fastest counts."""


def network(name: str) -> nn.Module:
    """A torchvision network with random weights and batch-norm statistics as a trained one has them: not all 0 and 1."""
    torch.manual_seed(0)
    module: nn.Module = torchvision.models.get_model(name, weights=None).eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return module


def loaded(module: nn.Module) -> LoadedModel:
    """Ready to be audited."""
    return LoadedModel.from_module(module)


def clock(contenders: Mapping[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """CPU seconds of the fastest of `turns` turns of each, taken in rotation; a first turn warms up."""
    best = dict.fromkeys(contenders, math.inf)
    for turn in range(turns + 1):
        for name, work in contenders.items():
            start = time.process_time()
            work()
            if turn:
                best[name] = min(best[name], time.process_time() - start)
    return best


class Whole:
    """All that `shiftaudit score` does once a network is loaded: read, decode, shift, run, compare, summarise."""

    def __init__(self, model: LoadedModel, files: Sequence[ImageFile], settings: Settings) -> None:
        self._audit = Audit(model, settings)
        self._files = files

    def __call__(self) -> Any:
        return run(self._audit, self._files, {})


class Bare:
    """As many forward passes as an audit of `n_images` makes, an image's views in `splits` parts, and nothing else."""

    def __init__(self, module: nn.Module, n_images: int, splits: int, layout: torch.memory_format) -> None:
        self._module = module.to(memory_format=layout)
        batch = torch.randn(_VIEWS, 3, 224, 224).contiguous(memory_format=layout)
        self._batches = list(batch.split(_VIEWS // splits)) * n_images

    def __call__(self) -> None:
        with torch.inference_mode():
            for batch in self._batches:
                self._module(batch)


def against_bare_pass(names: Sequence[str], files: Sequence[ImageFile], turns: int) -> list[Sequence[object]]:
    """Whole runs with the default settings against bare passes of the same number of views, at their fastest batch size."""
    rows: list[Sequence[object]] = []
    settings = Settings(workers=0)
    for name in names:
        for form in ("eager", "TorchScript"):
            module = network(name)
            model = loaded(module if form == "eager" else torch.jit.script(module))
            contenders: dict[str, Callable[[], Any]] = {
                str(splits): Bare(fuse(module), len(files), splits, torch.channels_last) for splits in _SPLITS
            }
            contenders["stages"] = Whole(model, files, settings)
            contenders["no stages"] = Whole(model, files, replace(settings, stages=False))
            contenders["usual"] = Bare(network(name), len(files), 1, torch.contiguous_format)
            best = clock(contenders, turns)
            splits = min(_SPLITS, key=lambda split: best[str(split)])
            bare = best[str(splits)]
            ratios = [best[k] / bare for k in ("stages", "no stages", "usual")]
            rows.append((name, form, bare, _VIEWS // splits, *ratios))
    return rows


class UsualLoop:
    """What evaluation scripts do: a DataLoader of two random crops, a forward pass for each, default layout."""

    def __init__(self, model: LoadedModel, files: Sequence[ImageFile]) -> None:
        self._model = model
        self._loader: Any = torch.utils.data.DataLoader(_Pairs(files, model), batch_size=_BATCH, num_workers=0)

    def __call__(self) -> list[bool]:
        agree: list[bool] = []
        with torch.inference_mode():
            for first, second in self._loader:
                answers = [self._model(batch).argmax(-1) for batch in (first, second)]
                agree += (answers[0] == answers[1]).tolist()
        return agree


class _Pairs:
    """Two crops of 224 at random offsets of up to 31 px in an image resized to 256."""

    def __init__(self, files: Sequence[ImageFile], model: LoadedModel) -> None:
        p = model.preprocessing
        self._files = files
        self._generator = np.random.default_rng(0)
        self._load = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(256),
                transforms.ToTensor(),
                transforms.Normalize(p.mean, p.std),
            ]
        )

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        canvas = self._load(Image.open(self._files[index].path).convert("RGB"))
        cuts = self._generator.integers(0, 32, size=(2, 2))
        return canvas[:, cuts[0, 0] :, cuts[0, 1] :][:, :224, :224], canvas[:, cuts[1, 0] :, cuts[1, 1] :][
            :, :224, :224
        ]


def against_usual_loop(names: Sequence[str], files: Sequence[ImageFile], turns: int) -> list[Sequence[object]]:
    """Time to the same half-width of crop consistency: time an image × variance between images, ours against the loop's.

    Random weights answer alike to everything, so variances are of a network trained on photographs: the bundled sample's.
    """
    variances = {k: _variance(k) for k in (2, 4, 8)}
    usual_variance = variances[2]
    rows: list[Sequence[object]] = []
    for name in names:
        model = loaded(network(name))
        settings = Settings(protocol="crop", stages=False, workers=0)
        contenders: dict[str, Callable[[], Any]] = {"usual": UsualLoop(model, files)}
        for k in variances:
            contenders[str(k)] = Whole(model, files, replace(settings, shifts=str(k)))
        best = {key: value / len(files) for key, value in clock(contenders, turns).items()}
        for k, variance in variances.items():
            ratio = variance / usual_variance
            rows.append((name, k, best[str(k)], best["usual"], ratio, best["usual"] / (best[str(k)] * ratio)))
    return rows


def _variance(k: int) -> float:
    """Variance between images of the share of agreeing pairs among `k` views, on the bundled network and its images."""
    model = load_model(str(sample.model_path()))
    files = find_images(sample.images_path())[0]
    pooled: list[float] = []
    for seed in range(4):
        audit = Audit(model, Settings(protocol="crop", stages=False, workers=0, shifts=f"iid:{k}", seed=seed))
        report = run(audit, files, {})
        assert report is not None
        shares = [c.consistency for image in report.per_image if (c := view_counts(image, "crop")) is not None]
        pooled.append(statistics.variance(shares))
    return statistics.fmean(pooled)


def linear(name: str, files: Sequence[ImageFile], turns: int) -> list[Sequence[object]]:
    """Time of whole runs as images, shifts and resolution grow."""
    cases = [(len(files) // 2, 4, 224), (len(files), 4, 224), (len(files), 8, 224), (len(files), 16, 224)]
    cases += [(len(files), 4, 160), (len(files), 4, 320)]
    base = loaded(network(name))
    contenders = {}
    for n, k, size in cases:
        preprocessing = replace(base.preprocessing, size=size, resize=round(size * 256 / 224))
        model = replace(base, info=replace(base.info, preprocessing=preprocessing))
        contenders[f"{n} {k} {size}"] = Whole(model, files[:n], Settings(shifts=str(k), workers=0))
    best = clock(contenders, turns)
    rows: list[Sequence[object]] = []
    for n, k, size in cases:
        views, seconds = n * (2 * k + 2), best[f"{n} {k} {size}"]
        rows.append((name, n, k, size, views, seconds, 1000 * seconds / views))
    return rows
