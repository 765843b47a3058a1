"""`shiftaudit doctor`: is this installation able to do its work, and what to do where it is not."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from shiftaudit.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    format: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
) -> None:
    """Check versions, threads, memory layouts and optional parts; exits with 2 when something is broken."""
    if format not in ("table", "json"):
        raise InputError(f"--format got {format!r}; expected table or json")
    from dataclasses import asdict

    from shiftaudit.doctor import examine, is_broken
    from shiftaudit.render.checks import render
    from shiftaudit.render.terminal import detect

    checks = examine()
    if format == "json":
        sys.stdout.write(json.dumps([asdict(check) for check in checks], indent=1) + "\n")
    else:
        rows = [(check.name, check.status, check.found, check.advice) for check in checks]
        sys.stdout.write(render(rows, detect(sys.stdout)))
    if is_broken(checks):
        raise typer.Exit(2)
