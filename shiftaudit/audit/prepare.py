"""A model made ready for an audit: found its stages, and put into the forms that score images fastest.

Three forward passes do, each for several questions at once: of the network as it is (its answers, its stages, which layers can be
folded), of the form that scores, and of the form whose stages are watched (whether its answers and its stages are the same).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from shiftaudit.errors import InputError, ModelError
from shiftaudit.models import LoadedModel
from shiftaudit.models.fast import Followed, answers_of, follow, random_image
from shiftaudit.models.precision import reduced_dtype
from shiftaudit.models.runner import RunnerModule
from shiftaudit.records.report import ProtocolInfo
from shiftaudit.records.settings import Settings
from shiftaudit.stages.find import Discovery, discover, unseen

T = TypeVar("T")

_ALLOCATION_LIMIT = 32 * 2**20
_FEWEST_VIEWS, _MOST_VIEWS = 4, 64


@dataclass(frozen=True)
class Prepared:
    """A model ready to score images."""

    fast: LoadedModel
    """Gives the model's answers."""
    watched: LoadedModel
    """Gives them too, and has the feature maps of the model's stages."""
    stages: Discovery
    """Named as in the model; slots are where they are in `watched`."""
    n_classes: int
    batch: int
    """How many views go through the network at a time."""
    apart: bool = False
    """`watched` is another runtime's form of the network: it is there for feature maps, never for answers."""


def prepare(model: LoadedModel, protocol: ProtocolInfo, settings: Settings) -> Prepared:
    """Run a model on a random image to find its stages and its fastest forms.

    Raises:
        ModelError: the model cannot run on an input of its size.
        InputError: `settings.compile` for a TorchScript model.
    """
    if settings.compile and isinstance(model.module, torch.jit.ScriptModule):
        raise InputError("--compile got a TorchScript model; torch.compile takes eager networks", hint="leave it out")
    if settings.compile and (model.runtime is not None or isinstance(model.module, RunnerModule)):
        raise InputError("--compile got a model that is no PyTorch network", hint="leave it out")
    image = random_image(model.example_input(1).to(settings.device))
    if model.runtime is not None:
        return _with_runtime(model, image, settings)
    try:
        original, stages = _follow(model, image, settings)
    except ModelError:
        model = replace(model, channels_first=True)
        original, stages = _follow(model, image, settings)
    pack = not settings.autocast
    scoring = original.first_alike(
        lambda form: answers_of(form, _channels_last(image)), keep_strided=False, pack=pack and not settings.compile
    )
    fast = scoring[0] if scoring else model
    if settings.compile:
        compiled: Any = torch.compile(fast.module)
        fast = replace(fast, module=compiled)
    n_classes = int(original.answers.shape[-1])
    batch = model.fixed_batch or settings.batch_size or batch_size(stages.largest_bytes, image.device.type)
    watched = model
    if protocol.stages and stages.stages:
        seen = original.first_alike(lambda form: _look(form, image, settings), keep_strided=True, pack=pack)
        if seen is not None and seen[1].measures_the_same_as(stages):
            watched, stages = seen[0], stages.placed_as(seen[1])
    return Prepared(fast, watched, stages, n_classes, batch)


def _with_runtime(model: LoadedModel, image: Tensor, settings: Settings) -> Prepared:
    """Answers from the model's runtime, stages from its program."""
    stages = discover(model, model.module, image)
    answering = model.answering()
    n_classes = int(answers_of(answering, image)[0].shape[-1])
    batch = model.fixed_batch or settings.batch_size or batch_size(stages.largest_bytes, image.device.type)
    return Prepared(answering, model, stages, n_classes, batch, apart=True)


def forward(model: LoadedModel, batch: Tensor, settings: Settings) -> Tensor:
    """Logits of a batch (N, C, S, S), computed in what the settings ask for."""
    batch = _channels_last(batch)
    if not settings.autocast:
        return model(batch)
    with torch.autocast(batch.device.type, reduced_dtype(batch.device.type)):
        return model(batch).float()


def _follow(model: LoadedModel, image: Tensor, settings: Settings) -> tuple[Followed, Discovery]:
    """What a run of the model says of its other forms, and its stages: in one pass unless autocast changes what runs."""
    if model.unseen is not None:
        return follow(model, image), unseen(model.unseen)
    followed: list[Followed] = []
    stages = discover(lambda batch: followed.append(follow(model, _channels_last(batch))), model.module, image)
    if settings.autocast:
        stages = discover(lambda batch: forward(model, batch, settings), model.module, image)
    return replace(followed[0], image=image), stages


def _look(form: LoadedModel, image: Tensor, settings: Settings) -> tuple[Tensor, Discovery]:
    """The answers of a form in full precision, and its stages as the settings run it."""
    answers: list[Tensor] = []
    stages = discover(lambda batch: answers.append(form(_channels_last(batch))), form.module, image)
    if settings.autocast:
        stages = discover(lambda batch: forward(form, batch, settings), form.module, image)
    return answers[0], stages


def _channels_last(batch: Tensor) -> Tensor:
    """The faster layout for convolutions on CPUs and tensor cores alike."""
    return batch.contiguous(memory_format=torch.channels_last)


def batch_size(largest_bytes: int, device: str) -> int:
    """How many views to run in one pass when nobody says.

    On the CPU the largest tensor of a pass should stay below 32 MiB: the C library hands larger blocks back to the system each
    time they are freed, and caches are of that order too. Computed and not timed, since two runs that chose differently would
    differ in their last digits.

    Args:
        largest_bytes: of the largest tensor that one view makes.
        device: the kind of device the network runs on.

    >>> batch_size(96 * 112 * 112 * 4, "cpu"), batch_size(96 * 112 * 112 * 4, "cuda")
    (6, 64)
    """
    if device != "cpu":
        return _MOST_VIEWS
    return min(_MOST_VIEWS, max(_FEWEST_VIEWS, (_ALLOCATION_LIMIT - 1) // max(1, largest_bytes)))


def even_parts(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Consecutive parts of at most `most` items, as equal as can be; none of nothing.

    >>> [len(part) for part in even_parts(range(13), 9)]
    [7, 6]
    """
    n_parts = max(1, -(-len(items) // most))
    ends = [-(-part * len(items) // n_parts) for part in range(n_parts + 1)]
    for start, end in itertools.pairwise(ends):
        if end > start:
            yield items[start:end]
