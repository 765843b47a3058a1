"""The dozen lines: what they hold, the verdict last, and no advice where nothing can be won."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from report_builder import fake_report, metric

from shiftaudit.records.cause import Split
from shiftaudit.records.report import AuditReport
from shiftaudit.render import verdict
from shiftaudit.render.summary import render
from shiftaudit.render.terminal import Terminal


def caused(aliasing: float, border: float, *, half: float = 0.01, observed: float = 0.1) -> AuditReport:
    """A report in which the two causes alone change these shares of answers."""
    report = fake_report()
    assert report.cause is not None
    values = (observed, aliasing, border, aliasing + border - observed, (observed + aliasing - border) / 2)
    found = [metric(value, 40, higher=False, half=half) for value in values]
    found[-1] = replace(found[-1], ci_low=values[-1] - half)
    split = Split(*found, min(found[:2], key=lambda one: one.value or 0.0))
    return replace(report, cause=replace(report.cause, answers=split, variation=split))


@pytest.mark.parametrize("width", [80, 120])
def test_the_summary_is_the_golden_one_and_fits_a_small_terminal(
    golden: Callable[[str, str], None], width: int
) -> None:
    text = render(fake_report(), Terminal(width))
    golden(text, f"summary_{width}.txt")
    assert len(text.splitlines()) <= 20
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [40, 60])
def test_it_fits_narrow_terminals(width: int) -> None:
    assert max(map(len, render(fake_report(), Terminal(width)).splitlines())) <= width


def test_the_verdict_stands_last_and_the_next_step_behind_it() -> None:
    *_, blank, said, next_step = render(fake_report(), Terminal(120)).splitlines()
    assert blank == ""
    assert said == "31 of 40 images change their answer under some shift, partly by aliasing."
    assert next_step == "Next, a filtered copy: `shiftaudit patch resnet50 -o resnet50-aa.pt --refit IMAGES`"


@pytest.mark.parametrize(
    ("aliasing", "border", "half", "part", "patches"),
    [
        (0.0, 0.1, 0.001, "none", False),
        (0.02, 0.13, 0.01, "no sign", False),
        (0.05, 0.1, 0.05, "unsure", False),
        (0.05, 0.09, 0.01, "some", True),
        (0.09, 0.02, 0.01, "most", True),
    ],
)
def test_a_patch_is_advised_only_where_something_can_be_won(
    aliasing: float, border: float, half: float, part: str, patches: bool
) -> None:
    report = caused(aliasing, border, half=half)
    assert verdict.part_of_aliasing(report) == part
    assert ("patch" in verdict.next_step(report)) is patches
    assert ("can win at most" in render(report)) is (part in ("unsure", "some", "most"))


def test_a_guessed_preprocessing_is_warned_about() -> None:
    report = fake_report()
    guess = replace(report.model.preprocessing, source="imagenet preset")
    guessed = replace(report, model=replace(report.model, preprocessing=guess))
    assert "Guessed: the file does not say." in render(guessed, Terminal(120))
    assert "Guessed" not in render(report, Terminal(120))


def test_a_degenerate_model_has_no_verdict() -> None:
    text = render(fake_report(degenerate=True), Terminal(120))
    assert "No verdict: 99.9 % of the images got one and the same answer" in text
    assert "patch" not in text


def test_answers_that_never_change_need_no_cure() -> None:
    text = render(fake_report(wobble=0.0), Terminal(120))
    assert "No tried shift changes the answer of any of the 40 images." in text
    assert "Next: `shiftaudit baseline save`" in text


def test_a_report_of_nothing_is_still_rendered() -> None:
    empty = replace(fake_report(), protocols={}, stages=(), skipped_stages=(), levels=(), per_image=(), cause=None)
    assert "No verdict: no image was scored." in render(empty)


def test_names_are_shown_literally() -> None:
    text = render(fake_report(source="[red]net[/red]\x1b[2J", skipped=[("[bold]a\x1b]0;t\x07.jpg", "[link=x]broken")]))
    assert "[red]net[/red]" in text
    assert "[link=x]broken" in text
    assert "\x1b" not in text


def test_without_the_cause_no_patch_is_advised() -> None:
    report = fake_report(stages=False)
    report = replace(report, cause=None, protocol=replace(report.protocol, stages=False))
    assert verdict.next_step(report).startswith("Next: score without `--no-stages`")


def test_a_damage_of_few_images_says_so() -> None:
    report = fake_report()
    first = report.stages[0]
    assert first.damage is not None
    few = replace(first.damage.variation, value=0.9, ci_low=None, ci_high=None, n_images=4)
    bare = replace(report, stages=(replace(first, damage=replace(first.damage, variation=few)), *report.stages[1:]))
    assert "damage 90.0 % (4 images)" in render(bare)
    assert verdict.lead_text(bare).endswith(f"The stage `{first.name}` does most damage (on 4 images).")
    assert " images" not in verdict.lead_text(report).partition("The stage")[2]
