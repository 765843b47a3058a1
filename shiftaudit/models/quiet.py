"""Keep what a model prints out of the results."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


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
