"""The whole report against brute force: one forward pass a view, module hooks for features, NumPy for every number.

The same network is audited eager, scripted, traced and exported, and the four reports must agree with the oracle and each other.
"""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import Residual, preprocessing, seeded, write_images
from oracles import fft_shift_oracle
from PIL import Image
from torch import nn

from shiftaudit.audit.audit import audit
from shiftaudit.images.find import find_images
from shiftaudit.models import LoadedModel, ModelOptions, load_model
from shiftaudit.records.report import AuditReport
from shiftaudit.records.settings import Settings

SIZE, RESIZE, SHIFT = 16, 20, 2
FORMS = ("eager", "scripted", "traced", "pt2")
STAGES = {"stem": 2, "pool": 4, "branch": 8, "shortcut": 8}


def network() -> nn.Module:
    return seeded(Residual())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), n=5, side=23)


def model_in(form: str, where: Path) -> LoadedModel:
    module = network()
    if form == "eager":
        return LoadedModel.from_module(module, preprocessing(SIZE, RESIZE))
    example = torch.zeros(2, 3, SIZE, SIZE)
    path = where / ("model.pt2" if form == "pt2" else "model.pt")
    if form == "scripted":
        torch.jit.save(torch.jit.script(module), path)
    elif form == "traced":
        torch.jit.save(torch.jit.trace(module, example), path)
    else:
        batch = torch.export.Dim("batch")
        torch.export.save(torch.export.export(module, (example,), dynamic_shapes=({0: batch},)), path)
    options = ModelOptions(size=SIZE, resize=RESIZE, mean=(0.5,), std=(0.25,), interpolation="bilinear", trust=True)
    return load_model(str(path), options)


