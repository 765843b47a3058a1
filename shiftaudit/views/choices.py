"""What may be asked of the views: shift specifications, protocols, presets. Free of NumPy, so that words are checked at once."""

from __future__ import annotations

from dataclasses import replace

from shiftaudit.errors import InputError
from shiftaudit.records.digits import whole_number
from shiftaudit.records.settings import Settings
from shiftaudit.records.words import BOTH, CIRCULAR, CROP, PROTOCOLS, Protocol

# Each preset is the protocol as published, on the unshifted view's canvas of 256 for a 224 input.
PRESETS: dict[str, Settings] = {
    "zhang": Settings(protocol=CROP, shifts="iid:2", max_shift=16),
    "aps": Settings(protocol=CIRCULAR, shifts="iid:2", max_shift=32),
    "azulay": Settings(protocol=CROP, shifts="diagonal", max_shift=16),
}


def chosen_protocols(choice: str) -> tuple[Protocol, ...]:
    """The protocols of `both`, `circular` or `crop`.

    Raises:
        InputError: it is none of these.

    >>> chosen_protocols("both"), chosen_protocols("crop")
    (('circular', 'crop'), ('crop',))
    """
    chosen = tuple(protocol for protocol in PROTOCOLS if choice in (BOTH, protocol))
    if not chosen:
        raise InputError(f"--protocol got {choice!r}; expected both, circular or crop")
    return chosen


def parse_spec(spec: str) -> tuple[str, int]:
    """Split a shift specification into its kind and number.

    Raises:
        InputError: it is none of `K`, `iid:K`, `grid:STEP`, `diagonal`.

    >>> parse_spec("8"), parse_spec("grid:4"), parse_spec("diagonal")
    (('random', 8), ('grid', 4), ('diagonal', 1))
    """
    if spec == "diagonal":
        return "diagonal", 1
    kind, _, digits = spec.rpartition(":")
    number = whole_number(digits)
    if kind in ("", "grid", "iid") and number:
        return kind or "random", number
    raise InputError(
        f"--shifts got {spec!r}; expected a count such as 8, grid:STEP or diagonal",
        hint="try --shifts 8 or --shifts grid:4",
    )


def canonical_spec(spec: str) -> str:
    """The one way to write a shift specification.

    Raises:
        InputError: it is no shift specification.

    >>> canonical_spec("08"), canonical_spec("grid:04"), canonical_spec("diagonal")
    ('8', 'grid:4', 'diagonal')
    """
    kind, number = parse_spec(spec)
    return {"random": str(number), "diagonal": kind}.get(kind, f"{kind}:{number}")


def check_settings(settings: Settings) -> Settings:
    """Refuse what cannot be right whatever the network's input is, and fill in the preset.

    Raises:
        InputError: a malformed shift specification, or a preset next to what it sets itself.
    """
    if settings.preset is not None:
        settings = _with_preset(settings, settings.preset)
    if parse_spec(settings.shifts) == ("random", 1):
        raise InputError(
            "--shifts got 1; consistency compares shifted views with each other", hint="use --shifts 2 or more"
        )
    return settings


def _with_preset(settings: Settings, name: str) -> Settings:
    preset = PRESETS[name]
    default = Settings()
    for field in ("protocol", "shifts", "max_shift"):
        if getattr(settings, field) != getattr(default, field):
            option = "--" + field.replace("_", "-")
            raise InputError(f"--preset {name} sets {option} itself", hint="leave out one of the two")
    return replace(settings, protocol=preset.protocol, shifts=preset.shifts, max_shift=preset.max_shift)
