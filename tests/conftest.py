"""One thread for every test: tiny networks run faster so, and results do not depend on the machine's cores."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
