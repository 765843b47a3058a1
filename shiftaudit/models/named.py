"""Networks by name: torchvision's classifiers and timm's."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from shiftaudit.errors import InputError, ModelError, from_extra
from shiftaudit.models.hub import asked_once, not_reached
from shiftaudit.models.loaded import last_line
from shiftaudit.models.preprocessing import from_transforms, preset
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.words import INTERPOLATIONS

DEFAULT, NO_WEIGHTS = "DEFAULT", "none"
TIMM = "timm:"
TIMM_HUB, TIMM_FOLDER = "hf-hub:", "local-dir:"
_NO_DOWNLOAD = "give a local file with --weights FILE, or score random weights with --weights none"
_INCEPTIONS = ("googlenet", "inception_v3")
# Both warn about a slow default initialisation unless told. And their published weights expect inputs that the network itself
# transforms: torchvision switches that on with weights of its own, so weights from a file need it said.
_INCEPTION_OPTIONS: dict[str, Any] = {"init_weights": True, "transform_input": True}


@dataclass(frozen=True)
class Built:
    """A network, the preprocessing its weights were trained with, and what is said about both."""

    module: nn.Module
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    weights: str | None


def torchvision_names() -> list[str]:
    """The classifiers of torchvision, which is imported where a network is given by name: it takes as long as torch does."""
    from torchvision import models

    names: list[str] = models.list_models(module=models)
    return names


def similar_names(name: str) -> str | None:
    """Close torchvision names, for an error message; None when there is none."""
    close = difflib.get_close_matches(name.lower(), torchvision_names(), n=3)
    return f"did you mean {' or '.join(close)}?" if close else None


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Build with random weights drawn from `seed`, leaving the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**64)
        return build()


def torchvision_model(name: str, weights: str, seed: int, n_classes: int | None = None) -> Built:
    """A torchvision classifier with `DEFAULT`, `none` or enum weights, and the preprocessing of those weights.

    Without weights it is random, and has the preprocessing of its default weights, since a file of weights most often follows it.

    Args:
        n_classes: outputs of the classifier where there are no weights; None for as many as torchvision's.

    Raises:
        InputError: the weights enum has no such member.
        ModelError: the weights cannot be downloaded.
    """
    from torchvision import models

    enum: Any = models.get_model_weights(name)
    if weights not in (NO_WEIGHTS, DEFAULT, *enum.__members__):
        known = ", ".join(member.name for member in enum)
        raise InputError(f"--weights got {weights!r}; {name} has {known}, DEFAULT and none, or name a file")
    meta = enum.DEFAULT if weights in (NO_WEIGHTS, DEFAULT) else enum[weights]
    preprocessing = from_transforms(meta.transforms()) or preset(3)
    categories = tuple(meta.meta["categories"])
    if weights == NO_WEIGHTS:
        options = dict(_INCEPTION_OPTIONS) if name in _INCEPTIONS else {}
        if n_classes is not None:
            options["num_classes"] = n_classes
        module = seeded(lambda: models.get_model(name, weights=None, **options), seed)
        names = categories if n_classes in (None, len(categories)) else None
        return Built(module, preprocessing, names, f"none (seed {seed})")
    try:
        module = models.get_model(name, weights=meta)
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"the weights of {name} ({meta.name}) could not be downloaded: {last_line(error)}", hint=_NO_DOWNLOAD
        ) from error
    return Built(module, preprocessing, categories, meta.name)


def timm_model(name: str, weights: str, seed: int, n_classes: int | None = None) -> Built:
    """A timm classifier with its default weights or none; `hf-hub:ORG/NAME` and `local-dir:FOLDER` are timm's own names.

    Raises:
        InputError: timm is not installed or does not have it, or the hub has not.
        ModelError: the weights cannot be downloaded.
    """
    with from_extra("timm", "timm"):
        import timm
        from timm.data import resolve_model_data_config
    is_place = name.startswith((TIMM_HUB, TIMM_FOLDER))
    if not is_place and not timm.is_model(name.split(".")[0]):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise InputError(f"timm has no model {name!r}", hint=f"try {' or '.join(close)}" if close else None)
    if weights not in (NO_WEIGHTS, DEFAULT):
        raise InputError(f"--weights got {weights!r}; a timm model takes DEFAULT, none or a file")
    repo = _timm_repository(name, pretrained=weights == DEFAULT)
    with nullcontext() if repo is None else asked_once(*repo) as silent:
        try:
            module = seeded(lambda: timm.create_model(name, pretrained=weights == DEFAULT, num_classes=n_classes), seed)
        except Exception as error:
            if repo is not None and silent is not None:
                raise not_reached(repo[0], silent, "MODEL as timm:local-dir:FOLDER") from error
            raise ModelError(f"timm could not make {name}: {last_line(error)}", hint=_NO_DOWNLOAD) from error
    config = resolve_model_data_config(module)
    size = int(config["input_size"][-1])
    preprocessing = Preprocessing(
        size=size,
        resize=max(size, int(size / float(config["crop_pct"]))),
        mean=tuple(float(m) for m in config["mean"]),
        std=tuple(float(s) for s in config["std"]),
        interpolation=config["interpolation"] if config["interpolation"] in INTERPOLATIONS else "bicubic",
        channels=int(config["input_size"][0]),
        source="timm",
    )
    return Built(
        module, preprocessing, _timm_classes(module), f"none (seed {seed})" if weights == NO_WEIGHTS else weights
    )


def _timm_repository(name: str, *, pretrained: bool) -> tuple[str, str | None] | None:
    """The model on the hub that timm will ask for, and its revision; None where it asks for none."""
    import timm

    if name.startswith(TIMM_HUB):
        repo, _, revision = name.removeprefix(TIMM_HUB).partition("@")
        return repo, revision or None
    if not pretrained or name.startswith(TIMM_FOLDER):
        return None
    published = getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None)
    if not published:
        return None
    repo = str(published)
    return (f"{repo}{name}" if repo.endswith("/") else repo), None


def _timm_classes(module: nn.Module) -> tuple[str, ...] | None:
    """Names that the weights bring, or ImageNet's where the network has its classes."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    own = getattr(module, "pretrained_cfg", {}).get("label_names")
    subset = infer_imagenet_subset(module)
    if own:
        names = tuple(map(str, own))
    elif subset is not None:
        info = ImageNetInfo(subset)
        names = tuple(info.index_to_description(index) for index in range(info.num_classes()))
    else:
        return None
    return names if len(names) == getattr(module, "num_classes", None) else None
