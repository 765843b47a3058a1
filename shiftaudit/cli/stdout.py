"""Results on stdout: written whole or with a sentence, whatever the locale, and whoever has stopped reading."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from shiftaudit.errors import InputError
from shiftaudit.files import write_text_atomically

if TYPE_CHECKING:
    from shiftaudit.render.terminal import Terminal


def write(text: str, *, utf8: bool = False) -> None:
    """Write and flush. A reader that has gone is no error, so that the exit code stays that of the result.

    What the encoding does not have is written as an escape (`\\u2192`).

    Args:
        utf8: for what a program reads (JSON, Markdown, XML, workflow commands), whatever the locale's encoding is.

    Raises:
        InputError: stdout cannot take it, such as a file on a full disk.
    """
    encoding = "utf-8" if utf8 else getattr(sys.stdout, "encoding", None) or "utf-8"
    data = text.encode(encoding, "backslashreplace")
    buffer = getattr(sys.stdout, "buffer", None)
    try:
        if buffer is None:  # a notebook's stream, which takes text alone
            sys.stdout.write(data.decode(encoding))
        else:
            sys.stdout.flush()
            while data:  # an unbuffered stream may take a part only
                data = data[buffer.write(data) :]
            buffer.flush()
    except OSError as error:
        _give_up(error)


def show(record: object, drawn: Callable[[Terminal], str], *, as_json: bool) -> None:
    """Write a record as JSON, for programs, or as it is drawn for the terminal."""
    from shiftaudit.records.codec import dumps
    from shiftaudit.render.terminal import detect

    write(dumps(record) if as_json else drawn(detect(sys.stdout)), utf8=as_json)


def deliver(drawn: Callable[[Terminal], str], output_file: Path | None, *, utf8: bool) -> None:
    """Write a result into a file, where one was asked for, or here; each drawn for where it goes."""
    from shiftaudit.render.terminal import Terminal, detect

    if output_file is None:
        write(drawn(detect(sys.stdout)), utf8=utf8)
    else:
        write_text_atomically(output_file, drawn(Terminal()))


def finish() -> None:
    """Write what others have left in the stream, help pages say; see `write` for what is raised."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _give_up(error)


def discard() -> None:
    """Drop what is left in the stream: Python tries to write it once more when it ends, and would end with a code of its own."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _give_up(error: OSError) -> None:
    discard()
    if not isinstance(error, BrokenPipeError):
        raise InputError(f"cannot write the result to stdout: {error.strerror or error}") from error
