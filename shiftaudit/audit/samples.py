"""The samples file: one JSON line an image, with every prediction at full precision, after a header line.

It is what an interrupted run is resumed from and what shards are merged by: a report is a function of these lines. While a run
goes on, lines are added to `FILE.partial`, each of them out of this process's hands before the next image; the name becomes FILE
when the run is complete. No line that is on the disk is ever written again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from shiftaudit.audit.plausible import check_header, check_score, slots_of
from shiftaudit.errors import InputError
from shiftaudit.files import open_atomically
from shiftaudit.records.codec import from_line, line_of
from shiftaudit.records.collector import uncollected
from shiftaudit.records.report import Skipped
from shiftaudit.records.samples import ImageScore, SamplesHeader

Line = ImageScore | Skipped

_LONGEST_ROW = 64 * 2**20
_OF_SKIPPED = b'{"path":'


def path_of(line: Line) -> str:
    """The path of the image that a line is about."""
    return line.path if isinstance(line, Skipped) else line.image.path


class SamplesWriter:
    """Adds lines to `FILE.partial` as they are measured; `commit` gives the file its name.

    Args:
        lines: those that stand in the file already, or that an unfinished or finished file is to begin with.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, path: Path, header: SamplesHeader, lines: Iterable[Line] = ()) -> None:
        self._path = path
        self._partial = partial_path(path)
        if self._partial.exists():
            cut = _end_of_last_row(self._partial)
        else:
            # In one step: a file that begins with somebody's rows never holds only some of them.
            with open_atomically(self._partial) as file:
                file.writelines(line_of(item) for item in (header, *lines))
            cut = None
        self._file = os.open(self._partial, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
        if cut is not None:
            os.ftruncate(self._file, cut)

    def write(self, line: Line) -> None:
        """Append one image: its score, or why it was skipped."""
        left = memoryview(line_of(line))
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            raise InputError(
                f"cannot write {self._partial}: {error.strerror or error}",
                hint="the rows so far are kept: make room and go on with --resume",
            ) from error

    def close(self) -> None:
        """Stop writing and keep the partial file, to resume from."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def commit(self) -> None:
        """The run is complete: give the file its name."""
        os.fsync(self._file)
        self.close()
        self._partial.replace(self._path)


def _end_of_last_row(path: Path) -> int:
    """How many bytes of the file are whole rows: one that was killed may have been writing its last."""
    size = path.stat().st_size
    with path.open("rb") as file:
        for block in range(-(-size // 2**16), 0, -1):
            file.seek((block - 1) * 2**16)
            found = file.read(2**16).rfind(b"\n")
            if found >= 0:
                return (block - 1) * 2**16 + found + 1
    return 0


def partial_path(path: Path) -> Path:
    """Where the lines of an unfinished run are.

    >>> str(partial_path(Path("run.jsonl")))
    'run.jsonl.partial'
    """
    return path.with_name(path.name + ".partial")


def drop_empty_partial(path: Path) -> None:
    """Remove an unfinished file without a whole header line: its run had not begun."""
    partial = partial_path(path)
    with suppress(OSError):
        if partial.is_file() and _end_of_last_row(partial) == 0:
            partial.unlink()


@uncollected()
def read_samples(path: Path, *, allow_cut: bool = False) -> tuple[SamplesHeader, list[Line]]:
    """The header and lines of a samples file.

    With `allow_cut` a last line that was cut short is left out: a run that was killed may have been writing it.

    Raises:
        InputError: the file is missing, is not a samples file, holds what cannot have been measured, or is of a version that did
            not say which images it is about.
    """
    rows = _rows(path, allow_cut=allow_cut)
    first = next(rows, None)
    if first is None:
        raise InputError(f"{path} holds no complete header line", hint="remove it and start the run again")
    what = f"the first line of {path}"
    header = from_line(first, SamplesHeader, what)
    check_header(header, what)
    if header.images is None:
        raise InputError(f"{path} does not say which images its run is about", hint="start the run again")
    slots = slots_of(header)
    return header, [_line(header, slots, row, f"{path}, line {number},") for number, row in enumerate(rows, 2)]


def _rows(path: Path, *, allow_cut: bool) -> Iterator[bytes]:
    """The lines as they are read, so that those of many images are never held beside what is made of them."""
    try:
        with path.open("rb") as file:
            while row := file.readline(_LONGEST_ROW):
                if row.endswith(b"\n"):
                    yield row
                elif not allow_cut:
                    raise InputError(f"{path} ends in the middle of a line", hint="continue that run with --resume")
    except OSError as error:
        raise InputError(f"{path} is not a readable samples file: {error.strerror or error}") from error


def _line(header: SamplesHeader, slots: int, row: bytes, what: str) -> Line:
    if row.startswith(_OF_SKIPPED):
        return from_line(row, Skipped, what)
    score = from_line(row, ImageScore, what)
    check_score(header, slots, score, what)
    return score
