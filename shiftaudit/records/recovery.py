"""What a patched copy is fitted, taught and checked on before it is written. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shiftaudit.records.options import Checked, option

_RECOVERY = "Recovery"


@dataclass(frozen=True)
class RecoveryOptions(Checked):
    """The images of each step; a step without images is left out.

    Raises:
        InputError: a value is out of range.
    """

    refit: tuple[Path, ...] = option(
        (), "Fit the copy on these images, as `shiftaudit refit` does.", metavar="IMAGES", group=_RECOVERY
    )
    tune: tuple[Path, ...] = option(
        (), "Teach the copy on these images, as `shiftaudit tune` does.", metavar="IMAGES", group=_RECOVERY
    )
    verify: tuple[Path, ...] = option(
        (), "Score the original and the copy on these images.", metavar="IMAGES", group=_RECOVERY
    )

    check_export: str | None = option(
        None, "onnx: export the copy, run it in ONNX Runtime and compare, before it is written.", choices=("onnx",)
    )
