"""A patched file needs nothing but torch: loaded where shiftaudit cannot be imported, it runs, trains and switches mode."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_families as small
import torch
from cli_run import python
from patch_networks import randomise
from torch import nn

from shiftaudit.surgery.patch import PatchOptions, patch

ELSEWHERE = """
import sys, warnings
sys.modules["shiftaudit"] = None  # any import of it now fails
warnings.simplefilter("ignore")
import torch

torch.set_num_threads(1)
model = torch.jit.load(sys.argv[1])
x, wanted, keys = torch.load(sys.argv[2])
assert not model.training
assert list(model.state_dict()) == keys
with torch.no_grad():
    torch.testing.assert_close(model(x), wanted)

model.train()
assert all(child.training for child in model.modules())
before = {name: value.clone() for name, value in model.state_dict().items()}
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model(x).square().mean().backward()
assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
optimizer.step()
changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
assert set(changed) >= {name for name, _ in model.named_parameters() if "weight" in name}, changed
assert all(name in changed for name in keys if name.endswith("running_mean")) == (sys.argv[3] == "scripted")

model.eval()
with torch.no_grad():
    once = model(x)
    assert torch.equal(model(x), once)
    assert not torch.equal(once, wanted)
torch.jit.save(model, sys.argv[1] + ".again")
with torch.no_grad():
    assert torch.equal(torch.jit.load(sys.argv[1] + ".again")(x), once)
print("fine")
"""


@pytest.mark.parametrize("how", ["scripted", "traced"])
def test_a_saved_file_runs_trains_and_switches_mode_without_shiftaudit(tmp_path: Path, how: str) -> None:
    torch.manual_seed(0)
    model: nn.Module = randomise(small.resnet())
    x = torch.randn(4, 3, 64, 64)
    original = torch.jit.script(model) if how == "scripted" else torch.jit.trace(model, x, check_trace=False)
    patched = patch(original, PatchOptions(filter_size=4), example_input=x).module
    with torch.no_grad():
        wanted = patched(x)
    torch.jit.save(patched, tmp_path / "patched.pt")
    torch.save((x, wanted, list(model.state_dict())), tmp_path / "expected.pt")
    script = tmp_path / "elsewhere.py"
    script.write_text(ELSEWHERE, encoding="utf-8")
    run = python(script, tmp_path / "patched.pt", tmp_path / "expected.pt", how, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "fine"
