"""Names of models with wildcards: `resnet*` among torchvision's classifiers, `timm:resnet*` among timm's."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from shiftaudit.errors import InputError, ModelError, from_extra
from shiftaudit.models.named import NO_WEIGHTS, TIMM, torchvision_names

_WILD = frozenset("*?[")


def expand(models: Sequence[str], *, weights: str | None = None) -> list[str]:
    """The models that are meant, each once, in the order given; those of one pattern by name.

    Of timm's names those that have weights to download, unless `weights` says that none are wanted.

    Raises:
        InputError: a pattern matches no name.
        ModelError: timm is not installed.

    >>> expand(["squeezenet*", "model.pt", "squeezenet1_0"])
    ['squeezenet1_0', 'squeezenet1_1', 'model.pt']
    """
    found: dict[str, None] = {}
    for model in models:
        is_pattern = bool(_WILD & set(model)) and not Path(model).exists()
        found.update(dict.fromkeys(_matches(model, weights) if is_pattern else [model]))
    return list(found)


def _matches(pattern: str, weights: str | None) -> list[str]:
    if pattern.startswith(TIMM):
        names = [TIMM + name for name in _timm(pattern.removeprefix(TIMM), pretrained=weights != NO_WEIGHTS)]
    else:
        names = [name for name in torchvision_names() if fnmatchcase(name, pattern)]
    if not names:
        raise InputError(f"no model's name matches {pattern!r}", hint="timm's models are asked for as 'timm:PATTERN'")
    return sorted(names)


def _timm(pattern: str, *, pretrained: bool) -> list[str]:
    with from_extra("timm", "timm", ModelError):
        import timm
    return [str(name) for name in timm.list_models(pattern, pretrained=pretrained)]
