"""Published figures stand in one place, and the documentation shows the same."""

from __future__ import annotations

from pathlib import Path

from shiftaudit.metrics.published import PUBLISHED

FAQ = Path(__file__).parents[2] / "docs" / "faq.md"


def test_the_documentation_has_the_published_figures() -> None:
    text = FAQ.read_text(encoding="utf-8")
    for row in PUBLISHED:
        shares = (row.accuracy, row.consistency, row.accuracy_antialiased, row.consistency_antialiased)
        assert f"| {row.network} | " + " | ".join(f"{100 * share:.2f} %" for share in shares) + " |" in text
