"""ONNX graphs are read like the networks they were exported from, and what is changed computes what it should."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from networks import Residual, seeded
from onnx_files import EXPORTERS, answers, exported, model_of
from patch_networks import Chain, randomise
from torch import Tensor, fx, nn

from shiftaudit.errors import PatchError
from shiftaudit.models.carried import Carried
from shiftaudit.models.onnx.program import read_program
from shiftaudit.records.patch import PatchOptions, PatchRecord, SiteRecord
from shiftaudit.surgery.onnx.write import onnx_bytes
from shiftaudit.surgery.patch import patch, plan_patch

ALL = PatchOptions(stem=True, patchify=True)
IMAGE = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
FLOAT = onnx.TensorProto.FLOAT


def residual() -> nn.Module:
    return seeded(Residual())


def chain() -> nn.Module:
    torch.manual_seed(0)
    return randomise(Chain())


class Pools(nn.Module):
    """Pools of every kind behind each other, with windows that hang over the edge."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.max = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.avg = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.avg(self.max(torch.relu(self.conv(x)))).flatten(1)


def pools() -> nn.Module:
    torch.manual_seed(0)
    return Pools().eval()


class Sliced(nn.Module):
    """Strided slices of both layouts, as in patch merging."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)[:, :, ::2, 1::2].permute(0, 2, 3, 1)
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
        return x.mean((1, 2))


def sliced() -> nn.Module:
    torch.manual_seed(0)
    return Sliced().eval()


NETWORKS = (residual, chain, pools, sliced)


def program_of(data: bytes | onnx.ModelProto) -> fx.GraphModule:
    model = onnx.load_from_string(data) if isinstance(data, bytes) else data
    stored = {tensor.name for tensor in model.graph.initializer}
    return read_program(model, next(value.name for value in model.graph.input if value.name not in stored))


def rewritten(data: bytes | onnx.ModelProto, options: PatchOptions, image: Tensor = IMAGE) -> bytes:
    module = patch(program_of(data), options, example_input=image).module
    assert isinstance(module, fx.GraphModule)
    return onnx_bytes(module, Carried().to_json(), image)


def facts(record: PatchRecord) -> list[tuple[Any, ...]]:
    """All that a site says of itself but for its name, and for the norms that an export folds away."""

    def of(site: SiteRecord) -> tuple[Any, ...]:
        return (
            site.op, site.kernel, site.stride, site.channels, site.input_size, site.output_size, site.filter_size,
            site.pad, site.drift, site.macs_before, site.macs_after,
        )  # fmt: skip

    return [of(site) for site in record.sites]


@pytest.mark.parametrize("how", EXPORTERS)
@pytest.mark.parametrize("build", NETWORKS)
def test_sites_and_decisions_are_those_of_the_network(build: Any, how: str) -> None:
    wanted = plan_patch(build(), ALL, example_input=IMAGE)
    got = plan_patch(program_of(exported(build, how)), ALL, example_input=IMAGE)
    assert facts(got) == facts(wanted)
    if build is not chain:  # its batch-norm is folded into the convolution, so that the blur goes behind that
        folded = [(site.action, site.reason.replace("norm → ", "")) for site in wanted.sites]
        assert [(site.action, site.reason) for site in got.sites] == folded
    assert (got.backend, got.drift, got.macs_before, got.macs_after) == (
        "onnx", wanted.drift, wanted.macs_before, wanted.macs_after,
    )  # fmt: skip


@pytest.mark.parametrize("how", EXPORTERS)
@pytest.mark.parametrize("build", NETWORKS)
def test_a_filter_of_size_1_changes_no_answer_of_the_runtime(build: Any, how: str) -> None:
    data = exported(build, how)
    same = rewritten(data, PatchOptions(filter_size=1, stem=True, patchify=True))
    np.testing.assert_allclose(answers(same, IMAGE)[0], answers(data, IMAGE)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pad", ["reflect", "replicate", "zeros", "circular"])
@pytest.mark.parametrize("build", NETWORKS)
def test_the_runtime_computes_what_the_patched_network_computes(build: Any, pad: Any) -> None:
    options = PatchOptions(filter_size=4, stem=True, patchify=True, pad=pad)
    with torch.no_grad():
        wanted = patch(build(), options, example_input=IMAGE).module(IMAGE)
    got = answers(rewritten(exported(build, "torchscript"), options), IMAGE)[0]
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-4, atol=1e-4)


class Depthwise(nn.Module):
    """Strided depthwise convolutions without padding."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, 1, groups=3), nn.Conv2d(6, 6, 3, 2, groups=6)
        self.third = nn.Conv2d(6, 6, 2, 2, groups=6)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.third(x).flatten(1)


