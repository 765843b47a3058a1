"""A baseline on a terminal, and what an update changes."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shiftaudit.records import codec
from shiftaudit.records.gate import Baseline
from shiftaudit.render.characters import clean
from shiftaudit.render.numbers import value_text
from shiftaudit.render.terminal import Terminal, to_text


def render_baseline(baseline: Baseline, form: str, terminal: Terminal | None = None) -> str:
    """The baseline without its images, as `table` or `json` text ending in a newline."""
    if form == "json":
        data = codec.plain(baseline)
        for measured in filter(None, (data, data["anchor"])):
            del measured["images"]
        return codec.dumps(data, sort_keys=True)
    return to_text(lambda console: _draw(console, baseline), terminal or Terminal())


def changes(old: Baseline, new: Baseline) -> str:
    """One line for everything that an update of the baseline changes in its headline numbers."""
    lines = []
    if old.model.source != new.model.source or old.model.sha256 != new.model.sha256:
        lines.append(f"model: {old.model.source} → {new.model.source}")
    if old.protocol.protocol_hash != new.protocol.protocol_hash:
        lines.append(f"protocol: {old.protocol.protocol_hash} → {new.protocol.protocol_hash}")
    if old.data.manifest_sha256 != new.data.manifest_sha256:
        added, removed = len(new.images.keys() - old.images.keys()), len(old.images.keys() - new.images.keys())
        lines.append(f"images: {added} added, {removed} removed")
    before, after = _values(old), _values(new)
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            lines.append(f"{name}: {before.get(name, '–')} → {after.get(name, '–')}")
    return "".join(clean(line) + "\n" for line in lines) or "nothing changes\n"


def _values(baseline: Baseline) -> dict[str, str]:
    values = {}
    for protocol, metrics in baseline.metrics.items():
        for name, metric in metrics.items():
            values[f"{protocol}.{name}"] = value_text(name, metric.value)
    for stage, errors in baseline.stages.items():
        for protocol, metric in errors.items():
            values[f"{protocol}.stages.{stage}"] = value_text(f"stages.{stage}", metric.value)
    return values


def _draw(console: Console, baseline: Baseline) -> None:
    data, protocol = baseline.data, baseline.protocol
    console.print(Text(clean(f"baseline of {baseline.model.source} ({baseline.model.kind})")))
    console.print(Text(f"{data.n_images:,} images, {data.n_labelled:,} labelled, manifest {data.manifest_sha256[:12]}"))
    shifts = f"{'+'.join(protocol.protocols)}, shifts {protocol.shifts}, seed {protocol.seed}"
    console.print(Text(clean(f"protocol {protocol.protocol_hash}: {shifts}")))
    console.print(Text(clean(f"anchor: {_anchor(baseline)}")))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("metric", overflow="fold")
    table.add_column("value", justify="right")
    for name, value in _values(baseline).items():
        table.add_row(Text(clean(name)), Text(value))
    console.print(table)


def _anchor(baseline: Baseline) -> str:
    anchor = baseline.anchor
    if anchor is None:
        return "this measurement" if baseline.anchored else "none, as in baselines of earlier versions"
    differ = f"{len(anchor.images):,} of {anchor.data.n_images:,} images measured otherwise"
    return f"{anchor.model.source}, scored by shiftaudit {anchor.tool_version}; {differ}"
