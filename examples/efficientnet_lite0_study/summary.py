"""Compare reports image by image: `python summary.py original.json tuned.json [MORE.json]`.

For each later report: agreement with the first one's unshifted top-1, and the paired difference in consistency, each with its
95 % interval, once with images and once with whole photographs (the name before `-`) as the unit that is resampled.
Reports of the digits are one pair a seed: `--pairs a0.json b0.json a1.json b1.json ...` pools them, seeds resampled too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000


def images(path: Path) -> dict[str, Any]:
    """The images of a report by content."""
    return {image["id"]: image for image in json.loads(path.read_text())["per_image"]}


def consistency(image: dict[str, Any], protocol: str) -> float:
    """Share of agreeing pairs of shifted views."""
    answers = image["views"][protocol]["predictions"]
    return float(np.mean([a == b for i, a in enumerate(answers) for b in answers[:i]]))


def interval(values: NDArray[np.float64], groups: list[str], seed: int = 0) -> tuple[float, float]:
    """Percentile interval of the mean when whole groups are resampled."""
    names = sorted(set(groups))
    index = np.array([names.index(group) for group in groups])
    sums, sizes = np.bincount(index, values), np.bincount(index)
    draws = np.random.default_rng(seed).integers(0, len(names), (RESAMPLES, len(names)))
    means = sums[draws].sum(1) / sizes[draws].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def pooled(differences: list[NDArray[np.float64]], seed: int = 0) -> tuple[float, float]:
    """Percentile interval of the mean over seeds and images: seeds are resampled, and images, alike for all seeds."""
    table = np.stack(differences)
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(RESAMPLES):
        rows = generator.integers(0, table.shape[0], table.shape[0])
        columns = generator.integers(0, table.shape[1], table.shape[1])
        means.append(table[np.ix_(rows, columns)].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def show_pair(first: dict[str, Any], second: dict[str, Any], name: str) -> None:
    """One report against the first."""
    common = sorted(set(first) & set(second))
    same = np.array([first[i]["prediction"] == second[i]["prediction"] for i in common], dtype=float)
    groups = [Path(first[i]["path"]).stem.rsplit("-", 1)[0] for i in common]
    print(f"{name}: agreement with the original {same.mean():.3f}, {both(same, common, groups)}")
    for protocol in first[common[0]]["views"]:
        before, after = (np.array([consistency(r[i], protocol) for i in common]) for r in (first, second))
        gain = after - before
        print(
            f"  {protocol}: {before.mean():.3f} → {after.mean():.3f}, gain {gain.mean():+.3f}, "
            f"{both(gain, common, groups)}"
        )
    labelled = [i for i in common if first[i]["label"] is not None]
    if labelled:
        right = [np.mean([r[i]["prediction"] == r[i]["label"] for i in labelled]) for r in (first, second)]
        print(f"  accuracy {right[0]:.3f} → {right[1]:.3f}")
        for protocol in first[common[0]]["views"]:
            moved = [np.mean([moved_accuracy(r[i], protocol) for i in labelled]) for r in (first, second)]
            print(f"  accuracy of the shifted views, {protocol}: {moved[0]:.3f} → {moved[1]:.3f}")


def moved_accuracy(image: dict[str, Any], protocol: str) -> float:
    """Share of the shifted views that are answered right."""
    return float(np.mean([answer == image["label"] for answer in image["views"][protocol]["predictions"]]))


def both(values: NDArray[np.float64], names: list[str], groups: list[str]) -> str:
    """The interval by image and, where several images show one photograph, by photograph."""
    by_image = f"by image {text(interval(values, names))}"
    if len(set(groups)) in (1, len(names)):
        return by_image
    return f"{by_image}, by photograph {text(interval(values, groups))}"


def show_seeds(paths: list[Path]) -> None:
    """Pairs of reports, pooled over seeds."""
    pairs = [(images(a), images(b)) for a, b in zip(paths[::2], paths[1::2], strict=True)]
    common = sorted(set.intersection(*(set(report) for pair in pairs for report in pair)))
    for protocol in pairs[0][0][common[0]]["views"]:
        tables = [[np.array([consistency(r[i], protocol) for i in common]) for r in pair] for pair in pairs]
        gains = [b - a for a, b in tables]
        before, after = (np.mean([table[k] for table in tables]) for k in (0, 1))
        print(f"{protocol}: {before:.3f} → {after:.3f}, gain {np.mean(gains):+.3f} {text(pooled(gains))}")
    right = [[np.array([float(r[i]["prediction"] == r[i]["label"]) for i in common]) for r in pair] for pair in pairs]
    before, after = (np.mean([table[k] for table in right]) for k in (0, 1))
    print(f"accuracy: {before:.3f} → {after:.3f}, difference {text(pooled([b - a for a, b in right]))}")


def text(bounds: tuple[float, float]) -> str:
    """An interval of a share or a difference."""
    return f"[{bounds[0]:+.3f}, {bounds[1]:+.3f}]"


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", type=Path, nargs="+")
    parser.add_argument("--pairs", action="store_true", help="the reports are pairs, one pair a seed")
    arguments = parser.parse_args()
    if arguments.pairs:
        show_seeds(arguments.reports)
        return
    first = images(arguments.reports[0])
    for path in arguments.reports[1:]:
        show_pair(first, images(path), path.stem)


if __name__ == "__main__":
    main()
