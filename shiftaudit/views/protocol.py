"""Settings of an audit, and the plan of views they make for each image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from shiftaudit.errors import InputError
from shiftaudit.images.decode import MAX_SIDE
from shiftaudit.records.report import ProtocolInfo, Shift
from shiftaudit.records.settings import Settings
from shiftaudit.records.words import BOTH, CIRCULAR, CROP, Protocol
from shiftaudit.views.choices import canonical_spec, check_settings, chosen_protocols, parse_spec
from shiftaudit.views.shifts import MAX_GRID, default_max_shift, draw_shifts

_PRESET_INPUT = "the published protocol is for inputs of 224 px; use --shifts and --max-shift for others"


def resolve(settings: Settings, size: int) -> tuple[Settings, ProtocolInfo]:
    """Fill in what the settings leave open for an input of side `size`, and describe the protocol.

    Raises:
        InputError: an unknown protocol, preset or shift specification, or a maximum shift that does not fit.
    """
    settings = check_settings(settings)
    protocols = chosen_protocols(settings.protocol)
    # One way to write it, so that reports of the same views have the same hash.
    settings = replace(settings, shifts=canonical_spec(settings.shifts))
    limits = _limits(settings, protocols, size)
    for protocol, limit in limits.items():  # shifts that no image can be given are refused before the first is read
        draw_shifts(settings.shifts, limit, seed=settings.seed, image_id="00", protocol=protocol)
    described = ProtocolInfo(
        protocols=protocols,
        shifts=settings.shifts,
        preset=settings.preset,
        max_shift_circular=limits.get(CIRCULAR, 0),
        max_shift_crop=limits.get(CROP, 0),
        canvas=size + 2 * limits.get(CROP, 0),
        seed=settings.seed,
        stages=settings.stages,
        stage_views=_stage_views(settings) if settings.stages else 0,
        damage=settings.damage if settings.stages else 0,
        protocol_hash="",
    )
    return settings, replace(described, protocol_hash=protocol_hash(described))


def _limits(settings: Settings, protocols: Sequence[Protocol], size: int) -> dict[Protocol, int]:
    """The largest shift under each protocol, all of which an input of this side has room for."""
    if size < 2:
        raise InputError(f"an input of {size} px cannot be shifted; expected 2 px or more")
    limits = {p: default_max_shift(p, size) if settings.max_shift is None else settings.max_shift for p in protocols}
    for protocol, limit in limits.items():
        if protocol == CIRCULAR and 2 * limit > size:
            raise InputError(
                f"a circular shift of up to {limit} px wraps past the middle of a {size} px input",
                hint=_PRESET_INPUT if settings.preset else f"use --max-shift {size // 2} or less",
            )
        if protocol == CROP and size + 2 * limit > MAX_SIDE:
            raise InputError(
                f"a crop shifted by up to {limit} px needs an image of {size + 2 * limit} px; expected at most {MAX_SIDE}",
                hint="use a smaller --max-shift",
            )
    return limits


def _stage_views(settings: Settings) -> int:
    """How many shifted views an image is given whose feature maps are compared."""
    if settings.stage_views is None:
        kind, number = parse_spec(settings.shifts)
        return min(number, 2) if kind in ("random", "iid") else MAX_GRID
    return settings.stage_views


def protocol_hash(info: ProtocolInfo) -> str:
    """Twelve hex digits of everything in a protocol that changes which views the answers come from."""
    decisive = {k: v for k, v in asdict(info).items() if k not in ("protocol_hash", "stages", "stage_views", "damage")}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]


def plan_views(info: ProtocolInfo, image_id: str) -> dict[Protocol, tuple[Shift, ...]]:
    """The shifts of one image by protocol. They depend on the protocol and the image's bytes only."""
    return {
        protocol: draw_shifts(
            info.shifts, info.max_shift(protocol), seed=info.seed, image_id=image_id, protocol=protocol
        )
        for protocol in info.protocols
    }


def settings_of(info: ProtocolInfo, own: Settings | None = None) -> Settings:
    """The settings that make this protocol again, for a network with the same input size, carried out as `own` says.

    >>> _, info = resolve(Settings(protocol=CROP, shifts="grid:4", max_shift=8, seed=3), 64)
    >>> resolve(settings_of(info), 64)[1] == info
    True
    """
    stage_views = info.stage_views if info.stages else None
    own = own or Settings()
    views = Settings(
        seed=info.seed,
        stages=info.stages,
        stage_views=stage_views,
        damage=info.damage,
        batch_size=own.batch_size,
        workers=own.workers,
        device=own.device,
    )
    protocol = BOTH if len(info.protocols) > 1 else info.protocols[0]
    if info.preset is not None:
        return replace(views, preset=info.preset)
    chosen = {info.max_shift(protocol) for protocol in info.protocols}
    # One --max-shift holds for both protocols; where they differ they are the defaults of the input size.
    max_shift = chosen.pop() if len(chosen) == 1 else None
    return replace(views, protocol=protocol, shifts=info.shifts, max_shift=max_shift)
