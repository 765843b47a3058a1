"""What a model file written by this tool says of itself: the JSON in its extra file or metadata."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shiftaudit.errors import InputError
from shiftaudit.models.preprocessing import check
from shiftaudit.records.codec import structure
from shiftaudit.records.report import Preprocessing

EXTRA = "shiftaudit.json"


@dataclass(frozen=True)
class Carried:
    """The contents of `shiftaudit.json`; all None for a file from elsewhere."""

    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] | None = None
    arch: str | None = None
    patch: dict[str, Any] | None = None


def read_carried(text: str | bytes | None, path: Path) -> Carried:
    """Parse `shiftaudit.json`; everything is None when there is none.

    Raises:
        InputError: it is damaged; `path` is named in the message.
    """
    if not text:
        return Carried()
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} carries a damaged {EXTRA}: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} carries a damaged {EXTRA}: expected an object, got {type(data).__name__}")
    return Carried(
        preprocessing=_preprocessing(data.get("preprocessing"), path),
        class_names=_names(data.get("class_names"), path),
        arch=data["arch"] if isinstance(data.get("arch"), str) else None,
        patch=data["patch"] if isinstance(data.get("patch"), dict) else None,
    )


def _preprocessing(data: Any, path: Path) -> Preprocessing | None:
    if data is None:
        return None
    fields = {**data, "source": "file"} if isinstance(data, dict) else data
    value = structure(fields, Preprocessing, f"the preprocessing carried by {path}")
    try:
        check(value)
    except InputError as error:
        raise InputError(f"{path} carries preprocessing that cannot be used: {error}") from error
    return value


def _names(data: Any, path: Path) -> tuple[str, ...] | None:
    if not data:
        return None
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        raise InputError(f"{path} carries a damaged {EXTRA}: class_names is not a list of names")
    return tuple(data)
