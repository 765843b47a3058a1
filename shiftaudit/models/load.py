"""From what the user typed to a loaded model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from shiftaudit.errors import InputError, first_line
from shiftaudit.files import sha256_of
from shiftaudit.images.class_names import read_class_names
from shiftaudit.models import archives, checkpoint, named
from shiftaudit.models.carried import Carried
from shiftaudit.models.exported import load_exported
from shiftaudit.models.huggingface import HF, hf_model
from shiftaudit.models.importing import imported_model
from shiftaudit.models.loaded import LoadedModel, input_channels, state_sha256
from shiftaudit.models.named import Built
from shiftaudit.models.preprocessing import fitting, preset, with_options
from shiftaudit.models.runner import RunnerModule
from shiftaudit.models.source import FORMS, check_source, is_file, is_folder, is_model_folder
from shiftaudit.models.torchscript import load_torchscript, settle_batch
from shiftaudit.records.report import ModelInfo, Preprocessing
from shiftaudit.records.settings import ModelOptions
from shiftaudit.records.words import ModelKind


def load_model(source: str, options: ModelOptions | None = None, *, device: str = "cpu") -> LoadedModel:
    """Load a model in any of its forms, in eval mode.

    Args:
        source: a torchvision name, `timm:NAME`, `hf:ORG/NAME`, `package.module:callable`, a file or a Hugging Face folder.
        options: weights, architecture, preprocessing.
        device: where to run it.

    Raises:
        InputError: it is none of these, is not trusted, or does not fit the options.
        ModelError: it cannot be loaded, or a file's network takes no images of this size.

    >>> load_model("squeezenet1_1", ModelOptions(weights="none", size=64)).info.weights
    'none (seed 0)'
    """
    options = options or ModelOptions()
    check_source(source, options)
    _check_device(device)
    path = Path(source)
    if is_file(path):
        model = _from_file(path, options, device)
    elif is_model_folder(path):
        model = _from_name(f"{HF}{source}", options)
        model = replace(model, info=replace(model.info, source=path.resolve().name))
    elif is_folder(path) and source not in named.torchvision_names():
        raise InputError(f"{source} is a folder; expected a model", hint="put MODEL before IMAGES")
    else:
        model = _from_name(source, options)
    preprocessing = with_options(model.preprocessing, options)
    if options.classes is not None:
        model = replace(model, class_names=read_class_names(Path(options.classes)))
    model = replace(model, info=replace(model.info, preprocessing=preprocessing), output=options.output)
    if model.info.kind in (archives.TORCHSCRIPT, archives.PT2):
        return settle_batch(model, device)
    return model.to(device)


def _check_device(device: str) -> None:
    if device.partition(":")[0] == "meta":
        raise InputError("--device meta computes nothing", hint="use cpu or an accelerator")
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {device} cannot be used: {first_line(error)}") from error


def _build(name: str, weights: str, options: ModelOptions, n_classes: int | None = None) -> tuple[Built, ModelKind]:
    """The network `name` and its kind; `n_classes` instead of the classes it has by default."""
    if name.startswith(named.TIMM):
        return named.timm_model(name.removeprefix(named.TIMM), weights, options.seed, n_classes), "timm"
    if name.startswith(HF):
        repo = name.removeprefix(HF)
        place = Path(repo) if is_folder(repo) else repo
        return hf_model(place, weights, options.seed, n_classes, trust=options.trust), "hf"
    if ":" in name:
        return imported_model(name, options.seed), "import"
    if name in named.torchvision_names():
        return named.torchvision_model(name, weights, options.seed, n_classes), "torchvision"
    raise InputError(f"MODEL got {name!r}: no such torchvision model; expected {FORMS}", hint=named.similar_names(name))


def _filled(name: str, path: Path, tensors: dict[str, Tensor], options: ModelOptions) -> tuple[Built, ModelKind]:
    """The network `name` with these weights, its classifier as wide as theirs."""
    built, kind = _build(name, named.NO_WEIGHTS, options)
    n_classes = checkpoint.head_classes(built.module, tensors)
    if n_classes is not None and kind != "import":
        built, kind = _build(name, named.NO_WEIGHTS, options, n_classes)
    checkpoint.fill(built.module, tensors, path)
    return replace(built, weights=path.name), kind


def _from_name(source: str, options: ModelOptions) -> LoadedModel:
    weights = options.weights
    if weights is not None and is_file(Path(weights)):
        file = Path(weights)
        file_kind = archives.kind_of(file)
        tensors = checkpoint.load_state(file, file_kind, trust=options.trust)
        if isinstance(tensors, nn.Module):
            raise InputError(f"--weights {file} is a whole model; expected a state dict or safetensors")
        _refuse_patched(file, _carried(file, file_kind))
        built, kind = _filled(source, file, tensors, options)
    else:
        built, kind = _build(source, weights or named.DEFAULT, options)
        if kind == "import" and weights not in (None, named.DEFAULT):
            raise InputError(
                f"--weights got {weights!r}, but {source} makes its own weights", hint="leave it out, or name a file"
            )
    if isinstance(built.module, RunnerModule):
        return LoadedModel.from_runner(built.module, built.preprocessing, source=source)
    module = built.module.eval()
    arch = type(module).__name__ if kind == "hf" else source
    info = ModelInfo(source, kind, state_sha256(module), arch, built.weights, built.preprocessing)
    return LoadedModel(module, info, built.class_names)


def _from_file(path: Path, options: ModelOptions, device: str) -> LoadedModel:
    kind = archives.kind_of(path)
    if kind == archives.ONNX:
        _check_whole(path, options)
        from shiftaudit.models.onnx.load import load_onnx

        return load_onnx(path, options, device)
    sha256 = sha256_of(path)
    if kind not in (archives.TORCHSCRIPT, archives.PT2):
        return _from_checkpoint(path, kind, sha256, options)
    _check_whole(path, options)
    shape: tuple[int | None, ...] = (None, None, None, None)
    if kind == archives.PT2:
        module, carried, shape = load_exported(path, trust=options.trust, device=device)
    else:
        module, carried = load_torchscript(path, device)
    used = carried.preprocessing or fitting(shape, input_channels(module), path)
    info = _info(path, kind, sha256, carried.arch, used)
    return LoadedModel(module, info, carried.class_names, fixed_batch=shape[0], **carried.records())


def _from_checkpoint(path: Path, kind: archives.FileKind, sha256: str, options: ModelOptions) -> LoadedModel:
    tensors = checkpoint.load_state(path, kind, trust=options.trust)
    if isinstance(tensors, nn.Module):
        _check_whole(path, options)
        info = _info(path, "module", sha256, type(tensors).__name__, preset(input_channels(tensors)))
        return LoadedModel(tensors.eval(), info)
    if options.weights is not None:
        raise InputError(f"{path} holds the weights already", hint="leave out --weights, or give the network as MODEL")
    carried = _carried(path, kind)
    arch = options.arch or _carried_arch(path, carried, options)
    _refuse_patched(path, carried)
    built, _ = _filled(arch, path, tensors, options)
    info = replace(_info(path, kind, sha256, arch, carried.preprocessing or built.preprocessing), weights=built.weights)
    return LoadedModel(built.module.eval(), info, carried.class_names or built.class_names)


def _carried(path: Path, kind: archives.FileKind) -> Carried:
    return checkpoint.safetensors_carried(path) if kind == archives.SAFETENSORS else Carried()


def _carried_arch(path: Path, carried: Carried, options: ModelOptions) -> str:
    if carried.arch is None:
        raise InputError(
            f"{path} holds weights without a network", hint="name the network with --arch, such as --arch resnet50"
        )
    imports = ":" in carried.arch and not carried.arch.startswith(named.TIMM)
    if imports and not options.trust:
        # Weights are data; which code runs is the user's to say, not the file's.
        raise InputError(
            f"{path} says that its network is the import string {carried.arch}",
            hint=f"confirm it: --arch {carried.arch}",
        )
    return carried.arch


def _refuse_patched(path: Path, carried: Carried) -> None:
    if carried.patch is not None:
        raise InputError(
            f"{path} holds the weights of a patched network, without the network",
            hint="use the TorchScript or .pt2 file of the patch, which holds both",
        )


def _check_whole(path: Path, options: ModelOptions) -> None:
    if options.weights is not None or options.arch is not None:
        raise InputError(f"{path} holds its own network and weights", hint="leave out --weights and --arch")


def _info(path: Path, kind: ModelKind, sha256: str, arch: str | None, preprocessing: Preprocessing) -> ModelInfo:
    return ModelInfo(path.name, kind, sha256, arch, None, preprocessing)
