"""Shift-invariance of image classifiers: audit, patch, gate.

    import shiftaudit

    report = shiftaudit.score("model.pt", "photos/")  # or a name, a module
    print(shiftaudit.format_report(report))  # a dozen lines
    report.save("report.json")  # .html, .csv, .pdf …; .to_pandas(), .plot()
    copy = shiftaudit.patch(my_module)

Models    load_model, survey, patch, plan_patch, refit, BlurPool, Runner
Images    score, look, find_images, ShiftConsistency
Reports   load_report, format_report, save_report, compare, leaderboard
Gates     judge, read_baseline, baseline_of, Rules, assert_shift_invariant
Options   Settings, ModelOptions, PatchOptions, RefitSettings, Preprocessing
Errors    ShiftAuditError, and what derives from it: the caller's to mend

These names stay; modules below may move. No torch is imported until needed.
https://shiftaudit.github.io/shiftaudit/python/ has an example of each.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shiftaudit.version import __version__

if TYPE_CHECKING:
    from shiftaudit.audit.api import score
    from shiftaudit.audit.microscope import Microscope, look
    from shiftaudit.audit.shift_consistency import ShiftConsistency
    from shiftaudit.errors import InputError, ModelError, NoVerdictError, PatchError, ShiftAuditError
    from shiftaudit.gate.baseline import baseline_of, read_baseline
    from shiftaudit.gate.compare import compare
    from shiftaudit.gate.judge import judge
    from shiftaudit.images.file import ImageFile
    from shiftaudit.images.find import find_images
    from shiftaudit.models import LoadedModel, load_model
    from shiftaudit.models.runner import Runner
    from shiftaudit.records.codec import dumps
    from shiftaudit.records.gate import Baseline, Comparison, GateResult, Rules
    from shiftaudit.records.patch import PatchOptions, PatchRecord
    from shiftaudit.records.reading import load_report, read_report
    from shiftaudit.records.refit import RefitSettings
    from shiftaudit.records.report import AuditReport, Preprocessing
    from shiftaudit.records.settings import ModelOptions, Settings
    from shiftaudit.records.survey import StageList
    from shiftaudit.render.terminal import Terminal
    from shiftaudit.reports import format_report, leaderboard, save_report
    from shiftaudit.surgery.blurpool import BlurPool
    from shiftaudit.surgery.patch import PatchResult, patch, plan_patch
    from shiftaudit.surgery.survey import survey
    from shiftaudit.testing import assert_shift_invariant
    from shiftaudit.tune.refit import refit

# Where each name is defined. It is looked up at first use: importing the package must not import torch.
_PUBLIC = {
    "audit.api": ("score",),
    "audit.microscope": ("Microscope", "look"),
    "audit.shift_consistency": ("ShiftConsistency",),
    "errors": ("InputError", "ModelError", "NoVerdictError", "PatchError", "ShiftAuditError"),
    "gate.baseline": ("baseline_of", "read_baseline"),
    "gate.compare": ("compare",),
    "gate.judge": ("judge",),
    "images.file": ("ImageFile",),
    "images.find": ("find_images",),
    "models": ("LoadedModel", "load_model"),
    "models.runner": ("Runner",),
    "records.codec": ("dumps",),
    "records.gate": ("Baseline", "Comparison", "GateResult", "Rules"),
    "records.patch": ("PatchOptions", "PatchRecord"),
    "records.reading": ("load_report", "read_report"),
    "records.refit": ("RefitSettings",),
    "records.report": ("AuditReport", "Preprocessing"),
    "records.settings": ("ModelOptions", "Settings"),
    "records.survey": ("StageList",),
    "render.terminal": ("Terminal",),
    "reports": ("format_report", "leaderboard", "save_report"),
    "surgery.blurpool": ("BlurPool",),
    "surgery.patch": ("PatchResult", "patch", "plan_patch"),
    "surgery.survey": ("survey",),
    "testing": ("assert_shift_invariant",),
    "tune.refit": ("refit",),
}
_MODULE_OF = {name: f"shiftaudit.{module}" for module, names in _PUBLIC.items() for name in names}

__all__ = [
    "AuditReport",
    "Baseline",
    "BlurPool",
    "Comparison",
    "GateResult",
    "ImageFile",
    "InputError",
    "LoadedModel",
    "Microscope",
    "ModelError",
    "ModelOptions",
    "NoVerdictError",
    "PatchError",
    "PatchOptions",
    "PatchRecord",
    "PatchResult",
    "Preprocessing",
    "RefitSettings",
    "Rules",
    "Runner",
    "Settings",
    "ShiftAuditError",
    "ShiftConsistency",
    "StageList",
    "Terminal",
    "__version__",
    "assert_shift_invariant",
    "baseline_of",
    "compare",
    "dumps",
    "find_images",
    "format_report",
    "judge",
    "leaderboard",
    "load_model",
    "load_report",
    "look",
    "patch",
    "plan_patch",
    "read_baseline",
    "read_report",
    "refit",
    "save_report",
    "score",
    "survey",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
