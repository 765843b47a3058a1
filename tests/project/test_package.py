"""The package's front door."""

from __future__ import annotations

import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path

from networks import Residual, seeded

import shiftaudit


def test_patch_is_the_function_however_and_whenever_it_is_reached() -> None:
    import shiftaudit.surgery.patch
    from shiftaudit import patch

    for call in (shiftaudit.patch, patch):
        result = call(seeded(Residual()), shiftaudit.PatchOptions(filter_size=3), input_size=16)
        assert {site.name for site in result.record.sites} == {"stem", "pool", "branch", "shortcut"}


def test_every_public_name_can_be_reached_and_says_what_it_is() -> None:
    assert dir(shiftaudit) == shiftaudit.__all__
    assert set(shiftaudit._MODULE_OF) | {"__version__"} == set(shiftaudit.__all__)
    for name in set(shiftaudit.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(shiftaudit, name)), name


def test_the_head_of_the_help_page_fits_a_screen_and_names_what_exists() -> None:
    head = pydoc.plain(pydoc.TextDoc().docmodule(shiftaudit)).partition("PACKAGE CONTENTS")[0].splitlines()
    assert len(head) <= 24
    assert max(map(len, head)) <= 80
    listed = re.findall(r"^(?:Models|Images|Reports|Gates|Options|Errors) +(.+)", shiftaudit.__doc__ or "", re.M)
    words = set(re.findall(r"[a-zA-Z_]{6,}", " ".join(re.sub(r"\(.*?\)", "", line) for line in listed)))
    assert words - set(shiftaudit.__all__) == {"derives", "caller"}


def test_the_python_page_uses_public_names_alone() -> None:
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    assert not re.findall(r"(?:from|import) shiftaudit\.", page)
    assert set(re.findall(r"shiftaudit\.(\w+)", page)) <= set(shiftaudit.__all__)


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, shiftaudit; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
