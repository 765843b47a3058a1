"""From what the user typed to a loaded model."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from shiftaudit.errors import InputError, ModelError
from shiftaudit.models import archives, files, named
from shiftaudit.models.loaded import LoadedModel, state_sha256
from shiftaudit.models.options import ModelOptions
from shiftaudit.models.preprocessing import with_options
from shiftaudit.records.report import ModelInfo, Preprocessing

_FORMS = "a torchvision name (resnet50), timm:NAME, package.module:callable, or a TorchScript, .pt2, .safetensors or state-dict file"


def load_model(source: str, options: ModelOptions | None = None, *, device: str = "cpu") -> LoadedModel:
    """Load a model in any of its forms, in eval mode.

    Args:
        source: a torchvision name, `timm:NAME`, `package.module:callable`, or a file.
        options: weights, architecture, preprocessing.
        device: where to run it.

    Raises:
        InputError: it is none of these, is not trusted, or does not fit the options.
        ModelError: it cannot be loaded.
    """
    options = options or ModelOptions()
    path = Path(source)
    if path.is_file():
        model = _from_file(path, options)
    elif path.is_dir():
        raise InputError(f"{source} is a folder; expected a model", hint="put MODEL before IMAGES")
    else:
        model = _from_name(source, options)
    preprocessing = with_options(model.preprocessing, options)
    model = replace(model, info=replace(model.info, preprocessing=preprocessing), output=options.output)
    model = _on(model, device)
    return model if model.info.kind != "torchscript" else replace(model, fixed_batch=_fixed_batch(model, device))


def _on(model: LoadedModel, device: str) -> LoadedModel:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {device} cannot be used: {str(error).splitlines()[0]}") from error


def _build(name: str, options: ModelOptions) -> tuple[named.Built, str]:
    """The network `name` and its kind; weights from a file are put in."""
    weights = options.weights or named.DEFAULT
    file = Path(weights) if Path(weights).is_file() else None
    chosen = named.NO_WEIGHTS if file else weights
    if name.startswith(named.TIMM):
        built, kind = named.timm_model(name.removeprefix(named.TIMM), chosen, options.seed), "timm"
    elif ":" in name:
        built, kind = named.imported_model(name, options.seed), "import"
    elif named.is_torchvision(name):
        built, kind = named.torchvision_model(name, chosen, options.seed), "torchvision"
    else:
        hint = named.similar_names(name)
        what = "no such file" if Path(name).suffix or "/" in name else "no such torchvision model"
        raise InputError(f"MODEL got {name!r}: {what}; expected {_FORMS}", hint=hint or None)
    if file is not None:
        tensors = files.load_state(file, trust=False)
        if isinstance(tensors, nn.Module):
            raise InputError(f"--weights {file} is a whole model; expected a state dict or safetensors")
        files.fill(built.module, tensors, file)
        built = replace(built, weights=file.name)
    return built, kind


def _from_name(source: str, options: ModelOptions) -> LoadedModel:
    if options.arch is not None:
        raise InputError(f"--arch goes with a state dict, but {source} is no file")
    built, kind = _build(source, options)
    module = built.module.eval()
    info = ModelInfo(source, kind, state_sha256(module), source, built.weights, built.preprocessing)
    return LoadedModel(module, info, built.class_names)


def _from_file(path: Path, options: ModelOptions) -> LoadedModel:
    kind = archives.kind_of(path)
    sha256 = _file_sha256(path)
    if kind in (archives.TORCHSCRIPT, archives.PT2):
        if options.weights is not None or options.arch is not None:
            raise InputError(f"{path} holds its own network and weights", hint="leave out --weights and --arch")
        batch: int | None = None
        if kind == archives.TORCHSCRIPT:
            module, carried = files.load_torchscript(path)
        else:
            module, carried, batch = files.load_exported(path, trust=options.trust)
        info = _info(path, kind, sha256, carried.arch, files.default_preprocessing(module, carried))
        return LoadedModel(module, info, carried.class_names, fixed_batch=batch, patch_record=carried.patch)
    return _from_checkpoint(path, kind, sha256, options)


def _from_checkpoint(path: Path, kind: str, sha256: str, options: ModelOptions) -> LoadedModel:
    tensors = files.load_state(path, trust=options.trust)
    if isinstance(tensors, nn.Module):
        module = tensors.eval()
        info = _info(
            path, "module", sha256, type(module).__name__, files.default_preprocessing(module, files.Carried())
        )
        return LoadedModel(module, info)
    carried = files.safetensors_carried(path) if kind == archives.SAFETENSORS else files.Carried()
    arch = options.arch or carried.arch
    if arch is None:
        raise InputError(
            f"{path} holds weights without a network", hint="name the network with --arch, such as --arch resnet50"
        )
    built, _ = _build(arch, replace(options, weights=named.NO_WEIGHTS))
    files.fill(built.module, tensors, path)
    preprocessing = carried.preprocessing or built.preprocessing
    info = replace(_info(path, kind, sha256, arch, preprocessing), weights=path.name)
    return LoadedModel(built.module.eval(), info, carried.class_names or built.class_names, patch_record=carried.patch)


def _info(path: Path, kind: str, sha256: str, arch: str | None, preprocessing: Preprocessing) -> ModelInfo:
    return ModelInfo(path.name, kind, sha256, arch, None, preprocessing)


def _file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _fixed_batch(model: LoadedModel, device: str) -> int | None:
    """The batch size a traced file is bound to: None when it takes two pictures as well as one.

    A traced network may carry its example's batch size as a constant, in a reshape for instance. The file does not say so; it has
    to be tried.
    """
    side, channels = model.preprocessing.size, model.preprocessing.channels
    for batch in (2, 1, 4, 8, 16, 32, 64, 3, 5, 6):
        try:
            with torch.inference_mode():
                model(torch.zeros(batch, channels, side, side, device=device))
        except (ModelError, InputError) as error:
            if batch == 2:
                first = error
            continue
        return None if batch == 2 else batch
    raise first
