"""Hugging Face image classifiers, from the hub or a folder: weights that are data, the processor's settings, no foreign code."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from shiftaudit.errors import InputError, ModelError, from_extra
from shiftaudit.models.guard import stdout_to_stderr
from shiftaudit.models.hub import fetch
from shiftaudit.models.loaded import last_line
from shiftaudit.models.named import DEFAULT, NO_WEIGHTS, TIMM_FOLDER, Built, seeded, timm_model
from shiftaudit.models.preprocessing import preset, resized
from shiftaudit.models.processor import Processed, measured
from shiftaudit.records.json_files import read_json

HF = "hf:"
_CONFIG = "config.json"
_DATA_ALONE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""For all that reads a folder: nothing is downloaded, and no code of the model's is run."""


def hf_model(
    source: str | Path, weights: str, seed: int, n_classes: int | None = None, *, trust: bool = False
) -> Built:
    """A classifier that answers a batch with its logits, and the preprocessing that its processor does.

    Args:
        source: `ORG/NAME`, `ORG/NAME@REVISION`, or a folder with `config.json`.
        weights: `DEFAULT` or `none`.
        n_classes: outputs of the classifier where there are no weights; None for as many as the configuration's.
        trust: load weights that are pickled where there are no others.

    Raises:
        InputError: transformers is not installed; there is no such model, it is no image classifier, or runs code of its own.
        ModelError: it cannot be downloaded or loaded.
    """
    if weights not in (NO_WEIGHTS, DEFAULT):
        raise InputError(f"--weights got {weights!r}; a Hugging Face model takes DEFAULT, none or a file")
    _transformers()
    folder, name = source, str(source)
    if isinstance(source, str):
        repo, _, revision = source.partition("@")
        folder = fetch(repo, revision or None, weights=weights == DEFAULT, trust=trust)
    folder = Path(folder)
    told = _read(folder / _CONFIG)
    if "architecture" in told and "model_type" not in told:  # timm's own layout
        return timm_model(f"{TIMM_FOLDER}{folder}", weights, seed, n_classes)
    with _quiet():
        config = _config(folder, name, told)
        if n_classes is not None:
            config.num_labels = n_classes
        module, used = _network(folder, config, name, weights, seed, trust=trust)
        processed = _processed(folder, config)
    preprocessing = preset(_channels(config)) if processed is None else processed.preprocessing
    side = getattr(config, "image_size", None)
    if processed is None and isinstance(side, int):
        preprocessing = resized(preprocessing, side)
    answers = _answering(module, reverse=processed is not None and processed.reversed_channels)
    return Built(answers, preprocessing, _class_names(config), used)


def _transformers() -> Any:
    with from_extra("hf", "transformers"):
        import transformers
    return transformers


def _read(path: Path) -> dict[str, Any]:
    try:
        told = read_json(path)
    except InputError as error:
        raise ModelError(f"{path} cannot be read: {last_line(error.__cause__ or error)}") from error
    if not isinstance(told, dict):
        raise ModelError(f"{path} holds no configuration")
    return told


def _config(folder: Path, name: str, told: dict[str, Any]) -> Any:
    transformers = _transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **_DATA_ALONE)
    except Exception as error:
        if "auto_map" in told:
            raise InputError(
                f"{name} brings code of its own, which is not run", hint="build it yourself: package.module:callable"
            ) from error
        raise ModelError(f"the configuration of {name} cannot be used: {last_line(error)}") from error
    if type(config) not in transformers.AutoModelForImageClassification._model_mapping:
        kind = ", ".join(told.get("architectures") or ()) or type(config).__name__
        raise InputError(f"{name} is no image classifier, but {kind}")
    return config


def _network(folder: Path, config: Any, name: str, weights: str, seed: int, *, trust: bool) -> tuple[nn.Module, str]:
    auto = _transformers().AutoModelForImageClassification
    if weights == NO_WEIGHTS:
        try:
            return seeded(lambda: auto.from_config(config, trust_remote_code=False), seed), f"none (seed {seed})"
        except Exception as error:
            raise ModelError(f"{name} cannot be built: {type(error).__name__}: {last_line(error)}") from error
    has_data = any(folder.glob("model*.safetensors"))
    if not has_data and not trust:
        raise InputError(
            f"{name} has no model.safetensors, and loading weights that are pickled can run Python code",
            hint="add --trust if you know where they come from, or store them anew with save_pretrained",
        )
    try:
        module, found = auto.from_pretrained(
            folder, config=config, use_safetensors=has_data, output_loading_info=True, **_DATA_ALONE
        )
    except Exception as error:
        raise ModelError(
            f"the weights of {name} cannot be loaded: {type(error).__name__}: {last_line(error)}"
        ) from error
    if missing := sorted(map(str, found["missing_keys"])):
        raise ModelError(
            f"{name} holds no weights for {len(missing)} tensors of a classifier, {missing[0]} first",
            hint="it may be a network without a head; score random weights with --weights none",
        )
    return module, "model.safetensors" if has_data else "pytorch_model.bin"


def _processed(folder: Path, config: Any) -> Processed | None:
    try:
        processor = _transformers().AutoImageProcessor.from_pretrained(folder, **_DATA_ALONE)
    except Exception:  # there is none, or it takes other things than images
        return None
    return measured(processor, _channels(config))


def _channels(config: Any) -> int:
    return 1 if getattr(config, "num_channels", 3) == 1 else 3


def _class_names(config: Any) -> tuple[str, ...] | None:
    names = [config.id2label.get(index) for index in range(config.num_labels)]
    made_up = all(name == f"LABEL_{index}" for index, name in enumerate(names))
    return None if made_up or not all(isinstance(name, str) and name for name in names) else tuple(names)


def _answering(module: nn.Module, *, reverse: bool) -> nn.Module:
    """The network as one that takes the image alone and returns a tensor, under its own name and with its own keys."""
    kind: Any = type(module)

    def forward(self: nn.Module, pixel_values: Tensor) -> Any:
        out = kind.forward(self, pixel_values.flip(1) if reverse else pixel_values)
        return out.logits if hasattr(out, "logits") else out

    module.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
    return module.float().eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the library says of its own ways, which means nothing to who scores."""
    logger = logging.getLogger("transformers")
    bars = _transformers().utils.logging
    level, shown = logger.level, bars.is_progress_bar_enabled()
    try:
        logger.setLevel(logging.CRITICAL)
        bars.disable_progress_bar()
        with warnings.catch_warnings(), stdout_to_stderr():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        if shown:
            bars.enable_progress_bar()
