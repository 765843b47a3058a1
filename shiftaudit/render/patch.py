"""A patch on a terminal: every site, what was done or why not, what it costs, and what to do next."""

from __future__ import annotations

import shlex

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shiftaudit.records.advise import Change
from shiftaudit.records.cause import Cause
from shiftaudit.records.gate import Comparison
from shiftaudit.records.patch import LEAVE, PatchRecord, SiteRecord
from shiftaudit.render.characters import clean
from shiftaudit.render.findings import surely
from shiftaudit.render.numbers import pair_text, sizes_text
from shiftaudit.render.sentences import causes_text
from shiftaudit.render.terminal import Terminal, to_text
from shiftaudit.render.tune import share_text

WIDE = 110
_VERDICT_METRICS = ("consistency", "agreement_with_unshifted", "accuracy", "accuracy_shifted")
WARNING = (
    "An untrained patch is worse than the original: its weights were learned for aliased features. An ImageNet "
    "EfficientNet-Lite0 that answered 90 % of 20 images right answered 45 % right with filter size 3 at its four sites "
    "behind the stem, and its consistency fell. `refit` won it back in 80 seconds, without labels."
)


def render_patch(
    record: PatchRecord,
    *,
    output: str | None = None,
    file_format: str = "torchscript",
    model: str = "MODEL",
    tuned: bool = False,
    terminal: Terminal | None = None,
) -> str:
    """The record as text ending in a newline.

    Args:
        output: the file that was written; None for a plan.
        file_format: of that file, since not every command takes every format.
        model: what the user called the original, with the options that load it, for the commands to run next.
        tuned: the copy was taught already, so that the warning does not apply.
    """
    steps = () if output is None else next_steps(output, file_format, model, folded=bool(record.folded))
    return to_text(lambda console: _draw(console, record, steps, tuned=tuned), terminal or Terminal())


def next_steps(output: str, file_format: str, model: str, *, folded: bool = False) -> tuple[str, ...]:
    """Commands that check and recover an untrained copy.

    >>> for step in next_steps("my aa.pt", "torchscript", "resnet18 --weights none")[1:]:
    ...     print(step)
    recover: shiftaudit refit 'my aa.pt' --teacher resnet18 --weights none IMAGES -o fitted.pt
    further: shiftaudit tune fitted.pt --teacher resnet18 --weights none IMAGES -o tuned.pt
    """
    if file_format in ("state-dict", "safetensors"):
        return (
            "The file holds weights alone, which cannot be scored or fitted: write a .pt file to check and recover.",
        )
    path, suffix, trust, teacher = shlex.quote(output), ".pt", "", model
    if file_format == "pt2":
        suffix, trust = ".pt2", " --trust"
        teacher += "" if "--trust" in shlex.split(model) else trust
    elif file_format == "onnx":
        suffix = ".onnx"
    check = f"check:   shiftaudit score {path}{trust} IMAGES"
    if folded:
        return check, "recover: patch again with --refit IMAGES beside --fold: it fits the copy before it folds"
    recover = f"recover: shiftaudit refit {path} --teacher {teacher} IMAGES -o fitted{suffix}"
    if file_format == "onnx":
        return check, recover
    return check, recover, f"further: shiftaudit tune fitted{suffix} --teacher {teacher} IMAGES -o tuned{suffix}"


