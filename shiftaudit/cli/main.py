"""The `shiftaudit` command: every subcommand, and the one place that turns errors into exit codes."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from shiftaudit.cli.config import find_file, load
from shiftaudit.cli.help import App
from shiftaudit.errors import ShiftAuditError
from shiftaudit.version import __version__

EXIT_INTERNAL = 4
EXIT_INTERRUPTED = 130
EXIT_CLOSED_PIPE = 141  # as if ended by SIGPIPE
_DISK_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))

app = App(
    name="shiftaudit",
    help="Audit image classifiers for shift-invariance, patch them with BlurPool, and gate CI on it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "SHIFTAUDIT"},
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"shiftaudit {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    version: Annotated[
        bool,
        # Not from the environment: pipelines keep the version they install in SHIFTAUDIT_VERSION.
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            allow_from_autoenv=False,
            help="Print the version and exit.",
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Defaults of options; else shiftaudit.toml or pyproject.toml here or above."),
    ] = None,
) -> None:
    """Options that stand before the subcommand."""
    loaded = load(context.command, config or find_file(Path.cwd()))
    context.default_map = loaded.defaults
    context.obj = loaded


# Each module of a subcommand has `register(app)`; none of them imports torch at the top.
COMMANDS: tuple[str, ...] = (
    "score",
    "refit",
    "tune",
    "advise",
    "merge",
    "explain",
    "report",
    "show",
    "stages",
    "doctor",
    "baseline",
    "gate",
    "compare",
    "patch",
)


@cache
def register_all() -> None:
    """Add every command, once however often the program is run in one process."""
    from importlib import import_module

    for name in COMMANDS:
        import_module(f"shiftaudit.cli.{name}").register(app)


def main() -> None:
    """Run the command line and exit with the code of DESIGN: 0, 1, 2, 3, 4, or 130 when interrupted."""
    debug = _wants_traceback()
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    _open_missing_streams()
    stdout = sys.stdout
    try:
        register_all()
        app(arguments, prog_name="shiftaudit")
    except SystemExit as stopped:
        if stopped.code == EXIT_INTERRUPTED:
            _tell_interrupted(arguments)
        # Typer replaces stdout and exits with 1, which is for failed gates, when whoever read it has gone.
        elif stopped.code == 1 and sys.stdout is not stdout:
            sys.exit(EXIT_CLOSED_PIPE)
        raise
    except ShiftAuditError as error:
        _report(error, f"error: {error}", debug)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _tell_interrupted(arguments)
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            _report(error, f"error: the results cannot be written: {error.strerror}", debug)
            sys.exit(ShiftAuditError.exit_code)
        _report(
            error, f"internal error: {type(error).__name__}: {error} (run again with --debug for the traceback)", debug
        )
        sys.exit(EXIT_INTERNAL)


def _wants_traceback() -> bool:
    """`--debug` works before and after the subcommand: people add it to the end of the line that failed."""
    return "--debug" in sys.argv or os.environ.get("SHIFTAUDIT_DEBUG", "").lower() in (
        "1",
        "true",
        "t",
        "yes",
        "y",
        "on",
    )


def _open_missing_streams() -> None:
    """A program started without stdout or stderr (`>&-`, some services) writes to nowhere."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # until the process ends
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def _tell_interrupted(arguments: list[str]) -> None:
    hint = "; a run with --samples can be continued with --resume" if "score" in arguments else ""
    sys.stderr.write(f"interrupted: no result was written{hint}\n")


def _report(error: Exception, line: str, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    sys.stderr.write(line.rstrip() + "\n")
