from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_report import fake_report

from shiftaudit.errors import InputError
from shiftaudit.metrics import vocabulary as words


def test_every_metric_of_a_report_is_explained() -> None:
    for result in fake_report().protocols.values():
        assert set(result.metrics) <= set(words.BY_NAME)


@pytest.mark.parametrize("name", words.BY_NAME)
@pytest.mark.parametrize("width", [50, 100])
def test_an_explanation_fits_and_has_definition_and_source(name: str, width: int) -> None:
    text = words.explain(name, width)
    assert max(map(len, text.splitlines())) <= width
    assert "Definition:" in text
    assert "Source:" in text


def test_a_misspelt_term_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match="did you mean consistency"):
        words.lookup("consistancy")


def test_the_overview_names_every_term_once() -> None:
    listed = re.findall(r"^  (\w+) ", words.overview(80), re.M)
    assert listed == list(words.BY_NAME)


@pytest.mark.parametrize("width", [80, 120])
def test_explanations_are_the_golden_ones(width: int) -> None:
    text = "\n".join([words.overview(width), *(words.explain(name, width) for name in ("consistency", "phase"))])
    assert max(map(len, text.splitlines())) <= width
    golden = Path(__file__).parents[1] / "render" / "golden" / f"explain_{width}.txt"
    assert text == golden.read_text(encoding="utf-8")


def test_a_title_does_not_say_the_same_twice() -> None:
    assert words.explain("padding_check").startswith("padding_check\n")
    assert words.explain("max_flips").startswith("max_flips: flips at the worst shift\n")
