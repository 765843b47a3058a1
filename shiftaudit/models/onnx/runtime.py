"""ONNX Runtime as a runner: the answers of an ONNX file are those of the runtime that it is deployed with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shiftaudit.errors import InputError, ModelError, first_line

_ERRORS_ONLY = 3
_CUDA = "CUDAExecutionProvider"


class OnnxRunner:
    """Runs one file.

    Args:
        source: the file's path, or its bytes.
        device: `cpu`, or `cuda` where the installed runtime can use it.

    Raises:
        InputError: the runtime has no provider for the device.
        ModelError: the runtime refuses the file.
    """

    name = "ONNX Runtime"

    def __init__(self, source: str | bytes, device: str = "cpu") -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=_providers(device))
        except (InputError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise ModelError(f"ONNX Runtime cannot load the file: {first_line(error)}") from error
        (only,) = self._session.get_inputs()
        self._input = only.name
        self._type = {"tensor(float16)": np.float16, "tensor(double)": np.float64}.get(only.type, np.float32)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, images: NDArray[np.float32]) -> Any:
        """The output of a batch (N, C, S, S), or a dict of several by name."""
        found = self._session.run(self._outputs, {self._input: images.astype(self._type, copy=False)})
        if len(found) == 1:
            return found[0]
        return dict(zip(self._outputs, found, strict=True))


def _providers(device: str) -> list[Any]:
    """In the order in which the runtime tries them."""
    import onnxruntime

    kind, _, index = device.partition(":")
    if kind == "cpu":
        return ["CPUExecutionProvider"]
    available = onnxruntime.get_available_providers()
    if kind != "cuda" or _CUDA not in available:
        have = ", ".join(name.removesuffix("ExecutionProvider") for name in available)
        raise InputError(
            f"--device {device}: ONNX Runtime has {have} here", hint="pip install onnxruntime-gpu for CUDA"
        )
    return [(_CUDA, {"device_id": int(index or 0)}), "CPUExecutionProvider"]
