"""A gate's result as GitHub workflow commands: at most one annotation a metric, escaped so that text is no command."""

from __future__ import annotations

from shiftaudit.errors import ShiftAuditError
from shiftaudit.records.gate import FAIL, INCONCLUSIVE, GateResult, Verdict
from shiftaudit.render.gate import words
from shiftaudit.render.markdown import escape


def render(result: GateResult) -> str:
    """One `::error` a failed metric, one `::warning` an inconclusive one unless all pass quietly, one `::notice` for the rest."""
    lines = []
    annotated = (("error", FAIL),) if words.is_quiet(result) else (("error", FAIL), ("warning", INCONCLUSIVE))
    by_name: dict[str, list[Verdict]] = {}
    for verdict in result.verdicts:
        by_name.setdefault(verdict.name, []).append(verdict)
    for name, verdicts in by_name.items():
        for level, outcome in annotated:
            found = [words.sentence(verdict) for verdict in verdicts if verdict.outcome == outcome]
            if found:
                lines.append(command(level, f"shiftaudit gate: {name}", " / ".join(found)))
                break
    lines += [command("warning", "shiftaudit gate", warning) for warning in result.warnings]
    notes = [f"{note.removesuffix('.')}." for note in (words.headline(result), *words.remarks(result))]
    lines.append(command("notice", "shiftaudit gate", " ".join(notes)))
    return "\n".join(lines) + "\n"


def command(level: str, title: str, message: str) -> str:
    r"""One workflow command.

    >>> command("error", "a:b,c", "50 % worse\n::error::not a command")
    '::error title=a%3Ab%2Cc::50 %25 worse%0A::error::not a command'
    """
    escaped = _escape(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={escaped}::{_escape(message)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def render_error(error: ShiftAuditError) -> str:
    """An annotation that says why there is no result."""
    return command("error", "shiftaudit gate", str(error)) + "\n"


def error_summary(error: ShiftAuditError) -> str:
    """The Markdown of a step summary that says why there is no result."""
    return f"## Shift gate\n\n**No verdict (exit code {error.exit_code})**: {escape(str(error))}\n"
