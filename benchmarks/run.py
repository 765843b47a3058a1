"""How close an audit comes to the hardware's limit: ratios measured side by side, as a Markdown table.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/run.py

Contenders take turns and the fastest turn of each counts. CPU seconds of this process are compared, so that others on the
machine disturb less. Nothing is downloaded: networks have random weights, and photographs are scikit-image's and scikit-learn's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import measure
from images import write_photographs

PARTS = ("a", "b", "c", "d")
MODELS = ("resnet18", "resnet50", "mobilenet_v2")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images, one small network, two turns")
    parser.add_argument("--images", type=int, default=8, metavar="N", help="images a turn (default 8)")
    parser.add_argument("--turns", type=int, default=4, help="turns of each contender (default 4)")
    parser.add_argument("--models", default=",".join(MODELS), help="torchvision names, comma-separated")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run: a,b,c,d")
    options = parser.parse_args()
    if options.quick:
        options.images, options.turns, options.models = 3, 2, "resnet18"
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    models = options.models.split(",")
    with tempfile.TemporaryDirectory() as folder:
        files = write_photographs(Path(folder), options.images)
        parts: dict[str, Callable[[], list[Sequence[object]]]] = {
            "a": lambda: measure.against_bare_pass(models, files, options.turns),
            "b": lambda: measure.against_usual_loop(models, files, options.turns),
            "c": lambda: _memory(models[0], options.images),
            "d": lambda: measure.linear(models[0], files, options.turns),
        }
        for part in options.only.split(","):
            _print_table(measure.TITLES[part], parts[part]())


def _print_table(title: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print("\n| " + " | ".join(title) + " |")
    print("|" + "---|" * len(title))
    for row in rows:
        print("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
    sys.stdout.flush()


def _memory(model: str, images: int) -> list[Sequence[object]]:
    """Peak memory of a process of its own for each number of images and shifts."""
    rows: list[Sequence[object]] = []
    here = Path(__file__).parent
    for n, shifts in ((images, 4), (4 * images, 4), (images, 16), (images, 64)):
        command = [sys.executable, str(here / "memory.py"), model, str(n), str(shifts)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
        rows.append((model, n, shifts, round(float(done.stdout))))
    return rows


if __name__ == "__main__":
    main()
