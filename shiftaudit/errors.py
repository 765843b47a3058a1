"""Errors a user can act on: what arrived, what was expected, what to try.

Every error carries the exit code of the command line, so that the one place which catches them needs no table.
Exit codes: 0 pass, 1 the gate failed (never an error), 2 usage or input, 3 no verdict, 4 internal error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ShiftAuditError(Exception):
    """Base of all errors that are the user's to act on.

    `message` is one sentence that says what arrived and what was expected; `hint` says what to try.

    >>> str(InputError("found no image in photos/", hint="point IMAGES at a folder that holds images"))
    'found no image in photos/; point IMAGES at a folder that holds images'
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}; {hint}")
        self.message = message
        self.hint = hint


class InputError(ShiftAuditError):
    """A file, folder or value given by the user cannot be used."""


class ModelError(ShiftAuditError):
    """A model cannot be loaded, or failed while it ran."""


class PatchError(ShiftAuditError):
    """A model cannot be patched; nothing was changed or written."""


class NoVerdictError(ShiftAuditError):
    """Two reports cannot be compared, or there is nothing to compare with."""

    exit_code = 3


def first_line(error: BaseException, limit: int = 300) -> str:
    """The first line of another library's error, for a sentence of our own; its type where it says nothing.

    >>> first_line(ValueError("no such thing\\nTraceback …")), first_line(KeyError())
    ('no such thing', 'KeyError')
    """
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:limit]


@contextmanager
def from_extra(extra: str, what: str, kind: type[ShiftAuditError] = InputError) -> Iterator[None]:
    """Imports of what an extra installs.

    Args:
        extra: its name.
        what: the sentence up to `is not installed`.
        kind: of the error.
    """
    try:
        yield
    except ImportError as error:
        raise kind(f"{what} is not installed", hint=f"pip install 'shiftaudit[{extra}]'") from error
