"""Patch every torchvision classifier with filter size 1 and write how far it is from the original: docs/patch-table.md.

    python scripts/patch_table.py [NAME ...] [--results results.jsonl] [-o docs/patch-table.md]

Each network gets random weights and random batch-norm statistics, is patched at 224×224 with every site on, and is compared
with its original at 224×224 and at 193×193: as the module it is, scripted and traced. Results are appended to a file of JSON
lines, so that a run can be continued.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from shiftaudit.surgery.patch import PatchOptions, patch, plan_patch

SIZES = (224, 193)
FORMS = ("scripted", "traced")
# Weights of the original and the copy, with room for the maps, must fit beside everything else on a small machine.
MAX_WEIGHTS = 1.3e9


def classifiers() -> list[str]:
    """Names of all image classifiers of torchvision that take a batch of plain images."""
    return torchvision.models.list_models(module=torchvision.models)


def measure(name: str) -> dict[str, Any]:
    """One row of the table."""
    weights = 4 * torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]
    if weights > MAX_WEIGHTS:
        return {"name": name, "skipped": f"{weights / 1e9:.1f} GB of weights"}
    torch.manual_seed(0)
    model = build(name).eval()
    for child in model.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.running_mean.normal_(0, 0.1)
            child.running_var.uniform_(0.5, 1.5)
        if isinstance(child, nn.Linear) and not child.weight.any():
            nn.init.normal_(child.weight, std=0.02)  # ViT starts with a head of zeros: any two copies would agree
    size = 299 if name == "inception_v3" else 224
    default = plan_patch(model, input_size=size)
    result = patch(model, PatchOptions(filter_size=1, stem=True, patchify=True), input_size=size)
    row: dict[str, Any] = {
        "name": name,
        "found": len(result.record.sites),
        "patched": len(result.record.patched),
        "patched_by_default": len(default.patched),
        "left": sorted({reason_kind(site.reason) for site in default.left}),
        "left_always": {site.name: site.reason for site in result.record.left},
        "macs_before": default.macs_before,
        "macs_after": default.macs_after,
        "same_keys": set(result.module.state_dict()) == set(model.state_dict()),
        "difference": {},
    }
    for side in SIZES:
        row["difference"][str(side)] = difference(model, result.module, side)
    row["forms"] = {form: largest_difference(model, form, size) for form in FORMS}
    return row


def largest_difference(model: nn.Module, form: str, size: int) -> float:
    """Of the patched TorchScript form from the model, over all sizes that both take."""
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about TorchScript, and about sizes that a trace fixes
        scripted = torch.jit.script(model) if form == "scripted" else torch.jit.trace(model, x, check_trace=False)
        patched = patch(scripted, PatchOptions(filter_size=1, stem=True, patchify=True), example_input=x).module
        found = [difference(model, patched, side) for side in SIZES]
    return max(value for value in found if value is not None)


def build(name: str) -> nn.Module:
    """The network without weights; two families need to be told not to draw theirs slowly."""
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, **extra)


def difference(model: nn.Module, patched: nn.Module, side: int) -> float | None:
    """Largest difference over largest logit; None where the original does not take this size."""
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))
    with torch.inference_mode():
        try:
            expected = model(x)
        except (RuntimeError, AssertionError):
            return None
        found = patched(x)
        found = found if isinstance(found, torch.Tensor) else found[0]  # a scripted GoogLeNet returns its branches too
        return float((found - expected).abs().max() / expected.abs().max())


def reason_kind(reason: str) -> str:
    """The part of a reason that does not depend on the site."""
    return reason.partition(":")[0].partition(" (")[0].partition(",")[0]


def markdown(rows: list[dict[str, Any]]) -> str:
    """The whole page."""
    measured = [row for row in rows if "skipped" not in row]
    values = [value for row in measured for value in (*row["difference"].values(), *row.get("forms", {}).values())]
    worst = max((value for value in values if value is not None), default=0.0)
    lines = [
        "# Every torchvision classifier, patched",
        "",
        "A model patched with filter size 1 must compute exactly what the original does, at any input size. Each network below",
        "has random weights and random batch-norm statistics, was patched at 224×224 with `--stem --patchify` (`inception_v3`",
        "at 299×299), and was compared with its original at 224×224 and at 193×193, in float32. The difference is the largest",
        "absolute difference of any logit over the largest logit; `scripted` and `traced` give it for the patched TorchScript",
        f"forms, over both sizes ({sum('forms' in row for row in measured)} networks). `default` counts the sites patched "
        "without options, and the",
        "multiply-adds are those of filter size 3 with default options. Made by `python scripts/patch_table.py`.",
        "",
        f"{len(measured)} networks measured; the largest difference is {worst:.1e}.",
        "",
        "| network | sites | patched | default | left by default | GMACs | difference at 224 | at 193 | scripted | traced "
        "| same keys |",
        "|---|---:|---:|---:|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        if "skipped" in row:
            lines.append(f"| {row['name']} | | | | not measured: {row['skipped']} | | | | | | |")
            continue
        shown = [size(row["difference"][str(side)]) for side in SIZES]
        forms = [size(row["forms"][form]) if "forms" in row else "" for form in FORMS]
        macs = f"{row['macs_before'] / 1e9:.2f} → {row['macs_after'] / 1e9:.2f}"
        lines.append(
            f"| {row['name']} | {row['found']} | {row['patched']} | {row['patched_by_default']} | {'; '.join(row['left'])} "
            f"| {macs} | {' | '.join((*shown, *forms))} | {'yes' if row['same_keys'] else 'NO'} |"
        )
    always = {f"{row['name']} `{name}`": reason for row in measured for name, reason in row["left_always"].items()}
    if always:
        lines += ["", "Sites no option patches:", "", *(f"- {name}: {reason}" for name, reason in always.items())]
    return "\n".join(lines) + "\n"


def size(value: float | None) -> str:
    """A difference as a cell."""
    if value is None:
        return "size refused"
    return "0" if value == 0 else f"{value:.1e}"


def main() -> None:
    """Measure what is not in the results yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--results", type=Path, default=Path("patch-table.jsonl"))
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/patch-table.md"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = {}
    if arguments.results.exists():
        rows = {row["name"]: row for row in map(json.loads, arguments.results.read_text().splitlines())}
    names = arguments.names or classifiers()
    with arguments.results.open("a") as results:
        for name in names:
            if name in rows and {"forms", "skipped"} & set(rows[name]):
                continue
            start = time.perf_counter()
            rows[name] = measure(name)
            gc.collect()
            results.write(json.dumps(rows[name]) + "\n")
            results.flush()
            print(
                f"{name}: {rows[name].get('difference', 'skipped')} in {time.perf_counter() - start:.0f} s", flush=True
            )
    arguments.output.write_text(markdown([rows[name] for name in names if name in rows]), encoding="utf-8")


if __name__ == "__main__":
    main()
