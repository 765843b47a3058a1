"""Change against distance as text, and where the parts of its drawing lie."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from report_builder import fake_report, make_report

from shiftaudit.render import distance
from shiftaudit.render.html.distance import highest, plot
from shiftaudit.render.html.templating import environment

BINS = distance.bins_of(fake_report())


def test_a_row_says_what_was_measured_and_marks_the_lattice() -> None:
    rows = distance.rows(BINS)
    assert rows[0].distance == "1 to 2 px"
    assert rows[-1].distance == "17 to 32 px (lattice: 32)"
    assert (rows[0].change, rows[0].aliasing, rows[0].border, rows[0].ceiling) == ("0.060", "0.055", "0.010", "3.9 %")
    alone = distance.rows(distance.bins_of(make_report(40)))
    assert {(row.aliasing, row.border, row.ceiling) for row in alone} == {("–", "–", "–")}


def test_every_curve_has_a_point_a_range_and_a_title() -> None:
    curves = distance.curves(BINS)
    assert [curve.kind for curve in curves] == ["change", "aliasing", "border"]
    assert all(len(curve.points) == len(BINS) for curve in curves)
    assert curves[1].points[0].title == "1 to 2 px: aliasing alone 0.055 [0.045, 0.065]"
    assert [curve.kind for curve in distance.curves(distance.bins_of(make_report(40)))] == ["change"]


def test_the_drawing_is_one_svg_element_and_nothing_lies_outside_it() -> None:
    drawing = plot(BINS, highest(BINS))
    assert drawing is not None
    marks = [mark for curve in drawing.curves for mark in curve.marks]
    assert all(
        0 <= mark.x <= drawing.width and 0 <= mark.high <= mark.y <= mark.low <= drawing.height for mark in marks
    )
    assert drawing.lattice == (drawing.width,)
    template = environment().from_string('{% import "svg.html.j2" as svg %}{{ svg.curves(drawing) }}')
    root = ET.fromstring(template.render(drawing=drawing).strip())
    assert root.tag == "svg"
    assert len(root.findall(".//circle")) == 3 * len(BINS)


def test_reports_without_distances_draw_nothing() -> None:
    report = fake_report()
    bare = replace(report, protocols={name: replace(found, by_distance=()) for name, found in report.protocols.items()})
    assert distance.bins_of(bare) == ()
    assert plot((), 0.0) is None
    assert highest(()) == 0


def test_drawings_to_be_compared_have_one_scale_and_a_lone_curve_needs_no_label() -> None:
    bins = distance.bins_of(make_report(40))
    alone, higher = plot(bins, highest(bins)), plot(BINS, 2 * highest(BINS))
    assert alone is not None
    assert higher is not None
    assert {curve.label for curve in alone.curves} == {None} or alone.lattice
    assert min(mark.high for curve in higher.curves for mark in curve.marks) == higher.height / 2
