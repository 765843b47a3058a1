from __future__ import annotations

import dataclasses
from collections.abc import Callable

from report_builder import fake_report

from shiftaudit.render.markdown import render


def test_the_markdown_is_the_golden_one(golden: Callable[[str, str], None]) -> None:
    golden(render(fake_report()), "report.md")


def test_one_image_is_one_image() -> None:
    report = fake_report()
    one = dataclasses.replace(report, data=dataclasses.replace(report.data, n_images=1))
    assert "; 1 image" in render(one)
    assert "1 images" not in render(one)


def test_every_table_row_has_as_many_cells_as_its_heading() -> None:
    report = fake_report(source="a|b")
    stages = tuple(dataclasses.replace(stage, name=f"x|{stage.name}") for stage in report.stages)
    lines = render(dataclasses.replace(report, stages=stages)).splitlines()
    tables = "\n".join(line if line.startswith("|") else "" for line in lines).split("\n\n")
    for block in filter(str.strip, tables):
        cells = {line.replace(r"\|", "").count("|") for line in block.strip().splitlines()}
        assert len(cells) == 1, block


def test_names_cannot_inject_markup() -> None:
    text = render(fake_report(source="<script>x</script>", skipped=[("a\n## heading", "![x](http://y)")]))
    assert "<script" not in text
    assert "\n## heading" not in text
    assert "![x]" not in text


def test_a_degenerate_model_is_warned_about_first() -> None:
    text = render(fake_report(degenerate=True))
    assert text.index("Warning") < text.index("Same answer")
