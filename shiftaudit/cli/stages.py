"""`shiftaudit stages`: the downsampling stages of a model, without images."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli import stdout
from shiftaudit.cli.progress import load, working
from shiftaudit.cli.takes import only, takes
from shiftaudit.records.settings import ModelOptions


@takes
def stages(
    *,
    model: opt.Model,
    tree: Annotated[bool, typer.Option("--tree", help="Draw a tree that follows the modules.")] = False,
    format: Annotated[str, opt.form("table", "json")] = "table",
    options: Annotated[ModelOptions, only("arch", "trust", "size", "channels", "output")],
) -> None:
    """List the operations of MODEL that make feature maps smaller, and what `patch` would do with each."""
    from shiftaudit.models.source import weights_not_needed

    loaded = load(model, replace(options, weights=weights_not_needed(model)), quiet=False)
    from shiftaudit.render.stages import render
    from shiftaudit.surgery.survey import survey

    with working("following the network", quiet=False):
        listed = survey(loaded)
    stdout.show(listed, lambda terminal: render(listed, terminal, tree=tree), as_json=format == "json")
