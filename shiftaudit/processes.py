"""Processes that end together: nothing this program starts outlives it, and being told to end is like Ctrl-C.

Standard library only: the command line arms itself before anything else is imported.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Final

EXIT_INTERRUPTED: Final = 130
EXIT_TERMINATED: Final = 143
ENDING_SIGNALS: Final = frozenset(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What a machine sends that wants a program to end: a scheduler, a closed terminal."""
_PR_SET_PDEATHSIG = 1

_terminated = False


def end_when_told() -> None:
    """SIGTERM, and SIGHUP where it is not ignored, interrupt as Ctrl-C does, so that nothing is left half written.

    Only in the main thread of a program that left the signal alone.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _terminated
    _terminated = True
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)  # whoever watches for Ctrl-C is to notice this too
    raise KeyboardInterrupt


def exit_code(code: int) -> int:
    """What an interrupted run ends with: 130 for Ctrl-C, 143 for SIGTERM; any other code is kept.

    >>> exit_code(130), exit_code(2)
    (130, 2)
    """
    return EXIT_TERMINATED if code == EXIT_INTERRUPTED and _terminated else code


def end_with_parent(parent: int) -> None:
    """In a child process: end when the process that started this one ends, however it ends.

    Args:
        parent: its id, noted before the child was started: it may be gone already.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(EXIT_TERMINATED)
