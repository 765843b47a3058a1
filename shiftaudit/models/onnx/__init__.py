"""ONNX files: answers come from ONNX Runtime, feature maps from the same graph as a torch program."""

from __future__ import annotations

from typing import Final

HEADER: Final = "shiftaudit_onnx"
"""The key under which the `meta` of a program's module holds what its file says beside the nodes."""
