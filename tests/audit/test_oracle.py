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
from networks import Residual, preprocessing, seeded, write_pictures
from oracles import fft_shift_oracle
from PIL import Image
from torch import nn

from shiftaudit.audit.audit import audit
from shiftaudit.images.stream import find_images
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
    return write_pictures(tmp_path_factory.mktemp("pictures"), n=5, side=23)


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


def moved(reference: np.ndarray, protocol: str, dy: float, dx: float) -> tuple[np.ndarray, np.ndarray]:
    """T F(x) and the mask of samples it exists on, by direct evaluation at every sample."""
    if protocol == "circular":
        return fft_shift_oracle(reference.astype(np.float64), dy, dx), np.ones(reference.shape[:2], dtype=bool)
    height, width = reference.shape[:2]
    out, mask = np.zeros(reference.shape, dtype=np.float64), np.zeros((height, width), dtype=bool)
    for y, x in itertools.product(range(height), range(width)):
        sy, sx = y - dy, x - dx
        y0, x0 = int(np.floor(sy)), int(np.floor(sx))
        fy, fx = sy - y0, sx - x0
        corners = [
            (y0, x0, (1 - fy) * (1 - fx)),
            (y0, x0 + 1, (1 - fy) * fx),
            (y0 + 1, x0, fy * (1 - fx)),
            (y0 + 1, x0 + 1, fy * fx),
        ]
        needed = [c for c in corners if c[2] > 0]
        if all(0 <= cy < height and 0 <= cx < width for cy, cx, _ in needed):
            mask[y, x] = True
            out[y, x] = sum(w * reference[cy, cx] for cy, cx, w in needed)
    return out, mask


def errors(reference: np.ndarray, view: np.ndarray, protocol: str, dy: float, dx: float) -> tuple[float, float]:
    target, mask = moved(reference, protocol, dy, dx)
    if not mask.any():
        return np.nan, np.nan
    a, b = target[mask].ravel(), view.astype(np.float64)[mask].ravel()
    return 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b), np.linalg.norm(a - b) / np.linalg.norm(a)


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
        for protocol in ("circular", "crop"):
            sums = np.zeros((0, 4))
            for path, canvas in oracle.canvases.items():
                base = oracle.run(oracle.view(canvas, protocol, 0, 0))[1][name]
                rows = []
                for dy, dx in oracle.images[path].views[protocol].shifts:
                    now = oracle.run(oracle.view(canvas, protocol, dy, dx))[1][name]
                    before = errors(base[0], now[0], protocol, dy / (stride / 2), dx / (stride / 2))
                    rows.append([*before, *errors(base[1], now[1], protocol, dy / stride, dx / stride)])
                sums = np.vstack([sums, np.nanmean(np.array(rows), axis=0)])
            found = stages[name].errors[protocol]
            got = [found.input.value, found.input_l2.value, found.output.value, found.output_l2.value]
            np.testing.assert_allclose(got, sums.mean(0), atol=1e-5, err_msg=f"{name} {protocol}")
