"""Load an ONNX file: ONNX Runtime answers, and the same graph as a torch program shows its feature maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from shiftaudit.errors import InputError, ModelError
from shiftaudit.models.fast import difference
from shiftaudit.models.loaded import LoadedModel
from shiftaudit.models.onnx.file import OnnxFile, Unreadable, open_onnx
from shiftaudit.models.preprocessing import fitting, with_options
from shiftaudit.models.runner import RunnerModule
from shiftaudit.models.torchscript import settle_batch
from shiftaudit.records.report import ModelInfo
from shiftaudit.records.settings import ModelOptions

TOLERANCE = 1e-3
"""Largest difference between the program's logits and the runtime's."""
_COARSE = 0.1
"""The same for half precision and whole numbers, where one rounding more is seen."""


def load_onnx(path: Path, options: ModelOptions, device: str) -> LoadedModel:
    """The model of a file. Where its graph can be read, `module` is that as a program, and `runtime` answers.

    The program is run once, and taken only if it gives the runtime's answers; otherwise the model has answers alone.

    Raises:
        InputError: the file or an option cannot be used.
        ModelError: the file is damaged, or takes no images of this size.
    """
    file = open_onnx(path)
    from shiftaudit.models.onnx.runtime import OnnxRunner

    preprocessing = with_options(file.carried.preprocessing or fitting(file.shape, 3, path), options)
    side = file.shape[2] or file.shape[3] or preprocessing.size
    if side != preprocessing.size:
        raise InputError(f"{path} takes images of {side}×{side}, and --size says {preprocessing.size}")
    info = ModelInfo(path.name, "onnx", file.sha256, file.carried.arch, None, preprocessing)
    runner = OnnxRunner(str(path), device)
    answering = LoadedModel(
        RunnerModule(runner), info, file.carried.class_names, options.output, file.shape[0], **file.carried.records()
    )
    answering = settle_batch(answering, device)
    example = answering.random_input().to(device)
    answers = answering(example)
    try:
        program, why = _program(file, answering, example, answers), ""
    except ModelError as error:
        program, why = None, error.message
    except Unreadable as error:
        program, why = None, str(error)
    if program is None:
        return replace(answering, module=RunnerModule(runner, f"feature maps cannot be seen: {why}"))
    return replace(answering, module=program, runtime=answering.module)


def _program(file: OnnxFile, answering: LoadedModel, example: Tensor, answers: Tensor) -> nn.Module:
    """The graph as a program that gives the same answers to an example.

    Raises:
        Unreadable: there is none.
        ModelError: it does not run.
    """
    from shiftaudit.models.onnx.program import is_quantised, read_program

    program = read_program(file.model, file.input_name).to(example.device)
    with torch.inference_mode():
        apart = difference(replace(answering, module=program)(example), answers)
    coarse = is_quantised(program) or any(parameter.dtype != torch.float32 for parameter in program.parameters())
    if not apart <= (_COARSE if coarse else TOLERANCE):
        raise Unreadable(f"read as a PyTorch program, the file's logits differ by {apart:.1e}")
    return program
