"""Does a copy compute the same in ONNX Runtime?"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from shiftaudit.errors import PatchError, first_line

TOLERANCE = 1e-3
"""Largest difference that counts as the same, as a share of the largest output."""


def check_onnx(module: nn.Module, example: Tensor) -> float:
    """Export `module` to ONNX, run it, and compare: the largest difference, as a share of the largest output.

    Args:
        example: (N, C, H, W).

    Raises:
        PatchError: the extra is not installed, the module cannot be exported, or it computes something else there.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise PatchError("ONNX Runtime is not installed", hint="pip install 'shiftaudit[onnx]'") from error
    if isinstance(module, torch.jit.ScriptModule):
        raise PatchError(
            "a TorchScript copy cannot be exported to ONNX", hint="patch the eager model instead of its file"
        )
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(module, (example,), dynamo=True, verbose=False)
        assert program is not None
        session = onnxruntime.InferenceSession(
            program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        got = session.run(None, {session.get_inputs()[0].name: example.numpy()})[0]
    except Exception as error:
        raise PatchError(f"the copy cannot be exported to ONNX: {first_line(error)}") from error
    with torch.no_grad():
        expected = module(example).numpy()
    difference = float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-12))
    if not difference <= TOLERANCE:
        raise PatchError(
            f"in ONNX Runtime the copy computes something else: it differs by {difference:.1e} of the largest output"
        )
    return difference
