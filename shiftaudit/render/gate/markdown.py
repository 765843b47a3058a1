"""A gate's result as GitHub-flavoured Markdown: for pull requests and the step summary."""

from __future__ import annotations

from shiftaudit.records.gate import FAIL, INCONCLUSIVE, GateResult
from shiftaudit.render.gate import words
from shiftaudit.render.markdown import escape, table

_MARKS = {FAIL: "❌ fail", INCONCLUSIVE: "⚠️ inconclusive"}


def render(result: GateResult) -> str:
    """The result as Markdown ending in a newline."""
    heading = ["Verdict", "Metric", "Was", "Is", "Found", "Accepted"]
    rows = [
        [
            _MARKS.get(verdict.outcome, "✅ pass"),
            escape(words.title(verdict)),
            words.value(verdict, verdict.baseline),
            words.value(verdict, verdict.candidate),
            escape(words.finding(verdict)),
            escape(words.demand(verdict)),
        ]
        for verdict in result.verdicts
    ]
    notes = [f"{words.label(result, verdict)}: {note}" for verdict in result.verdicts for note in words.notes(verdict)]
    notes += words.remarks(result)
    notes += [f"Warning: {warning}" for warning in result.warnings]
    parts = [
        "## Shift gate",
        f"**{escape(words.headline(result))}**",
        escape(words.subject(result)),
        table(heading, rows, right=(2, 3)),
        "\n".join(f"- {escape(note)}" for note in notes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
