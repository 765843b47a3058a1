"""The measures of a report against plain loops over pairs of views."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from shiftaudit.metrics.columns import ViewColumns
from shiftaudit.metrics.measures import protocol_result
from shiftaudit.records.report import ImageResult, Views


def image(
    number: int, prediction: int, shifted: list[int], *, label: int | None = None, **changes: object
) -> ImageResult:
    k = len(shifted)
    shifts = changes.pop("shifts", None) or tuple((i - 2, i) for i in range(k))
    probabilities = changes.pop("probabilities", None) or tuple(0.5 - 0.01 * i for i in range(k))
    views = Views(
        shifts=shifts,  # type: ignore[arg-type]
        predictions=tuple(shifted),
        probabilities=probabilities,  # type: ignore[arg-type]
        js_divergence=tuple(0.001 * i for i in range(k)),
        near_ties=int(changes.pop("near_ties", 0)),  # type: ignore[call-overload]
    )
    return ImageResult(
        id=f"{number:064x}",
        path=f"{number}.png",
        label=label,
        prediction=prediction,
        probability=0.5,
        near_tie=False,
        views={"circular": views},
    )


def random_images(seed: int, n: int = 30, k: int = 5) -> list[ImageResult]:
    generator = np.random.default_rng(seed)
    return [
        image(
            i,
            int(generator.integers(3)),
            [int(c) for c in generator.integers(3, size=k)],
            label=int(generator.integers(3)) if i % 5 else None,
        )
        for i in range(n)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_every_measure_equals_a_loop_over_pairs(seed: int) -> None:
    images = random_images(seed, n=90)
    result = protocol_result(ViewColumns(images, "circular"), shifts="5", max_shift=4)
    pairs, agree0, stable, change, worst, accuracy, shifted, right, wrong = ([] for _ in range(9))
    for item in images:
        views = item.views["circular"]
        same = [a == b for a, b in itertools.combinations(views.predictions, 2)]
        pairs.append(np.mean(same))
        agree0.append(np.mean([p == item.prediction for p in views.predictions]))
        stable.append(len({item.prediction, *views.predictions}) == 1)
        change.append(np.mean([abs(p - item.probability) for p in views.probabilities]))
        if item.label is not None:
            accuracy.append(item.prediction == item.label)
            shifted.append(np.mean([p == item.label for p in views.predictions]))
            worst.append({item.prediction, *views.predictions} == {item.label})
            (right if item.prediction == item.label else wrong).append(np.mean(same))
    expected = {
        "consistency": pairs,
        "agreement_with_unshifted": agree0,
        "stable": stable,
        "mean_abs_change": change,
        "js_divergence": [0.002] * len(images),
        "accuracy": accuracy,
        "accuracy_shifted": shifted,
        "accuracy_worst": worst,
        "consistency_correct": right,
        "consistency_incorrect": wrong,
    }
    for name, values in expected.items():
        metric = result.metrics[name]
        assert metric.value == pytest.approx(np.mean(values), abs=1e-12), name
        assert metric.n_images == len(values), name
    assert result.metrics["consistency"].n_pairs == 10 * len(images)
    assert result.n_predictions == 6 * len(images)


def test_measures_that_need_labels_are_absent_without_them() -> None:
    result = protocol_result(ViewColumns([image(1, 0, [0, 1])], "circular"), shifts="2", max_shift=4)
    assert "accuracy" not in result.metrics
    assert result.metrics["consistency"].value == 0.0


def test_the_worst_shift_of_a_grid_is_the_one_with_most_flips() -> None:
    shifts = ((0, 1), (1, 0), (1, 1))
    images = [image(i, 0, [0, int(i < 3), int(i < 6)], shifts=shifts) for i in range(10)]
    result = protocol_result(ViewColumns(images, "circular"), shifts="grid:1", max_shift=1)
    assert result.worst_shift is not None
    assert (result.worst_shift.dy, result.worst_shift.dx, result.worst_shift.half_width) == (1, 1, 0)
    assert result.metrics["max_flips"].value == pytest.approx(0.6)
    assert [(s.n_images, s.n_agree) for s in result.by_shift] == [(10, 10), (10, 7), (10, 4)]


def test_random_shifts_are_pooled_before_one_is_called_worst() -> None:
    generator = np.random.default_rng(0)
    images = []
    for i in range(60):
        shifts = tuple((int(a), int(b)) for a, b in generator.integers(-16, 17, size=(8, 2)))
        # Only far shifts down and right flip the answer.
        images.append(image(i, 0, [int(dy > 8 and dx > 8) for dy, dx in shifts], shifts=shifts))
    worst = protocol_result(ViewColumns(images, "circular"), shifts="8", max_shift=16).worst_shift
    assert worst is not None
    assert worst.dy > 8
    assert worst.dx > 8
    assert worst.half_width > 0
    assert worst.n_views >= 10


def test_a_constant_classifier_is_called_degenerate_unless_the_labels_are_constant_too() -> None:
    constant = [image(i, 3, [3, 3], label=i % 4) for i in range(20)]
    result = protocol_result(ViewColumns(constant, "circular"), shifts="2", max_shift=4)
    assert result.metrics["consistency"].value == 1.0
    assert result.degenerate
    same_labels = [image(i, 3, [3, 3], label=3) for i in range(20)]
    assert not protocol_result(ViewColumns(same_labels, "circular"), shifts="2", max_shift=4).degenerate
    varied = [image(i, i % 3, [3, 3]) for i in range(20)]
    assert not protocol_result(ViewColumns(varied, "circular"), shifts="2", max_shift=4).degenerate


def test_diagonal_shifts_are_compared_with_their_neighbours() -> None:
    one = image(1, 0, [0, 1, 1], shifts=((1, 1), (2, 2), (3, 3)), probabilities=(0.4, 0.2, 0.3))
    result = protocol_result(ViewColumns([one], "circular"), shifts="diagonal", max_shift=3)
    assert result.metrics["adjacent_change"].value == pytest.approx(1 / 3)
    assert result.metrics["adjacent_mean_abs_change"].value == pytest.approx((0.1 + 0.2 + 0.1) / 3)


@pytest.mark.parametrize("reach", [1, 2, 3, 4, 5, 9, 16, 32])
def test_the_worst_shift_is_one_that_was_within_reach(reach: int) -> None:
    generator = np.random.default_rng(reach)
    images = []
    for i in range(80):
        shifts = tuple((int(a), int(b)) for a, b in generator.integers(-reach, reach + 1, size=(8, 2)))
        images.append(image(i, 0, [int(min(shift) == reach) for shift in shifts], shifts=shifts))
    worst = protocol_result(ViewColumns(images, "circular"), shifts="8", max_shift=reach).worst_shift
    assert worst is not None
    assert max(worst.dy, worst.dx) <= reach
