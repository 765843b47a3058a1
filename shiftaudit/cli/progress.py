"""The progress bar on stderr: images done, images a second, time left. Silent when stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} {task.fields['unit']}/s")


class ProgressBar:
    """An audit's observer that draws a bar."""

    def __init__(self, progress: Progress, unit: str) -> None:
        self._progress = progress
        self._task = progress.add_task("scoring", total=None, unit=unit)

    def start(self, total: int) -> None:
        self._progress.update(self._task, total=total)

    def advance(self, line: Any) -> None:
        self._progress.advance(self._task)

    def update(self, done: int, total: int, what: str) -> None:
        """Show how much of what is done."""
        self._progress.update(self._task, completed=done, total=total, description=what)


@contextmanager
def progress_bar(*, quiet: bool, unit: str = "images") -> Iterator[ProgressBar | None]:
    """A bar for the time of the block, or None when quiet or when stderr is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield ProgressBar(progress, unit)
