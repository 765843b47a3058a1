from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Callable

import pytest
from report_builder import fake_report, metric

from shiftaudit.render.table import render
from shiftaudit.render.terminal import Terminal, detect

CASES = {
    "table_80": (fake_report(), Terminal(80)),
    "table_120": (fake_report(grid=8), Terminal(120)),
    "table_ascii": (fake_report(degenerate=True, stages=False), Terminal(80, unicode=False)),
    "table_40": (fake_report(), Terminal(40)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_table_is_the_golden_one(golden: Callable[[str, str], None], name: str) -> None:
    report, terminal = CASES[name]
    golden(render(report, terminal), f"{name}.txt")


@pytest.mark.parametrize("width", [40, 48, 60, 71, 72, 80, 100, 104, 120, 140])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    names = "features.transformer.block17.very_long_module_name.downsample_convolution.0"
    report = fake_report()
    report = dataclasses.replace(
        report, stages=tuple(dataclasses.replace(s, name=f"{names}.{s.name}") for s in report.stages)
    )
    text = render(report, Terminal(width))
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text, "a number or a name was cut"


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_long_stage_names_break_where_they_have_parts(width: int) -> None:
    report = fake_report()
    stages = tuple(dataclasses.replace(s, name=f"_blocks.1._depthwise_conv/{s.name}") for s in report.stages)
    text = render(dataclasses.replace(report, stages=stages), Terminal(width))
    table = text.partition("\nstage")[2].partition("◀ does most damage")[0]
    words = re.findall(r"^([\w./]+)", table, re.M)
    assert "".join(words) == "".join(stage.name for stage in stages)
    assert all(word[-1] in "./_" or any(stage.name.endswith(word) for stage in stages) for word in words), words


def test_a_name_that_turns_the_direction_of_writing_is_shown_literally() -> None:
    report = fake_report(skipped=[("photo\u202egpj.exe", "no image")])
    assert "photo�gpj.exe" in render(report, Terminal(80))


def test_the_verdict_stands_before_the_stages_and_names_the_interval() -> None:
    lines = render(fake_report()).splitlines()
    verdict = next(
        i for i, line in enumerate(lines) if re.search(r"Same answer for [\d.]+ % of pairs \[[\d.]+, [\d.]+\]", line)
    )
    assert verdict < next(i for i, line in enumerate(lines) if line.startswith("Stages"))


def test_the_stage_that_does_most_damage_is_marked_and_no_other() -> None:
    marked = [line for line in render(fake_report(), Terminal(120)).splitlines() if line.endswith("◀")]
    assert [line.split()[0] for line in marked] == ["maxpool"]


def test_a_degenerate_model_is_warned_about_before_any_number() -> None:
    text = render(fake_report(degenerate=True))
    assert text.index("WARNING") < text.index("Same answer")
    assert "WARNING" not in render(fake_report())


def test_markup_and_escape_sequences_in_names_are_shown_not_obeyed() -> None:
    report = fake_report(source="[red]net[/red]\x1b[2J", skipped=[("[bold]a\x1b]0;title\x07.jpg", "[link=x]broken")])
    text = render(report)
    assert "[red]net[/red]" in text
    assert "[link=x]broken" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_colour_adds_escape_sequences_and_nothing_else() -> None:
    plain, coloured = render(fake_report(), Terminal(80)), render(fake_report(), Terminal(80, colour=True))
    assert "\x1b[" in coloured
    stripped = re.sub(r"\x1b\[[\d;]*m", "", coloured)
    assert [line.rstrip() for line in stripped.splitlines()] == plain.splitlines()


def test_unknown_and_missing_metrics_do_no_harm() -> None:
    report = fake_report()
    result = report.protocols["circular"]
    odd = dataclasses.replace(result, metrics={"brand_new_measure": metric(0.5, 3)}, worst_shift=None, by_shift=())
    text = render(dataclasses.replace(report, protocols={"circular": odd, "crop": report.protocols["crop"]}))
    assert "brand new measure" in text
    assert "Consistency could not be measured." in text


def test_a_report_of_nothing_is_still_rendered() -> None:
    report = fake_report()
    empty = dataclasses.replace(report, protocols={}, stages=(), skipped_stages=(), levels=(), per_image=())
    assert "resnet50" in render(empty)


@pytest.mark.parametrize(
    ("environ", "colour"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_colour_follows_the_terminal_and_no_color(environ: dict[str, str], colour: bool) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert detect(Tty(), environ).colour is colour
    assert detect(io.StringIO(), environ).colour is False


def test_the_width_of_a_pipe_is_columns_or_80_and_never_too_small() -> None:
    assert detect(io.StringIO(), {}).width == 80
    assert detect(io.StringIO(), {"COLUMNS": "100"}).width == 100
    assert detect(io.StringIO(), {"COLUMNS": "7"}).width == 40


def test_a_latin_terminal_gets_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    assert render(fake_report(), detect(stream, {})).isascii()
