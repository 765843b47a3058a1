"""Two reports side by side: differences against NumPy, and what is said where there are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from report_builder import make_report

from shiftaudit.gate.compare import compare
from shiftaudit.records.settings import Settings


def named(comparison, name):
    return next(metric for metric in comparison.metrics if metric.name == name)


def test_differences_are_paired_means_with_an_interval_no_narrower_than_students():
    a, b = make_report(), make_report(seed=2, flips=0.3)
    found = named(compare(a, b), "crop.mean_abs_change")
    changes = [
        np.array(
            [np.mean([abs(p - row.probability) for p in row.views["crop"].probabilities]) for row in report.per_image]
        )
        for report in (a, b)
    ]
    difference = changes[1] - changes[0]
    half = 1.9720 * difference.std(ddof=1) / np.sqrt(200)  # t with 199 degrees of freedom
    assert found.difference == pytest.approx(difference.mean())
    # No narrower than Student's interval (but for digits of his table), and hardly wider for so many images.
    assert difference.mean() - 1.2 * half <= found.ci_low <= difference.mean() - 0.999 * half
    assert difference.mean() + 0.999 * half <= found.ci_high <= difference.mean() + 1.2 * half
    assert found.method == "approximate-t"
    assert not found.higher_is_better


def test_every_metric_of_the_reports_appears_once_with_both_values():
    a, b = make_report(), make_report(seed=2)
    names = [metric.name for metric in compare(a, b).metrics]
    assert len(names) == len(set(names))
    assert {"accuracy", "circular.consistency", "crop.stable", "crop.consistency_correct", "circular.max_flips"} <= set(
        names
    )
    found = named(compare(a, b), "circular.consistency")
    assert found.a == a.protocols["circular"].metrics["consistency"].value
    assert found.b == b.protocols["circular"].metrics["consistency"].value


def test_swapping_the_sides_turns_the_signs():
    a, b = make_report(), make_report(seed=2, flips=0.3)
    there, back = (named(compare(*pair), "crop.stable") for pair in ((a, b), (b, a)))
    assert there.difference == -back.difference
    assert (there.ci_low, there.ci_high) == pytest.approx((-back.ci_high, -back.ci_low))
    assert (there.flips.lost, there.flips.gained) == (back.flips.gained, back.flips.lost)


def test_a_report_against_itself_differs_by_nothing():
    comparison = compare(make_report(), make_report())
    shown = [metric for metric in comparison.metrics if metric.difference is not None]
    assert shown
    assert all((metric.difference, metric.ci_low, metric.ci_high) == (0.0, 0.0, 0.0) for metric in shown)


def test_differences_are_over_shared_images_only():
    a, b = make_report(100), make_report(120)
    b = replace(b, per_image=b.per_image[10:])
    comparison = compare(a, b)
    assert (comparison.n_shared, comparison.n_only_a, comparison.n_only_b) == (90, 10, 20)
    assert named(comparison, "accuracy").n_images == 90
    assert any("differences over shared ones" in warning for warning in comparison.warnings)


def test_other_protocols_and_other_images_give_values_but_no_differences():
    a = make_report(50)
    by_seed = compare(a, make_report(50, settings=Settings(seed=4)))
    assert any("protocol.seed is 4 and was 0" in warning for warning in by_seed.warnings)
    other = make_report(60)
    apart = compare(a, replace(other, per_image=other.per_image[50:]))
    assert any("share no image" in warning for warning in apart.warnings)
    for comparison in (by_seed, apart):
        assert all(metric.difference is None and metric.n_images == 0 for metric in comparison.metrics)
        assert all(metric.a is not None for metric in comparison.metrics if metric.name == "crop.consistency")


def test_a_patched_stage_stands_beside_the_original_under_its_name():
    a, b = make_report(20, stages={"conv1": 0.1, "pool": 0.2}), make_report(20, stages={"conv1": 0.05, "blur": 0.01})
    rows = {stage.name: stage for stage in compare(a, b).stages}
    assert list(rows) == ["conv1", "pool"]
    assert (rows["conv1"].a.value, rows["conv1"].b.value) == (0.1, 0.05)
    assert (rows["pool"].a.value, rows["pool"].b.value) == (0.2, 0.01)


def test_what_a_models_own_answers_choose_is_compared_on_the_images_that_both_choose():
    a, b = make_report(), make_report(seed=2, wrong=0.3, flips=0.3)
    found = named(compare(a, b), "crop.consistency_incorrect")
    values = []
    for first, second in zip(a.per_image, b.per_image, strict=True):
        if first.prediction != first.label and second.prediction != second.label:
            values.append([pair_share(row.views["crop"].predictions) for row in (first, second)])
    assert found.n_images == len(values) >= 10
    assert found.subgroup == "both wrong"
    assert (found.a, found.b) == pytest.approx(tuple(np.mean(values, axis=0)))
    assert found.difference == pytest.approx(found.b - found.a)
    assert -1 <= found.ci_low <= found.difference <= found.ci_high <= 1


def pair_share(answers):
    pairs = [answers[i] == answers[j] for i in range(len(answers)) for j in range(i)]
    return sum(pairs) / len(pairs)


def test_a_handful_of_images_that_both_get_wrong_has_no_difference_but_a_number():
    found = named(compare(make_report(40), make_report(40, seed=2)), "crop.consistency_incorrect")
    assert 0 < found.n_images < 10
    assert (found.a, found.b, found.difference, found.ci_low) == (None, None, None, None)
    report = make_report(40).protocols["crop"].metrics["consistency_incorrect"]
    assert (report.value, report.ci_low) == (None, None)
    assert 0 < report.n_images < 10
