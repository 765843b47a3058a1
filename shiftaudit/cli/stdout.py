"""Results on stdout: written whole or with a sentence, whatever the locale, and whoever has stopped reading."""

from __future__ import annotations

import os
import sys

from shiftaudit.errors import InputError


def write(text: str, *, utf8: bool = False) -> None:
    """Write and flush. A reader that has gone is no error, so that the exit code stays that of the result.

    Args:
        utf8: for what a program reads (JSON, Markdown, XML, workflow commands), whatever the locale's encoding is.

    Raises:
        InputError: stdout cannot take it, such as a file on a full disk.
    """
    buffer = getattr(sys.stdout, "buffer", None)
    try:
        if utf8 and buffer is not None:
            sys.stdout.flush()
            buffer.write(text.encode("utf-8", "backslashreplace"))
            buffer.flush()
        else:
            sys.stdout.write(text)
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_the_rest()
    except OSError as error:
        _discard_the_rest()
        raise InputError(f"cannot write the result to stdout: {error.strerror or error}") from error


def _discard_the_rest() -> None:
    """Python tries to write what is left once more when it exits, and would exit with a code of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
