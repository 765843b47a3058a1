"""A recovery from its settings to its record: what is compared, on which images, and which state is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shiftaudit.errors import InputError, ModelError
from shiftaudit.images.file import ImageFile
from shiftaudit.models import LoadedModel
from shiftaudit.models.fast import folded
from shiftaudit.models.loaded import in_eval_mode
from shiftaudit.records.report import Skipped
from shiftaudit.records.tune import REESTIMATE, HoldoutScore, Stopped, TuneRecord, TuneSettings
from shiftaudit.records.words import CROP
from shiftaudit.tune.checkpoint import State, load_state
from shiftaudit.tune.data import CropSource, check_channels, split
from shiftaudit.tune.filters import set_strength
from shiftaudit.tune.holdout import Holdout
from shiftaudit.tune.layout import settle_layout
from shiftaudit.tune.objective import Objective, window
from shiftaudit.tune.statistics import check_moves, reestimate
from shiftaudit.tune.targets import Tapped, choose_taps, tapped
from shiftaudit.tune.training import Observer, Training
from shiftaudit.views.shifts import default_max_shift

REESTIMATE_BATCHES = 50
"""Enough for running statistics of the usual momentum, 0.1, to forget the ones before."""


@dataclass(frozen=True, eq=False)
class TuneResult:
    """The tuned model, and what was done. `model.module` is the patched module itself, with its best weights."""

    model: LoadedModel
    record: TuneRecord
    skipped: tuple[Skipped, ...]


def tune(
    patched: LoadedModel,
    teacher: LoadedModel,
    images: Sequence[ImageFile],
    settings: TuneSettings | None = None,
    observer: Observer | None = None,
    *,
    labels: Mapping[str, int] | None = None,
    checkpoint: Path | None = None,
    resume: Path | None = None,
) -> TuneResult:
    """Teach a patched copy to answer as its original does, on unlabelled images.

    Args:
        patched: the copy; its module is trained in place. Of any kind but ONNX.
        teacher: the original it was made from.
        images: the images; a share of them is held out.
        settings: see `TuneSettings`.
        observer: called after every step.
        labels: class by relative path, for images that have one: cross-entropy is added on them.
        checkpoint: written at every check.
        resume: a checkpoint of the same settings to go on from.

    Raises:
        InputError: settings or images that cannot be used, or a checkpoint of another run.
        ModelError: the two models share no layer, or training diverged.
        PatchError: the copy holds no BlurPool.
    """
    settings = _settled(settings or TuneSettings(), patched)
    _check(settings, patched, teacher)
    run = _Run(patched, teacher, images, settings, labels or {})
    state = None if resume is None else load_state(resume, settings)
    return run.go(observer or (lambda _: None), checkpoint, state)


class _Run:
    """One recovery: the copy and its original, the images they see, and the settings."""

    def __init__(
        self,
        patched: LoadedModel,
        teacher: LoadedModel,
        images: Sequence[ImageFile],
        settings: TuneSettings,
        labels: Mapping[str, int],
    ) -> None:
        self.settings = settings
        self.patched, self.teacher = patched, teacher
        self.labels = labels
        preprocessing = patched.preprocessing
        self.size = settings.train_size or preprocessing.size
        self.margin = default_max_shift(CROP, self.size) if settings.shift is None else settings.shift
        self.train_files, self.held_files, self.skipped = split(images, settings.holdout, settings.seed)
        self.source = CropSource(
            self.train_files,
            preprocessing,
            size=self.size,
            margin=self.margin,
            min_scale=settings.min_scale,
            flip=settings.flip,
            seed=settings.seed,
            labels=labels,
        )
        for module in (patched.module, teacher.module):
            in_eval_mode(module)  # batch-norm statistics stay the original's, and dropout stays out
        for parameter in teacher.module.parameters():  # ScriptModules refuse `requires_grad_`
            parameter.requires_grad_(False)
        self.parameters = _trainable(patched.module)
        self.device = self.parameters[0].device
        self.layout = settle_layout((patched, teacher), self.size)
        self.student: Tapped = self.layout.taps(tapped(patched.module, patched.logits_of))
        self.original: Tapped = self.layout.taps(tapped(teacher.module, teacher.logits_of))

    def go(self, observer: Observer, checkpoint: Path | None, state: State | None) -> TuneResult:
        """Train from the first step or from `state`, and leave the best weights in the module."""
        set_strength(self.patched.module, self.settings.full_strength)
        if self.settings.batch_norm == REESTIMATE:
            check_moves(self.patched.module, self.layout.laid(self._window(0, np.random.default_rng(0))))
        objective = self._objective()
        held = Holdout(
            self.held_files, self.patched.preprocessing, self.settings, self.labels, self.original, self.device
        )
        training = Training(self.patched.module, self.parameters, self.source, objective, held, observer, checkpoint)
        state, stopped = training.train(state)
        tuned, reestimated = self._keep_best(state, held)
        self.patched.module.to(memory_format=torch.contiguous_format)  # it may have been trained channels-last
        record = self._record(state, stopped, held, objective.taps.names, tuned, reestimated)
        patch = self.patched.patch_record
        patch = None if patch is None else replace(patch, strength=self.settings.full_strength)
        model = replace(self.patched, patch_record=patch, tune_record=record)
        return TuneResult(model, record, tuple(self.skipped))

    def _objective(self) -> Objective:
        """What the copy is to reproduce, at the layers where its filters change something."""
        example = self.source.batch(0, 2).canvas[..., : self.size, : self.size].to(self.device)
        taps = choose_taps(self.student, self.original, example)
        # The shifted views want the original's answers alone, and batch-norm folded into the layers before it is faster.
        answers = self.layout.answers(folded(self.teacher, example[:1], keep_strided=False))
        return Objective(self.student, self.original, answers, taps, self.settings, self.size)

    def _keep_best(self, state: State, held: Holdout) -> tuple[HoldoutScore, HoldoutScore | None]:
        """Put the best weights back, with new batch-norm statistics where those were asked for and score better.

        Returns:
            The score of what was kept, and the score with new statistics where they were measured.
        """
        self._restore(state)
        best = next(check for check in reversed(state.history) if check.step == state.best_step).score
        if self.settings.batch_norm != REESTIMATE:
            return best, None
        self._reestimate(state)
        reestimated = held.score(self.student)
        if reestimated.total > best.total:
            return reestimated, reestimated
        self._restore(state)
        return best, reestimated

    def _restore(self, state: State) -> None:
        self.patched.module.load_state_dict(state.best_weights)
        set_strength(self.patched.module, self.settings.full_strength)

    def _reestimate(self, state: State) -> None:
        """Measure batch-norm statistics anew, on batches that no training step saw."""
        generator = np.random.default_rng([self.settings.seed, 2])
        steps = range(state.steps, state.steps + REESTIMATE_BATCHES)
        reestimate(self.patched.module, (self.layout.laid(self._window(step, generator)) for step in steps))

    def _window(self, step: int, generator: np.random.Generator) -> Tensor:
        canvas = self.source.batch(step, self.settings.batch_size).canvas.to(self.device)
        return window(canvas, self.size, generator)

    def _record(
        self,
        state: State,
        stopped: Stopped,
        held: Holdout,
        taps: tuple[str, ...],
        tuned: HoldoutScore,
        reestimated: HoldoutScore | None,
    ) -> TuneRecord:
        return TuneRecord(
            settings=self.settings,
            teacher=self.teacher.info.source,
            teacher_sha256=self.teacher.info.sha256,
            n_images=len(self.train_files),
            n_holdout=len(self.held_files),
            holdout_is_training_data=self.held_files is self.train_files,
            n_labelled=sum(file.relative in self.labels for file in self.train_files),
            n_parameters=sum(parameter.numel() for parameter in self.parameters),
            steps=state.steps,
            steps_done=state.step,
            best_step=state.best_step,
            stopped=stopped,
            original=held.original,
            patched=state.patched,
            tuned=tuned,
            taps=taps,
            history=state.history,
            image_sha256=tuple(sorted({file.sha256() for file in (*self.train_files, *self.held_files)})),
            reestimated=reestimated,
        )


def _settled(settings: TuneSettings, patched: LoadedModel) -> TuneSettings:
    """The settings with what the copy itself says put in where they say nothing."""
    fits = patched.refit_record is not None or patched.tune_record is not None
    strength = 1.0 if patched.patch_record is None else patched.patch_record.strength
    return replace(
        settings,
        grow=0.0 if fits and settings.grow is None else settings.growth,
        strength=strength if settings.strength is None else settings.strength,
    )


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    parameters = [parameter for parameter in module.parameters() if parameter.is_floating_point()]
    if not parameters:
        raise ModelError(
            "the patched model has no parameters to train", hint="a frozen TorchScript file cannot be tuned"
        )
    for parameter in parameters:
        parameter.requires_grad_(True)
    return parameters


def _check(settings: TuneSettings, patched: LoadedModel, teacher: LoadedModel) -> None:
    for model, what in ((patched, "the patched model"), (teacher, "the original")):
        if model.fixed_batch is not None:
            raise InputError(f"{what} takes batches of {model.fixed_batch} only, so it cannot be trained")
    check_channels(patched.preprocessing, teacher.preprocessing)
