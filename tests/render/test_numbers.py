from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from report_builder import make_report

from shiftaudit.gate.baseline import baseline_of
from shiftaudit.gate.compare import compare
from shiftaudit.metrics.columns import ViewColumns
from shiftaudit.metrics.measures import protocol_result
from shiftaudit.records.gate import PASS, Verdict
from shiftaudit.records.report import AuditReport, Metric
from shiftaudit.render import markdown, table
from shiftaudit.render.baseline import changes, render_baseline
from shiftaudit.render.compare import render_comparison
from shiftaudit.render.gate import words
from shiftaudit.render.html.page import render as render_page
from shiftaudit.render.numbers import interval_text, percent, sizes_text, value_text


def walked(seed: int) -> AuditReport:
    """A report of steps along the diagonal, of which some change the answer."""
    report = make_report(60, seed=seed, flips=0.3)
    images = tuple(
        dataclasses.replace(
            image,
            views={
                protocol: dataclasses.replace(views, shifts=tuple((v, v) for v in range(1, len(views.shifts) + 1)))
                for protocol, views in image.views.items()
            },
        )
        for image in report.per_image
    )
    return dataclasses.replace(
        report,
        per_image=images,
        protocol=dataclasses.replace(report.protocol, shifts="diagonal"),
        protocols={
            p: protocol_result(ViewColumns(images, p), shifts="diagonal", max_shift=8) for p in report.protocols
        },
    )


def comparison_table(report: AuditReport) -> str:
    return render_comparison(compare(walked(2), report), "table")


def baseline_table(report: AuditReport) -> str:
    return render_baseline(baseline_of(report), "table")


def baseline_changes(report: AuditReport) -> str:
    return changes(baseline_of(walked(2)), baseline_of(report))


@pytest.mark.parametrize(
    "show", [table.render, markdown.render, render_page, comparison_table, baseline_table, baseline_changes]
)
def test_the_change_a_step_is_a_share_and_shown_in_per_cent_everywhere(show: Callable[[AuditReport], str]) -> None:
    """The published figure is a percentage; it was printed as 0.0694 where 6.9 % was meant."""
    report = walked(1)
    value = report.protocols["crop"].metrics["adjacent_change"].value
    assert value is not None
    assert 0.01 < value < 0.5
    text = show(report)
    assert percent(value) in text
    assert f"{value:.4f}" not in text


def test_the_gate_prints_values_in_the_unit_of_their_metric() -> None:
    def value(name: str) -> str:
        verdict = Verdict(
            name,
            "floor",
            PASS,
            None,
            0.0694,
            0.0694,
            None,
            None,
            0,
            None,
            9,
            None,
            beyond=False,
            detectable=None,
            improved=False,
            higher_is_better=True,
        )
        return words.value(verdict, 0.0694)

    assert value("crop.adjacent_change") == value("accuracy") == value("degenerate") == "6.9 %"
    assert value("stages.layer1.stable") == value("crop.js_divergence") == "0.0694"


def test_too_few_images_for_a_value_show_their_number():
    few = Metric(None, None, None, 3, 84, "none", True)
    assert (value_text("consistency_incorrect", few.value), interval_text("consistency_incorrect", few)) == (
        "–",
        "of 3",
    )
    assert interval_text("consistency_incorrect", Metric(None, None, None, 0, 0, "none", True)) == ""
    assert interval_text("js_divergence", Metric(0.1, None, None, 16, 84, "none", False)) == "16 images", (
        "0.1 of 16 is not meant"
    )


def test_the_size_of_a_large_map_keeps_its_digits() -> None:
    assert sizes_text((1024, 1536), (512, 768)) == "1024×1536→512×768"
