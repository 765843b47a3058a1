"""The rules of the house: small modules, short functions, imports that point one way, tests at mirrored paths."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "shiftaudit"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Which rooms a room may import from. A room that is not named here may import from nothing.
MAY_IMPORT = {
    "version": set(),
    "errors": set(),
    "files": {"errors"},
    "processes": set(),
    "supervisor": {"errors", "processes", "records"},
    "records": {"errors", "files", "version"},
    "schema": {"records"},
    "images": {"errors", "records", "processes"},
    "views": {"errors", "records", "images"},
    "metrics": {"errors", "records", "views"},
    "stages": {"errors", "records", "views"},
    "models": {"errors", "files", "records", "images", "views", "stages"},
    "surgery": {"errors", "files", "records", "version", "images", "views", "stages", "models"},
    "audit": {"errors", "files", "records", "version", "images", "views", "metrics", "stages", "models"},
    "gate": {"errors", "files", "records", "version", "images", "views", "metrics"},
    "render": {"errors", "records", "version", "metrics"},
    "tune": {
        "errors",
        "files",
        "records",
        "version",
        "images",
        "views",
        "metrics",
        "stages",
        "models",
        "surgery",
        "audit",
    },
    "doctor": {"errors", "records", "version"},
    "sample": set(),
}
# These stand above all rooms: the command line, and what is called from Python and from test suites.
FREE = {"cli", "__init__", "__main__", "testing", "reports"}
# Methods of reports (`save`, `plot` …) hand on to what stands above, when they are called.
HANDS_ON = {PACKAGE / "records" / "shown.py"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "shiftaudit":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("shiftaudit."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("shiftaudit."))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    room = room_of(path)
    if room not in FREE and path not in HANDS_ON:
        assert set(imported_rooms(path)) - {room} <= MAY_IMPORT[room]


def test_only_the_command_line_imports_typer_and_only_it_and_render_import_rich() -> None:
    for path in MODULES:
        names = {
            (node.module or "").split(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom)
        }
        assert "typer" not in names or room_of(path) == "cli", path
        assert "rich" not in names or room_of(path) in ("cli", "render"), path


def test_modules_and_functions_are_short() -> None:
    too_long = []
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > 300:
            too_long.append(f"{path.relative_to(ROOT)}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 50:
                too_long.append(f"{path.relative_to(ROOT)}: {node.name} has {node.end_lineno - node.lineno + 1} lines")
    assert not too_long, too_long


def test_the_top_level_is_small() -> None:
    entries = [entry for entry in PACKAGE.iterdir() if entry.name != "__pycache__"]
    assert len(entries) <= 26, sorted(entry.name for entry in entries)


def test_every_file_that_the_page_about_architecture_names_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:\w+/)+\w*(?:\.py)?)`", page)
    assert len(named) > 60
    assert not [name for name in named if not (PACKAGE / name).exists() and not (ROOT / name).exists()]


def test_every_test_of_a_room_lies_in_its_folder() -> None:
    """Tests of whole behaviours lie in the room whose behaviour it is; tests of the repository in `project`."""
    rooms = {entry.name for entry in PACKAGE.iterdir() if entry.is_dir()} | {"project", "faults"}
    for path in (ROOT / "tests").rglob("test_*.py"):
        parts = path.relative_to(ROOT / "tests").parts
        if len(parts) == 1:
            assert (PACKAGE / path.name.removeprefix("test_")).is_file(), path
        else:
            assert parts[0] in rooms, path
