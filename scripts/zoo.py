"""Sweep public networks and write docs/zoo.md: what shiftaudit finds in each, in every form that the network can be put in.

    python scripts/zoo.py sweep rows.jsonl --minutes 60     # goes on where it was stopped, and adds forms that rows have not
    python scripts/zoo.py write rows.jsonl                  # writes docs/zoo.md

Networks have random weights and run on one random image. For each of them:
- plausible strides: the stride of every stage times the size of its map is the size of the input, within the border;
- names: every stage has the name of a site;
- parity: `patch` finds the sites of the eager network in every other form, and decides alike, and the stages are the same;
- identity: a copy with filter size 1 computes what the original computes.
A network runs in a process of its own with limits of time and memory, so that one that hangs or ends its process costs one row.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import multiprocessing
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from shiftaudit.errors import PatchError, ShiftAuditError
from shiftaudit.models import load_model
from shiftaudit.models.copies import deep_copy
from shiftaudit.records.patch import PatchOptions, PatchRecord
from shiftaudit.records.settings import ModelOptions
from shiftaudit.stages.find import Discovery, discover
from shiftaudit.surgery.fx.graph import FxGraph
from shiftaudit.surgery.patch import patch, plan_patch
from shiftaudit.surgery.torchscript.graph import ScriptGraph

LOADED_ONCE = (FxGraph, ScriptGraph)
"""What `patch` imports when it is needed, imported before networks get processes of their own."""
PAGE = Path(__file__).parent.parent / "docs" / "zoo.md"
FORMS = ("eager", "traced", "exported", "scripted", "onnx")
SMALL = ("atto", "femto", "nano", "pico", "xxtiny", "xxs", "xx_small", "tiny", "small", "18", "b0", "_s", "xs", "lite")
OPTIONS = PatchOptions(filter_size=1, stem=True, patchify=True)
TOLERANCE = 1e-5
"""Largest difference of the outputs of original and copy, in units of the largest output."""
TOO_MANY = 60e6
"""Parameters above which a network is left out: it takes too long."""
MEMORY = 6 << 30
"""Bytes a network may take."""
OWN_SIZE = ("hieradet",)
"""Networks that pad a smaller image's maps to whole windows, in which nothing lies."""

Row = dict[str, Any]


# --- which networks ---


def networks() -> Iterator[str]:
    """`timm:NAME`, `torchvision:NAME` and `hf:NAME`; the smallest of every family first, then the next of each."""
    yield from (f"torchvision:{name}" for name in TORCHVISION)
    if importlib.util.find_spec("transformers"):
        yield from (f"hf:{name}" for name in HF)
    if importlib.util.find_spec("timm") is None:
        return
    import timm

    families = [_by_size(timm.list_models(module=module)) for module in sorted(timm.list_modules())]
    for rank in range(max(map(len, families))):
        yield from (f"timm:{family[rank]}" for family in families if rank < len(family))


def _by_size(names: list[str]) -> list[str]:
    """Names of a family, those that say that they are small first."""

    def rank(name: str) -> tuple[int, str]:
        return next((i for i, word in enumerate(SMALL) if word in name), len(SMALL)), name

    return sorted(names, key=rank)


