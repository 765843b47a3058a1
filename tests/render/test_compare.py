"""Two reports side by side on a terminal."""

from __future__ import annotations

import re

from report_builder import fake_report

from shiftaudit.gate.compare import compare
from shiftaudit.metrics.vocabulary import METRICS
from shiftaudit.render.compare import render_comparison
from shiftaudit.render.terminal import Terminal


def test_names_of_measures_break_between_words_only() -> None:
    drawn = render_comparison(compare(fake_report(), fake_report(wobble=0.2)), "table", Terminal(width=80))
    assert max(map(len, drawn.splitlines())) <= 80
    table = drawn.partition("metric")[2].partition("stage (")[0]
    first_column = [line[1:19].strip() for line in table.splitlines()[2:]]
    pieces = {piece for measure in METRICS for piece in re.split(r"(?<=_)", measure.name)}
    whole = {measure.name for measure in METRICS}
    for text in filter(None, first_column):
        name = re.sub(r" \(\d+\)$", "", text)
        known = name in whole or all(piece in pieces for piece in filter(None, re.split(r"(?<=_)", name)))
        assert known or name in ("circular", "crop"), text
