"""The samples file: one JSON line an image, with every prediction at full precision, after a header line.

It is what an interrupted run is resumed from and what shards are merged by: a report is a function of these lines. While a run
goes on, lines go to `FILE.partial`; the name becomes FILE when the run is complete.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from shiftaudit.errors import InputError
from shiftaudit.records.codec import structure
from shiftaudit.records.report import Skipped
from shiftaudit.records.samples import ImageScore, SamplesHeader

Line = ImageScore | Skipped


def path_of(line: Line) -> str:
    """The path of the image that a line is about."""
    return line.path if isinstance(line, Skipped) else line.image.path


class SamplesWriter:
    """Appends lines to `FILE.partial` as they are measured; `commit` gives the file its name."""

    def __init__(self, path: Path, header: SamplesHeader, *, lines: list[Line] | None = None) -> None:
        self._path = path
        self._partial = partial_path(path)
        self._file: IO[str] = self._partial.open("w", encoding="utf-8")
        self._write(asdict(header))
        for line in lines or []:
            self.write(line)

    def write(self, line: Line) -> None:
        """Append one image: its score, or why it was skipped."""
        self._write(asdict(line))

    def _write(self, data: dict[str, Any]) -> None:
        self._file.write(json.dumps(data, allow_nan=False, separators=(",", ":")) + "\n")

    def close(self) -> None:
        """Stop writing and keep the partial file, to resume from."""
        self._file.close()

    def commit(self) -> None:
        """The run is complete: give the file its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self._path)


def partial_path(path: Path) -> Path:
    """Where the lines of an unfinished run are.

    >>> str(partial_path(Path("run.jsonl")))
    'run.jsonl.partial'
    """
    return path.with_name(path.name + ".partial")


def read_samples(path: Path, *, allow_cut: bool = False) -> tuple[SamplesHeader, list[Line]]:
    """The header and lines of a samples file.

    With `allow_cut` a last line that was cut short is left out: a run that was killed may have been writing it.

    Raises:
        InputError: the file is missing or is not a samples file.
    """
    try:
        raw = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a readable samples file: {error}") from error
    rows = raw.split("\n")
    last = rows.pop()
    if last and not allow_cut:
        raise InputError(f"{path} ends in the middle of a line", hint="continue that run with --resume")
    parsed = []
    for number, row in enumerate(rows, start=1):
        try:
            parsed.append(json.loads(row))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}, is not JSON: {error}") from error
    if not parsed:
        raise InputError(f"{path} holds no complete header line", hint="remove it and start the run again")
    header = structure(parsed[0], SamplesHeader, f"the first line of {path}")
    return header, [_line(data, path) for data in parsed[1:]]


def _line(data: Any, path: Path) -> Line:
    cls: type[Line] = ImageScore if isinstance(data, dict) and "image" in data else Skipped
    return structure(data, cls, f"a line of {path}")
