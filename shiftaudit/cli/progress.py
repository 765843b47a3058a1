"""What is told on stderr while a command works: a spinner, a bar, or, where stderr is no terminal, a line now and then."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

from shiftaudit.cli.stderr import say
from shiftaudit.records.collector import uncollected
from shiftaudit.records.settings import ModelOptions

if TYPE_CHECKING:
    from shiftaudit.models import LoadedModel

_LINE_EVERY = 30.0
"""Seconds between two lines where there is no terminal; what takes less is done in silence."""
_WORDS_UP_TO = 40


class Progress:
    """How much of what is done, as an audit's observer and for all others; this one says it in a line now and then."""

    def __init__(self, unit: str, what: str) -> None:
        self._unit = unit
        self._what, self._done = what, 0
        self._total: int | None = None
        self._said = time.monotonic()

    def start(self, total: int) -> None:
        """So many there are."""
        self.update(0, total, self._what)

    def advance(self, line: Any) -> None:
        """One more is done."""
        self.update(self._done + 1, self._total, self._what)

    def update(self, done: int, total: int | None, what: str) -> None:
        """So many of so many are done, and this is being done; None where nobody knows how many there are."""
        self._done, self._total, self._what = done, total, what
        self._show()

    def _show(self) -> None:
        if time.monotonic() - self._said >= _LINE_EVERY:
            self._said = time.monotonic()
            say(self._what if self._total is None else f"{self._what}: {self._done:,} of {self._total:,} {self._unit}")


class _Bar(Progress):
    """Draws a bar with speed and time left."""

    def __init__(self, unit: str, what: str, drawn: Any) -> None:
        super().__init__(unit, what)
        self._drawn = drawn
        self._task = drawn.add_task(self._what, total=None, unit=unit)

    def _show(self) -> None:
        words = self._what if len(self._what) <= _WORDS_UP_TO else f"{self._what[: _WORDS_UP_TO - 1]}…"
        self._drawn.update(self._task, completed=self._done, total=self._total, description=words)


@contextmanager
def progress_bar(*, quiet: bool, unit: str = "images", what: str = "scoring") -> Iterator[Progress | None]:
    """Progress for the time of the block, `what` until something else is said; None when quiet."""
    if quiet or not sys.stderr.isatty():
        yield None if quiet else Progress(unit, what)
        return
    from rich.console import Console
    from rich.progress import Progress as Drawn

    with Drawn(*_columns(), console=Console(stderr=True), transient=True) as drawn:
        yield _Bar(unit, what, drawn)


def _columns() -> tuple[Any, ...]:
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f} {task.fields['unit']}/s")

    # Markup is off: names of layers and files come from outside.
    words = TextColumn("{task.description}", markup=False)
    return words, BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn()


@contextmanager
def working(what: str, *, quiet: bool) -> Iterator[None]:
    """A spinner for the time of the block, until anything else is written. What the block prints on stdout goes to stderr.

    Importing torch takes seconds, and what downloads weights says so on stdout, which is for results.
    """
    if quiet or not sys.stderr.isatty():
        with redirect_stdout(sys.stderr):
            yield
        return
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner

    console = Console(file=sys.stderr)
    spinner = Live(
        Spinner("line", f" {what}"), console=console, transient=True, redirect_stdout=False, redirect_stderr=False
    )
    other = _Giving(sys.stderr, spinner.stop)
    with spinner, redirect_stdout(other), redirect_stderr(other):
        yield


class _Giving:
    """A stream that lets the spinner go before it writes."""

    def __init__(self, stream: Any, stop: Callable[[], None]) -> None:
        self._stream, self._stop = stream, stop

    def write(self, text: str) -> int:
        self._stop()
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def load_torch(*, quiet: bool) -> None:
    """Import torch with a spinner, before the first thing that needs it."""
    with working("loading torch", quiet=quiet):
        _import()


def _import() -> None:
    """Import torch and what loads models.

    Modules stay until the end. Looking for cycles among them, while they are made and whenever something looks for cycles later,
    takes a fifth of a short run.
    """
    if "torch" in sys.modules:
        return
    with uncollected():
        import shiftaudit.models.load  # noqa: F401
    gc.freeze()


def load(model: str, options: ModelOptions | None = None, *, device: str = "cpu", quiet: bool) -> LoadedModel:
    """`shiftaudit.models.load_model` with a spinner, which is there before torch is; what is missing is told before both."""
    from shiftaudit.models.source import check_source

    check_source(model, options or ModelOptions())
    with working("loading the model", quiet=quiet):
        _import()
        from shiftaudit.models import load_model

        return load_model(model, options, device=device)
