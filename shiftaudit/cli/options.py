"""Options that several commands share, described once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftaudit.errors import InputError

if TYPE_CHECKING:
    from shiftaudit.models import ModelOptions

_MODEL = "Model"
_VIEWS = "Views"
_DATA = "Pictures"
_RUN = "Running"

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A torchvision name (resnet50), timm:NAME, package.module:callable, or a TorchScript, .pt2, .safetensors "
        "or state-dict file.",
    ),
]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Folders of pictures, or pictures.")]

Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="DEFAULT (downloaded), none (random, seeded), a weights name, or a file.",
        rich_help_panel=_MODEL,
    ),
]
Arch = Annotated[
    str | None, typer.Option("--arch", help="Network of a state dict or safetensors file.", rich_help_panel=_MODEL)
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Load files that can run Python: .pt2 and pickled modules.", rich_help_panel=_MODEL),
]
Size = Annotated[
    int | None, typer.Option("--size", help="Side of the network's input in pixels.", rich_help_panel=_MODEL)
]
Resize = Annotated[
    int | None,
    typer.Option("--resize", help="Length the shorter side is resized to before the crop.", rich_help_panel=_MODEL),
]
Mean = Annotated[
    str | None,
    typer.Option("--mean", help="Subtracted, in [0, 1] units: one value or one a channel.", rich_help_panel=_MODEL),
]
Std = Annotated[str | None, typer.Option("--std", help="Divided by, in [0, 1] units.", rich_help_panel=_MODEL)]
Interpolation = Annotated[
    str | None,
    typer.Option("--interpolation", help="bilinear, bicubic, nearest, box, hamming, lanczos.", rich_help_panel=_MODEL),
]
Channels = Annotated[int | None, typer.Option("--channels", help="1 (grey) or 3 (RGB).", rich_help_panel=_MODEL)]
Output = Annotated[
    str | None,
    typer.Option("--output", help="Key or index of the logits among several outputs.", rich_help_panel=_MODEL),
]

Protocol = Annotated[str, typer.Option("--protocol", help="both, circular or crop.", rich_help_panel=_VIEWS)]
Shifts = Annotated[
    str,
    typer.Option("--shifts", help="Shifted views per picture: a count, grid:STEP or diagonal.", rich_help_panel=_VIEWS),
]
MaxShift = Annotated[
    int | None,
    typer.Option("--max-shift", help="Largest shift in pixels [32 circular, 16 crop, at 224].", rich_help_panel=_VIEWS),
]
Preset = Annotated[
    str | None, typer.Option("--preset", help="A published protocol: zhang, aps, azulay.", rich_help_panel=_VIEWS)
]
Stages = Annotated[
    bool,
    typer.Option(
        "--stages/--no-stages", help="Measure feature maps at every downsampling stage.", rich_help_panel=_VIEWS
    ),
]
StageViews = Annotated[
    int | None,
    typer.Option(
        "--stage-views",
        help="Shifted views on which stages are measured [2, or all of a grid].",
        rich_help_panel=_VIEWS,
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Of the shifts, and of random weights.", rich_help_panel=_VIEWS)
]

Labels = Annotated[
    str, typer.Option("--labels", help="auto, folder, none, or a CSV file of path,label.", rich_help_panel=_DATA)
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Score at most this many pictures.", rich_help_panel=_DATA)
]
MaxSkipped = Annotated[
    int | None,
    typer.Option("--max-skipped", min=0, help="Fail when more files than this cannot be read.", rich_help_panel=_DATA),
]

Precision = Annotated[
    float | None,
    typer.Option("--precision", help="Stop when consistency is known to ± this, such as 0.01.", rich_help_panel=_RUN),
]
Samples = Annotated[
    Path | None,
    typer.Option("--samples", help="Write every prediction, one JSON line a picture.", rich_help_panel=_RUN),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the --samples file of an interrupted run.", rich_help_panel=_RUN)
]
ShardOf = Annotated[
    str | None,
    typer.Option(
        "--shard", help="Score the i-th of n parts (i/n); put parts together with merge.", rich_help_panel=_RUN
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, help="Views in one pass [by the size of feature maps].", rich_help_panel=_RUN),
]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes that decode pictures.", rich_help_panel=_RUN)]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps.", rich_help_panel=_RUN)]
Autocast = Annotated[
    bool,
    typer.Option("--autocast", help="Compute in bfloat16 or float16, on accelerators.", rich_help_panel=_RUN),
]
Compile = Annotated[
    bool,
    typer.Option("--compile", help="Compile the network first, which takes a minute or so.", rich_help_panel=_RUN),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no warnings on stderr.", rich_help_panel=_RUN)
]


def model_options(
    *,
    weights: str | None,
    arch: str | None,
    trust: bool,
    size: int | None,
    resize: int | None,
    mean: str | None,
    std: str | None,
    interpolation: str | None,
    channels: int | None,
    output: str | None,
    seed: int,
) -> ModelOptions:
    """The options of a model, parsed.

    Raises:
        InputError: a list of numbers is malformed.
    """
    from shiftaudit.models import ModelOptions

    return ModelOptions(
        weights=weights,
        arch=arch,
        trust=trust,
        size=size,
        resize=resize,
        mean=_numbers("--mean", mean),
        std=_numbers("--std", std),
        interpolation=interpolation,
        channels=channels,
        output=output,
        seed=seed,
    )


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"{option} got {text!r}; expected one number or one a channel, such as 0.485,0.456,0.406"
        ) from error
