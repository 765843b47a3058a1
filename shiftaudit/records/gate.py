"""What a gate compares with and what it decides: the records behind the baseline's and the gate's JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from shiftaudit.records.options import number_or_off, option
from shiftaudit.records.report import Environment, Metric, ModelInfo, ProtocolInfo
from shiftaudit.records.words import IntervalMethod, Protocol

BASELINE_SCHEMA_VERSION = 2
GATE_SCHEMA_VERSION = 2

Outcome = Literal["pass", "fail", "inconclusive"]
PASS: Final = "pass"
FAIL: Final = "fail"
INCONCLUSIVE: Final = "inconclusive"

RuleName = Literal["margin", "anchor", "floor", "ceiling", "degenerate"]
"""`margin` (against the baseline), `anchor` (a margin against its anchor), `floor` or `ceiling` (of the candidate alone), or
`degenerate`."""
MARGIN: Final = "margin"
ANCHOR: Final = "anchor"
FLOOR: Final = "floor"
DEGENERATE: Final = "degenerate"

Policy = Literal["evidence", "warn", "pass", "fail"]
"""What stops an inconclusive gate: `evidence` (an estimate beyond its limit), that it is inconclusive (`fail`), or nothing."""


AnchorUse = Literal["judged", "itself", "off", "none"]
"""The anchor was judged against, is the baseline's own measurement, was switched off, or is not known."""


@dataclass(frozen=True)
class Rules:
    """What a gate demands. Names are `consistency` (every protocol) or `crop.consistency`; limits lie in [0, 1].

    A margin of None takes a default margin away.
    """

    margins: Mapping[str, float | None] = option(
        factory=dict, help="Largest accepted drop; `off` removes one.", flag="--margin", metavar="METRIC=SHARE"
    )
    """Against the baseline; DEFAULT_MARGINS fill in what is not named."""
    floors: Mapping[str, float] = option(
        factory=dict, help="Smallest accepted value.", flag="--floor", metavar="METRIC=SHARE"
    )
    """Of the candidate alone."""
    stages: Mapping[str, float] = option(
        factory=dict,
        help="Largest accepted equivariance error of stages.",
        flag="--stage-limit",
        metavar="STAGE=ERROR",
    )
    """At their output, by stage name or pattern (`layer2.*`)."""
    stage_margin: float | None = option(
        None,
        "Largest accepted rise of any stage's equivariance error, or `off`.",
        metavar="ERROR",
        parse=number_or_off,
    )
    """At its output, against the baseline."""
    anchor: bool = option(True, "Judge against the baseline's anchor too, its first measurement.")
    anchor_margins: Mapping[str, float | None] = option(
        factory=dict,
        help="Largest accepted drop against the anchor; that of --margin where it is not named.",
        flag="--anchor-margin",
        metavar="METRIC=SHARE",
    )
    """`off` (None) removes one."""


@dataclass(frozen=True)
class ViewCounts:
    """Counts of one image under one protocol with `n_views` shifted views."""

    n_views: int
    agreeing_pairs: int
    agreeing_with_unshifted: int
    correct: int | None
    """Shifted views whose answer is the label; None without a label."""

    @property
    def n_pairs(self) -> int:
        """Pairs of shifted views."""
        return self.n_views * (self.n_views - 1) // 2

    @property
    def consistency(self) -> float:
        """Share of agreeing pairs among the shifted views; NaN below two views."""
        return self.agreeing_pairs / self.n_pairs if self.n_pairs else math.nan

    @property
    def agreement_with_unshifted(self) -> float:
        """Share of shifted views that keep the unshifted answer; NaN without views."""
        return self.agreeing_with_unshifted / self.n_views if self.n_views else math.nan

    @property
    def stable(self) -> bool:
        """Whether all shifted views and the unshifted one agree."""
        return self.agreeing_with_unshifted == self.n_views

    @property
    def accuracy(self) -> float:
        """Share of shifted views that are right; NaN without a label or views."""
        return math.nan if self.correct is None or not self.n_views else self.correct / self.n_views


@dataclass(frozen=True)
class BaselineImage:
    """One image of a baseline: whether the unshifted answer was right, and the counts under each protocol."""

    label: int | None
    """The class it was judged by, so that an edited label cannot pass for a better model."""
    correct: bool | None
    views: dict[str, ViewCounts]


@dataclass(frozen=True)
class BaselineData:
    """Which images a baseline was scored on."""

    n_images: int
    n_labelled: int
    manifest_sha256: str


@dataclass(frozen=True)
class Anchor:
    """The measurement that a baseline began with: what it takes to judge against it, on the baseline's own images.

    Small drops add up where each is judged against the one before; against the first measurement they do not.
    """

    tool_version: str
    model: ModelInfo
    data: BaselineData
    protocol: ProtocolInfo
    degenerate: bool
    top_class_share: float
    stages: dict[str, dict[str, Metric]]
    images: dict[str, BaselineImage]
    """Those that the baseline itself measured otherwise."""


