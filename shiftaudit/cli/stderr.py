"""Messages on stderr: one line each, with nothing that a terminal or a CI runner obeys, and without a say in the exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from shiftaudit.render.characters import clean


def say(text: str, *, quiet: bool = False) -> None:
    """One line, whatever is in the text: file names and what a model says of itself come from outside."""
    if not quiet:
        sys.stderr.write(clean(text.rstrip()) + "\n")


def warn(message: str, *, quiet: bool = False) -> None:
    """One line about something that may be wrong."""
    say(f"warning: {message}", quiet=quiet)


def note(message: str, *, quiet: bool = False) -> None:
    """One line about a choice that was made."""
    say(f"note: {message}", quiet=quiet)


def say_traceback(error: BaseException) -> None:
    """For --debug."""
    for line in "".join(traceback.format_exception(error)).splitlines():
        say(line)


class _Forgiving:
    """A stream that takes every text, whether or not it can be written: a full disk or a reader that has gone is no result."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def forgiving() -> Iterator[None]:
    """For the time of the block, a stderr that cannot be written to stops nobody; nor does it when Python ends."""
    stream = sys.stderr
    sys.stderr = _Forgiving(stream)
    try:
        yield
    finally:
        sys.stderr = stream
        try:
            stream.flush()
        except (OSError, ValueError):
            # Python writes what is left once more when it ends, and would end with a code of its own.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
