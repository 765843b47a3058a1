"""The training steps: filters grow, the original teaches, the held-out crops decide which state is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shiftaudit.errors import ModelError
from shiftaudit.records.tune import Check, Stopped
from shiftaudit.tune.checkpoint import State, save_state
from shiftaudit.tune.data import CropSource
from shiftaudit.tune.filters import set_strength
from shiftaudit.tune.holdout import Holdout
from shiftaudit.tune.objective import Objective

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
    check: Check | None = None


Observer = Callable[[Progress], None]


class Training:
    """Steps from the first, or from a checkpoint, to the end of the budget or of all progress."""

    def __init__(
        self,
        module: nn.Module,
        parameters: list[nn.Parameter],
        source: CropSource,
        objective: Objective,
        held: Holdout,
        observer: Observer,
        checkpoint: Path | None,
    ) -> None:
        self.module, self.parameters, self.source = module, parameters, source
        self.objective, self.held = objective, held
        self.observer, self.checkpoint = observer, checkpoint
        self.settings = objective.settings

    def train(self, state: State | None) -> tuple[State, Stopped]:
        """From the first step, or from a checkpoint, to the end; the state and why it ended."""
        steps = self._count_steps() if state is None else state.steps
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=self.settings.lr, weight_decay=self.settings.weight_decay
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
            self.observer(Progress(done, steps, self._strength(step, steps), check))
            if check is not None and self._stale(state):
                return state, "no improvement"
        return state, "budget"

    def _first_state(self, steps: int) -> State:
        set_strength(self.module, self.settings.full_strength)
        patched = self.held.score(self.objective.student)
        first = Check(0, self.settings.full_strength, 0.0, patched)
        weights = _copy(self.module)
        return State(
            0, steps, weights, self.optimiser.state_dict(), self.schedule.state_dict(), 0, weights, (first,), patched
        )

    def _strength(self, step: int, steps: int) -> float:
        grown = 1.0 if self.settings.growth <= 0 else min(1.0, step / (steps * self.settings.growth))
        return self.settings.full_strength * grown

    def _step(self, step: int, steps: int) -> float:
        set_strength(self.module, self._strength(step, steps))
        loss = self._loss(step)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise ModelError(f"the loss became {value} at step {step + 1}", hint="try a smaller --lr")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, GRADIENT_NORM)
        self.optimiser.step()
        self.schedule.step()
        return value

    def _loss(self, step: int) -> Tensor:
        batch = self.source.batch(step, self.settings.batch_size)
        moved = type(batch)(batch.canvas.to(self.parameters[0].device), batch.labels)
        return self.objective.loss(moved, np.random.default_rng([self.settings.seed, step, 1]))

    def _checked(self, state: State, done: int, loss: float) -> State:
        """Score the held-out crops at full strength, and keep the weights if they are the best yet."""
        strength = self._strength(done, state.steps)
        set_strength(self.module, self.settings.full_strength)
        check = Check(done, strength, loss, self.held.score(self.objective.student))
        best = max(earlier.score.total for earlier in state.history)
        weights = _copy(self.module)
        better = check.score.total >= best
        state = replace(
            state,
            step=done,
            weights=weights,
            optimiser=self.optimiser.state_dict(),
            schedule=self.schedule.state_dict(),
            best_step=done if better else state.best_step,
            best_weights=weights if better else state.best_weights,
            history=(*state.history, check),
        )
        if self.checkpoint is not None:
            save_state(self.checkpoint, state, self.settings)
        return state

    def _stale(self, state: State) -> bool:
        full = [check for check in state.history if check.strength >= self.settings.full_strength and check.step > 0]
        since = [check for check in full if check.step > state.best_step]
        return len(since) >= self.settings.patience

    def _count_steps(self) -> int:
        """`steps` as given, or as many as fit the minutes, judged by a few that are then undone."""
        if self.settings.steps is not None:
            return self.settings.steps
        set_strength(self.module, self.settings.full_strength)
        seconds = []
        for index in range(TIMED_STEPS):
            started = time.monotonic()
            self._loss(index).backward()
            seconds.append(time.monotonic() - started)
        self.module.zero_grad(set_to_none=True)
        return max(1, int(self.settings.minutes * 60 / float(np.mean(seconds[1:]))))


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
