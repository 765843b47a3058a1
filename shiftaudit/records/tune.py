"""What a recovery was asked to do and what it reached: the record that travels inside the tuned file. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shiftaudit.records.options import Checked, option

_TRAINING = "Training"
FROZEN, REESTIMATE = "frozen", "reestimate"
GROW = 0.5
BATCH_NORM_MODES: tuple[str, ...] = (FROZEN, REESTIMATE)

Stopped = Literal["budget", "no improvement"]
"""Why a run ended."""


@dataclass(frozen=True)
class TuneSettings(Checked):
    """How a patched copy is taught by its original. The defaults are the ones the study in docs/recover.md found best.

    Raises:
        InputError: a value is out of range.
    """

    steps: int | None = option(None, "Training steps; default: what fits --minutes.", group=_TRAINING, least=1)
    """None: as many as fit `minutes`, judged by the first few; the number ends up in the record."""
    minutes: float = option(30.0, "Budget in minutes where --steps is not given.", group=_TRAINING, above=0)
    """Without the scoring of the held-out images."""
    batch_size: int = option(16, "Crops in one step.", group=_TRAINING, least=1)
    lr: float = option(4e-4, "Peak learning rate (AdamW).", group=_TRAINING, above=0)
    """Of the one-cycle schedule."""
    weight_decay: float = 1e-4
    strength: float | None = option(
        None,
        "Strength that the filters grow to: 1 is full, less blends in plain subsampling [the copy's own].",
        above=0,
        most=1,
    )
    """None: as the copy was patched."""
    grow: float | None = option(
        None,
        "Share of the steps over which the filters grow [0.5; 0 for a copy that was refitted or tuned].",
        group=_TRAINING,
        least=0,
        most=1,
    )
    """From plain subsampling to `strength`. None: `GROW`, or 0 where the weights fit the filters already."""
    logits: float = 1.0
    """Weight of the divergence between the answers."""
    features: float = 1.0
    """Weight of the relative squared error of the features handed from layer to layer."""
    smooth_features: float = 1.0
    """Weight of the same error after both maps were low-passed: what a filtered network can reproduce."""
    train_size: int | None = option(None, "Side of the training crops; smaller is faster.", group=_TRAINING, least=2)
    """None for the network's own size. Smaller is faster where the network takes it."""
    min_scale: float = option(0.02, "Smallest share of an image that a crop shows.", group=_TRAINING, above=0, most=1)
    flip: bool = option(True, "Mirror half of the crops.", group=_TRAINING)
    shift: int | None = option(
        None, "Largest shift of the crops in pixels [16 at 224].", flag="--max-shift", group=_TRAINING, least=1
    )
    """None for a fourteenth of the input."""
    shift_views: int = option(
        1,
        "Further shifted views that the original's answer is averaged over: more teach more consistency.",
        group=_TRAINING,
        least=0,
    )
    """The shift-consistency term. 0 leaves it out."""
    centred: bool = option(
        False,
        "Teach every view the original's answer to the middle one: for images with one object in the middle.",
        group=_TRAINING,
    )
    """As digits have it: the original knows the middle view best."""
    roll: float = option(0.5, least=0, most=1, hidden=True)
    """Share of all views that are also rolled around the edge, as the circular protocol does (up to 32 px at 224)."""
    labels: float = 1.0
    """Weight of the cross-entropy on labelled images; without labels it plays no part."""
    batch_norm: str = option(
        FROZEN,
        "frozen: the original's statistics. reestimate: measure them anew at the end, keep them if better.",
        group=_TRAINING,
        choices=BATCH_NORM_MODES,
    )
    holdout: float = option(0.1, "Share of the images kept for choosing the best state.", least=0, below=1)
    """And for stopping early."""
    checks: int = option(10, "How often the held-out images are scored.", group=_TRAINING, least=1)
    patience: int = option(4, "Checks without improvement before stopping.", group=_TRAINING, least=1)
    """At full filter strength."""
    seed: int = option(0, "Seed of the crops and views.", least=0)

    @property
    def full_strength(self) -> float:
        """`strength`, or that of the full filter."""
        return 1.0 if self.strength is None else self.strength

    @property
    def growth(self) -> float:
        """`grow`, or that of a copy that nobody taught yet."""
        return GROW if self.grow is None else self.grow


@dataclass(frozen=True)
class HoldoutScore:
    """One network on the held-out crops. All are shares in [0, 1]."""

    agreement: float
    """Crops on which the top-1 class is the original's."""
    consistency_crop: float
    consistency_circular: float
    accuracy: float | None = None
    """With labels only."""

    @property
    def total(self) -> float:
        """What the best state is chosen by: agreement with the original plus the mean of both consistencies."""
        answers = self.agreement if self.accuracy is None else (self.agreement + self.accuracy) / 2
        return answers + (self.consistency_crop + self.consistency_circular) / 2


@dataclass(frozen=True)
class Check:
    """The held-out score at one moment of the training."""

    step: int
    strength: float
    loss: float
    """Mean since the check before; 0 before the first step."""
    score: HoldoutScore


@dataclass(frozen=True)
class TuneRecord:
    """Everything needed to tell what was done and to do it again."""

    settings: TuneSettings
    teacher: str
    teacher_sha256: str | None
    n_images: int
    """Images that were trained on."""
    n_holdout: int
    holdout_is_training_data: bool
    """True where there were too few images to hold any out."""
    n_labelled: int
    n_parameters: int
    steps: int
    """Steps planned. `--steps` with this number repeats the run."""
    steps_done: int
    best_step: int
    stopped: Stopped
    original: HoldoutScore
    patched: HoldoutScore
    """At full strength, before any training."""
    tuned: HoldoutScore
    taps: tuple[str, ...]
    """The layers whose inputs were matched with the original's."""
    history: tuple[Check, ...]
    image_sha256: tuple[str, ...] = ()
    """Of the images' bytes, those that were trained on and those held out; empty in files of earlier versions."""
    reestimated: HoldoutScore | None = None
    """The best weights with batch-norm statistics measured anew, where that was asked for; `tuned` is the better."""
