"""Keep Ctrl-C a Ctrl-C when it falls into compiled code."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
