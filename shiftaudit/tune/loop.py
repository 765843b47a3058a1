"""The training loop: filters grow, the original teaches, the held-out crops decide which state is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shiftaudit.errors import InputError, ModelError
from shiftaudit.fuse import folded
from shiftaudit.images import ImageFile
from shiftaudit.models import LoadedModel
from shiftaudit.records.report import Skipped
from shiftaudit.records.tune import Check, HoldoutScore, TuneRecord, TuneSettings
from shiftaudit.shifts import CROP, default_max_shift
from shiftaudit.tune.checkpoint import State, load_state, save_state
from shiftaudit.tune.data import CropSource, split
from shiftaudit.tune.filters import set_strength
from shiftaudit.tune.holdout import Holdout
from shiftaudit.tune.objective import Objective
from shiftaudit.tune.targets import Tapped, choose_taps, tapped

WARM_UP = 0.15
"""Share of the steps over which the learning rate rises."""
GRADIENT_NORM = 5.0
TIMED_STEPS = 3
"""Steps that are timed to turn minutes into steps; the first of them is left out."""


@dataclass(frozen=True)
class Progress:
    """What an observer is told after every step; `check` when the held-out crops were scored."""

    step: int
    steps: int
    strength: float
    loss: float
    seconds: float
    check: Check | None = None


Observer = Callable[[Progress], None]


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
    """Teach a patched copy to answer as its original does, on unlabelled pictures.

    Args:
        patched: the copy; its module is trained in place. TorchScript or eager.
        teacher: the original it was made from.
        images: the pictures; a share of them is held out.
        settings: see `TuneSettings`.
        observer: called after every step.
        labels: class by relative path, for pictures that have one: cross-entropy is added on them.
        checkpoint: written at every check.
        resume: a checkpoint of the same settings to go on from.

    Raises:
        InputError: settings or pictures that cannot be used, or a checkpoint of another run.
        ModelError: the two models share no layer, or training diverged.
        PatchError: the copy holds no BlurPool.
    """
    settings = settings or TuneSettings()
    _check(settings, patched, teacher)
    run = _Run(patched, teacher, images, settings, labels or {})
    state = None if resume is None else load_state(resume, settings)
    return run.go(observer or (lambda _: None), checkpoint, state)


class _Run:
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
            module.eval()  # batch-norm statistics stay the original's, and dropout stays out
            module.to(memory_format=torch.channels_last)
        for parameter in teacher.module.parameters():  # ScriptModules refuse `requires_grad_`
            parameter.requires_grad_(False)
        self.parameters = _trainable(patched.module)
        self.device = self.parameters[0].device
        self.student: Tapped = tapped(patched.module, patched.logits_of)
        self.original: Tapped = tapped(teacher.module, teacher.logits_of)

    def go(self, observer: Observer, checkpoint: Path | None, state: State | None) -> TuneResult:
        set_strength(self.patched.module, self.settings.strength)
        example = self.source.batch(0, 2).canvas[..., : self.size, : self.size].to(self.device)
        example = example.contiguous(memory_format=torch.channels_last)
        taps = choose_taps(self.student, self.original, example)
        # The shifted views want the original's answers alone, and batch-norm folded into the layers before it is faster.
        answers = folded(self.teacher, example[:1], keep_strided=False)
        objective = Objective(self.student, self.original, answers, taps, self.settings, self.size)
        held = Holdout(
            self.held_files, self.patched.preprocessing, self.settings, self.labels, self.original, self.device
        )
        training = _Training(self, objective, held, observer, checkpoint)
        state, stopped = training.train(state)
        self.patched.module.load_state_dict(state.best_weights)
        set_strength(self.patched.module, self.settings.strength)
        best = next(check for check in reversed(state.history) if check.step == state.best_step)
        return TuneResult(self.patched, self._record(state, stopped, best.score, held, taps.names), tuple(self.skipped))

    def _record(
        self, state: State, stopped: str, tuned: HoldoutScore, held: Holdout, taps: tuple[str, ...]
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
        )


class _Training:
    """The steps themselves."""

    def __init__(
        self, run: _Run, objective: Objective, held: Holdout, observer: Observer, checkpoint: Path | None
    ) -> None:
        self.run, self.objective, self.held = run, objective, held
        self.observer, self.checkpoint = observer, checkpoint
        self.settings = run.settings
        self.module = run.patched.module
        self.started = time.monotonic()

    def train(self, state: State | None) -> tuple[State, str]:
        """From the first step, or from a checkpoint, to the end; the state and why it ended."""
        steps = self._count_steps() if state is None else state.steps
        self.optimiser = torch.optim.AdamW(
            self.run.parameters, lr=self.settings.lr, weight_decay=self.settings.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, self.settings.lr, total_steps=steps + 1, pct_start=WARM_UP
        )
        if state is None:
            state = self._first_state(steps)
        else:
            self.module.load_state_dict(state.weights)
            self.optimiser.load_state_dict(state.optimiser)
            self.schedule.load_state_dict(state.schedule)
        every = max(1, steps // max(1, self.settings.checks))
        losses: list[float] = []
        for step in range(state.step, steps):
            losses.append(self._step(step, steps))
            done = step + 1
            check = None
            if done % every == 0 or done == steps:
                state = self._checked(state, done, float(np.mean(losses)))
                check, losses = state.history[-1], []
            self.observer(
                Progress(done, steps, self._strength(step, steps), losses[-1] if losses else state.history[-1].loss,
                         time.monotonic() - self.started, check)
            )  # fmt: skip
            if check is not None and self._stale(state):
                return state, "no improvement"
        return state, "budget"

    def _first_state(self, steps: int) -> State:
        set_strength(self.module, self.settings.strength)
        patched = self.held.score(self.run.student)
        first = Check(0, self.settings.strength, 0.0, patched)
        weights = _copy(self.module)
        return State(
            0, steps, weights, self.optimiser.state_dict(), self.schedule.state_dict(), 0, weights, (first,), patched
        )

    def _strength(self, step: int, steps: int) -> float:
        grown = 1.0 if self.settings.grow <= 0 else min(1.0, step / (steps * self.settings.grow))
        return self.settings.strength * grown

    def _step(self, step: int, steps: int) -> float:
        set_strength(self.module, self._strength(step, steps))
        loss = self._loss(step)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise ModelError(f"the loss became {value} at step {step + 1}", hint="try a smaller --lr")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.run.parameters, GRADIENT_NORM)
        self.optimiser.step()
        self.schedule.step()
        return value

    def _loss(self, step: int) -> Tensor:
        batch = self.run.source.batch(step, self.settings.batch_size)
        moved = type(batch)(batch.canvas.to(self.run.device), batch.labels)
        return self.objective.loss(moved, np.random.default_rng([self.settings.seed, step, 1]))

    def _checked(self, state: State, done: int, loss: float) -> State:
        """Score the held-out crops at full strength, and keep the weights if they are the best yet."""
        strength = self._strength(done, state.steps)
        set_strength(self.module, self.settings.strength)
        check = Check(done, strength, loss, self.held.score(self.run.student))
        best = max(earlier.score.total for earlier in state.history)
        weights = _copy(self.module)
        better = check.score.total >= best
        state = State(
            step=done,
            steps=state.steps,
            weights=weights,
            optimiser=self.optimiser.state_dict(),
            schedule=self.schedule.state_dict(),
            best_step=done if better else state.best_step,
            best_weights=weights if better else state.best_weights,
            history=(*state.history, check),
            patched=state.patched,
        )
        if self.checkpoint is not None:
            save_state(self.checkpoint, state, self.settings)
        return state

    def _stale(self, state: State) -> bool:
        full = [check for check in state.history if check.strength >= self.settings.strength and check.step > 0]
        since = [check for check in full if check.step > state.best_step]
        return len(since) >= self.settings.patience

    def _count_steps(self) -> int:
        """`steps` as given, or as many as fit the minutes, judged by a few that are then undone."""
        if self.settings.steps is not None:
            return self.settings.steps
        set_strength(self.module, self.settings.strength)
        seconds = []
        for index in range(TIMED_STEPS):
            started = time.monotonic()
            self._loss(index).backward()
            seconds.append(time.monotonic() - started)
        self.module.zero_grad(set_to_none=True)
        return max(1, int(self.settings.minutes * 60 / float(np.mean(seconds[1:]))))


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    parameters = [parameter for parameter in module.parameters() if parameter.is_floating_point()]
    if not parameters:
        raise ModelError(
            "the patched model has no parameters to train", hint="a frozen TorchScript file cannot be tuned"
        )
    for parameter in parameters:
        parameter.requires_grad_(True)
    return parameters


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _check(settings: TuneSettings, patched: LoadedModel, teacher: LoadedModel) -> None:
    if settings.steps is not None and settings.steps < 1:
        raise InputError(f"--steps got {settings.steps}; expected 1 or more")
    for name in ("minutes", "batch_size", "lr", "strength"):
        if getattr(settings, name) <= 0:
            raise InputError(f"--{name.replace('_', '-')} got {getattr(settings, name)}; expected more than 0")
    for model, what in ((patched, "the patched model"), (teacher, "the original")):
        if model.fixed_batch is not None:
            raise InputError(f"{what} takes batches of {model.fixed_batch} only, so it cannot be trained")
    if (a := patched.preprocessing).channels != (b := teacher.preprocessing).channels:
        raise InputError(f"the patched model takes {a.channels} channels, the original {b.channels}")
