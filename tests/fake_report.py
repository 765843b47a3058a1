"""A made-up report with everything in it, computed from made-up answers, so that its parts agree with each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from shiftaudit.records.report import (
    AuditReport,
    DataInfo,
    Environment,
    ImageResult,
    Level,
    Metric,
    ModelInfo,
    PaddingCheck,
    PhaseError,
    Preprocessing,
    ProtocolInfo,
    ProtocolResult,
    Shift,
    ShiftCount,
    Skipped,
    SkippedStage,
    Stage,
    StageErrors,
    Views,
    WorstShift,
)

STAGES = (
    ("conv1", "conv", 2, 2, 1, 224, 112, 64, 0.0, 0.041),
    ("maxpool", "max_pool", 4, 2, 2, 112, 56, 64, 0.038, 0.119),
    ("layer2.0.conv2", "conv", 8, 2, 3, 56, 28, 128, 0.125, 0.161),
    ("layer2.0.downsample.0", "conv", 8, 2, 3, 56, 28, 512, 0.121, 0.148),
    ("layer3.0.conv2", "conv", 16, 2, 4, 28, 14, 256, 0.150, 0.177),
    ("layer4.0.conv2", "conv", 32, 2, 5, 14, 7, 512, 0.170, 0.162),
)
CLASSES = ("tabby cat", "golden retriever", "<b>sports car</b>", "espresso")


def metric(value: float | None, n: int, *, higher: bool = True, half: float = 0.02) -> Metric:
    if value is None:
        return Metric(None, None, None, 0, 0, "none", higher)
    return Metric(
        value,
        max(0.0, value - half),
        min(1.0, value + half),
        n,
        8 * n,
        "cluster-bootstrap",
        higher,
    )


def _views(
    rng: np.random.Generator, protocol: str, reach: int, answer: int, shifts: Sequence[Shift] | None, wobble: float
) -> Views:
    chosen = shifts or [(int(y), int(x)) for y, x in rng.integers(-reach, reach + 1, size=(8, 2))]
    probabilities = [
        float(np.clip(0.8 - wobble * (((dy % 7) + (dx % 7)) / 12 + 0.3 * rng.random()), 0.02, 0.99))
        for dy, dx in chosen
    ]
    predictions = [answer if p > 0.45 else (answer + 1) % 4 for p in probabilities]
    return Views(
        tuple(chosen), tuple(predictions), tuple(probabilities), tuple(0.3 * (0.8 - p) ** 2 for p in probabilities), 0
    )


def _result(images: Sequence[ImageResult], protocol: str, *, degenerate: bool, padding: bool) -> ProtocolResult:
    counts: dict[Shift, list[int]] = defaultdict(lambda: [0, 0])
    consistency, agreement, change, js = [], [], [], []
    for image in images:
        views = image.views[protocol]
        same = np.equal.outer(np.array(views.predictions), np.array(views.predictions))
        k = len(views.predictions)
        consistency.append((same.sum() - k) / (k * (k - 1)))
        agreement.append(float(np.mean([answer == image.prediction for answer in views.predictions])))
        change.append(float(np.mean([abs(p - image.probability) for p in views.probabilities])))
        js.append(float(np.mean(views.js_divergence)))
        for shift, answer in zip(views.shifts, views.predictions, strict=True):
            counts[shift][0] += 1
            counts[shift][1] += answer == image.prediction
    n = len(images)
    right = float(np.mean([image.prediction == image.label for image in images]))
    metrics = {
        "consistency": metric(float(np.mean(consistency)), n),
        "agreement_with_unshifted": metric(float(np.mean(agreement)), n),
        "stable": metric(float(np.mean([a == 1 for a in agreement])), n),
        "max_flips": metric(max(1 - a / m for m, a in counts.values()), n, higher=False),
        "mean_abs_change": metric(float(np.mean(change)), n, higher=False, half=0.003),
        "js_divergence": metric(float(np.mean(js)), n, higher=False, half=0.001),
        "accuracy": metric(right, n),
        "accuracy_shifted": metric(right * 0.97, n),
        "accuracy_worst": metric(right * 0.8, n),
        "consistency_correct": metric(0.95, n),
        "consistency_incorrect": metric(None, 0),
    }
    by_shift = tuple(ShiftCount(dy, dx, m, a) for (dy, dx), (m, a) in sorted(counts.items()))
    check = PaddingCheck((32, 32), n, n - 1) if padding else None
    worst = max(by_shift, key=lambda count: 1 - count.n_agree / count.n_images)
    cell = WorstShift(worst.dy, worst.dx, 0 if worst.n_images == n else 4, worst.n_images, worst.n_agree)
    return ProtocolResult(metrics, by_shift, 9 * n, 2, 0.999 if degenerate else 0.3, degenerate, cell, check)


def _stage(row: tuple[str, str, int, int, int, int, int, int, float, float], n: int, scale: float) -> Stage:
    name, op, stride, layer, level, before, after, channels, error_in, error_out = row
    phases = tuple(
        PhaseError(
            py,
            px,
            n,
            0.0
            if py == px == 0
            else error_out * scale * (0.5 + 0.5 * (np.sin(np.pi * py / stride) + np.sin(np.pi * px / stride)) / 2),
        )
        for py in range(stride)
        for px in range(stride)
    )
    errors = {
        protocol: StageErrors(
            *(
                metric(e * scale * factor, n, higher=False, half=0.004)
                for e in (error_in, error_out, 1.3 * error_in, 1.3 * error_out)
            ),
            by_phase=phases if protocol == "circular" else (),
            padding=metric(0.002, n, higher=False, half=0.001) if protocol == "circular" else None,
        )
        for protocol, factor in (("circular", 1.0), ("crop", 1.2))
    }
    strides = ((float(stride),) * 2, (float(layer),) * 2)
    return Stage(name, op, *strides, level, (before, before), (after, after), channels, errors)


def _levels(stages: Sequence[Stage]) -> tuple[Level, ...]:
    return tuple(
        Level(
            number,
            group[0].stride,
            tuple(stage.name for stage in group),
            {p: group[0].errors[p].output for p in group[0].errors},
        )
        for number in sorted({stage.level for stage in stages})
        for group in [[stage for stage in stages if stage.level == number]]
    )


def fake_report(
    n: int = 40,
    *,
    source: str = "resnet50",
    wobble: float = 0.45,
    grid: int | None = None,
    degenerate: bool = False,
    stages: bool = True,
    skipped: Sequence[tuple[str, str]] = (("bad/truncated.jpg", "image file is truncated"),),
    names: Sequence[str] | None = CLASSES,
    scale: float = 1.0,
) -> AuditReport:
    """A report of `n` images; `grid` gives all images the same shifts, every `grid` pixels."""
    rng = np.random.default_rng(7)
    images = []
    for index in range(n):
        answer, amount = (0 if degenerate else index % 4), wobble * (0.4 + 1.2 * rng.random())
        views = {}
        for protocol, reach in (("circular", 32), ("crop", 16)):
            axis = range(-reach, reach + 1, grid) if grid else ()
            shifts = [(dy, dx) for dy in axis for dx in axis if dy or dx] if grid else None
            views[protocol] = _views(rng, protocol, reach, answer, shifts, amount)
        label = answer if index % 5 else (answer + 1) % 4
        images.append(
            ImageResult(f"{index:064x}", f"pets & cars/{index:03d} <i>.jpg", label, answer, 0.8, False, views, answer)
        )
    protocols = {p: _result(images, p, degenerate=degenerate, padding=p == "circular") for p in ("circular", "crop")}
    measured = tuple(_stage(row, n, scale) for row in STAGES) if stages else ()
    shifts_spec = f"grid:{grid}" if grid else "8"
    return AuditReport(
        1,
        "0.1.0",
        ModelInfo(
            source,
            "torchvision",
            "ab" * 32,
            source,
            "IMAGENET1K_V2",
            Preprocessing(224, 256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear", 3, "weights"),
        ),
        DataInfo(n, n, "cd" * 32, tuple(Skipped(*entry) for entry in skipped)),
        ProtocolInfo(("circular", "crop"), shifts_spec, None, 32, 16, 256, 0, stages, 4, "ef" * 32),
        Environment("3.11.2", "2.14.1", "0.29.1", "2.1.0", "11.0.0", "Linux-x86_64", "cpu", 2, "float32"),
        protocols,
        measured,
        _levels(measured),
        (SkippedStage("avgpool", "adaptive_avg_pool", "its output is smaller than 2×2"),) if stages else (),
        tuple(images),
        tuple(names) if names else None,
    )
