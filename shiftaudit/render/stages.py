"""The list of a network's stages on a terminal: a table, or a tree that follows the modules."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from shiftaudit.records.survey import ListedStage, StageList
from shiftaudit.render import numbers
from shiftaudit.render.characters import clean
from shiftaudit.render.table import NARROW, fold_name
from shiftaudit.render.terminal import Terminal, to_text

_STYLES = {"aliased": "red", "averaged": "yellow", "filtered": "green"}
# Blanks between two columns, and what a plan and a name need to be read.
_GAP, _PLAN_AT_LEAST, _NAME_AT_LEAST = 2, 18, 14


def render(listed: StageList, terminal: Terminal, *, tree: bool = False) -> str:
    """All stages from input to output, as text of at most `terminal.width` columns."""

    def draw(console: Console) -> None:
        unseen = any(entry.op is None for entry in listed.skipped)
        count = "its stages cannot be seen" if unseen else _count(listed)
        console.print(Text.assemble((clean(listed.source), "bold"), f": {count}"), overflow="fold")
        console.print()
        if listed.stages or not unseen:
            console.print(_tree(listed) if tree else _table(listed.stages, console.width))
        for entry in listed.skipped:
            console.print(Text(clean(f"Not measured: {entry}" if entry.op else f"Not seen: {entry}"), style="dim"))
        if listed.patch_note is not None:
            console.print(Text(clean(f"`patch` cannot change this model: {listed.patch_note}"), style="yellow"))

    return to_text(draw, terminal)


def _count(listed: StageList) -> str:
    stages = listed.stages
    if not stages and listed.skipped:
        return "nothing that can be measured makes a feature map smaller"
    if not stages:
        return "no operation makes a feature map smaller, so nothing aliases"
    aliased = sum(stage.filtering == "aliased" for stage in stages)
    return f"{numbers.counted(len(stages), 'downsampling stage')}, {aliased} without a low-pass filter"


def _plan(stage: ListedStage) -> str:
    """What `patch` would do, in words."""
    if stage.patch_action is None:
        return "nothing" if stage.filtering == "filtered" else "–"
    action = stage.patch_action.replace("_", " ")
    # Behind the first mark of a reason stands why, and which option changes it; `patch --dry-run` prints that.
    reason = re.split("[:,;]", stage.patch_reason or "")[0]
    return f"{action}: {reason}" if stage.patch_action == "leave" and reason else action


def _table(stages: Sequence[ListedStage], width: int) -> Table:
    rows = []
    for stage in stages:
        stride = numbers.pair_text(stage.stride)
        size = numbers.sizes_text(stage.input_size, stage.output_size)
        strides = numbers.strides_text(stage.stride, stage.layer_stride)
        full = (stage.op, strides, size, stage.filtering, _plan(stage))
        rows.append([clean(text) for text in ((stride, *full[3:]) if width < NARROW else full)])
    headings = ("stride", "now", "patch would") if width < NARROW else ("op", "stride", "size", "now", "patch would")
    # Names get the room that is left beside the other columns, of which only the last may be narrower than its words.
    columns = list(zip(headings, *rows, strict=True))[:-1]
    room = width - sum(max(map(cell_len, column)) + _GAP for column in columns) - _PLAN_AT_LEAST - _GAP
    names = [fold_name(clean(stage.name), max(_NAME_AT_LEAST, room)) for stage in stages]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True, show_edge=False)
    longest = max((cell_len(line) for name in names for line in name.splitlines()), default=0)
    table.add_column("stage", overflow="fold", min_width=min(longest, max(_NAME_AT_LEAST, room)))
    for heading in headings[:-1]:
        table.add_column(heading, justify="right" if heading in ("stride", "size") else "left", no_wrap=True)
    table.add_column(headings[-1], overflow="fold")
    for name, (*cells, now, plan) in zip(names, rows, strict=True):
        style = _STYLES.get(now, "")
        table.add_row(Text(name), *(Text(cell) for cell in cells), Text(now, style=style), Text(plan))
    return table


def _tree(listed: StageList) -> Tree:
    """Branches for the modules, leaves for the operations, in the order they run."""
    root = Tree(Text(clean(listed.source), style="bold"), guide_style="dim")
    branches: dict[tuple[str, ...], Tree] = {(): root}
    for stage in listed.stages:
        *path, leaf = stage.name.split(".")
        for depth in range(1, len(path) + 1):
            key = tuple(path[:depth])
            if key not in branches:
                branches[key] = branches[key[:-1]].add(Text(clean(key[-1])))
        size = numbers.sizes_text(stage.input_size, stage.output_size)
        words = f"  {stage.op}, stride {numbers.pair_text(stage.stride)}, {size}, "
        line = Text.assemble((clean(leaf), "bold"), clean(words), (stage.filtering, _STYLES.get(stage.filtering, "")))
        branches[tuple(path)].add(line)
    return root
