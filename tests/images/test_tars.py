"""Tar files, sound and damaged."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from image_files import EXACT, noise, packed_noise, save

from shiftaudit.errors import InputError
from shiftaudit.images.decode import DecodedImage
from shiftaudit.images.find import find_images
from shiftaudit.images.stream import stream
from shiftaudit.records.report import Skipped


def test_links_and_devices_are_listed_and_not_followed(tmp_path: Path) -> None:
    path = packed_noise(tmp_path, ".tar", 1)
    with tarfile.open(path, "a") as tar:
        for name, kind in {"hard": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE, "soft": tarfile.SYMTYPE}.items():
            info = tarfile.TarInfo(f"{name}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    files, skipped = find_images(path)
    assert [file.relative for file in files] == ["0.png"]
    assert skipped == [
        Skipped("hard.png", "a link"),
        Skipped("pipe.png", "not a regular file"),
        Skipped("soft.png", "a link"),
    ]


def test_the_last_of_a_name_counts_as_when_it_is_unpacked(tmp_path: Path) -> None:
    path = packed_noise(tmp_path, ".tar", 1)
    newer = save(tmp_path / "newer.png", noise(8, 8, seed=9)).path.read_bytes()
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo("./0.png")
        info.size = len(newer)
        tar.addfile(info, io.BytesIO(newer))
    (file,) = find_images(path)[0]
    assert file.read() == newer


def test_a_tar_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = packed_noise(tmp_path, ".tar")
    whole = path.read_bytes()
    for size in (600, 1300, 2000):
        path.write_bytes(whole[:size])
        with pytest.raises(
            InputError, match=r"photos.tar (ends within a file: it was cut off; copy it once more|is damaged)"
        ):
            find_images(path)


def test_a_damaged_header_is_no_silent_end(tmp_path: Path) -> None:
    path = packed_noise(tmp_path, ".tar")
    data = bytearray(path.read_bytes())
    second = data.index(b"1.png\0")
    data[second + 148] ^= 0x55  # its checksum
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"photos.tar is damaged: there is no file's header at byte 1,024"):
        find_images(path)


def test_a_negative_size_ends_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("1.png")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"  # -512
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(InputError, match="is damaged"):
        find_images(path)


def test_an_image_that_is_damaged_within_is_skipped_alone(tmp_path: Path) -> None:
    path = packed_noise(tmp_path, ".tar")
    data = bytearray(path.read_bytes())
    start = data.index(b"1.png\0") + 512
    data[start : start + 8] = bytes(8)
    path.write_bytes(data)
    items = list(stream(find_images(path)[0], EXACT, 8, 0))
    assert [isinstance(item, DecodedImage) for item in items] == [True, False, True]


def test_a_tar_that_shrinks_while_it_is_read_costs_the_images_that_are_gone(tmp_path: Path) -> None:
    path = packed_noise(tmp_path, ".tar")
    files, _ = find_images(path)
    path.write_bytes(path.read_bytes()[:1200])
    assert list(stream(files, EXACT, 8, 0))[2] == Skipped("2.png", "the archive ends within it")