def depthwise() -> nn.Module:
    torch.manual_seed(0)
    return Depthwise().eval()


@pytest.mark.parametrize(("pad", "extra"), [("zeros", 0), ("reflect", 2), ("circular", 2)])
@pytest.mark.parametrize("how", EXPORTERS)
def test_a_folded_filter_leaves_the_nodes_of_the_file_and_the_same_answers(how: Any, pad: Any, extra: int) -> None:
    data = exported(depthwise, how)
    options = PatchOptions(stem=True, patchify=True, placement="pre-conv", pad=pad)
    folded = rewritten(data, replace(options, fold=True))
    np.testing.assert_allclose(answers(folded, IMAGE)[0], answers(rewritten(data, options), IMAGE)[0], atol=1e-5)
    before, after = (onnx.load_from_string(file).graph for file in (data, folded))
    convolutions = [node for node in after.node if node.op_type == "Conv"]
    assert len(convolutions) == sum(node.op_type == "Conv" for node in before.node)
    kernels = {tensor.name: tuple(tensor.dims) for tensor in after.initializer}
    assert [kernels[node.input[1]][2:] for node in convolutions] == [(3, 3), (5, 5), (4, 4)]
    assert (len(after.node) > len(before.node)) == bool(extra)


def test_the_rest_of_the_file_stays_as_it_is() -> None:
    before = onnx.load_from_string(exported(residual, "torchscript"))
    before.metadata_props.add(key="author", value="someone")
    after = onnx.load_from_string(rewritten(before, PatchOptions(skip=("/stem*",))))
    assert (after.ir_version, after.opset_import) == (before.ir_version, before.opset_import)
    assert {entry.key for entry in after.metadata_props} == {"author", "shiftaudit.json"}
    assert (after.graph.input, after.graph.output) == (before.graph.input, before.graph.output)
    names = [node.name for node in after.graph.node if "blur" not in node.name]
    assert sorted(names) == sorted(node.name for node in before.graph.node)
    kept = {node.name: node for node in after.graph.node}
    assert kept["/stem/Conv"] == next(node for node in before.graph.node if node.name == "/stem/Conv")
    assert {node.op_type for node in after.graph.node if "blur" in node.name} == {"Pad", "Conv"}


def test_half_precision_stays_half() -> None:
    image = IMAGE.half()
    data = exported(residual, "torchscript", half=True)
    after = onnx.load_from_string(rewritten(data, PatchOptions(), image))
    kinds = {tensor.data_type for tensor in after.graph.initializer}
    assert kinds <= {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64}
    same = rewritten(data, PatchOptions(filter_size=1, stem=True), image)
    np.testing.assert_allclose(answers(same, image)[0], answers(data, image)[0], atol=0.02)


def weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_padding_that_the_stride_decides_is_kept() -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["image", "w"], ["a"], auto_pad="SAME_UPPER", strides=[2, 2]),
        make("MaxPool", ["a"], ["b"], auto_pad="SAME_LOWER", strides=[2, 2], kernel_shape=[2, 2]),
        make("Conv", ["b", "v"], ["c"], strides=[2, 2], pads=[0, 0, 1, 1]),
        make("Flatten", ["c"], ["out"]),
    ]
    stored = {"w": weight(4, 3, 3, 3), "v": weight(4, 4, 3, 3)}
    model = model_of(nodes, [("image", FLOAT, (1, 3, 15, 15))], ["out"], stored)
    image = IMAGE[:, :, 1:, 1:]
    record = plan_patch(program_of(model), ALL, example_input=image)
    assert [(site.name, site.output_size) for site in record.sites] == [
        ("Conv_1", (8, 8)), ("MaxPool_1", (4, 4)), ("Conv_2", (2, 2)),
    ]  # fmt: skip
    same = rewritten(model, PatchOptions(filter_size=1, stem=True), image)
    np.testing.assert_allclose(answers(same, image)[0], answers(model, image)[0], rtol=1e-5, atol=1e-5)


