"""Images from files to pixels: decoded in order, in worker processes, while the model runs."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from shiftaudit.errors import InputError, ShiftAuditError, first_line
from shiftaudit.images.decode import DecodedImage, decode
from shiftaudit.images.duplicates import without_duplicates
from shiftaudit.images.file import ImageFile, UnreadableImageError
from shiftaudit.processes import ENDING_SIGNALS, end_with_parent
from shiftaudit.records.report import Preprocessing, Skipped

T = TypeVar("T")

PREFETCH = 4
"""Decoded images waiting per worker: what bounds the memory, however many images there are."""

WORKERS = 2
"""Processes that decode, unless the user chose."""

SMALL = 4 * 2**20
"""Bytes of all files together that take less time to decode than processes take to start."""


def stream(
    files: Sequence[ImageFile], preprocessing: Preprocessing, canvas: int, workers: int | None
) -> Iterator[DecodedImage | Skipped]:
    """One `DecodedImage` or `Skipped` per file, in the order of the files, whatever the number of workers.

    A file whose bytes have been seen before is skipped: it is no new evidence. With `workers=0` this process decodes;
    None chooses by how much there is to decode.

    Raises:
        InputError: `workers` is negative.
        ShiftAuditError: a worker process died, mostly for want of memory.
    """
    if workers is None:
        workers = 0 if _are_few_and_small(files) else WORKERS
    if workers < 0:
        raise InputError(f"--workers got {workers}; expected 0 or more")
    dataset = _Decoder(files, preprocessing, canvas)
    decoded = _in_workers(dataset, workers) if workers and len(files) > 1 else (dataset[i] for i in range(len(files)))
    return without_duplicates(decoded, lambda image: None if isinstance(image, Skipped) else (image.id, image.relative))


def decoded(
    files: Sequence[ImageFile], preprocessing: Preprocessing, canvas: int, workers: int | None
) -> Iterator[DecodedImage]:
    """What `stream` gives without the files that are skipped."""
    return (item for item in stream(files, preprocessing, canvas, workers) if isinstance(item, DecodedImage))


def _are_few_and_small(files: Sequence[ImageFile]) -> bool:
    """Whether starting processes would take longer than decoding; what cannot be asked for its size is read later."""
    left = SMALL
    for file in files:
        try:
            left -= file.path.stat().st_size
        except OSError:
            continue
        if left < 0:
            return False
    return True


class _Decoder:
    """The files as a map-style dataset, which is what worker processes are given."""

    def __init__(self, files: Sequence[ImageFile], preprocessing: Preprocessing, canvas: int) -> None:
        self._files = files
        self._preprocessing = preprocessing
        self._canvas = canvas

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> DecodedImage | Skipped:
        file = self._files[index]
        try:
            return decode(file, self._preprocessing, self._canvas)
        except UnreadableImageError as error:
            return Skipped(file.relative, error.message)
        except MemoryError:
            return Skipped(file.relative, "not enough memory to decode it")


def _in_workers(dataset: _Decoder, workers: int) -> Iterator[DecodedImage | Skipped]:
    from torch.utils.data import DataLoader  # here, so that finding and labelling images needs no torch

    with _interrupts_held_back(), warnings.catch_warnings():
        # The number of workers is the user's to choose, and the workers only decode: they never enter the thread pools
        # that forking may leave locked.
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        warnings.filterwarnings("ignore", message=r".*use of fork\(\)", category=DeprecationWarning)
        loader: DataLoader[DecodedImage | Skipped] = DataLoader(
            dataset,  # type: ignore[arg-type]  # any object with __len__ and __getitem__ will do
            batch_size=None,
            num_workers=min(workers, len(dataset)),
            prefetch_factor=PREFETCH,
            collate_fn=_unchanged,
            worker_init_fn=partial(_begin_worker, os.getpid()),
        )
        iterator = iter(loader)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise ShiftAuditError(
                f"a process that decodes images died: {first_line(error)}",
                hint="the machine may be out of memory; try fewer --workers, or --workers 0 to decode without them",
            ) from error
        yield item


def _unchanged(item: Any) -> Any:
    return item


def _begin_worker(parent: int, _worker: int) -> None:
    # Ctrl-C reaches the whole process group; this process stops the workers itself, without a traceback from each.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
    end_with_parent(parent)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Keep Ctrl-C and its like waiting while workers start: they inherit the mask and are not hit before they are ready."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *ENDING_SIGNALS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
