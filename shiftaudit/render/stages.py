"""The list of a network's stages on a terminal: a table, or a tree that follows the modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from shiftaudit.records.report import SkippedStage
from shiftaudit.render import facts
from shiftaudit.render.table import clean
from shiftaudit.render.terminal import Terminal, to_text

_STYLES = {"aliased": "red", "averaged": "yellow", "filtered": "green"}


class StageLike(Protocol):
    """What is shown of a stage; see `shiftaudit.stages.ListedStage`, which needs torch and so is not imported here."""

    @property
    def name(self) -> str: ...
    @property
    def op(self) -> str: ...
    @property
    def stride(self) -> tuple[float, float]: ...
    @property
    def layer_stride(self) -> tuple[float, float]: ...
    @property
    def input_size(self) -> tuple[int, int]: ...
    @property
    def output_size(self) -> tuple[int, int]: ...
    @property
    def filtering(self) -> str: ...
    @property
    def patch_action(self) -> str | None: ...
    @property
    def patch_reason(self) -> str | None: ...


def render(
    source: str,
    stages: Sequence[StageLike],
    skipped: Sequence[SkippedStage],
    patch_note: str | None,
    terminal: Terminal,
    *,
    tree: bool = False,
) -> str:
    """All stages from input to output, as text of at most `terminal.width` columns."""

    def draw(console: Console) -> None:
        console.print(Text.assemble((clean(source), "bold"), f": {_count(stages)}"), overflow="fold")
        console.print()
        console.print(_tree(source, stages) if tree else _table(stages))
        for entry in skipped:
            console.print(Text(clean(f"Not a stage: {entry.name} ({entry.op}): {entry.reason}"), style="dim"))
        if patch_note is not None:
            console.print(Text(clean(f"`patch` cannot change this model: {patch_note}"), style="yellow"))

    return to_text(draw, terminal)


def _count(stages: Sequence[StageLike]) -> str:
    if not stages:
        return "no operation makes a feature map smaller, so nothing aliases"
    aliased = sum(stage.filtering == "aliased" for stage in stages)
    total = "1 downsampling stage" if len(stages) == 1 else f"{len(stages)} downsampling stages"
    return f"{total}, {aliased} without a low-pass filter"


def _size(size: tuple[int, int]) -> str:
    return facts.pair_text((float(size[0]), float(size[1])))


def _plan(stage: StageLike) -> str:
    """What `patch` would do, in words."""
    if stage.patch_action is None:
        return "nothing: it is filtered" if stage.filtering == "filtered" else "–"
    action = stage.patch_action.replace("_", " ")
    # Behind the colon of a reason stands which option changes it; `patch --dry-run` prints that.
    reason = (stage.patch_reason or "").partition(":")[0]
    return f"{action}: {reason}" if stage.patch_action == "leave" and reason else action


def _table(stages: Sequence[StageLike]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True, show_edge=False)
    for heading in ("stage", "op"):
        table.add_column(heading, overflow="fold")
    for heading in ("stride", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("now", no_wrap=True)
    table.add_column("patch would", overflow="fold")
    for stage in stages:
        stride = f"{facts.pair_text(stage.stride)} (×{facts.pair_text(stage.layer_stride)})"
        size = f"{_size(stage.input_size)}→{_size(stage.output_size)}"
        cells = [Text(clean(text)) for text in (stage.name, stage.op, stride, size)]
        now = Text(stage.filtering, style=_STYLES.get(stage.filtering, ""))
        table.add_row(*cells, now, Text(clean(_plan(stage))))
    return table


def _tree(source: str, stages: Sequence[StageLike]) -> Tree:
    """Branches for the modules, leaves for the operations, in the order they run."""
    root = Tree(Text(clean(source), style="bold"), guide_style="dim")
    branches: dict[tuple[str, ...], Tree] = {(): root}
    for stage in stages:
        *path, leaf = stage.name.split(".")
        for depth in range(1, len(path) + 1):
            key = tuple(path[:depth])
            if key not in branches:
                branches[key] = branches[key[:-1]].add(Text(clean(key[-1])))
        size = f"{_size(stage.input_size)}→{_size(stage.output_size)}"
        words = f"  {stage.op}, stride {facts.pair_text(stage.stride)}, {size}, "
        line = Text.assemble((clean(leaf), "bold"), clean(words), (stage.filtering, _STYLES.get(stage.filtering, "")))
        branches[tuple(path)].add(line)
    return root
