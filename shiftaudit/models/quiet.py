"""Keep what a model prints out of the results."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send everything written to stdout to stderr for the time of the block, C++ code included.

    A TorchScript `print` writes to file descriptor 1 itself, so replacing `sys.stdout` would not catch it, and one line of it
    would break the JSON that a pipeline reads from stdout.
    """
    try:
        out, err = sys.stdout.fileno(), sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        yield  # no real files behind the streams, as in a notebook: nothing to protect
        return
    sys.stdout.flush()
    saved = os.dup(out)
    try:
        os.dup2(err, out)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, out)
        os.close(saved)