def test_a_map_that_leaves_the_graph_leaves_it_filtered() -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["image", "w"], ["a"]),
        make("MaxPool", ["a"], ["map"], strides=[2, 2], kernel_shape=[2, 2]),
        make("GlobalAveragePool", ["map"], ["mean"]),
        make("Flatten", ["mean"], ["out"]),
    ]
    model = model_of(nodes, [("image", FLOAT, (1, 3, 16, 16))], ["map", "out"], {"w": weight(4, 3, 3, 3)})
    with torch.no_grad():
        wanted = patch(program_of(model), ALL, example_input=IMAGE).module(IMAGE)
    got = answers(rewritten(model, ALL), IMAGE)
    for value, name in zip(got, ("map", "out"), strict=True):
        np.testing.assert_allclose(value, wanted[name].numpy(), rtol=1e-5, atol=1e-5)


def test_graphs_that_cannot_be_patched_are_refused_in_a_sentence() -> None:
    make = onnx.helper.make_node
    nodes = [
        make("QuantizeLinear", ["image", "s"], ["q"]),
        make("DequantizeLinear", ["q", "s"], ["x"]),
        make("Conv", ["x", "w"], ["a"], strides=[2, 2]),
        make("Flatten", ["a"], ["out"]),
    ]
    stored = {"s": np.float32(0.1).reshape(()), "w": weight(4, 3, 3, 3)}
    inputs = [("image", FLOAT, (1, 3, 16, 16))]
    with pytest.raises(PatchError, match="quantised tensors"):
        rewritten(model_of(nodes, inputs, ["out"], stored), ALL)
    nodes = [make("Conv", ["image", "w"], ["a"], strides=[2, 2]), make("Flatten", ["a"], ["out"])]
    with pytest.raises(PatchError, match="opset 9; patching takes 11 and later"):
        rewritten(model_of(nodes, inputs, ["out"], {"w": weight(4, 3, 3, 3)}, opset=9), ALL)


def test_a_filter_that_is_there_already_is_left() -> None:
    kernel = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]).astype(np.float32)
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["image", "w"], ["a"], name="first"),
        make("Conv", ["a", "k"], ["b"], name="blur", group=4, strides=[2, 2]),
        make("Flatten", ["b"], ["out"]),
    ]
    stored = {"w": weight(4, 3, 3, 3), "k": np.broadcast_to(kernel, (4, 1, 3, 3)).copy()}
    model = model_of(nodes, [("image", FLOAT, (1, 3, 16, 16))], ["out"], stored)
    (site,) = plan_patch(program_of(model), ALL, example_input=IMAGE).sites
    assert (site.name, site.action, site.reason) == ("blur", "leave", "its weights are fixed: it is a filter already")


def test_weights_that_are_copied_or_computed_in_the_file_are_learned_all_the_same() -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Identity", ["b"], ["same"]),
        make("Transpose", ["w"], ["turned"], perm=[3, 2, 1, 0]),
        make("Conv", ["image", "turned", "b"], ["a"], name="first"),
        make("Conv", ["a", "v", "same"], ["c"], name="second", strides=[2, 2]),
        make("Mul", ["v", "v"], ["squared"]),
        make("Conv", ["c", "squared", "same"], ["d"], name="third", strides=[2, 2]),
        make("Flatten", ["d"], ["out"]),
    ]
    stored = {"w": weight(3, 3, 3, 4), "v": weight(4, 4, 3, 3), "b": weight(4)}
    model = model_of(nodes, [("image", FLOAT, (1, 3, 16, 16))], ["out"], stored)
    before = answers(model, IMAGE)[0]
    sites = plan_patch(program_of(model), ALL, example_input=IMAGE).sites
    assert [(site.name, site.action) for site in sites] == [("second", "blur_after_op"), ("third", "blur_after_op")]
    same = rewritten(model, PatchOptions(filter_size=1))
    np.testing.assert_allclose(answers(same, IMAGE)[0], before, rtol=1e-5, atol=1e-4)
