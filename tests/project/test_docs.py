from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_run import script_module

import shiftaudit

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("name", ["commands.md", "measures.md", "api.md"])
def test_the_reference_is_what_the_program_says(name: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert page == script_module("make_reference").PAGES[name](), "run python scripts/make_reference.py"


def test_the_reference_of_python_holds_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: .*\.(\w+)$", page, re.M)) == sorted({*shiftaudit.__all__} - {"__version__"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_images_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if target and not target.startswith(("http://", "https://")):
            assert (page.parent / target).is_file(), target


def test_every_command_that_the_docs_mention_exists() -> None:
    known = set(
        re.findall(r"^## `shiftaudit ([a-z-]+)", (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"), re.M)
    )
    assert {"score", "patch", "gate", "explain"} <= known
    for page in PAGES:
        mentioned = set(re.findall(r"`shiftaudit ([a-z][a-z-]*)", page.read_text(encoding="utf-8")))
        assert mentioned <= known, page.name


def test_the_images_are_small() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "docs" / "img").iterdir()) < 500_000
