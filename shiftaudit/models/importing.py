"""Networks of the user's own, by import string: `package.module:callable`."""

from __future__ import annotations

import importlib
import sys
from operator import attrgetter
from pathlib import Path
from typing import Any

from torch import nn

from shiftaudit.errors import InputError, ModelError
from shiftaudit.models.guard import stdout_to_stderr
from shiftaudit.models.loaded import input_channels, last_line, refuse_lazy
from shiftaudit.models.named import Built, seeded
from shiftaudit.models.preprocessing import preset
from shiftaudit.models.runner import RunnerModule, is_runner

_EXPECTED = "an nn.Module, or a runner: an object with run(images)"


def imported_model(source: str, seed: int) -> Built:
    """What `package.module:callable` returns, or the network or runner it names; the current folder is searched first.

    Raises:
        InputError: it cannot be imported, is neither a network nor a runner, or has lazy layers that have never run.
        ModelError: calling it failed.
    """
    found = _imported(source)
    if not _answers(found):
        if not callable(found):
            raise InputError(f"{source} is a {type(found).__name__}; expected a callable that returns {_EXPECTED}")
        try:
            with stdout_to_stderr():
                found = seeded(found, seed)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise ModelError(f"{source} failed: {type(error).__name__}: {last_line(error)}") from error
    if is_runner(found):
        return Built(RunnerModule(found), preset(3), None, None)
    if not isinstance(found, nn.Module):
        raise InputError(f"{source} returned {type(found).__name__}; expected {_EXPECTED}")
    refuse_lazy(found)
    return Built(found, preset(input_channels(found)), None, None)


def _answers(found: object) -> bool:
    return isinstance(found, nn.Module) or is_runner(found)


def _imported(source: str) -> Any:
    module_name, _, attribute = source.partition(":")
    if "/" in module_name or module_name.endswith(".py"):
        dotted = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise InputError(f"{source} names a file; expected package.module:callable", hint=f"try {dotted}:{attribute}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        with stdout_to_stderr():
            return attrgetter(attribute)(importlib.import_module(module_name))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise InputError(
            f"{source} cannot be imported: {type(error).__name__}: {last_line(error)}",
            hint="expected package.module:callable, importable from the current folder",
        ) from error
