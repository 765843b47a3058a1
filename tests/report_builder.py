"""Made-up reports that are complete and consistent.

`make_report` has made-up answers with known rates: easy images never flip, hard ones do, and the labels are known; its numbers
are computed. `fake_report` is a showpiece: every field is filled, also the odd ones, and names are hostile.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from shiftaudit.files import sha256_of_set
from shiftaudit.metrics.columns import ViewColumns
from shiftaudit.metrics.distance import by_distance
from shiftaudit.metrics.measures import protocol_result
from shiftaudit.records.cause import Cause, Damage, Split
from shiftaudit.records.distance import DistanceBin, DistanceSplit
from shiftaudit.records.report import (
    SCHEMA_VERSION,
    AuditReport,
    DataInfo,
    Environment,
    ImageResult,
    Level,
    Metric,
    ModelInfo,
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
from shiftaudit.records.settings import Settings
from shiftaudit.views.protocol import resolve

CLASSES = 10
VIEWS = 8


def image_id(index: int) -> str:
    return hashlib.sha256(f"image {index}".encode()).hexdigest()


def make_images(
    n: int,
    *,
    flips: float,
    wrong: float,
    seed: int,
    labelled: bool = True,
    protocols: Sequence[str] = ("circular", "crop"),
) -> tuple[ImageResult, ...]:
    """Images of which a share is hard; a hard image's shifted answers flip half of the time.

    `flips` is the share of hard images and `wrong` the share of wrong unshifted answers. Which images are hard is
    nearly the same for every seed, as it is for real networks; the answers themselves are drawn anew.
    """
    rng = np.random.default_rng(seed)
    difficulty = np.random.default_rng(12345).random(n) + 0.02 * rng.normal(size=n)
    hard = difficulty < flips
    mistaken = np.random.default_rng(54321).random(n) + 0.02 * rng.normal(size=n) < wrong
    images = []
    for i in range(n):
        label = i % CLASSES
        answer = (label + 1) % CLASSES if mistaken[i] else label
        views = {}
        for protocol in protocols:
            flipped = rng.random(VIEWS) < (0.5 if hard[i] else 0.0)
            predictions = tuple(int((answer + 1) % CLASSES) if f else answer for f in flipped)
            probabilities = tuple(float(0.4 if f else 0.8 + 0.1 * rng.random()) for f in flipped)
            shifts = tuple((int(y), int(x)) for y, x in rng.integers(1, 16, size=(VIEWS, 2)))
            views[protocol] = Views(
                shifts,
                predictions,
                probabilities,
                tuple(0.01 for _ in flipped),
                0,
                tuple(0.9 - p for p in probabilities),
            )
        images.append(
            ImageResult(
                image_id(i), f"class{label}/{i:04d}.png", label if labelled else None, answer, 0.9, False, views
            )
        )
    return tuple(images)


def make_stage(name: str, error: float, n: int) -> Stage:
    metric = Metric(error, error * 0.9, error * 1.1, n, 4 * n, "cluster-bootstrap", False)
    errors = {"circular": StageErrors(metric, metric, metric, metric)}
    return Stage(name, "conv", (2.0, 2.0), (2.0, 2.0), 1, (32, 32), (16, 16), 8, errors)


def make_report(
    n: int = 200,
    *,
    flips: float = 0.1,
    wrong: float = 0.1,
    seed: int = 1,
    labelled: bool = True,
    images: tuple[ImageResult, ...] | None = None,
    limit: int | None = None,
    stages: Mapping[str, float] | None = None,
    settings: Settings | None = None,
    environment: Mapping[str, Any] | None = None,
    source: str = "model.pt",
) -> AuditReport:
    """A complete and consistent report."""
    stages = {"conv1": 0.02, "layer2.0.conv2": 0.10} if stages is None else stages
    _, protocol = resolve(settings or Settings(), 224)
    rows = make_images(n, flips=flips, wrong=wrong, seed=seed, labelled=labelled, protocols=protocol.protocols)
    rows = rows if images is None else images
    manifest = sha256_of_set(row.id for row in rows)
    sha256 = hashlib.sha256(f"{source} {seed} {flips} {wrong}".encode()).hexdigest()
    preprocessing = Preprocessing(224, 256, (0.5,), (0.5,), "bilinear", 1, "options")
    env = Environment("3.11.2", "2.14.1", "0.29.1", "2.0.0", "12.0.0", "linux", "cpu", 1, "float32")
    return AuditReport(
        schema_version=SCHEMA_VERSION,
        tool_version="0.1.0",
        model=ModelInfo(source, "torchscript", sha256, None, None, preprocessing),
        data=DataInfo(len(rows), sum(row.label is not None for row in rows), manifest, (), limit),
        protocol=protocol,
        environment=replace(env, **(environment or {})),
        protocols={
            name: replace(
                protocol_result(ViewColumns(rows, name), shifts=protocol.shifts, max_shift=32),
                by_distance=by_distance(ViewColumns(rows, name), (32.0, 32.0)),
            )
            for name in protocol.protocols
        },
        stages=tuple(make_stage(name, error, len(rows)) for name, error in stages.items()),
        levels=(),
        skipped_stages=(),
        per_image=rows,
    )


STAGES = (
    ("conv1", "conv", 2, 2, 1, 224, 112, 64, 0.0, 0.041),
    ("maxpool", "max_pool", 4, 2, 2, 112, 56, 64, 0.038, 0.119),
    ("layer2.0.conv2", "conv", 8, 2, 3, 56, 28, 128, 0.125, 0.161),
    ("layer2.0.downsample.0", "conv", 8, 2, 3, 56, 28, 512, 0.121, 0.148),
    ("layer3.0.conv2", "conv", 16, 2, 4, 28, 14, 256, 0.150, 0.177),
    ("layer4.0.conv2", "conv", 32, 2, 5, 14, 7, 512, 0.170, 0.162),
)
DAMAGES = {1: 0.079, 2: 0.147, 3: 0.101, 4: 0.109, 5: 0.060}
CLASS_NAMES = ("tabby cat", "golden retriever", "<b>sports car</b>", "espresso")


def metric(value: float | None, n: int, *, higher: bool = True, half: float = 0.02) -> Metric:
    if value is None:
        return Metric(None, None, None, 0, 0, "none", higher)
    return Metric(
        value,
        max(0.0, value - half),
        min(1.0, value + half),
        n,
        8 * n,
        "approximate-t" if half < 0.01 else "bounded-mean",
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


def _result(images: Sequence[ImageResult], protocol: str, *, degenerate: bool) -> ProtocolResult:
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
    worst = max(by_shift, key=lambda count: 1 - count.n_agree / count.n_images)
    cell = WorstShift(worst.dy, worst.dx, 0 if worst.n_images == n else 4, worst.n_images, worst.n_agree)
    return ProtocolResult(metrics, by_shift, 9 * n, 2, 0.999 if degenerate else 0.3, degenerate, cell)


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
            floor=0.02 if protocol == "crop" else None,
        )
        for protocol, factor in (("circular", 1.0), ("crop", 1.2))
    }
    strides = ((float(stride),) * 2, (float(layer),) * 2)
    together = tuple(row[0] for row in STAGES if row[2] == stride)
    damage = Damage(
        metric(0.3 * DAMAGES[level], n // 5, higher=False),
        metric(DAMAGES[level] * scale, n // 5, higher=False),
        together,
    )
    return Stage(name, op, *strides, level, (before, before), (after, after), channels, errors, True, damage)


def _split(n: int, observed: float, aliasing: float, border: float) -> Split:
    numbers = (observed, aliasing, border, aliasing + border - observed, (observed + aliasing - border) / 2)
    found = [metric(number, n, higher=False, half=0.01) for number in numbers]
    return Split(*found, min(found[:2], key=lambda one: one.value or 0.0))


def _cause(n: int, scale: float) -> Cause:
    answers, variation = ([scale * x for x in row] for row in ((0.093, 0.05, 0.072), (0.12, 0.11, 0.09)))
    return Cause("circular", _split(n, *answers), _split(n, *variation), (32.0, 32.0), n, n, 3 * n, ())


def _distances(n: int, scale: float, *, apart: bool) -> tuple[DistanceBin, ...]:
    rows = ((1, 2, 0.06, 0.055, 0.01), (3, 4, 0.08, 0.07, 0.03), (5, 8, 0.11, 0.09, 0.06), (9, 16, 0.12, 0.11, 0.09))
    found = []
    for nearest, farthest, *numbers in (*rows, (17, 32, 0.13, 0.12, 0.12)):
        observed, aliasing, border = (scale * number for number in numbers)
        split = DistanceSplit(
            _split(n, 0.7 * observed, 0.7 * aliasing, 0.7 * border), _split(n, observed, aliasing, border)
        )
        found.append(
            DistanceBin(
                nearest,
                farthest,
                (nearest + farthest) / 2,
                n // 5,
                n,
                metric(observed, n, higher=False),
                metric(1 - 0.7 * observed, n),
                (32,) if farthest == 32 else (),
                0,
                split if apart else None,
            )
        )
    return tuple(found)


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
    names: Sequence[str] | None = CLASS_NAMES,
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
            ImageResult(f"{index:064x}", f"pets & cars/{index:03d} <i>.jpg", label, answer, 0.8, False, views)
        )
    protocols = {
        p: replace(
            _result(images, p, degenerate=degenerate),
            by_distance=_distances(n, scale, apart=stages and p == "circular"),
        )
        for p in ("circular", "crop")
    }
    measured = tuple(_stage(row, n, scale) for row in STAGES) if stages else ()
    shifts_spec = f"grid:{grid}" if grid else "8"
    return AuditReport(
        SCHEMA_VERSION,
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
        ProtocolInfo(("circular", "crop"), shifts_spec, None, 32, 16, 256, 0, stages, 4, None, "ef" * 32),
        Environment("3.11.2", "2.14.1", "0.29.1", "2.1.0", "11.0.0", "Linux-x86_64", "cpu", 2, "float32"),
        protocols,
        measured,
        _levels(measured),
        (SkippedStage("avgpool", "adaptive_avg_pool", "its output is smaller than 2×2"),) if stages else (),
        tuple(images),
        tuple(names) if names else None,
        _cause(n, scale) if stages else None,
        8 if stages else 0,
    )
