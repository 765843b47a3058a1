"""One image that can be read: a file of its own, or a part of an archive."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from shiftaudit.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})

LABEL_SUFFIX = ".cls"
LABEL_BYTES = 256

_DRIVE = re.compile(r"[A-Za-z]:")

MAX_BYTES = 512 * 2**20
"""Largest image that is read, as it is stored or unpacked."""


class UnreadableImageError(InputError):
    """One image cannot be used; the message is the reason alone, without the path."""


class Part(Protocol):
    """Where the bytes of an image stand in an archive. Worker processes are given it, and open the archive themselves."""

    @property
    def size(self) -> int:
        """Bytes, unpacked, as the archive's directory claims: all that is known before an image is read."""

    def read(self, path: Path) -> bytes:
        """The image's bytes, from the archive at `path`.

        Raises:
            OSError: the archive cannot be read.
            UnreadableImageError: the part is damaged, or too large.
        """


@dataclass(frozen=True)
class Member:
    """One entry of an archive: a file, a folder (neither part nor reason), or what cannot be used (a reason)."""

    name: str
    part: Part | None
    reason: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Archives:
    """What all archives of a run tell of their images together."""

    folders: frozenset[str] = frozenset()
    """The outermost folders."""
    class_names: tuple[str, ...] | None = None
    """The classes that the images' own labels number, where a data set names them."""


@dataclass(frozen=True)
class ImageFile:
    """A file that looks like an image, or a part of an archive that does."""

    path: Path
    """Of the file, or of the archive that holds it."""
    relative: str
    """Relative to the folder given, with forward slashes: the name used in reports, CSV files and sorting."""
    part: Part | None = field(default=None, repr=False)
    label: str | None = field(default=None, repr=False)
    """What stands in the `.cls` file beside the image, or in the table's column of labels."""
    archives: Archives | None = field(default=None, repr=False)

    @property
    def place(self) -> Path:
        """Where it lies, or would lie if its archive were a folder."""
        return self.path if self.part is None else self.path / self.relative

    def size(self) -> int:
        """Bytes.

        Raises:
            OSError: the file cannot be read.
        """
        return self.path.stat().st_size if self.part is None else self.part.size

    def read(self) -> bytes:
        """All bytes.

        Raises:
            UnreadableImageError: the file cannot be used; the message is the reason.
        """
        try:
            data = self._bytes()
        except OSError as error:
            raise UnreadableImageError(os_reason(error)) from error
        if not data:
            raise UnreadableImageError("the file is empty")
        return data

    def _bytes(self) -> bytes:
        if self.part is not None:
            return self.part.read(self.path)
        with self.path.open("rb") as handle:
            require_size(os.fstat(handle.fileno()).st_size)
            return handle.read()

    def sha256(self) -> str:
        """Of the image's bytes, which is what it is known by in reports and records.

        Raises:
            UnreadableImageError: the file cannot be used.
        """
        return hashlib.sha256(self.read()).hexdigest()

    def identity(self) -> str | None:
        """The same; None for a file that cannot be used."""
        try:
            return self.sha256()
        except UnreadableImageError:
            return None


def require_size(size: int) -> None:
    """Refuse an image of that many bytes if they are too many.

    Raises:
        UnreadableImageError: they are.
    """
    if size > MAX_BYTES:
        raise UnreadableImageError(f"the file is larger than {MAX_BYTES // 2**20} MiB")


def label_keys(name: str) -> tuple[str, ...]:
    """What the file of an image's label is called before its suffix: up to the last dot of the image's name, or, as WebDataset
    has it, to the first.

    >>> label_keys("0001.left.jpg")
    ('0001.left', '0001')
    """
    return tuple(dict.fromkeys((name.rsplit(".", 1)[0], name.split(".", 1)[0])))


def os_reason(error: OSError) -> str:
    """Why the operating system refused a file, in a few words and without its path."""
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, FileNotFoundError):
        return "no longer exists"
    return error.strerror or type(error).__name__


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