@dataclass(frozen=True)
class Baseline:
    """What later reports are judged against. Holds no path and no time, so that a diff shows what changed."""

    schema_version: int
    tool_version: str
    model: ModelInfo
    data: BaselineData
    protocol: ProtocolInfo
    environment: Environment
    degenerate: bool
    top_class_share: float
    """Share of the images that get the most frequent answer."""
    metrics: dict[str, dict[str, Metric]]
    """By protocol, then by the metric's name."""
    stages: dict[str, dict[str, Metric]]
    """Output equivariance error by the stage's name, then by protocol."""
    images: dict[str, BaselineImage]
    """By the SHA-256 of the file's bytes."""
    digest: str | None = None
    """SHA-256 of all the rest as JSON, sorted and without blanks; None where the baseline was not read from its file."""
    anchored: bool = False
    """Whether the first measurement is known. In a baseline made before there were anchors it is not."""
    anchor: Anchor | None = None
    """The first measurement; None where it is this one."""


@dataclass(frozen=True)
class Flips:
    """Images whose yes/no outcome changed, with the exact two-sided p-value of McNemar's test."""

    lost: int
    gained: int
    p_value: float


@dataclass(frozen=True)
class Verdict:
    """One rule on one metric."""

    name: str
    """`accuracy`, `circular.consistency`, `crop.stable` …, or `stages.NAME` for a stage's output equivariance error."""
    rule: RuleName
    outcome: Outcome
    baseline: float | None
    """The anchor's value for `anchor`."""
    candidate: float | None
    estimate: float | None
    """Candidate minus baseline for `margin`, minus anchor for `anchor`, the candidate's value for `floor` and `ceiling`."""
    low: float | None
    """The estimate's one-sided lower bound, None where there is none."""
    high: float | None
    threshold: float
    """In the estimate's unit and direction: the worst true value that is still accepted."""
    p_value: float | None
    """Of "the true value is acceptable", adjusted by Holm's method for all rules of the gate but `degenerate`."""
    n_images: int
    images_needed: int | None
    """For `inconclusive`: images that would decide in 4 of 5 cases if the estimate stays; None where none would."""
    beyond: bool
    """Whether the estimate itself lies beyond the limit, sure or not."""
    detectable: float | None
    """The smallest true drop (for stages: rise) that so many images tell from the limit in 4 of 5 cases; for `floor` and
    `ceiling` how far beyond the limit the value must lie. None where nothing would be told."""
    improved: bool
    higher_is_better: bool
    flips: Flips | None = None

    @property
    def relative(self) -> bool:
        """Whether the estimate is a difference from an earlier measurement."""
        return self.rule in (MARGIN, ANCHOR)

    def stops(self, policy: Policy) -> bool:
        """Whether this rule is inconclusive, and so that under this policy there is no verdict."""
        return self.outcome == INCONCLUSIVE and (policy == "fail" or (policy == "evidence" and self.beyond))


@dataclass(frozen=True)
class GateResult:
    """The gate's decision and all it rests on."""

    schema_version: int
    tool_version: str
    outcome: Outcome
    exit_code: int
    on_inconclusive: Policy
    alpha: float
    baseline_model: str
    candidate_model: str
    n_images: int
    n_labelled: int
    verdicts: tuple[Verdict, ...]
    warnings: tuple[str, ...]
    refresh_baseline: bool
    """Something improved beyond noise and nothing failed: the baseline can be made stricter."""
    anchor: AnchorUse = "itself"
    anchor_model: str | None = None
    """Where it was judged."""


@dataclass(frozen=True)
class MetricComparison:
    """One metric of two reports; the difference is B minus A over shared images, with a 95 % paired interval.

    Where a model's own answers choose the images (`subgroup`), both values and the difference are over the images that both
    models choose; of fewer than ten of them there is no value.
    """

    name: str
    a: float | None
    b: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    n_images: int
    """Behind the difference."""
    higher_is_better: bool
    flips: Flips | None = None
    subgroup: str | None = None
    """Which images: `both right` or `both wrong`; None for all."""
    method: IntervalMethod = "none"


@dataclass(frozen=True)
class StageComparison:
    """Output equivariance error of the stages of two reports that share a name; None where one lacks it."""

    name: str
    protocol: Protocol
    a: Metric | None
    b: Metric | None


@dataclass(frozen=True)
class Comparison:
    """Two reports side by side."""

    schema_version: int
    tool_version: str
    model_a: str
    model_b: str
    n_shared: int
    n_only_a: int
    n_only_b: int
    metrics: tuple[MetricComparison, ...]
    stages: tuple[StageComparison, ...]
    warnings: tuple[str, ...]
