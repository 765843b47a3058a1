"""Streaming images: order, duplicates, worker processes, interrupts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from image_files import EXACT, noise, preset, save

from shiftaudit.errors import InputError, ShiftAuditError
from shiftaudit.images.decode import DecodedImage, decode
from shiftaudit.images.file import ImageFile
from shiftaudit.images.find import find_images
from shiftaudit.images.stream import stream
from shiftaudit.records.report import Preprocessing, Skipped


def a_mixed_folder(folder: Path) -> list[ImageFile]:
    for i in range(12):
        save(folder / f"{i:02}.png", noise(10 + i, 30 - i, seed=i))
    (folder / "03.png").write_bytes(b"")
    (folder / "07.png").write_bytes((folder / "05.png").read_bytes())
    return find_images(folder)[0]


def flat(items: list[DecodedImage | Skipped]) -> list[object]:
    return [item if isinstance(item, Skipped) else (item.relative, item.id, item.pixels.tobytes()) for item in items]


def test_a_stream_keeps_the_order_and_skips_what_is_bad_or_seen(tmp_path: Path) -> None:
    items = list(stream(a_mixed_folder(tmp_path), preset(), 18, workers=0))
    names = [item.path if isinstance(item, Skipped) else item.relative for item in items]
    assert names == [f"{i:02}.png" for i in range(12)]
    assert [item for item in items if isinstance(item, Skipped)] == [
        Skipped("03.png", "the file is empty"),
        Skipped("07.png", "same bytes as 05.png"),
    ]
    assert all(item.pixels.shape == (3, 18, 18) for item in items if isinstance(item, DecodedImage))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_give_the_same_stream_as_none(tmp_path: Path, workers: int) -> None:
    files = a_mixed_folder(tmp_path)
    assert flat(list(stream(files, preset(), 18, workers))) == flat(list(stream(files, preset(), 18, 0)))


def test_few_and_small_images_are_decoded_without_processes_and_others_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = a_mixed_folder(tmp_path)
    expected = flat(list(stream(files, preset(), 18, 0)))
    started: list[int] = []
    monkeypatch.setattr("shiftaudit.images.stream._in_workers", lambda _, workers: started.append(workers) or iter(()))
    gone = ImageFile(tmp_path / "gone.png", "gone.png")
    assert flat(list(stream([*files, gone], preset(), 18, None)))[:-1] == expected
    assert started == []
    monkeypatch.setattr("shiftaudit.images.stream.SMALL", sum(file.path.stat().st_size for file in files) - 1)
    assert list(stream(files, preset(), 18, None)) == []
    assert started == [2]


def test_a_stream_can_be_left_early(tmp_path: Path) -> None:
    images = stream(a_mixed_folder(tmp_path), preset(), 18, workers=2)
    assert isinstance(next(images), DecodedImage)
    images.close()


def test_decoding_runs_ahead_by_a_bounded_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(40):
        save(folder / f"{i:02}.png", noise(8, 8, seed=i))
    log = tmp_path / "log"

    def counted(file: ImageFile, preprocessing: Preprocessing, canvas: int) -> DecodedImage:
        with log.open("a") as handle:
            handle.write("x")
        return decode(file, preprocessing, canvas)

    monkeypatch.setattr("shiftaudit.images.stream.decode", counted)
    images = stream(find_images(folder)[0], EXACT, 8, workers=2)
    for _ in range(10):
        next(images)
    images.close()
    assert 10 <= len(log.read_text()) <= 10 + 2 * 4 + 2


def test_a_worker_that_dies_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = a_mixed_folder(tmp_path)

    def die(*_arguments: object) -> None:
        os.kill(os.getpid(), 9)

    monkeypatch.setattr("shiftaudit.images.stream.decode", die)
    with pytest.raises(ShiftAuditError, match=r"a process that decodes images died: .*--workers 0"):
        list(stream(files, preset(), 18, workers=1))


def test_want_of_memory_in_one_image_skips_that_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("shiftaudit.images.stream.decode", no_memory)
    file = save(tmp_path / "a.png", noise(8, 8))
    assert list(stream([file], EXACT, 8, workers=0)) == [Skipped("a.png", "not enough memory to decode it")]


def test_a_negative_number_of_workers_is_refused() -> None:
    with pytest.raises(InputError, match="--workers got -1"):
        stream([], preset(), 18, workers=-1)


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from shiftaudit.images.find import find_images
from shiftaudit.images.stream import stream
from shiftaudit.records.report import Preprocessing
files, _ = find_images(Path(sys.argv[1]))
try:
    for number, image in enumerate(stream(files, Preprocessing(16, 20, (0.,), (1.,), "bilinear", 3, "options"), 18, 2)):
        if number == 2:
            os.killpg(0, signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_reaches_the_caller_alone(tmp_path: Path) -> None:
    a_mixed_folder(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted\n", "", 0)
