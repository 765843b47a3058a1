"""What every kind of archive gives: its members, one after the other."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from shiftaudit.errors import InputError
from shiftaudit.images.file import Part

_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Member:
    """One entry of an archive: a file, a folder (neither part nor reason), or what cannot be used (a reason)."""

    name: str
    part: Part | None
    reason: str | None = None
    label: str | None = None


def clean_name(name: str) -> tuple[str, str | None]:
    """A member's name as a relative path, and what is wrong with it; nothing is ever written under it.

    >>> clean_name("./cats//1.jpg"), clean_name("../1.jpg")
    (('cats/1.jpg', None), ('../1.jpg', 'its name leads out of the archive'))
    """
    # As names of files are: bytes that are not UTF-8 are shown escaped, so that every report can hold them.
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    leads_out = text.startswith("/") or ".." in parts or bool(_DRIVE.match(text))
    return ("/".join(parts), None) if not leads_out else (text, "its name leads out of the archive")


def cut_off(path: Path) -> InputError:
    """The archive ends before its last file does."""
    return InputError(f"{path} ends within a file: it was cut off", hint="copy it once more")
