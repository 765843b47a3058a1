"""Images in `.tar` files, WebDataset's shards among them: found by their headers, read where they lie."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shiftaudit.errors import InputError, first_line
from shiftaudit.images.file import Member, UnreadableImageError, require_size


@dataclass(frozen=True)
class TarPart:
    """A stretch of the file: a tar that is not compressed holds its files as they are."""

    offset: int
    size: int

    def read(self, path: Path) -> bytes:
        """The bytes, as `Part` has it."""
        require_size(self.size)
        with path.open("rb") as handle:
            handle.seek(self.offset)
            data = handle.read(self.size)
        if len(data) != self.size:
            raise UnreadableImageError("the archive ends within it")
        return data


def tar_members(path: Path) -> Iterator[Member]:
    """All members, in the order of the file.

    Raises:
        InputError: it is no tar, ends early or is damaged between two files.
        OSError: it cannot be read.
    """
    end, before = path.stat().st_size, -1
    try:
        with tarfile.open(path, "r:") as tar:
            while (info := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it keeps them all otherwise
                # A negative size would lead back to the same header for ever.
                if info.size < 0 or tar.offset <= before:
                    raise InputError(f"{path} is damaged: the size of {info.name!r} is negative")
                before = tar.offset
                if info.isreg() and info.offset_data + info.size > end:
                    raise _cut_off(path)
                yield _member(info)
            # tarfile takes a damaged header for the end.
            with path.open("rb") as handle:
                handle.seek(tar.offset)
                if any(handle.read(tarfile.BLOCKSIZE)):
                    raise InputError(f"{path} is damaged: there is no file's header at byte {tar.offset:,}")
    except tarfile.TarError as error:
        if "unexpected end" in str(error):
            raise _cut_off(path) from error
        raise InputError(f"{path} is no tar file that can be read: {first_line(error)}") from error
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path} is damaged: {first_line(error)}") from error


def _cut_off(path: Path) -> InputError:
    return InputError(f"{path} ends within a file: it was cut off", hint="copy it once more")


def _member(info: tarfile.TarInfo) -> Member:
    if info.isdir():
        return Member(info.name, None)
    if not info.isreg():
        return Member(info.name, None, "a link" if info.issym() or info.islnk() else "not a regular file")
    if info.issparse():
        return Member(info.name, None, "stored as a sparse file")
    return Member(info.name, TarPart(info.offset_data, info.size))
