"""Made-up reports with made-up answers: easy images never flip, hard ones do, and the labels are known."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from shiftaudit.metrics.measures import protocol_result
from shiftaudit.records.report import (
    AuditReport,
    DataInfo,
    Environment,
    ImageResult,
    Metric,
    ModelInfo,
    Preprocessing,
    Stage,
    StageErrors,
    Views,
)
from shiftaudit.views.protocol import Settings, resolve

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
            views[protocol] = Views(shifts, predictions, probabilities, tuple(0.01 for _ in flipped), 0)
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
    manifest = hashlib.sha256("".join(sorted(row.id for row in rows)).encode()).hexdigest()
    sha256 = hashlib.sha256(f"{source} {seed} {flips} {wrong}".encode()).hexdigest()
    preprocessing = Preprocessing(224, 256, (0.5,), (0.5,), "bilinear", 1, "options")
    env = Environment("3.11.2", "2.14.1", "0.29.1", "2.0.0", "12.0.0", "linux", "cpu", 1, "float32")
    return AuditReport(
        schema_version=1,
        tool_version="0.1.0",
        model=ModelInfo(source, "torchscript", sha256, None, None, preprocessing),
        data=DataInfo(len(rows), sum(row.label is not None for row in rows), manifest, (), limit),
        protocol=protocol,
        environment=replace(env, **(environment or {})),
        protocols={
            name: protocol_result(rows, name, shifts=protocol.shifts, max_shift=32) for name in protocol.protocols
        },
        stages=tuple(make_stage(name, error, len(rows)) for name, error in stages.items()),
        levels=(),
        skipped_stages=(),
        per_image=rows,
    )
