"""Images in `.zip` files: found in the directory at the end, unpacked one at a time."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shiftaudit.errors import InputError, first_line
from shiftaudit.images.file import Member, UnreadableImageError, require_size

_HEADER, _MAGIC = 30, b"PK\x03\x04"
_NAME_LENGTHS = struct.Struct("<26xHH")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


@dataclass(frozen=True)
class ZipPart:
    """A member by its place, so that no worker has to read the directory of a large archive again."""

    offset: int
    packed: int
    size: int
    crc: int
    deflated: bool

    def read(self, path: Path) -> bytes:
        """The bytes, as `Part` has it: never more than the directory states, and with the checksum it states."""
        require_size(max(self.packed, self.size))
        with path.open("rb") as handle:
            handle.seek(self.offset)
            header = handle.read(_HEADER)
            if len(header) != _HEADER or not header.startswith(_MAGIC):
                raise UnreadableImageError("damaged in the archive: it has no header")
            handle.seek(sum(_NAME_LENGTHS.unpack(header)), 1)
            data = handle.read(self.packed)
        if self.deflated:
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, self.size + 1)
            except zlib.error as error:
                raise UnreadableImageError("damaged in the archive: it cannot be unpacked") from error
        if len(data) != self.size or zlib.crc32(data) != self.crc:
            raise UnreadableImageError("damaged in the archive: its bytes are not those that the directory states")
        return data


def zip_members(path: Path) -> Iterator[Member]:
    """All members, in the order of the directory.

    Raises:
        InputError: it is no zip, or ends early.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, OverflowError) as error:
        raise InputError(
            f"{path} is no zip file that can be read, or its end is missing: {first_line(error)}",
            hint="copy it once more",
        ) from error
    yield from map(_member, infos)


def _member(info: zipfile.ZipInfo) -> Member:
    name = info.filename.replace("\\", "/")
    if info.is_dir():
        return Member(name, None)
    if (info.external_attr >> 28) == 0xA:  # the kind of file, in the high bits of a Unix mode
        return Member(name, None, "a link")
    if info.flag_bits & _ENCRYPTED:
        return Member(name, None, "encrypted")
    if info.compress_type not in _METHODS:
        return Member(name, None, "packed by another method than deflate")
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return Member(name, ZipPart(info.header_offset, info.compress_size, info.file_size, info.CRC, deflated))
