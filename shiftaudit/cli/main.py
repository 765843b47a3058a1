"""The `shiftaudit` command: every subcommand, and the one place that turns errors into exit codes."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import nullcontext
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from shiftaudit.cli import stdout
from shiftaudit.cli.command import App
from shiftaudit.cli.config import Config, find_file, load
from shiftaudit.cli.examples import COMMAND_GROUPS
from shiftaudit.cli.stderr import forgiving, say, say_traceback
from shiftaudit.errors import InputError, ShiftAuditError, first_line
from shiftaudit.records.collector import uncollected
from shiftaudit.render.characters import clean
from shiftaudit.version import __version__

EXIT_INTERNAL = 4
EXIT_INTERRUPTED = 130
EXIT_CLOSED_PIPE = 141  # as if ended by SIGPIPE
_COMPLETION = "_SHIFTAUDIT_COMPLETE"
# The parent of all that Typer says about usage, which it does not export.
_USAGE: Any = typer.BadParameter.__mro__[2]
_DISK_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))

_SHOWN = 80
_YES = ("1", "true", "t", "yes", "y", "on")  # what Typer takes for a switch's variable

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
    loaded = _config(config or find_file(Path.cwd()))
    context.default_map = loaded.defaults
    context.obj = loaded


# The module of a subcommand holds a function, or a group, of its name; none imports torch at the top.
COMMANDS: dict[str, str] = {name: name for _, names in COMMAND_GROUPS for name in names} | {"demo": "score"}


@cache
def _register(name: str) -> None:
    """Add a command, once however often the program is run in one process."""
    command = getattr(import_module(f"shiftaudit.cli.{COMMANDS[name]}"), name)
    if isinstance(command, App):
        app.add_typer(command, name=name)
    else:
        app.command(name)(command)


def register_all() -> None:
    """Add every command."""
    for name in COMMANDS:
        _register(name)


def _register_named(arguments: list[str]) -> None:
    """Add the command that the arguments begin with, and every command where they begin with something else."""
    if arguments and arguments[0] in COMMANDS:
        _register(arguments[0])
    else:
        register_all()


def _is_about_records(arguments: list[str]) -> bool:
    """Whether the command runs no network; the gate knows by itself."""
    return bool(arguments) and arguments[0] in ("merge", "report", "baseline", "compare", "explain")


def _config(path: Path | None) -> Config:
    """The configuration; only where there is one must every command be known, since its keys are checked."""
    if path is None:
        return Config()
    register_all()
    return load(typer.main.get_command(app), path)


def main() -> None:
    """Run the command line and exit with the code of DESIGN: 0, 1, 2, 3, 4, or 130 when interrupted."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    _open_missing_streams()
    with forgiving():
        code = _exit_code(arguments, debug=_wants_traceback())
    sys.exit(code)


def _exit_code(arguments: list[str], *, debug: bool) -> int:
    """What the run ends with; whatever went wrong has been told. Code 1 is the gate's alone."""
    before = sys.stdout
    try:
        _register_named(arguments)
        if "" in arguments:
            raise InputError(
                f"argument {arguments.index('') + 1} is empty", hint="a variable of the shell may be unset"
            )
        with uncollected() if _is_about_records(arguments) else nullcontext():
            code = app(arguments, prog_name="shiftaudit", standalone_mode=False)
        stdout.finish()
    except SystemExit as stopped:
        # Typer replaces stdout and exits with 1 when whoever read it has gone, and exits where it completes words for a shell.
        if sys.stdout is not before:
            sys.stdout = before
            return EXIT_CLOSED_PIPE
        if _COMPLETION in os.environ:
            return int(stopped.code or 0)
        return _internal_error(stopped, debug)
    except ShiftAuditError as error:
        return _told(error, f"error: {error}", error.exit_code, debug)
    except _USAGE as error:
        # What was typed is made harmless; the page that stands for a missing command has lines of its own.
        if error.ctx is None or error.message != error.ctx.get_help():
            error.message = clean(error.message)
        error.show(file=sys.stderr)
        return int(error.exit_code)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except OSError as error:
        return _refused_by_system(error, debug)
    except BaseException as error:  # what a model raises may be no Exception
        return _internal_error(error, debug)
    if code == EXIT_INTERRUPTED:
        hint = "; a run with --samples can be continued with --resume" if "score" in arguments else ""
        say(f"interrupted: no result was written{hint}")
    return code if isinstance(code, int) else 0


def _refused_by_system(error: OSError, debug: bool) -> int:
    """A path, a limit or a disk of this machine: the user's to mend."""
    if error.errno in _DISK_FULL:
        stdout.discard()
        message = f"the results cannot be written: {error.strerror}"
    else:
        name = str(error.filename or "")
        what = f" ({name[:_SHOWN]}{'…' if len(name) > _SHOWN else ''})" if name else ""
        message = f"the system refused: {error.strerror or first_line(error)}{what}"
    return _told(error, f"error: {message}", ShiftAuditError.exit_code, debug)


def _internal_error(error: BaseException, debug: bool) -> int:
    name = type(error).__name__
    return _told(
        error, f"internal error: {name}: {error} (run again with --debug for the traceback)", EXIT_INTERNAL, debug
    )


def _told(error: BaseException, line: str, code: int, debug: bool) -> int:
    if debug:
        say_traceback(error)
    say(line)
    return code


def _wants_traceback() -> bool:
    """`--debug` works before and after the subcommand: people add it to the end of the line that failed."""
    return "--debug" in sys.argv or os.environ.get("SHIFTAUDIT_DEBUG", "").lower() in _YES


def _open_missing_streams() -> None:
    """A program started without stdout or stderr (`>&-`, some services) writes to nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # until the process ends
