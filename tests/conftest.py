"""One thread for every test: tiny networks run faster so, and results do not depend on the machine's cores.

And Ctrl-C means something, here and in what the tests start: a shell that starts tests in the background has them ignore it.
"""

from __future__ import annotations

import signal

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
