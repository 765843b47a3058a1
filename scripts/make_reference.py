"""Write docs/commands.md from the command line's own help, and docs/measures.md from the definitions it explains.

Run from the repository's root: `python scripts/make_reference.py`. A test checks that the files are up to date.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from shiftaudit.cli.main import app, register_all
from shiftaudit.render.words import METRICS, TERMS, Term

ROOT = Path(__file__).parents[1]


def commands_page() -> str:
    """Every command with its arguments and options, as Markdown."""
    register_all()
    runner = CliRunner()
    parts = [
        "# Commands",
        "Written by `scripts/make_reference.py` from the program's own help: `shiftaudit COMMAND --help` prints the same.",
        "Exit codes: 0 pass; 1 the gate failed, and only that; 2 wrong usage or input; 3 no verdict (nothing to compare with, "
        "or not comparable); 4 an internal error; 130 interrupted.",
        "Shell completion: `shiftaudit --install-completion` (bash, zsh, fish, PowerShell).",
    ]
    for name in sorted(_names(typer.main.get_command(app))):
        environment = {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"}
        shown = runner.invoke(app, [*name.split(), "--help"], prog_name="shiftaudit", env=environment)
        text = "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
        parts.append(f"## `shiftaudit {name}`\n\n```\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def _names(command: Any, path: str = "") -> list[str]:
    """All commands below a group, as they are typed."""
    children = getattr(command, "commands", None)
    if not children:
        return [path.strip()]
    return [name for key, child in children.items() for name in _names(child, f"{path} {key}")]


def measures_page() -> str:
    """Every metric and term with its definition and source, as Markdown."""
    parts = [
        "# Measures and terms",
        "Each of these is also one `shiftaudit explain NAME` away. Metrics come with a 95 % interval, clustered by image, for "
        "each protocol; see [concepts](concepts.md) for how they belong together.",
        "## Metrics",
        *(_term(term) for term in METRICS),
        "## Terms",
        *(_term(term) for term in TERMS),
    ]
    return "\n\n".join(parts) + "\n"


def _term(term: Term) -> str:
    title = f"### `{term.name}`" + (f": {term.label}" if term.label.replace(" ", "_") != term.name else "")
    formula = term.formula.replace("`", "'")
    return f"{title}\n\n{term.text}\n\n- Definition: `{formula}`\n- Source: {term.source}"


PAGES = {"commands.md": commands_page, "measures.md": measures_page}


def main() -> None:
    for name, make in PAGES.items():
        (ROOT / "docs" / name).write_text(make(), encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
