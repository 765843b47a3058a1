from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from shiftaudit.metrics.definitions import Term
from shiftaudit.metrics.vocabulary import BY_NAME
from shiftaudit.render.explain import explain, overview


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("width", [50, 100])
def test_an_explanation_fits_and_has_its_facts(name: str, width: int) -> None:
    text = explain(name, width)
    assert max(map(len, text.splitlines())) <= width
    assert all(f"  {fact}" in text for fact in ("Definition:", "Moved by:", "Source:"))


@pytest.mark.parametrize("term", BY_NAME.values(), ids=BY_NAME)
def test_what_moves_a_term_is_told_with_what_does_not(term: Term) -> None:
    assert re.search(r"\b(not?|nothing)\b", term.moved_by), term.moved_by


def test_the_overview_names_every_term_once() -> None:
    listed = re.findall(r"^  (\w+) ", overview(80), re.M)
    assert listed == list(BY_NAME)


@pytest.mark.parametrize("width", [80, 120])
def test_explanations_are_the_golden_ones(golden: Callable[[str, str], None], width: int) -> None:
    text = "\n".join([overview(width), *(explain(name, width) for name in ("consistency", "phase"))])
    assert max(map(len, text.splitlines())) <= width
    golden(text, f"explain_{width}.txt")


def test_a_title_does_not_say_the_same_twice() -> None:
    assert explain("shift").startswith("shift: shift (dy, dx)\n")
    assert explain("max_flips").startswith("max_flips: flips at the worst shift\n")


def test_the_change_a_step_is_explained_with_what_it_needs() -> None:
    """Once there were four tables of metrics, and this one stood in two of them only."""
    text = explain("adjacent_change")
    assert "Azulay & Weiss" in text
    assert "--preset azulay" in text
