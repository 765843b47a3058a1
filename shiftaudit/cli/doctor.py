"""`shiftaudit doctor`: is this installation able to do its work, and what to do where it is not."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli import stdout
from shiftaudit.cli.progress import working


def doctor(format: Annotated[str, opt.form("table", "json")] = "table") -> None:
    """Check versions, threads, memory layouts and optional parts; exits with 2 when something is broken."""
    from dataclasses import asdict

    from shiftaudit.doctor import examine, is_broken
    from shiftaudit.render.checks import render
    from shiftaudit.render.terminal import detect

    with working("looking", quiet=False):
        checks = examine()
    if format == "json":
        stdout.write(json.dumps([asdict(check) for check in checks], indent=1) + "\n", utf8=True)
    else:
        rows = [(check.name, check.status, check.found, check.advice) for check in checks]
        stdout.write(render(rows, detect(sys.stdout)))
    if is_broken(checks):
        raise typer.Exit(2)