@pytest.fixture(scope="module", params=FORMS)
def report(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AuditReport:
    model = model_in(request.param, tmp_path_factory.mktemp("model"))
    settings = Settings(shifts="4", max_shift=SHIFT, stage_views=4, workers=0, batch_size=7)
    return audit(model, find_images(folder)[0], settings)


class Oracle:
    """The slow way, with nothing of the package but the drawn shifts that the report itself states."""

    def __init__(self, folder: Path, report: AuditReport) -> None:
        self.module = network()
        self.features: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name in STAGES:
            self.module.get_submodule(name).register_forward_hook(self._keep(name))
        self.images = {image.path: image for image in report.per_image}
        self.canvases = {path.name: self._canvas(path) for path in sorted(folder.iterdir())}

    def _keep(self, name: str):  # type: ignore[no-untyped-def]
        def hook(module: nn.Module, args: tuple[torch.Tensor], out: torch.Tensor) -> None:
            self.features[name] = tuple(t[0].detach().numpy().transpose(1, 2, 0).copy() for t in (args[0], out))

        return hook

    @staticmethod
    def _canvas(path: Path) -> np.ndarray:
        image = Image.open(path).convert("RGB")
        width, height = image.size
        short = min(width, height)
        size = (RESIZE, int(RESIZE * height / width)) if width == short else (int(RESIZE * width / height), RESIZE)
        image = image.resize(size, Image.Resampling.BILINEAR)
        side = SIZE + 2 * SHIFT
        left, top = round((image.width - side) / 2), round((image.height - side) / 2)
        pixels = np.asarray(image.crop((left, top, left + side, top + side)), dtype=np.float32)
        return (pixels / 255 - 0.5) / 0.25

    def view(self, canvas: np.ndarray, protocol: str, dy: int, dx: int) -> np.ndarray:
        if protocol == "circular":
            return np.roll(canvas[SHIFT:-SHIFT, SHIFT:-SHIFT], (dy, dx), (0, 1))
        return canvas[SHIFT - dy : SHIFT - dy + SIZE, SHIFT - dx : SHIFT - dx + SIZE]

    def run(self, view: np.ndarray) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
        with torch.no_grad():
            logits = self.module(torch.from_numpy(view.transpose(2, 0, 1).copy())[None])[0].double().numpy()
        return logits, dict(self.features)


def mirrored_shift(values: np.ndarray, delta: float) -> np.ndarray:
    """The first axis moved by a fraction, through the cosine series of the map continued by its mirror image."""
    length = len(values)
    both = np.concatenate([values, values[::-1]])
    k = np.fft.fftfreq(2 * length, 1 / (2 * length))
    factor = np.exp(-2j * np.pi * k * delta / (2 * length))
    factor[length] = np.cos(np.pi * delta)
    spectrum = np.fft.fft(both, axis=0) * factor.reshape(-1, *[1] * (values.ndim - 1))
    moved: np.ndarray = np.fft.ifft(spectrum, axis=0).real[:length]
    return moved


def moved(reference: np.ndarray, protocol: str, dy: float, dx: float) -> tuple[np.ndarray, np.ndarray]:
    """T F(x) and the mask of samples it exists on."""
    maps = reference.astype(np.float64)
    if protocol == "circular":
        return fft_shift_oracle(maps, dy, dx), np.ones(reference.shape[:2], dtype=bool)
    fractions = (dy % 1, dx % 1)
    if fractions[0]:
        maps = mirrored_shift(maps, fractions[0])
    if fractions[1]:
        maps = mirrored_shift(maps.swapaxes(0, 1), fractions[1]).swapaxes(0, 1)
    height, width = reference.shape[:2]
    out, mask = np.zeros(reference.shape, dtype=np.float64), np.zeros((height, width), dtype=bool)
    for y, x in itertools.product(range(height), range(width)):
        if 0 <= y - dy <= height - 1 and 0 <= x - dx <= width - 1:
            mask[y, x] = True
            out[y, x] = maps[y - int(np.floor(dy)), x - int(np.floor(dx))]
    return out, mask


def distance(reference: np.ndarray, view: np.ndarray, protocol: str, dy: float, dx: float) -> float:
    """Root mean square difference in standard deviations of the reference's channels, of which one counts 2 at most."""
    target, mask = moved(reference, protocol, dy, dx)
    if not mask.any():
        return np.nan
    spread = reference.astype(np.float64).std((0, 1))
    live = spread > 0
    squares = (((view.astype(np.float64) - target)[..., live] / spread[live])[mask] ** 2).mean(0)
    return float(np.sqrt(np.minimum(squares, 2).mean()))


def softmax(logits: np.ndarray) -> np.ndarray:
    exponent = np.exp(logits - logits.max())
    return exponent / exponent.sum()


def js(p: np.ndarray, q: np.ndarray) -> float:
    m = (p + q) / 2
    return float((p * np.log(p / m) + q * np.log(q / m)).sum() / 2)


def test_every_prediction_and_probability_equals_one_pass_a_view(report: AuditReport, folder: Path) -> None:
    oracle = Oracle(folder, report)
    assert sorted(oracle.images) == sorted(oracle.canvases)
    for path, canvas in oracle.canvases.items():
        image = oracle.images[path]
        assert image.id == hashlib.sha256((folder / path).read_bytes()).hexdigest()
        logits, _ = oracle.run(oracle.view(canvas, "circular", 0, 0))
        base = softmax(logits)
        assert image.prediction == int(base.argmax())
        assert image.probability == pytest.approx(base.max(), abs=1e-5)
        for protocol, views in image.views.items():
            for (dy, dx), prediction, probability, divergence in zip(
                views.shifts, views.predictions, views.probabilities, views.js_divergence, strict=True
            ):
                shifted = softmax(oracle.run(oracle.view(canvas, protocol, dy, dx))[0])
                assert prediction == int(shifted.argmax())
                assert probability == pytest.approx(shifted[base.argmax()], abs=1e-5)
                assert divergence == pytest.approx(js(base, shifted), abs=1e-5)


def test_every_stage_error_equals_hooks_and_direct_evaluation(report: AuditReport, folder: Path) -> None:
    oracle = Oracle(folder, report)
    stages = {stage.name: stage for stage in report.stages}
    assert {name: stage.stride for name, stage in stages.items()} == {n: (s, s) for n, s in STAGES.items()}
    for name, stride in STAGES.items():
        bases = [oracle.run(oracle.view(c, "circular", 0, 0))[1][name] for c in oracle.canvases.values()]
        pairs = [(a, b) for a in bases for b in bases if a is not b]
        units = [np.mean([distance(a[end], b[end], "circular", 0, 0) for a, b in pairs]) for end in (0, 1)]
        for protocol in ("circular", "crop"):
            sums = np.zeros((0, 2))
            for path, base in zip(oracle.canvases, bases, strict=True):
                rows = []
                for dy, dx in oracle.images[path].views[protocol].shifts:
                    now = oracle.run(oracle.view(oracle.canvases[path], protocol, dy, dx))[1][name]
                    steps = ((stride / 2, 0), (stride, 1))
                    rows.append([distance(base[end], now[end], protocol, dy / s, dx / s) for s, end in steps])
                sums = np.vstack([sums, np.nanmean(np.array(rows), axis=0)])
            found = stages[name].errors[protocol]
            got = [found.input.value, found.output.value]
            np.testing.assert_allclose(got, sums.mean(0) / units, atol=1e-4, err_msg=f"{name} {protocol}")
