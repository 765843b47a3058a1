"""What an audit found: the records behind the report's JSON.

All shapes, units and signs: a shift is (dy, dx) in input pixels, positive when the content moves down or right; strides are
(y, x) in input pixels per feature pixel; rates are shares in [0, 1]; Jensen-Shannon divergence is in nats.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shiftaudit.records.against import Against
from shiftaudit.records.cause import Cause, Damage
from shiftaudit.records.distance import DistanceBin
from shiftaudit.records.metric import Metric as Metric
from shiftaudit.records.metric import Shift as Shift
from shiftaudit.records.shown import Shown
from shiftaudit.records.skipped import Skipped as Skipped
from shiftaudit.records.skipped import SkippedStage as SkippedStage
from shiftaudit.records.survey import Downsampling
from shiftaudit.records.words import CIRCULAR, ModelKind, Protocol, TestMethod

SCHEMA_VERSION = 2
TAUGHT_DIGITS = 16


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the network's input: resize the shorter side, crop S×S, scale to [0, 1], normalise."""

    size: int
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    """`bilinear`, `bicubic`, `nearest`, `box`, `hamming` or `lanczos`, as Pillow names them."""
    channels: int
    """1 (grey, ITU-R 601 luma) or 3 (RGB)."""
    source: str
    """Where they came from: `weights`, `file`, `timm`, `processor` (of Hugging Face; with what it does otherwise), `options`,
    `imagenet preset` or `options and imagenet preset`."""

    @property
    def guessed(self) -> bool:
        """Whether some values are a guess, because neither the model nor the user gave them."""
        return self.source.endswith("imagenet preset")


@dataclass(frozen=True)
class ModelInfo:
    """Which model was audited."""

    source: str
    """What the user typed, without folders: a name, or a file's name."""
    kind: ModelKind
    sha256: str | None
    """Of the file, or of the state dict's bytes where there is no file; None where neither exists."""
    arch: str | None
    weights: str | None
    preprocessing: Preprocessing
    taught_on: tuple[str, ...] = ()
    """The first 16 digits of the SHA-256 of the images that the model was refitted or tuned on, in order."""

    def n_taught(self, ids: Iterable[str]) -> int:
        """How many of these images, by the SHA-256 of their bytes, it was refitted or tuned on."""
        known = set(self.taught_on)
        return sum(one[:TAUGHT_DIGITS] in known for one in ids)


@dataclass(frozen=True)
class DataInfo:
    """Which images were scored."""

    n_images: int
    n_labelled: int
    manifest_sha256: str
    """Of the sorted content hashes, so that neither names nor order matter."""
    skipped: tuple[Skipped, ...]
    limit: int | None = None
    """The `--limit` the images were cut to, None when all of the folder was scored."""
    precision: float | None = None
    """The half-width of consistency's interval at which scoring stopped, None when every image was scored."""


@dataclass(frozen=True)
class ProtocolInfo:
    """Everything that decides which views are made; two reports are comparable when the hash is equal."""

    protocols: tuple[Protocol, ...]
    """`circular`, `crop`, in this order."""
    shifts: str
    """`K random` (`8`), `grid:STEP` or `diagonal`, as given."""
    preset: str | None
    max_shift_circular: int
    max_shift_crop: int
    canvas: int
    """Side of the square the views are cut from: the network's input size, plus room for crops."""
    seed: int
    stages: bool
    stage_views: int
    """Shifted views per image and protocol on which the feature measures were taken."""
    damage: int | None
    """Shifted views of every image that were taken apart into aliasing and border; None for one view of some images."""
    protocol_hash: str

    def max_shift(self, protocol: Protocol) -> int:
        """Largest |dy| and |dx| under one of the protocols, in input pixels."""
        return self.max_shift_circular if protocol == CIRCULAR else self.max_shift_crop


@dataclass(frozen=True)
class Environment:
    """What the numbers were computed with. A difference is a warning, never an error."""

    python: str
    torch: str
    torchvision: str
    numpy: str
    pillow: str
    platform: str
    device: str
    threads: int
    precision: str


@dataclass(frozen=True)
class ShiftCount:
    """All images under one shift: how many kept the answer of the unshifted view."""

    dy: int
    dx: int
    n_images: int
    n_agree: int


@dataclass(frozen=True)
class WorstShift:
    """Where the answer flips most often: one shift of a grid, or with random shifts the worst cell of pooled shifts."""

    dy: int
    dx: int
    half_width: int
    """Shifts within ±half_width of (dy, dx) are pooled; 0 for a single shift that every image was given."""
    n_views: int
    n_agree: int
    p_value: float | None = None
    """How often the worst of all cells is as bad if no shift is worse than another; None of a single cell."""
    n_cells: int | None = None
    """Of how many cells this is the maximum."""
    method: TestMethod = "none"


