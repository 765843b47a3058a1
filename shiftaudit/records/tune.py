"""What a recovery was asked to do and what it reached: the record that travels inside the tuned file. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FROZEN, REESTIMATE = "frozen", "reestimate"
BATCH_NORM_MODES: tuple[str, ...] = (FROZEN, REESTIMATE)

Stopped = Literal["budget", "no improvement"]
"""Why a run ended."""


@dataclass(frozen=True)
class TuneSettings:
    """How a patched copy is taught by its original. The defaults are the ones the study in docs/recover.md found best."""

    steps: int | None = None
    """Optimiser steps. None: as many as fit `minutes`, judged by the first few; the number ends up in the record."""
    minutes: float = 30.0
    """Budget where `steps` is None, without the scoring of the held-out images."""
    batch_size: int = 16
    lr: float = 4e-4
    """Peak of the one-cycle schedule (AdamW)."""
    weight_decay: float = 1e-4
    grow: float = 0.5
    """Share of the steps over which the filters grow from plain subsampling to `strength`."""
    strength: float = 1.0
    """Where the filters end: 1 is the full binomial filter."""
    logits: float = 1.0
    """Weight of the divergence between the answers."""
    features: float = 1.0
    """Weight of the relative squared error of the features handed from layer to layer."""
    smooth_features: float = 1.0
    """Weight of the same error after both maps were low-passed: what a filtered network can reproduce."""
    shift_views: int = 1
    """Further shifted views over which the original's answer is averaged: the shift-consistency term. 0 leaves it out."""
    centred: bool = False
    """The pictures hold their object in the middle, as digits do: every view is taught the answer to the middle one,
    which the original knows best, in place of the answer to that view."""
    roll: float = 0.5
    """Share of all views that are also rolled around the edge, as the circular protocol does (up to 32 px at 224)."""
    shift: int | None = None
    """Largest shift of those views in input pixels; None for a fourteenth of the input (16 at 224)."""
    labels: float = 1.0
    """Weight of the cross-entropy on labelled images; without labels it plays no part."""
    train_size: int | None = None
    """Side of the training crops; None for the network's own size. Smaller is faster, where the network takes it."""
    min_scale: float = 0.02
    """Smallest share of a picture that a crop shows."""
    flip: bool = True
    """Mirror half of the crops."""
    holdout: float = 0.1
    """Share of the pictures kept for choosing the best state and for stopping early."""
    checks: int = 10
    """How often the held-out pictures are scored."""
    patience: int = 4
    """Stop after this many checks at full filter strength without a better score."""
    batch_norm: str = FROZEN
    """`frozen`: the statistics stay the original's. `reestimate`: measured anew at the end, kept where it scores better."""
    seed: int = 0


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
    """Pictures that were trained on."""
    n_holdout: int
    holdout_is_training_data: bool
    """True where there were too few pictures to hold any out."""
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
    reestimated: HoldoutScore | None = None
    """The best weights with batch-norm statistics measured anew, where that was asked for; `tuned` is the better."""
