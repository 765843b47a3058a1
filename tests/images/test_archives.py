"""Images in archives: the same as in a folder, whatever holds them, and whatever else is in there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli_run import python
from image_files import EXACT, noise, packed, preset, save

from shiftaudit.audit.api import score
from shiftaudit.errors import InputError
from shiftaudit.images import file as image_file
from shiftaudit.images.decode import DecodedImage
from shiftaudit.images.find import find_images
from shiftaudit.images.labels import read_labels
from shiftaudit.images.stream import stream
from shiftaudit.records.codec import dumps
from shiftaudit.records.report import Skipped
from shiftaudit.records.settings import Settings
from shiftaudit.sample import images_path, model_path

KINDS = (".tar", ".zip", ".parquet")


def a_folder(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save(folder / name, noise(9 + number, 12, seed=number))
    return folder


def pixels(items: list[DecodedImage | Skipped]) -> list[object]:
    return [item if isinstance(item, Skipped) else (item.relative, item.id, item.pixels.tobytes()) for item in items]


@pytest.fixture(scope="module")
def report_of_the_folder() -> str:
    return dumps(score(model_path(), images_path(), Settings(shifts="2", stages=False, workers=0)))


@pytest.mark.parametrize("kind", [".tar", ".zip"])
def test_an_archive_gives_the_report_of_its_folder_to_the_byte(
    tmp_path: Path, report_of_the_folder: str, kind: str
) -> None:
    archive = packed(images_path(), tmp_path / f"photos{kind}")
    settings = Settings(shifts="2", stages=False, workers=0)
    assert dumps(score(model_path(), archive, settings)) == report_of_the_folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [0, 2])
def test_images_of_an_archive_are_those_of_the_folder(tmp_path: Path, kind: str, workers: int) -> None:
    folder = a_folder(tmp_path / "photos", *(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(5)))
    (folder / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    files, skipped = find_images(packed(folder, tmp_path / f"photos{kind}"))
    expected = list(stream(find_images(folder)[0], preset(), 18, 0))
    assert skipped == []
    assert pixels(list(stream(files, preset(), 18, workers))) == pixels(expected)
    assert [file.sha256() for file in files] == [file.sha256() for file in find_images(folder)[0]]
    assert set(tmp_path.iterdir()) == {folder, files[0].path}


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_takes_the_same_images_as_of_the_folder(tmp_path: Path, kind: str) -> None:
    folder = a_folder(tmp_path / "photos", *(f"{name}/{i}.png" for name in "abc" for i in range(6)))
    archive = packed(folder, tmp_path / f"photos{kind}")
    kept, of_folder = (find_images(place, limit=4)[0] for place in (archive, folder))
    assert [file.relative for file in kept] == [file.relative for file in of_folder]
    if kind != ".parquet":  # a table has no folders but in names
        labels = [read_labels("folder", files, class_names=None, n_classes=3) for files in (kept, of_folder)]
        assert labels[0] == labels[1]


@pytest.mark.parametrize("kind", [".tar", ".zip"])
def test_a_folder_that_all_images_share_is_no_part_of_their_names(tmp_path: Path, kind: str) -> None:
    folder = a_folder(tmp_path / "all", "data/photos/cat/1.png", "data/photos/dog/1.png")
    files, _ = find_images(packed(folder, tmp_path / f"photos{kind}", beside={"data/README": b"x"}))
    assert [file.relative for file in files] == ["cat/1.png", "dog/1.png"]
    assert read_labels("auto", files, class_names=("dog", "cat"), n_classes=2).by_path == {
        "cat/1.png": 1,
        "dog/1.png": 0,
    }


@pytest.mark.parametrize("kind", [".tar", ".zip"])
def test_files_beside_images_give_labels(tmp_path: Path, kind: str) -> None:
    folder = a_folder(tmp_path / "photos", "0001.png", "0002.png", "0003.left.png", "0004.png")
    for name, text in {"0001.cls": "1", "0002.cls": " 0\n", "0003.cls": "2", "0004.cls": "9" * 999}.items():
        (folder / name).write_text(text)
    files = find_images(packed(folder, tmp_path / f"shard{kind}"))[0]
    found = read_labels("auto", files, class_names=None, n_classes=3)
    assert (found.by_path, found.source) == ({"0001.png": 1, "0002.png": 0, "0003.left.png": 2}, "own")
    assert found.note == "3 of 4 images labelled by what stands beside them"
    (folder / "0004.cls").unlink()
    assert read_labels("auto", find_images(folder)[0], class_names=None, n_classes=3) == found
    assert read_labels("auto", files, class_names=None, n_classes=2).by_path == {}


def test_shards_are_read_as_one_folder_and_shared_names_begin_with_the_shard(tmp_path: Path) -> None:
    first = a_folder(tmp_path / "a", "cat/1.png", "dog/2.png")
    second = a_folder(tmp_path / "b", "x.png", "y.png", "cat/1.png", "dog/3.png")
    (second / "x.png").unlink()
    (second / "y.png").unlink()
    shards = tmp_path / "shards"
    shards.mkdir()
    packed(first, shards / "shard-000.tar")
    packed(second, shards / "shard-001.tar")
    expected = ["dog/2.png", "dog/3.png", "shard-000.tar/cat/1.png", "shard-001.tar/cat/1.png"]
    for roots in (shards, sorted(shards.iterdir()), [*shards.iterdir(), shards]):
        files, _ = find_images(roots)
        assert [file.relative for file in files] == expected
        assert len({file.sha256() for file in files}) == 4


def test_archives_in_a_folder_of_images_are_left_alone(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "photos", "1.png")
    archive = packed(folder, folder / "photos.zip")
    assert [file.path.name for file in find_images(folder)[0]] == ["1.png"]
    with pytest.raises(
        InputError, match=r"photos.zip stands beside images that are files; score archives by themselves"
    ):
        find_images([folder, archive])


@pytest.mark.parametrize("kind", [".tar", ".zip"])
def test_names_that_lead_out_are_listed_and_hidden_ones_left_out(tmp_path: Path, kind: str) -> None:
    folder = a_folder(tmp_path / "photos", "a/1.png", "b/2.png")
    image = (folder / "a/1.png").read_bytes()
    hostile = dict.fromkeys(("/etc/1.png", "../../2.png", "C:/3.png", "a/../../4.png"), image)
    hidden = dict.fromkeys(("__MACOSX/._1.png", ".git/1.png", "a/.2.png", "inner.zip", "inner.tar"), image)
    files, skipped = find_images(packed(folder, tmp_path / f"photos{kind}", beside=hostile | hidden))
    assert [file.relative for file in files] == ["a/1.png", "b/2.png"]
    assert skipped == [Skipped(name, "its name leads out of the archive") for name in sorted(hostile)]
    assert {path.name for path in tmp_path.iterdir()} == {"photos", f"photos{kind}"}


def test_an_archive_of_no_images_says_so(tmp_path: Path) -> None:
    inner = packed(a_folder(tmp_path / "photos", "1.png"), tmp_path / "inner.zip")
    outer = tmp_path / "outer.tar"
    packed(tmp_path / "empty", outer, beside={"inner.zip": inner.read_bytes()})
    with pytest.raises(InputError, match=r"found no image in .*outer.tar; point IMAGES at a folder or archive that"):
        find_images(outer)


@pytest.mark.parametrize("name", ["photos.tar.gz", "photos.tgz", "photos.tar.zst", "photos.7z", "photos.rar"])
def test_what_is_compressed_as_a_whole_is_refused_with_a_way_out(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    with pytest.raises(InputError, match=r"compressed as a whole, so that no image in it can be read alone; give the"):
        find_images(tmp_path / name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_only_bears_the_name_of_an_archive_is_refused(tmp_path: Path, kind: str) -> None:
    for content in (b"", b"no archive", bytes(4096), os.urandom(4096)):
        (tmp_path / f"a{kind}").write_bytes(content)
        with pytest.raises(InputError, match=rf"a{kind}"):
            find_images(tmp_path / f"a{kind}")
    with pytest.raises(InputError, match="does not exist"):
        find_images(tmp_path / f"b{kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_of_an_archive_that_is_too_large_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder = a_folder(tmp_path / "photos", "0.png", "1.png")
    (folder / "2.png").write_bytes(bytes(3000))
    files, _ = find_images(packed(folder, tmp_path / f"photos{kind}"))
    monkeypatch.setattr(image_file, "MAX_BYTES", 2**11)
    *small, large = stream(files, EXACT, 8, 0)
    assert all(isinstance(one, DecodedImage) for one in small)
    assert large == Skipped("2.png", "the file is larger than 0 MiB")


MEMORY = """
import resource, sys
from pathlib import Path
from shiftaudit.images.find import find_images
files, _ = find_images(Path(sys.argv[1]))
for file in files[:2]:
    file.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in files:
    file.read()
print(len(files), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_memory_does_not_grow_with_the_archive(tmp_path: Path, kind: str) -> None:
    (tmp_path / "empty").mkdir()
    members = {f"{number:03}.png": os.urandom(2**20) for number in range(60)}
    archive = packed(tmp_path / "empty", tmp_path / f"photos{kind}", beside=members)
    done = python("-c", MEMORY, archive)
    n_files, grown = map(int, done.stdout.split())
    assert n_files == 60
    assert grown < 30