TORCHVISION = (
    "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5",
    "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "regnet_x_400mf", "resnet18", "resnet50", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t",
)  # fmt: skip
HF: dict[str, dict[str, Any]] = {
    "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1]},
    "ConvNext": {"hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1]},
    "ConvNextV2": {"hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1]},
    "MobileNetV1": {},
    "MobileNetV2": {},
    "RegNet": {"embedding_size": 8, "hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1], "groups_width": 8},
    "ViT": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "Segformer": {"hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2]},
    "Swin": {"embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]},
    "PoolFormer": {"hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1]},
    "EfficientNet": {"width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320},
}
"""Tiny configurations for `AutoModelForImageClassification`."""


class _Logits(nn.Module):
    """A network that answers with logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x).logits
        return logits


def build(spec: str) -> tuple[nn.Module, list[int]]:
    """A network, and the sizes to try it at."""
    kind, name = spec.split(":", 1)
    if kind == "torchvision":
        extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        return torchvision.models.get_model(name, weights=None, **extra), [96, 224]
    if kind == "hf":
        import transformers

        config = getattr(transformers, f"{name}Config")(**HF[name])
        return _Logits(transformers.AutoModelForImageClassification.from_config(config)), [224]
    import timm

    name, _, given = name.partition("?")  # "timm:NAME?depth=2": with fewer blocks than the published one
    network = timm.create_model(
        name, **{key: int(value) for key, value in (one.split("=") for one in given.split(",") if one)}
    )
    size = int(network.default_cfg["input_size"][-1])
    return network, [size] if name.startswith(OWN_SIZE) else [128, size]


# --- what is looked at ---


def examine(spec: str, forms: Sequence[str]) -> Row:
    """One row: the network's size of input, its stages, and what each form says."""
    torch.manual_seed(0)
    network, sizes = build(spec)
    if sum(parameter.numel() for parameter in network.parameters()) > TOO_MANY:
        return {"forms": {}, "note": "too large for this sweep"}
    network.eval()
    x = _fitting(network, sizes)
    watched = deep_copy(network)  # what it keeps from a run in inference mode cannot be traced
    found = discover(watched, watched, x)
    row: Row = {"size": x.shape[-1], "stages": len(found.stages), "stride": found.total_stride, "forms": {}}
    row["implausible"] = implausible(found, x.shape[-1])
    row["unmeasured"] = len(found.unmeasured)
    reference: PatchRecord | None = None
    for how in forms:
        row["forms"][how], record = _form(network, how, x, found, reference)
        reference = record if reference is None else reference
        yield_row(row)
    return row


def yield_row(row: Row) -> None:
    """Hand over what is known so far: a form that takes too long must not cost those before it."""
    if _TO_PARENT:
        _TO_PARENT[0].send(row)


_TO_PARENT: list[Connection] = []


def _fitting(network: nn.Module, sizes: list[int]) -> Tensor:
    for size in sizes[:-1]:
        try:
            with torch.no_grad():
                network(torch.randn(1, 3, size, size))
            return torch.randn(1, 3, size, size)
        except (AssertionError, RuntimeError, ValueError):
            continue  # it takes images of its own size alone
    return torch.randn(1, 3, sizes[-1], sizes[-1])


def implausible(found: Discovery, size: int) -> list[str]:
    """Stages whose stride times the size of their map is not the size of the input."""
    slots = [(stage.name, found.slots[stage.output_slot]) for stage in found.stages]
    return [
        f"{name}: stride {slot.stride[axis]:g}, map {slot.size[axis]}, input {size}"
        for name, slot in slots
        for axis in (0, 1)
        if abs(slot.stride[axis] * slot.size[axis] - size) > 2 * slot.stride[axis] + 0.35 * size
    ]


def _form(
    network: nn.Module, how: str, x: Tensor, found: Discovery, reference: PatchRecord | None
) -> tuple[str, PatchRecord | None]:
    """A word for one form (`same`, `refused`, `wrong`, `crash`, `none` where the network has no such form), and its plan."""
    try:
        module = put_in_form(network, how, x)
    except ShiftAuditError as error:
        return f"refused: {error.message}", None
    except Exception as error:
        return f"none: {_said(error)}", None
    try:
        seen = found if how == "eager" else discover(module, module, x)
        record, distance = _patched(module, x)
    except PatchError as error:
        return f"refused: {error.message}", None
    except Exception as error:
        return f"crash: {type(error).__name__}: {_said(error)}", None
    return _judged(how, record, reference, (seen, found), distance), record


def _judged(
    how: str, record: PatchRecord, reference: PatchRecord | None, found: tuple[Discovery, Discovery], distance: float
) -> str:
    names = {site.name for site in record.sites}
    unnamed = [stage.name for stage in found[0].stages if stage.name not in names]
    if reference is not None and _decided(record, how) != _decided(reference, how):
        return f"wrong: sites differ from the eager network's ({len(record.sites)}, {len(reference.sites)})"
    if unnamed:
        return f"wrong: no site has the name of stage {unnamed[0]}"
    if _measured(found[0]) != _measured(found[1]):
        return "wrong: stages differ from the eager network's"
    return "same" if distance <= TOLERANCE else f"wrong: filter size 1 differs by {distance:.2g}"


def _patched(module: nn.Module, x: Tensor) -> tuple[PatchRecord, float]:
    """What was decided, and how far a copy with filter size 1 is from the original."""
    try:
        result = patch(module, OPTIONS, example_input=x)
    except PatchError as error:
        if error.message.startswith("nothing to patch"):
            return plan_patch(module, OPTIONS, example_input=x), 0.0
        raise
    with torch.no_grad():
        return result.record, _distance(module(x), result.module(x))


def put_in_form(network: nn.Module, how: str, x: Tensor) -> nn.Module:
    """The network as it is, traced, exported or scripted."""
    if how == "eager":
        return network
    if how == "exported":
        return torch.export.export(network, (x,)).module()
    if how == "onnx":
        return _as_onnx(network, x)
    return torch.jit.trace(network, x, check_trace=False) if how == "traced" else torch.jit.script(network)


def _as_onnx(network: nn.Module, x: Tensor) -> nn.Module:
    """The program of the file that the TorchScript-based exporter writes."""
    buffer = io.BytesIO()
    torch.onnx.export(network, (x,), buffer, dynamo=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(buffer.getvalue())
        model = load_model(str(path), ModelOptions(size=x.shape[-1]))
    if model.unseen is not None:
        raise PatchError(model.unseen)
    return model.module


def _decided(record: PatchRecord, how: str) -> list[tuple[Any, ...]]:
    """Sites and decisions. Nodes of ONNX files have names of their own, and an export folds norms into convolutions."""
    if how == "onnx":
        return [(s.op, s.stride, s.output_size, s.action.replace("after_tail", "after_op")) for s in record.sites]
    return sorted((site.name, site.action) for site in record.sites)


def _measured(found: Discovery) -> list[tuple[Any, ...]]:
    outputs = [(stage, found.slots[stage.output_slot]) for stage in found.stages]
    return [(stage.op, stage.layer_stride, slot.stride, slot.size) for stage, slot in outputs]


def _distance(a: Any, b: Any) -> float:
    pairs = list(zip(torch.utils._pytree.tree_leaves(a), torch.utils._pytree.tree_leaves(b), strict=True))
    return max(float((one - two).abs().max() / one.abs().max().clamp_min(1e-9)) for one, two in pairs)


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:120]


# --- the sweep ---


def sweep(path: Path, chosen: list[str], forms: Sequence[str], minutes: float, limit: float) -> None:
    """Add a row for every network that the file has none of, until the time is up."""
    done = rows_of(path) if path.exists() else {}
    end = time.monotonic() + 60 * minutes
    for spec in chosen or networks():
        if time.monotonic() > end:
            return
        known = done.get(spec, {"forms": {}})
        missing = [how for how in forms if how not in known["forms"]]
        if missing and "note" not in known:
            first = [] if "eager" in missing else ["eager"]  # what the others are compared with
            row = {"name": spec, **_in_child(spec, [*first, *missing], limit)}
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(spec, row.get("forms"), row.get("implausible"), row.get("note", ""), flush=True)


def rows_of(path: Path) -> dict[str, Row]:
    """What is known of every network: the newest word on each of its forms."""
    rows: dict[str, Row] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        if not row["forms"] and rows.get(row["name"], row)["forms"]:
            continue  # another form took too long
        row["forms"] = {**rows.get(row["name"], row)["forms"], **row["forms"]}
        rows[row["name"]] = row
    return rows


def _in_child(spec: str, forms: Sequence[str], limit: float) -> Row:
    """The row of one network, or what its process had said of it when it ended or its time was up."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(spec, forms, theirs), daemon=True)
    child.start()
    theirs.close()
    row: Row = {"forms": {}, "note": "took too long"}
    end = time.monotonic() + limit
    try:
        while ours.poll(max(0.0, end - time.monotonic())):
            row = ours.recv()
    except EOFError:
        row.setdefault("forms", {})
        if row.get("note") == "took too long":
            row["note"] = "its process ended"
    child.kill()
    child.join()
    return row


def _run(spec: str, forms: Sequence[str], parent: Connection) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    _TO_PARENT.append(parent)
    try:
        parent.send(examine(spec, forms))
    except Exception as error:
        parent.send({"forms": {}, "note": f"does not run: {type(error).__name__}: {_said(error)}"})


# --- the page ---


WORDS = ("same", "refused", "wrong", "crash", "none")


def write(path: Path) -> None:
    """Write docs/zoo.md from the rows of a sweep."""
    rows = list(rows_of(path).values())
    ran = [row for row in rows if row["forms"]]
    n_timm = sum(row["name"].startswith("timm:") for row in ran)
    lines = [
        _HEAD.format(date=time.strftime("%Y-%m-%d"), n=len(ran), n_timm=n_timm, torch=torch.__version__.split("+")[0])
    ]
    lines += ["| form | networks | same | refused | wrong | crash | has no such form |", "| --- " + "| ---: " * 6 + "|"]
    for how in FORMS:
        counts = Counter(_word(row["forms"][how]) for row in ran if how in row["forms"])
        lines.append(f"| {how} | {counts.total()} | " + " | ".join(str(counts[word]) for word in WORDS) + " |")
    odd = [row for row in ran if row["implausible"]]
    lines += ["", f"Implausible strides: {len(odd)} of {len(ran)} networks."]
    lines += [f"- {row['name']}: {row['implausible'][0]}" for row in odd]
    lines += ["", *_told(ran), "", *_table(ran)]
    left = [row for row in rows if not row["forms"]]
    lines += (
        ["", "Not in the table: " + "; ".join(f"{row['name']} ({row['note']})" for row in left) + "."] if left else []
    )
    PAGE.write_text("\n".join(lines).rstrip() + "\n")


_HEAD = """# The zoo

What `scripts/zoo.py` found in {n} public networks with random weights, {n_timm} of them timm's ({date}, torch {torch}, CPU; the
smallest of every family first). A network is the same in a form where `patch` finds the sites of the eager network under the
names that `stages` shows, decides alike, the stages have the same sizes and strides, and a copy with filter size 1 computes
what the original computes, to 1e-5. Where it is refused, the sentence stands below. A network that torch itself cannot trace,
export, script or write as ONNX has no such form; an empty cell was not tried. Strides are implausible where stride times map is
not the size of the input. `?depth=2` stands for two blocks of the published network's many.
"""


def _word(text: str) -> str:
    return text.partition(":")[0]


def _told(ran: list[Row]) -> list[str]:
    """What is said of networks that are not the same, one line a sentence."""
    told: dict[str, list[str]] = defaultdict(list)
    for row in ran:
        for how, text in row["forms"].items():
            if _word(text) in ("refused", "wrong", "crash"):
                told[text.replace("\n", " ")].append(f"{row['name']} ({how})")
    return [f"- {', '.join(names)}: {text}" for text, names in told.items()]


def _table(ran: list[Row]) -> list[str]:
    """One line a family: how many networks, of what strides, and in which forms they are the same."""
    families: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(ran, key=lambda row: str(row["name"])):
        families[family_of(row["name"])].append(row)
    lines = ["| family | networks | stages | stride | " + " | ".join(FORMS) + " |"]
    lines.append("| --- | --- " + "| ---: " * 2 + "| --- " * len(FORMS) + "|")
    for family, rows in sorted(families.items()):
        names = ", ".join(row["name"].partition(":")[2] for row in rows)
        stages, strides = _span(row["stages"] for row in rows), _span(max(row["stride"]) for row in rows)
        cells = " | ".join(_cell([row["forms"][how] for row in rows if how in row["forms"]]) for how in FORMS)
        lines.append(f"| {family} | {names} | {stages} | {strides} | {cells} |")
    return lines


def family_of(spec: str) -> str:
    """The family of a network: timm's module, or where it is from."""
    kind, name = spec.split(":", 1)
    if kind != "timm":
        return kind
    from timm.models import _registry

    return f"timm {_registry._model_to_module.get(name.partition('?')[0], '')}".strip()


def _span(values: Iterable[float]) -> str:
    known = sorted(set(values))
    return f"{known[0]:g}" if len(known) == 1 else f"{known[0]:g}–{known[-1]:g}"


def _cell(texts: list[str]) -> str:
    """`same`, or how many are what."""
    counts = Counter(map(_word, texts))
    if len(counts) <= 1:
        return next(iter(counts), "").replace("none", "–") + (f" {len(texts)}" if len(texts) > 1 else "")
    return ", ".join(f"{word} {counts[word]}" for word in WORDS if counts[word])


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("sweep", "write"))
    parser.add_argument("rows", type=Path)
    parser.add_argument("names", nargs="*", help="networks to sweep; all without any")
    parser.add_argument("--forms", default=",".join(FORMS), help="separated by commas, eager first")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--limit", type=float, default=90, help="seconds a network")
    arguments = parser.parse_args()
    if arguments.command == "sweep":
        sweep(arguments.rows, arguments.names, arguments.forms.split(","), arguments.minutes, arguments.limit)
    else:
        write(arguments.rows)


if __name__ == "__main__":
    sys.exit(main())
