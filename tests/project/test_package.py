"""The package's front door."""

from __future__ import annotations

import subprocess
import sys

from networks import Residual, seeded

import shiftaudit


def test_patch_is_the_function_however_and_whenever_it_is_reached() -> None:
    import shiftaudit.surgery.patch
    from shiftaudit import patch

    for call in (shiftaudit.patch, patch):
        result = call(seeded(Residual()), shiftaudit.PatchOptions(filter_size=3), input_size=16)
        assert {site.name for site in result.record.sites} == {"stem", "pool", "branch", "shortcut"}


def test_every_public_name_can_be_reached() -> None:
    for name in shiftaudit.__all__:
        assert getattr(shiftaudit, name) is not None


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, shiftaudit; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
