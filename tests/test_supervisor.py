"""What a child process leaves is data from elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from shiftaudit.errors import InputError, ModelError
from shiftaudit.records import json_files
from shiftaudit.records.json_files import parse_json
from shiftaudit.supervisor import ERROR, RESULT, run_isolated

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")


def left(name: str, data: bytes, code: int) -> bytes:
    """What is given of a child that leaves this file and ends itself."""

    def work() -> str:
        Path(name).write_bytes(data)
        os._exit(code)

    return run_isolated(work, seconds=60, what="it")


def test_a_result_is_read_as_strictly_as_any_file() -> None:
    assert parse_json(left(RESULT, b'{"a": 1}', 0), "the result") == {"a": 1}
    with pytest.raises(InputError, match="not UTF-8"):
        parse_json(left(RESULT, b'{"a": "\xff"}', 0), "the result")


def test_of_what_a_failed_child_says_the_beginning_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "MAX_BYTES", 2**16)
    with pytest.raises(ModelError) as caught:
        left(ERROR, b"it failed \xff" + b"." * 2**20, 70)
    assert caught.value.message.startswith("in isolation: it failed �.")
    assert len(caught.value.message) < 1100
