"""Finding images: folders, links, limits, names."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from shiftaudit.errors import InputError
from shiftaudit.images import find as image_files
from shiftaudit.images.find import find_images
from shiftaudit.records.report import Skipped


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def relatives(root: Path | list[Path], limit: int | None = None) -> list[str]:
    return [file.relative for file in find_images(root, limit=limit)[0]]


def test_images_are_found_recursively_by_suffix_and_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "b/z.JPG", "b/a.png", "a.webp", "c/d/e.tiff", "c/d/e.tif", "x.bmp", "y.gif", "k.jpeg")
    touch(tmp_path, "notes.txt", ".hidden.png", ".git/a.png", "b/._a.png", "jpg", "archive.jpg.zip")
    expected = ["a.webp", "b/a.png", "b/z.JPG", "c/d/e.tif", "c/d/e.tiff", "k.jpeg", "x.bmp", "y.gif"]
    assert relatives(tmp_path) == expected
    assert find_images(tmp_path)[1] == []


def test_the_order_in_which_files_were_created_changes_nothing(tmp_path: Path) -> None:
    names = [f"class{i % 3}/{i}.png" for i in range(30)]
    for seed in (0, 1):
        random.Random(seed).shuffle(names)
        touch(tmp_path / str(seed), *names)
    assert relatives(tmp_path / "0") == relatives(tmp_path / "1") == sorted(names)
    assert relatives(tmp_path / "0", limit=7) == relatives(tmp_path / "1", limit=7)


def test_a_limit_samples_all_class_folders_and_grows_by_adding(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}/{i}.png" for name in "abcde" for i in range(20)))
    kept = {limit: relatives(tmp_path, limit=limit) for limit in (10, 25, 100, 1000)}
    assert [len(kept[limit]) for limit in (10, 25, 100, 1000)] == [10, 25, 100, 100]
    assert set(kept[10]) < set(kept[25])
    assert {name[0] for name in kept[25]} == set("abcde")
    assert kept[10] == sorted(kept[10])
    by_hash = sorted(kept[100], key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert set(kept[10]) == set(by_hash[:10])


def test_a_limit_below_one_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    with pytest.raises(InputError, match="--limit got 0"):
        find_images(tmp_path, limit=0)


def test_symbolic_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path, "photos/b/x.png", "elsewhere/y.png")
    root = tmp_path / "photos"
    (root / "b" / "loop").symlink_to(root)
    (root / "a").symlink_to(root / "b")  # sorts before b, yet the real name wins
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "self").symlink_to(root / "self")
    assert relatives(root) == ["b/x.png", "linked/y.png"]


def test_a_dangling_link_and_a_pipe_are_listed_as_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "ok.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    files, skipped = find_images(tmp_path)
    assert [file.relative for file in files] == ["ok.png"]
    assert skipped == [
        Skipped("gone.png", "a link to a file that does not exist"),
        Skipped("pipe.png", "not a regular file"),
    ]


def test_a_folder_that_cannot_be_listed_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "ok.png", "secret/a.png")
    scandir = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "secret":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(image_files.os, "scandir", refuse)
    files, skipped = find_images(tmp_path)
    assert [file.relative for file in files] == ["ok.png"]
    assert skipped == [Skipped("secret", "the folder cannot be listed: permission denied")]


def test_nothing_to_find_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no image in .*; point IMAGES at"):
        find_images(tmp_path)
    with pytest.raises(InputError, match="missing does not exist"):
        find_images(tmp_path / "missing")
    with pytest.raises(InputError, match="no images were given"):
        find_images([])
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(InputError, match=r"1 skipped, the first is gone.png: a link"):
        find_images(tmp_path)


def test_files_and_several_roots_are_named_relative_to_what_they_share(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.png", "b/x.png", "b/c/y.png", "odd.name")
    assert relatives(tmp_path / "a" / "x.png") == ["x.png"]
    assert relatives(tmp_path / "odd.name") == ["odd.name"]
    assert relatives([tmp_path / "a", tmp_path / "b"]) == ["a/x.png", "b/c/y.png", "b/x.png"]
    assert relatives([tmp_path / "b" / "x.png", tmp_path / "b"]) == ["c/y.png", "x.png"]


def test_a_name_that_is_not_utf8_is_escaped(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system only takes UTF-8 names")
    assert relatives(tmp_path) == ["\\xff.png"]


def test_finding_and_decoding_import_no_torch() -> None:
    code = "import sys, shiftaudit.images.stream; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
