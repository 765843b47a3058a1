"""JSON that somebody else may have written: read with limits, so that no file can exhaust the program, and strictly.

Every JSON text that enters the program comes through here: reports, baselines, rows of samples, what model files carry.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, Final

from shiftaudit.errors import InputError, first_line

_GZIP = b"\x1f\x8b"
MAX_BYTES: Final = 2**31
"""Largest file that is read: a report of a million images or so."""


def parse_json(text: str | bytes, what: str) -> Any:
    """Parsed JSON. What its numbers may be is checked where they are given a type: a call for every number of a report would
    be most of the time that reading it takes.

    Raises:
        InputError: it is not JSON in UTF-8, or larger or deeper than any file of this program, or with one key twice in an
            object; `what` names it in the message.

    >>> parse_json('{"a": [1, 2.5, null]}', "row 1")
    {'a': [1, 2.5, None]}
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"{what} is larger than {MAX_BYTES // 2**20} MiB")
    try:
        text = text.decode() if isinstance(text, bytes) else text
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise InputError(f"{what} is not readable JSON: it is not UTF-8 text ({error.reason})") from error
    except RecursionError:
        raise InputError(f"{what} is nested too deeply") from None
    except ValueError as error:
        # Python converts no text of thousands of digits, and says so in words for programmers.
        reason = "an integer of thousands of digits" if "set_int_max_str_digits" in str(error) else first_line(error)
        raise InputError(f"{what} is not readable JSON: {reason}") from error


def read_json(path: Path) -> Any:
    """The parsed JSON of a file.

    Raises:
        InputError: the file is missing, unreadable, or no JSON that `parse_json` takes.
    """
    return parse_json(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """What a file of at most `MAX_BYTES` holds, unpacked where gzip has compressed it, whatever its name.

    Raises:
        InputError: the file is missing, unreadable, damaged or too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if data.startswith(_GZIP):
            with gzip.open(io.BytesIO(data)) as unpacked:
                data = unpacked.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES // 2**20} MiB")
    return data


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON; expected null")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice[:40]!r} stands twice in one object")
    return found
