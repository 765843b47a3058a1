"""Where a run stood, on disk: an interrupted tuning goes on as if nothing had happened."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shiftaudit.errors import InputError
from shiftaudit.files import write_bytes_atomically
from shiftaudit.records.codec import plain, structure
from shiftaudit.records.tune import Check, HoldoutScore, TuneSettings

VERSION = 1


@dataclass(frozen=True)
class State:
    """Everything that a run carries from step to step."""

    step: int
    steps: int
    weights: dict[str, Tensor]
    optimiser: dict[str, Any]
    schedule: dict[str, Any]
    best_step: int
    best_weights: dict[str, Tensor]
    history: tuple[Check, ...]
    patched: HoldoutScore


_FIELDS = ("step", "steps", "weights", "optimiser", "schedule", "best_step", "best_weights")
"""Of `State`, those that are written as they are."""


def save_state(path: Path, state: State, settings: TuneSettings) -> None:
    """Write a checkpoint atomically.

    Raises:
        InputError: it cannot be written.
    """
    payload = {
        "shiftaudit_checkpoint": VERSION,
        "settings": plain(settings),
        **{name: getattr(state, name) for name in _FIELDS},
        # Unrounded, so that a resumed run is the same to the bit.
        "history": [asdict(check) for check in state.history],
        "patched": asdict(state.patched),
    }
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    write_bytes_atomically(path, buffer.getvalue())


def load_state(path: Path, settings: TuneSettings) -> State:
    """Read a checkpoint, as data alone.

    Raises:
        InputError: it is no checkpoint, is damaged, or was made with other settings.
    """
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"--resume: {path} does not exist") from error
    except Exception as error:  # torch.load raises nearly every built-in exception on what it cannot read
        raise InputError(f"--resume: {path} is not a readable checkpoint") from error
    if not isinstance(payload, dict) or payload.get("shiftaudit_checkpoint") != VERSION:
        raise InputError(f"--resume: {path} is not a checkpoint of shiftaudit tune")
    _check_settings(payload["settings"], plain(settings), path)
    return State(
        **{name: payload[name] for name in _FIELDS},
        history=tuple(structure(check, Check, str(path)) for check in payload["history"]),
        patched=structure(payload["patched"], HoldoutScore, str(path)),
    )


def _check_settings(saved: dict[str, Any], asked: dict[str, Any], path: Path) -> None:
    # The budget is settled when a run starts: the number of steps is in the checkpoint.
    free = {"steps", "minutes"}
    different = [key for key in asked if key not in free and saved.get(key) != asked[key]]
    if different:
        names = ", ".join(f"{key} (then {saved.get(key)}, now {asked[key]})" for key in different[:3])
        raise InputError(f"--resume: {path} was made with other settings: {names}", hint="repeat the first command's")