@dataclass(frozen=True)
class ProtocolResult:
    """All measures of one protocol."""

    metrics: dict[str, Metric]
    by_shift: tuple[ShiftCount, ...]
    n_predictions: int
    n_near_ties: int
    """Predictions whose two largest logits differ by less than 1e-4."""
    top_class_share: float
    """Share of the unshifted predictions that fall on the most frequent class."""
    degenerate: bool
    """True when (nearly) all predictions are one class: a constant classifier is perfectly consistent."""
    worst_shift: WorstShift | None = None
    by_distance: tuple[DistanceBin, ...] = ()
    """Change against the distance moved, from near to far."""


@dataclass(frozen=True)
class PhaseError:
    """Mean output error of a stage over the views whose shift has this phase (dy mod stride, dx mod stride)."""

    py: int
    px: int
    n_pairs: int
    value: float


@dataclass(frozen=True)
class StageErrors:
    """Equivariance error of one stage under one protocol: 0 = features move along, 1 = no closer than another image."""

    input: Metric
    output: Metric
    input_cos: Metric
    """1 − cos of the same standardised maps, uncalibrated: 0 = move along, 1 = uncorrelated."""
    output_cos: Metric
    by_phase: tuple[PhaseError, ...] = ()
    floor: float | None = None
    """What interpolation alone can be charged with at the output, at its worst; None where nothing is interpolated."""


@dataclass(frozen=True)
class Stage(Downsampling):
    """One downsampling operation of the network."""

    errors: dict[Protocol, StageErrors]
    fits: bool = True
    """The network's input is as large as stride × map. Where it is not, a shift moves the sampling grid itself."""
    damage: Damage | None = None
    """What sampling elsewhere does to the answers; None where it was not tried."""
    n_constant: int = 0
    """Channels of the output that hold one value everywhere on every image of the calibration; the errors leave them out."""


@dataclass(frozen=True)
class Level:
    """All stages with one cumulative stride: their mean output error."""

    level: int
    stride: tuple[float, float]
    stages: tuple[str, ...]
    errors: dict[Protocol, Metric]


_SHIFTS: dict[Shift, Shift] = {}


@dataclass(frozen=True)
class Views:
    """One image under one protocol. All tuples have one entry per shifted view."""

    shifts: tuple[Shift, ...]
    predictions: tuple[int, ...]
    probabilities: tuple[float, ...]
    """Softmax probability of the class that is top-1 on the unshifted view."""
    js_divergence: tuple[float, ...]
    near_ties: int
    variation: tuple[float, ...] = ()
    """Total variation between the probabilities and those of the unshifted view, ½ Σ |p − q|, in [0, 1]; empty in reports
    of before it was measured."""

    def __post_init__(self) -> None:
        n = len(self.shifts)
        given = (len(self.predictions), len(self.probabilities), len(self.js_divergence), len(self.variation) or n)
        if given != (n, n, n, n):
            raise ValueError("expected one entry a view in every list")
        # There are as many views as images have shifts, but few different shifts: one object for each is a tenth of the memory.
        object.__setattr__(self, "shifts", tuple(map(_SHIFTS.setdefault, self.shifts, self.shifts)))


@dataclass(frozen=True)
class ImageResult:
    """One image: its unshifted answer and the answers under each protocol."""

    id: str
    """SHA-256 of the file's bytes."""
    path: str
    """Relative to the folder given, with forward slashes."""
    label: int | None
    prediction: int
    probability: float
    near_tie: bool
    views: dict[Protocol, Views]


@dataclass(frozen=True, repr=False)
class AuditReport(Shown):
    """The whole report. `shiftaudit.records.codec` turns it into JSON and back."""

    schema_version: int
    tool_version: str
    model: ModelInfo
    data: DataInfo
    protocol: ProtocolInfo
    environment: Environment
    protocols: dict[Protocol, ProtocolResult]
    stages: tuple[Stage, ...]
    levels: tuple[Level, ...]
    skipped_stages: tuple[SkippedStage, ...]
    per_image: tuple[ImageResult, ...]
    class_names: tuple[str, ...] | None = None
    cause: Cause | None = None
    """Why answers change; None where it was not measured."""
    n_calibration: int = 0
    """Images whose distance from each other is a stage error of 1; with fewer than two, that of uncorrelated maps is."""
    against: Against | None = None
    """How another model answers the same views; None where none was given."""

    @property
    def degenerate(self) -> bool:
        """Whether it is so under any protocol."""
        return any(result.degenerate for result in self.protocols.values())

    @property
    def top_class_share(self) -> float:
        """The largest of any protocol."""
        return max((result.top_class_share for result in self.protocols.values()), default=0.0)
