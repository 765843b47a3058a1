"""Zip files, sound and hostile."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from image_files import EXACT, noise, packed, packed_noise, save

from shiftaudit.errors import InputError
from shiftaudit.images.decode import DecodedImage
from shiftaudit.images.find import find_images
from shiftaudit.images.stream import stream
from shiftaudit.records.report import Skipped


def changed(path: Path, at: int, value: bytes) -> Path:
    data = bytearray(path.read_bytes())
    data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


def directory_entry(path: Path, name: str) -> int:
    return path.read_bytes().rindex(name.encode()) - 46


def streamed(path: Path) -> list[object]:
    items = stream(find_images(path)[0], EXACT, 8, 0)
    return [item.relative if isinstance(item, DecodedImage) else item for item in items]


def test_stored_and_deflated_members_are_read(tmp_path: Path) -> None:
    data = save(tmp_path / "a.png", noise(8, 8)).path.read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("deflated.png", data, zipfile.ZIP_DEFLATED)
        archive.writestr("stored.png", data, zipfile.ZIP_STORED)
        archive.writestr("xz.png", data, zipfile.ZIP_LZMA)
    with (tmp_path / "b.zip").open("wb") as handle:  # as programs that unpack themselves are
        handle.write(b"#!/bin/sh\n" + (tmp_path / "a.zip").read_bytes())
    for path in (tmp_path / "a.zip", tmp_path / "b.zip"):
        files, skipped = find_images(path)
        assert [file.read() for file in files] == [data, data]
        assert skipped == [Skipped("xz.png", "packed by another method than deflate")]


def test_encrypted_members_and_links_are_listed(tmp_path: Path) -> None:
    path = packed_noise(tmp_path, ".zip")
    changed(path, directory_entry(path, "1.png") + 8, b"\x01\x00")
    changed(path, directory_entry(path, "2.png") + 38, (0o120777 << 16).to_bytes(4, "little"))
    assert find_images(path)[1] == [Skipped("1.png", "encrypted"), Skipped("2.png", "a link")]
    changed(path, directory_entry(path, "0.png") + 8, b"\x01\x00")
    with pytest.raises(InputError, match=r"found no readable image in .*: 3 skipped, the first is 0.png: encrypted"):
        find_images(path)


def test_a_bomb_is_not_unpacked_beyond_the_size_it_states(tmp_path: Path) -> None:
    path = packed(tmp_path, tmp_path / "bomb.zip", beside={"0.png": bytes(50_000_000)})
    changed(path, directory_entry(path, "0.png") + 24, (1000).to_bytes(4, "little"))
    assert streamed(path) == [
        Skipped("0.png", "damaged in the archive: its bytes are not those that the directory states")
    ]
    changed(path, directory_entry(path, "0.png") + 24, (2**32 - 2).to_bytes(4, "little"))
    assert streamed(path) == [Skipped("0.png", "the file is larger than 512 MiB")]


def test_a_damaged_member_is_skipped_and_the_others_are_read(tmp_path: Path) -> None:
    path = packed_noise(tmp_path, ".zip")
    changed(path, path.read_bytes().index(b"1.png") + 20, b"\xff" * 4)
    changed(path, path.read_bytes().index(b"2.png") - 30, b"xx")
    first, second, third = streamed(path)
    assert first == "0.png"
    assert isinstance(second, Skipped)
    assert second.reason.startswith("damaged in the archive: it")
    assert third == Skipped("2.png", "damaged in the archive: it has no header")


def test_a_zip_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = packed_noise(tmp_path, ".zip")
    whole = path.read_bytes()
    for size in (10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(
            InputError, match=r"is no zip file that can be read, or its end is missing: .*copy it once more"
        ):
            find_images(path)
