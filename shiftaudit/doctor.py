"""Is this installation able to do its work? Each part is tried, not only looked up, and every fault comes with what to do."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from shiftaudit.errors import first_line

OK, NOTE, WARNING, BROKEN = "ok", "note", "warning", "broken"

# torchvision 0.(n + 15) is built for torch 2.n.
_VISION_OFFSET = 15
_SHARED_MEMORY_WANTED = 256 * 2**20
_OPTIONAL = {"timm": "models named timm:NAME", "safetensors": ".safetensors checkpoints"}
_short = partial(first_line, limit=160)


@dataclass(frozen=True)
class Check:
    """One thing that was tried."""

    name: str
    status: str
    """`ok`, `note` (worth knowing), `warning` (slower or riskier than need be) or `broken` (nothing works until mended)."""
    found: str
    advice: str | None = None


def examine() -> tuple[Check, ...]:
    """Try every part; a part that fails never stops the others from being tried."""
    checks = [
        Check("python", OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        _package("torch", "2.6"),
        _torchvision(),
        _package("numpy", "1.26"),
        _package("pillow", "10.1", module="PIL"),
    ]
    checks += [_guarded(check) for check in (_threads, _layouts, _devices, _shared_memory)]
    checks += [_optional(name, use) for name, use in _OPTIONAL.items()]
    return tuple(checks)


def is_broken(checks: Sequence[Check]) -> bool:
    """Whether anything is broken, so that the command should fail."""
    return any(check.status == BROKEN for check in checks)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def release(text: str) -> tuple[int, int]:
    """The first two numbers of a version.

    >>> release("2.14.1+cpu"), release("0.29"), release("unknown")
    ((2, 14), (0, 29), (0, 0))
    """
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _package(name: str, minimum: str, *, module: str | None = None) -> Check:
    found = _installed(name)
    if found is None:
        return Check(name, BROKEN, "not installed", f"pip install '{name}>={minimum}'")
    try:
        importlib.import_module(module or name)
    except Exception as error:
        return Check(
            name, BROKEN, f"{found}, but importing it fails: {_short(error)}", f"pip install --force-reinstall {name}"
        )
    if release(found) < release(minimum):
        return Check(name, BROKEN, f"{found}, older than {minimum}", f"pip install -U '{name}>={minimum}'")
    return Check(name, OK, found)


def _torchvision() -> Check:
    torch, vision = _installed("torch"), _installed("torchvision")
    if torch is None or vision is None:
        return _package("torchvision", "0.21")
    mismatch = pairing_advice(torch, vision)
    if mismatch is not None:
        try:
            importlib.import_module("torchvision")
        except Exception as error:
            return Check("torchvision", BROKEN, f"{vision} does not fit torch {torch}: {_short(error)}", mismatch)
        return Check("torchvision", WARNING, f"{vision} was not built for torch {torch}", mismatch)
    return _package("torchvision", "0.21")


def pairing_advice(torch: str, vision: str) -> str | None:
    """What to install where torch and torchvision are of different releases; None where they fit.

    Their compiled parts must match: with a wrong pair, importing torchvision fails with
    `operator torchvision::nms does not exist`.

    >>> pairing_advice("2.14.1+cpu", "0.29.1+cpu") is None
    True
    >>> pairing_advice("2.14.1", "0.28.0")
    "pip install 'torchvision==0.29.*', which is built for torch 2.14"
    """
    (major, minor), (vision_major, vision_minor) = release(torch), release(vision)
    if major != 2 or vision_major != 0 or vision_minor == minor + _VISION_OFFSET:
        return _build_advice(torch, vision)
    return f"pip install 'torchvision==0.{minor + _VISION_OFFSET}.*', which is built for torch {major}.{minor}"


def _build_advice(torch: str, vision: str) -> str | None:
    """A CPU build of one beside a CUDA build of the other breaks just as well."""
    builds = [text.partition("+")[2] for text in (torch, vision)]
    if all(builds) and builds[0] != builds[1]:
        return f"install both from one index: torch is built for {builds[0]}, torchvision for {builds[1]}"
    return None


def _guarded(check: Callable[[], Check]) -> Check:
    """A check that needs torch; where torch itself is broken, its own line says so."""
    try:
        return check()
    except Exception as error:
        return Check(check.__name__.strip("_").replace("_", " "), WARNING, f"could not be tried: {_short(error)}")


def _threads() -> Check:
    import torch

    used = torch.get_num_threads()
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = f"{used} for {allowed} usable {'core' if allowed == 1 else 'cores'}"
    if used > allowed:
        return Check(
            "threads", WARNING, found, f"export OMP_NUM_THREADS={allowed}: more threads than cores slow each other down"
        )
    if used < allowed:
        return Check("threads", NOTE, found, f"export OMP_NUM_THREADS={allowed} to use them all")
    return Check("threads", OK, found)


def _layouts() -> Check:
    """Time one convolution in both memory layouts: scoring runs in channels-last."""
    import torch

    layer = torch.nn.Conv2d(32, 32, 3, padding=1).eval()
    example = torch.rand(4, 32, 56, 56)
    with torch.inference_mode():
        plain = _seconds(lambda: layer(example))
        last, example_last = layer.to(memory_format=torch.channels_last), example.to(memory_format=torch.channels_last)
        fast = _seconds(lambda: last(example_last))
    return Check(
        "layouts", OK, f"channels-last takes {fast / plain:.2f}× the time of channels-first on a 3×3 convolution"
    )


def _seconds(run: Callable[[], Any]) -> float:
    run()
    return min(timeit.repeat(run, number=1))


def _devices() -> Check:
    import torch

    names = ["cpu"]
    if torch.cuda.is_available():
        names += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return Check("devices", OK, ", ".join(names))


def _shared_memory() -> Check:
    """Worker processes hand images over through /dev/shm, which containers keep tiny by default."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Check("shared memory", OK, "not used on this system")
    free = shutil.disk_usage(folder).free
    found = f"{free / 2**20:.0f} MiB free"
    if free < _SHARED_MEMORY_WANTED:
        advice = "start the container with --shm-size=1g, or score with --workers 0"
        return Check("shared memory", WARNING, found, advice)
    return Check("shared memory", OK, found)


def _optional(name: str, use: str) -> Check:
    found = _installed(name)
    if found is None:
        return Check(name, NOTE, "not installed", f"pip install 'shiftaudit[{name}]' for {use}")
    try:
        importlib.import_module(name)
    except Exception as error:
        return Check(name, WARNING, f"{found}, but importing it fails: {_short(error)}", f"needed for {use} only")
    return Check(name, OK, f"{found}, for {use}")