def _draw(console: Console, record: PatchRecord, steps: tuple[str, ...], *, tuned: bool) -> None:
    done = "patched" if steps else "would be patched"
    height, width = record.input_size
    sites = f"{len(record.patched)} of {len(record.sites)} downsampling sites {done} at input {height}×{width}"
    console.print(Text(sites, style="bold"))
    if not record.sites:
        what = "no convolution, pool, slice or interpolation"
        console.print(Text(f"Nothing to patch: {what} of this network makes a feature map smaller."))
        return
    wide = console.width >= WIDE
    console.print(_table(record.sites, reasons=wide))
    for site in () if wide else record.left:
        console.print(Text(clean(f"left: {site.name}: {site.reason}")))
    if record.folded and not wide:
        names = ", ".join(site.name for site in record.folded)
        console.print(Text(clean(f"folded into the convolutions' kernels: {names}")))
    for site in record.patched:
        if site.not_folded is not None:
            console.print(Text(clean(f"not folded: {site.name}: {site.not_folded}")))
    console.print(Text(_totals(record)))
    for note in record.notes:
        console.print(Text(f"note: {clean(note)}"))
    if not record.patched or tuned:
        return
    console.print()
    if record.options.filter_size == 1:
        console.print(Text("Filter size 1 is plain subsampling: the copy computes what the original computes."))
        return
    console.print(Text(WARNING, style="yellow"))
    for step in steps:
        console.print(Text(clean(step), style="cyan"))


def _table(sites: tuple[SiteRecord, ...], *, reasons: bool) -> Table:
    """One row a site; on a narrow terminal without the column that says what was done or why not."""
    titles = ("site", "op", "size", "filter", "drift px", "MMACs", "what was done, or why not")[: 7 if reasons else 6]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title not in (titles[0], "what was done, or why not"))
    for site in sites:
        style = "dim" if site.action == LEAVE else ""
        table.add_row(*(Text(clean(cell), style=style) for cell in _cells(site)[: len(titles)]))
    return table


def _cells(site: SiteRecord) -> tuple[str, ...]:
    left = site.action == LEAVE
    kernel = "" if site.op == "slice" else f" {pair_text(site.kernel)}"
    before = _mega(site.macs_before)
    reason = f"left: {site.reason}" if left else site.reason
    return (
        site.name,
        f"{site.op}{kernel} /{pair_text(site.stride)}",
        sizes_text(site.input_size, site.output_size),
        "" if left else f"{pair_text(site.filter_size)} {site.pad}",
        "" if left else pair_text(site.drift),
        before if left else f"{before}→{_mega(site.macs_after)}",
        reason,
    )


def _totals(record: PatchRecord) -> str:
    before, after = record.macs_before, record.macs_after
    growth = f" ({after / before:.2f}×)" if before else ""
    drift = f"sample grid moved by up to {pair_text(record.drift)} input px" if any(record.drift) else "no drift"
    scale, unit = (1e9, "G") if before >= 1e9 else (1e6, "M")
    strength = "" if record.strength == 1 else f" Filters of strength {record.strength:g}."
    return f"Multiply-adds {before / scale:.2f} {unit} → {after / scale:.2f} {unit}{growth}; {drift}.{strength}"


def _mega(macs: int) -> str:
    return f"{macs / 1e6:.1f}" if macs < 1e8 else f"{macs / 1e6:.0f}"


def render_verified(
    agreement: Change, comparison: Comparison, cause: Cause | None, cause_after: Cause | None, terminal: Terminal
) -> str:
    """What the same views say of an original (A) and its copy (B), in sentences: agreement, verdict, causes."""
    sentences = (
        f"Agreement of the copy with the original, images unmoved: {share_text(agreement)} of {agreement.n_images:,} images.",
        verdict(comparison),
        causes_text(cause, cause_after),
    )
    text = "\n".join(clean(sentence) for sentence in sentences if sentence)
    return to_text(lambda console: console.print(Text(text)), terminal)


def verdict(comparison: Comparison) -> str:
    """What an original (A) and its copy (B) on the same views say about the patch, in one or two sentences.

    A change counts only where its 95 % interval leaves zero out.
    """
    judged = [metric for metric in comparison.metrics if metric.name.rpartition(".")[2] in _VERDICT_METRICS]
    better, worse = ([one.name for one in judged if surely(one) == word] for word in ("better", "worse"))
    if worse:
        gained = f" (better: {', '.join(better)})" if better else ""
        return f"Verdict: the copy is worse in {', '.join(worse)}{gained}. Refit or tune it before use."
    if better:
        return f"Verdict: the copy is better in {', '.join(better)} and not measurably worse in anything else measured."
    return "Verdict: no measurable difference on these images."
