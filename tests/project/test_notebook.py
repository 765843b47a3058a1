"""The notebook in examples/ runs from its first cell to its last, and is kept without outputs."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = json.loads((Path(__file__).parents[2] / "examples" / "notebook.ipynb").read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def shown(source: str, names: dict[str, Any]) -> Any:
    """What a notebook shows under a cell: the value of its last line, where that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "notebook.ipynb", "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "notebook.ipynb", "eval"), names)


def test_it_holds_no_outputs() -> None:
    assert NOTEBOOK["nbformat"] == 4
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in CODE)


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    values = [shown("".join(cell["source"]), names) for cell in CODE]
    assert "Same answer for" in values[0]._repr_html_()
    assert any(hasattr(value, "_repr_png_") and value._repr_png_() for value in values)
    ours, audits = values[-1]
    assert ours == pytest.approx(audits)
    assert "80 images shared" in capsys.readouterr().out
