"""What results cost at the size of ImageNet: every command that only reads results, on made-up rows, as a Markdown table.

    OMP_NUM_THREADS=1 python benchmarks/scale.py --images 1000,10000,50000

Every command is a process of its own; its CPU seconds and largest memory are what the system counted. Rows have 16 shifts under
both protocols, labels, answers that flip on a fifth of the images, and no stages.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from startup import spent

from shiftaudit.records.codec import line_of
from shiftaudit.records.report import SCHEMA_VERSION, Environment, ImageResult, ModelInfo, Preprocessing, Views
from shiftaudit.records.samples import ImageScore, RunImages, SamplesHeader
from shiftaudit.records.settings import Settings
from shiftaudit.views.protocol import plan_views, resolve

VIEWS = 16
CLASSES = 1000
_PROGRAM = ("-m", "shiftaudit")


def write_samples(path: Path, n: int, flips: float) -> None:
    """A samples file of `n` images, a share `flips` of which changes its answer under some shifts."""
    _, protocol = resolve(Settings(shifts=str(VIEWS), stages=False), 224)
    preprocessing = Preprocessing(224, 256, (0.5,), (0.5,), "bilinear", 1, "options")
    header = SamplesHeader(
        schema_version=SCHEMA_VERSION,
        tool_version="0",
        model=ModelInfo(
            path.stem, "torchscript", hashlib.sha256(path.stem.encode()).hexdigest(), None, None, preprocessing
        ),
        protocol=protocol,
        environment=Environment("3", "2", "0", "2", "12", "linux", "cpu", 1, "float32"),
        layout=(),
        skipped_stages=(),
        class_names=None,
        limit=None,
        images=RunImages(n, 0, "0" * 64, "0" * 64),
    )
    with path.open("wb") as file:
        file.writelines(map(line_of, (header, *_rows(n, flips, protocol))))


def _rows(n: int, flips: float, protocol: object) -> Iterator[ImageScore]:
    chance = np.random.default_rng(int(1e6 * flips))
    hard = np.random.default_rng(1).random(n) < flips
    for i in range(n):
        label = i % CLASSES
        image_id = hashlib.sha256(f"image {i}".encode()).hexdigest()
        views = {}
        for name, shifts in plan_views(protocol, image_id).items():
            flipped = chance.random(VIEWS) < 0.5 * hard[i]
            near = chance.random((3, VIEWS))
            views[name] = Views(
                shifts=shifts,
                predictions=tuple(int(label + f) for f in flipped),
                probabilities=tuple((0.8 + 0.1 * near[0]).tolist()),
                js_divergence=tuple((0.01 * near[1]).tolist()),
                near_ties=0,
                variation=tuple((0.1 * near[2]).tolist()),
            )
        yield ImageScore(ImageResult(image_id, f"class{label}/{i:06}.jpg", label, label, 0.85, False, views), {})


def measure(n: int, folder: Path) -> Iterator[tuple[str, float, float]]:
    """The cost of every command on `n` images."""
    os.chdir(folder)
    for name, flips in (("a", 0.2), ("b", 0.21)):
        write_samples(folder / f"{name}.jsonl", n, flips)
        used = spent((*_PROGRAM, "merge", f"{name}.jsonl", "-o", f"{name}.json", "-q"), codes=(0,))
    yield "`merge`", *used
    for words in (
        ("baseline", "save", "a.json", "-o", "base.json"),
        ("gate", "b.json", "-b", "base.json"),
        ("compare", "a.json", "b.json"),
        ("report", "a.json"),
    ):
        yield f"`{' '.join(words[: 2 if words[0] == 'baseline' else 1])}`", *spent((*_PROGRAM, *words), codes=(0, 3))


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="1000,10000,50000", help="numbers of images, comma-separated")
    options = parser.parse_args()
    print("| images | command | CPU s | MiB |\n|---|---|---|---|")
    for n in map(int, options.images.split(",")):
        with tempfile.TemporaryDirectory() as name:
            for command, seconds, memory in measure(n, Path(name)):
                print(f"| {n:,} | {command} | {seconds:.1f} | {memory:.0f} |", flush=True)
            sizes = [
                f"{part} {(Path(name) / part).stat().st_size / 2**20:.1f} MiB"
                for part in ("a.jsonl", "a.json", "base.json")
            ]
            print(f"| {n:,} | files: {', '.join(sizes)} | | |", flush=True)


if __name__ == "__main__":
    main()
