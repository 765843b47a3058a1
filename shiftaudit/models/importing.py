"""Networks of the user's own, by import string: `package.module:callable`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from torch import nn

from shiftaudit.errors import InputError, ModelError
from shiftaudit.models.guard import stdout_to_stderr
from shiftaudit.models.loaded import input_channels, last_line, refuse_lazy
from shiftaudit.models.named import Built, seeded
from shiftaudit.models.preprocessing import preset


def imported_model(source: str, seed: int) -> Built:
    """What `package.module:callable` returns, or the module it names; the current folder is searched first.

    Raises:
        InputError: it cannot be imported, is not a network, or has lazy layers that have never run.
        ModelError: calling it failed.
    """
    found = _imported(source)
    if not isinstance(found, nn.Module):
        if not callable(found):
            raise InputError(f"{source} is a {type(found).__name__}; expected a callable that returns an nn.Module")
        try:
            with stdout_to_stderr():
                found = seeded(found, seed)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise ModelError(f"{source} failed: {type(error).__name__}: {last_line(error)}") from error
    if not isinstance(found, nn.Module):
        raise InputError(f"{source} returned {type(found).__name__}; expected an nn.Module")
    refuse_lazy(found)
    return Built(found, preset(input_channels(found)), None, None)


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
            found: Any = importlib.import_module(module_name)
            for part in attribute.split("."):
                found = getattr(found, part)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise InputError(
            f"{source} cannot be imported: {type(error).__name__}: {last_line(error)}",
            hint="expected package.module:callable, importable from the current folder",
        ) from error
    return found
