"""`shiftaudit stages`: the downsampling stages of a model, without images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("stages")(stages)


def stages(
    model: opt.Model,
    tree: Annotated[bool, typer.Option("--tree", help="Draw a tree that follows the modules.")] = False,
    format: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
    arch: opt.Arch = None,
    trust: opt.Trust = False,
    size: opt.Size = None,
    channels: opt.Channels = None,
    output_key: opt.Output = None,
) -> None:
    """List the operations of MODEL that make feature maps smaller, and what `patch` would do with each."""
    if format not in ("table", "json"):
        raise InputError(f"--format got {format!r}; expected table or json")
    from shiftaudit.models import load_model
    from shiftaudit.records.codec import dumps
    from shiftaudit.render.stages import render
    from shiftaudit.render.terminal import detect
    from shiftaudit.surgery.survey import list_stages

    options = opt.model_options(
        # Which operations there are does not depend on the weights of a named network, so none are downloaded.
        weights=None if Path(model).is_file() else "none", arch=arch, trust=trust, size=size, resize=None, mean=None, std=None,
        interpolation=None, channels=channels, output=output_key, seed=0,
    )  # fmt: skip
    listed = list_stages(load_model(model, options))
    if format == "json":
        sys.stdout.write(dumps(listed))
        return
    terminal = detect(sys.stdout)
    sys.stdout.write(render(listed.source, listed.stages, listed.skipped, listed.patch_note, terminal, tree=tree))
