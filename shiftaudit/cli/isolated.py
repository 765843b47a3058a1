"""`gate --isolate`: a model is scored in a child process, and only the report it leaves comes back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from shiftaudit.cli.run_audit import ImageOptions
from shiftaudit.cli.stderr import warn
from shiftaudit.errors import InputError
from shiftaudit.models.source import is_file, is_model_folder
from shiftaudit.records.report import AuditReport
from shiftaudit.records.settings import ModelOptions

_LONGEST = 1e7


def isolated(
    score: Callable[[str, ModelOptions, ImageOptions], AuditReport],
    model: str,
    options: ModelOptions,
    images: ImageOptions,
    seconds: float,
) -> AuditReport:
    """What `score` reports of the model, computed in a child process.

    Raises:
        ModelError: the child failed, died, or took longer than `seconds`.
        InputError: it left no report, or `seconds` is no time to wait.
    """
    if not 0 < seconds <= _LONGEST:
        raise InputError(f"--time-limit got {seconds:g}; expected seconds, more than 0 and at most {_LONGEST:g}")
    from shiftaudit.records.codec import dumps
    from shiftaudit.records.json_files import parse_json
    from shiftaudit.records.reading import as_report
    from shiftaudit.supervisor import can_forbid_writing, run_isolated

    if not can_forbid_writing():
        warn("this system cannot keep an isolated model from writing files; mount what must not change read-only")
    here = str(Path.cwd())
    # The child's folder is another one.
    source = _absolute(model)
    options = replace(options, weights=options.weights and _absolute(options.weights))
    images = replace(images, paths=tuple(path.absolute() for path in images.paths), labels=_absolute(images.labels))
    images.check()

    def work() -> str:
        sys.path.insert(0, here)  # import strings are looked up there
        return dumps(score(source, options, images))

    return as_report(parse_json(run_isolated(work, seconds=seconds, what=model), "the isolated report"), model)


def _absolute(name: str) -> str:
    return str(Path(name).absolute()) if is_file(name) or is_model_folder(name) else name
