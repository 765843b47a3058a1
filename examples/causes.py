"""The causes of change before and after a patch, image by image: `python causes.py before.jsonl after.jsonl`.

Both files are written by `shiftaudit score MODEL IMAGES --protocol circular --damage 8 --samples FILE`, of the same images. The
columns are the original, the copy, and the copy minus the original, in hundredths, with the intervals of the package.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shiftaudit.audit.samples import read_samples
from shiftaudit.metrics.intervals import Kind, mean_metric
from shiftaudit.records.cause import Change, SplitView
from shiftaudit.records.samples import ImageScore

Values = NDArray[np.float64]
SIZES: dict[str, tuple[Kind, Callable[[Change], float]]] = {
    "probability": ("real", lambda change: change.variation),
    "answers": ("share", lambda change: float(change.changed)),
}


def causes(view: SplitView, of: Callable[[Change], float]) -> tuple[float, float, float]:
    """What is observed, what of it aliasing causes, and what the border."""
    observed, aliasing, border = of(view.observed), of(view.aliasing), of(view.border)
    return observed, (observed + aliasing - border) / 2, (observed + border - aliasing) / 2


def by_image(path: Path, of: Callable[[Change], float]) -> dict[str, Values]:
    """By content: the means over an image's views, shape (3,)."""
    scores = [line for line in read_samples(path)[1] if isinstance(line, ImageScore) and line.damage is not None]
    return {
        one.image.id: np.mean([causes(view, of) for view in one.damage.views], axis=0) for one in scores if one.damage
    }


def text(values: Values, kind: Kind, low: float, high: float) -> str:
    """A mean and its interval, in hundredths."""
    found = mean_metric(values, n_pairs=len(values), higher_is_better=False, kind=kind, low=low, high=high)
    numbers = [
        f"{100 * (number or 0.0):.1f}".replace("-", "−") for number in (found.value, found.ci_low, found.ci_high)
    ]
    return f"{numbers[0]} {'≈' if found.method == 'approximate-t' else ''}[{numbers[1]}, {numbers[2]}]"


def main() -> None:
    """Print the table."""
    for size, (kind, of) in SIZES.items():
        before, after = (by_image(Path(name), of) for name in sys.argv[1:3])
        sides = [np.array([side[key] for key in sorted(before)]).T for side in (before, after)]
        for cause, (low, high), original, copy in zip(
            ("observed", "by aliasing", "by the border"), ((0, 1), (-0.5, 1), (-0.5, 1)), *sides, strict=True
        ):
            cells = (
                text(original, kind, low, high),
                text(copy, kind, low, high),
                text(copy - original, kind, low - high, high - low),
            )
            print(f"| {size}, {cause} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
