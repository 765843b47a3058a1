"""Stand between a model and the program that runs it: what it prints stays out of the results, and Ctrl-C stays Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send everything written to stdout to stderr for the time of the block, C++ code included.

    Compiled code writes to the file descriptor itself, so replacing `sys.stdout` would not catch it, and one line of it would
    break the JSON that a pipeline reads from stdout.
    """
    try:
        out, err = sys.stdout.fileno(), sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        # No real files behind the streams, as in a notebook: only what Python prints can be kept apart.
        with redirect_stdout(sys.stderr):
            yield
        return
    sys.stdout.flush()
    saved = os.dup(out)
    try:
        os.dup2(err, out)
        yield
    finally:
        try:
            sys.stdout.flush()
        finally:
            os.dup2(saved, out)
            os.close(saved)


@contextmanager
def silent(*loggers: str) -> Iterator[None]:
    """Without warnings, and without what these loggers tell of failures that are raised or tried again anyway."""
    before = [(logger, logger.disabled) for logger in map(logging.getLogger, loggers)]
    try:
        for logger, _ in before:
            logger.disabled = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, disabled in before:
            logger.disabled = disabled


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Raise KeyboardInterrupt where the block turned it into another exception.

    TorchScript calls back into Python where someone watches its operations. An interrupt that arrives there comes out as a
    RuntimeError without a word in it, and would be taken for a failure of the model.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # handlers belong to the main thread; an ignored signal raises nothing
        return
    handle, arrived = before, False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal arrived
        arrived = True
        handle(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception as error:
        if arrived:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
