"""The closed sets: words that a file, an option or a record may hold and no others. Each stands here once."""

from __future__ import annotations

from typing import Final, Literal, get_args

Protocol = Literal["circular", "crop"]
"""How an image is shifted; `shiftaudit.views.shifts.cut` says what each does."""
CIRCULAR: Final = "circular"
CROP: Final = "crop"
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

BOTH: Final = "both"
"""The choice of all protocols, where one could be chosen alone."""

Role = Literal["unshifted", "circular", "crop"]
"""What a view is there for: the reference, or a protocol."""
UNSHIFTED: Final = "unshifted"

INTERPOLATIONS: tuple[str, ...] = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
"""The filters that images are resized with."""

OpName = Literal[
    "conv",
    "patch_embedding",
    "max_pool",
    "avg_pool",
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "slice",
    "interpolate",
]
"""An operation that makes a feature map smaller."""

ModelKind = Literal[
    "torchvision", "timm", "hf", "import", "runner", "module", "torchscript", "pt2", "onnx", "state-dict", "safetensors"
]
"""What a model was loaded from."""

IntervalMethod = Literal["bounded-mean", "approximate-t", "confidence-sequence", "cluster-bootstrap", "wilson", "none"]
"""How an interval was made; what earlier versions of this program said of theirs is still read."""
APPROXIMATE: Final = "approximate-t"
"""The method whose intervals know nothing of rare large values that no image shows."""

TestMethod = Literal["permutation", "none"]
"""How a p-value was made."""
