"""What a run is asked to do: the option records of views, model and run. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from shiftaudit.errors import InputError
from shiftaudit.files import path_to_write
from shiftaudit.records.digits import whole_number
from shiftaudit.records.options import Checked, option
from shiftaudit.records.words import BOTH, INTERPOLATIONS, PROTOCOLS

PRESET_NAMES = ("zhang", "aps", "azulay")

T = TypeVar("T")

_MODEL, _VIEWS, _IMAGES, _RUN = "Model", "Views", "Images", "Running"


@dataclass(frozen=True)
class Settings(Checked):
    """What to measure and how. Everything that changes a number ends up in the report.

    Raises:
        InputError: a value is out of range.
    """

    protocol: str = option(BOTH, "both, circular or crop.", group=_VIEWS, choices=(BOTH, *PROTOCOLS))
    shifts: str = option("8", "Shifted views per image: a count, grid:STEP or diagonal.", group=_VIEWS)
    """Per image and protocol."""
    max_shift: int | None = option(
        None, "Largest shift in pixels [32 circular, 16 crop, at 224].", group=_VIEWS, least=1
    )
    """Of |dy| and of |dx|, in input pixels; in proportion for smaller inputs where it is None."""
    preset: str | None = option(None, "A published protocol: zhang, aps, azulay.", group=_VIEWS, choices=PRESET_NAMES)
    """Sets the three above."""
    stages: bool = option(True, "Measure feature maps at every downsampling stage.", group=_VIEWS)
    stage_views: int | None = option(
        None, "Shifted views on which stages are measured [2, or all of a grid].", group=_VIEWS, least=1
    )
    """Per image and protocol; the answers are compared on all views. None for 2 of random shifts, which are a fair draw of
    all, and for every shift of a grid or diagonal."""
    damage: int | None = option(
        None,
        "Shifted views of every image whose change is split into aliasing and border [1, of some images].",
        group=_VIEWS,
        least=0,
    )
    """Stages are sampled elsewhere as often. None for one view of an image in five, and of ten images or so where there are
    fewer than fifty: three more answers each, about a tenth of a run's cost. N for so many views of every image, and for what
    borders have in each stage's damage: four more answers a view, and one. 0 for none."""
    seed: int = option(0, "Seed of the shifts and of random weights.", group=_VIEWS, least=0)
    batch_size: int | None = option(None, "Views in one pass [by the size of feature maps].", group=_RUN, least=1)
    """Changes no result beyond float noise."""
    workers: int | None = option(
        None, "Processes that decode images (default 2; 0 for few and small ones).", group=_RUN, least=0
    )
    """0 decodes in this one."""
    device: str = option("cpu", "cpu, cuda, cuda:1, mps.", group=_RUN)
    autocast: bool = option(False, "Compute in bfloat16 or float16, on accelerators.", group=_RUN)
    """Where that is safe. Changes results; the report's environment says so."""
    compile: bool = option(False, "Compile the network first, which takes a minute or so.", group=_RUN)
    """The network of the views whose feature maps are not compared."""


def numbers(text: str) -> tuple[float, ...]:
    """Numbers separated by commas.

    Raises:
        ValueError: the text is none.

    >>> numbers("0.5,0.25")
    (0.5, 0.25)
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError("one number, or one per channel, such as 0.485,0.456,0.406") from None


@dataclass(frozen=True)
class ModelOptions(Checked):
    """What a user may say about a model beside its name. None means: as the file or the weights say."""

    weights: str | None = option(
        None, "DEFAULT (downloaded), none (random, seeded), a weights name, or a file.", group=_MODEL
    )
    """None is `DEFAULT` for a name."""
    arch: str | None = option(None, "Network of a state dict or safetensors file.", group=_MODEL)
    """A torchvision name, `timm:NAME` or an import string."""
    trust: bool = option(False, "Load files that can run Python: .pt2 and pickled modules.", group=_MODEL)
    size: int | None = option(None, "Side of the network's input in pixels.", group=_MODEL, least=1)
    resize: int | None = option(None, "Length the shorter side is resized to before the crop.", group=_MODEL)
    mean: tuple[float, ...] | None = option(
        None, "Mean to subtract, in [0, 1] units: one value, or one per channel.", group=_MODEL, parse=numbers
    )
    std: tuple[float, ...] | None = option(
        None, "Standard deviation to divide by, in [0, 1] units.", group=_MODEL, parse=numbers
    )
    interpolation: str | None = option(
        None, "bilinear, bicubic, nearest, box, hamming, lanczos.", group=_MODEL, choices=INTERPOLATIONS
    )
    channels: int | None = option(None, "1 (grey) or 3 (RGB).", group=_MODEL, choices=(1, 3))
    output: str | None = option(None, "Key or index of the logits among several outputs.", group=_MODEL)
    classes: Path | None = option(
        None, "File of class names: one a line, or JSON (a list, or id2label).", group=_MODEL, metavar="FILE"
    )
    """Instead of those that the weights or the file bring."""
    seed: int = option(0, "Seed of random weights.")


@dataclass(frozen=True)
class Shard:
    """The `index`-th of `count` shards, counted from 1."""

    index: int
    count: int

    def take(self, items: Sequence[T]) -> Sequence[T]:
        """Every `count`-th item: neighbours in a folder cost about the same, so shards do too.

        >>> Shard(2, 3).take(list("abcdefg"))
        ['b', 'e']
        """
        return items[self.index - 1 :: self.count]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_shard(text: str) -> Shard:
    """`i/n` as a shard.

    Raises:
        InputError: it is not of that form with 1 ≤ i ≤ n.

    >>> parse_shard("2/8")
    Shard(index=2, count=8)
    """
    left, _, right = text.partition("/")
    index, count = whole_number(left), whole_number(right)
    if index and count and index <= count:
        return Shard(index, count)
    raise InputError(f"--shard got {text!r}; expected i/n with 1 ≤ i ≤ n, such as 1/4")


@dataclass(frozen=True)
class RunOptions(Checked):
    """How a run is carried out. Only `precision` and `shard` change what the report is about."""

    samples: Path | None = option(
        None, "Write every prediction, one JSON line an image.", group=_RUN, metavar="PATH", parse=path_to_write
    )
    resume: bool = option(False, "Go on from the --samples file of an interrupted run.", group=_RUN)
    shard: Shard | None = option(
        None, "Score the i-th of n parts (i/n); put parts together with merge.", group=_RUN, parse=parse_shard
    )
    precision: float | None = option(
        None, "Stop when consistency is known to ± this, such as 0.01.", group=_RUN, least=0.0005, most=0.5
    )
    """Half-width of the interval, under every protocol."""
    max_skipped: int | None = option(None, "Fail when more files than this cannot be read.", group=_IMAGES, least=0)
