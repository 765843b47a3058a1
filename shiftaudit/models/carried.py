"""What a model file written by this tool says of itself: the JSON in its extra file or metadata, written and read here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shiftaudit.errors import InputError
from shiftaudit.models.preprocessing import check
from shiftaudit.records.bound import Search
from shiftaudit.records.codec import plain, structure
from shiftaudit.records.json_files import parse_json
from shiftaudit.records.patch import PatchRecord
from shiftaudit.records.refit import RefitRecord
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.tune import TuneRecord

if TYPE_CHECKING:
    from shiftaudit.models.loaded import LoadedModel

EXTRA_FILE = "shiftaudit.json"
"""The name of the extra file of TorchScript and `.pt2` archives, and of the key in the metadata of safetensors."""
CARRIED_SCHEMA_VERSION = 1

_RECORDS: dict[str, tuple[type, str]] = {
    "patch": (PatchRecord, "patch"),
    "search": (Search, "search"),
    "refit": (RefitRecord, "refit"),
    "tune": (TuneRecord, "tuning"),
}
"""What may have been done to a network: by the name of the field, the record and what it is called."""

T = TypeVar("T")


@dataclass(frozen=True)
class Carried:
    """What a file carries beside the network; all None for a file from elsewhere."""

    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] | None = None
    arch: str | None = None
    patch: PatchRecord | None = None
    tune: TuneRecord | None = None
    refit: RefitRecord | None = None
    search: Search | None = None

    def records(self) -> dict[str, Any]:
        """What was done to the network, by the names of a `LoadedModel`'s fields."""
        return {f"{name}_record": getattr(self, name) for name in _RECORDS}

    def to_json(self) -> str:
        """The text of `shiftaudit.json`."""
        content = {
            "schema_version": CARRIED_SCHEMA_VERSION,
            "preprocessing": plain(self.preprocessing),
            "class_names": plain(self.class_names),
            "arch": self.arch,
            "patch": None,
        }
        content |= {name: plain(done) for name in _RECORDS if (done := getattr(self, name)) is not None}
        return json.dumps(content)

    @classmethod
    def of(cls, model: LoadedModel) -> Carried:
        """What a file of `model` is to carry."""
        done = {name: getattr(model, f"{name}_record") for name in _RECORDS}
        return cls(model.preprocessing, model.class_names, model.info.arch, **done)

    @classmethod
    def from_json(cls, text: str | bytes | None, path: Path) -> Carried:
        """The record that `to_json` wrote, its preprocessing now from the file; everything is None where there is no text.

        Raises:
            InputError: it is damaged, or of a newer version of this program; `path` is named in the message.
        """
        if not text:
            return cls()
        data = parse_json(text, f"the {EXTRA_FILE} carried by {path}")
        if not isinstance(data, dict):
            raise InputError(f"{path} carries a damaged {EXTRA_FILE}: expected an object, got {type(data).__name__}")
        version = data.get("schema_version", CARRIED_SCHEMA_VERSION)
        if version != CARRIED_SCHEMA_VERSION:
            raise InputError(
                f"{path} carries a {EXTRA_FILE} of schema_version {version}; expected {CARRIED_SCHEMA_VERSION}",
                hint="upgrade shiftaudit",
            )
        return cls(
            preprocessing=_preprocessing(data.get("preprocessing"), path),
            class_names=_names(data.get("class_names"), path),
            arch=data["arch"] if isinstance(data.get("arch"), str) else None,
            **{
                name: _part(data.get(name), record, f"the record of the {what} carried by {path}")
                for name, (record, what) in _RECORDS.items()
            },
        )


def _part(data: Any, record: type[T], what: str) -> T | None:
    return None if data is None else structure(data, record, what)


def _preprocessing(data: Any, path: Path) -> Preprocessing | None:
    fields = {**data, "source": "file"} if isinstance(data, dict) else data
    value = _part(fields, Preprocessing, f"the preprocessing carried by {path}")
    try:
        if value is not None:
            check(value)
    except InputError as error:
        raise InputError(f"{path} carries preprocessing that cannot be used: {error}") from error
    return value


def _names(data: Any, path: Path) -> tuple[str, ...] | None:
    if not data:
        return None
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        raise InputError(f"{path} carries a damaged {EXTRA_FILE}: class_names is not a list of names")
    return tuple(data)
