"""`shiftaudit score` as a user meets it: formats, files, options and where they come from, help, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from cli_run import InProcess, environment, installed, python
from networks import Residual, seeded, write_images

from shiftaudit import sample

SMALL = ("--size", "16", "--shifts", "3", "--max-shift", "2", "--workers", "0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("score")
    write_images(where / "images", n=4)
    (where / "labels.csv").write_text("path,label\n00.png,1\n02.png,3\n")
    torch.jit.save(torch.jit.script(seeded(Residual())), where / "model.pt")
    return where


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    return InProcess(folder, monkeypatch, capsys)


def report_of(run: InProcess, *options: object) -> dict:  # type: ignore[type-arg]
    code, out, err = run("score", "model.pt", "images", "--format", "json", *options)
    assert code == 0, err
    return json.loads(out)  # type: ignore[no-any-return]


def test_the_bundled_sample_goes_through_the_installed_command(tmp_path: Path) -> None:
    done = installed(
        *("score", sample.model_path(), sample.images_path(), "--limit", 12, "--shifts", 3, "--format", "json"),
        *("-o", "report.json", "--samples", "rows.jsonl"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "rows.jsonl"]
    assert all(line.startswith(("note: ", "warning: ")) for line in done.stderr.splitlines())
    report = json.loads(done.stdout)
    assert report["data"]["n_images"] == report["data"]["n_labelled"] == report["data"]["limit"] == 12
    assert len(report["stages"]) == 6
    assert str(sample.images_path().parent) not in done.stdout
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["image"]["path"] for row in rows[1:]] == [image["path"] for image in report["per_image"]]


def test_the_summary_is_short_and_the_whole_is_one_flag_away(run: InProcess) -> None:
    code, short, _ = run("score", "model.pt", "images", *SMALL)
    assert code == 0
    assert short.startswith("model.pt (torchscript) on 4 images")
    assert len(short.splitlines()) < 24
    code, long, _ = run("score", "model.pt", "images", *SMALL, "--full")
    assert code == 0
    assert long.index("Same answer for") < long.index("Stages, input to output")
    for out in (short, long):
        assert out.endswith("\n")
        assert not out.endswith("\n\n")


def test_the_kind_of_the_file_follows_from_its_name(run: InProcess, tmp_path: Path) -> None:
    for name, start in (("page.html", "<!DOCTYPE html>"), ("rows.csv", "model,path,"), ("report.md", "## Shift audit")):
        assert run("score", "model.pt", "images", *SMALL, "-o", tmp_path / name)[0] == 0
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)
    code, _, err = run("score", "model.pt", "images", *SMALL, "-o", "report.xlsx")
    assert code == 2
    assert "cannot tell what to write into report.xlsx" in err
    code, _, err = run("score", "model.pt", "images", *SMALL, "--full", "-f", "json")
    assert code == 2
    assert "--full is for the terminal" in err


def test_markdown_is_printed_and_the_file_is_still_json(run: InProcess, tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    target.write_text("an older report")
    code, out, _ = run("score", "model.pt", "images", *SMALL, "--format", "markdown", "-o", target)
    assert code == 0
    assert "|" in out
    assert json.loads(target.read_text())["data"]["n_images"] == 4
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_quiet_writes_nothing_on_stderr_and_the_same_report(run: InProcess) -> None:
    loud = run("score", "model.pt", "images", *SMALL, "--format", "json")
    quiet = run("score", "model.pt", "images", *SMALL, "--format", "json", "--quiet")
    assert loud[2].startswith("note: no labels: ")
    assert quiet == (0, loud[1], "")


@pytest.mark.parametrize(
    ("preset", "protocols", "shifts", "count"),
    [("zhang", ["crop"], "iid:2", 2), ("aps", ["circular"], "iid:2", 2), ("azulay", ["crop"], "diagonal", None)],
)
def test_presets_set_the_published_protocol_and_say_so(
    run: InProcess, preset: str, protocols: list[str], shifts: str, count: int | None
) -> None:
    report = report_of(run, "--size", 64, "--resize", 64, "--preset", preset, "--no-stages", "--workers", 0)
    protocol = report["protocol"]
    assert (protocol["preset"], protocol["protocols"], protocol["shifts"]) == (preset, protocols, shifts)
    views = [image["views"][protocols[0]]["shifts"] for image in report["per_image"]]
    if count is None:
        assert all(dy == dx for shifts_of in views for dy, dx in shifts_of)
    else:
        assert {len(shifts_of) for shifts_of in views} == {count}


def test_a_grid_is_the_same_full_grid_for_every_image(run: InProcess) -> None:
    report = report_of(run, *SMALL, "--shifts", "grid:2", "--protocol", "circular")
    grids = [{tuple(shift) for shift in image["views"]["circular"]["shifts"]} for image in report["per_image"]]
    expected = {(dy, dx) for dy in (-2, 0, 2) for dx in (-2, 0, 2)} - {(0, 0)}
    assert [grid - {(0, 0)} for grid in grids] == [expected] * 4


def test_stages_images_and_labels_are_chosen_by_options(run: InProcess) -> None:
    assert [stage["name"] for stage in report_of(run, *SMALL)["stages"]] == ["stem", "pool", "branch", "shortcut"]
    report = report_of(run, *SMALL, "--no-stages", "--limit", 3, "--labels", "none")
    assert report["stages"] == []
    assert (report["data"]["n_images"], report["data"]["limit"], report["data"]["n_labelled"]) == (3, 3, 0)
    report = report_of(run, *SMALL, "--no-stages", "--labels", "labels.csv")
    assert [image["label"] for image in report["per_image"]] == [1, None, 3, None]


def test_a_skipped_file_is_allowed_up_to_max_skipped(run: InProcess, folder: Path, tmp_path: Path) -> None:
    images = write_images(tmp_path / "with_bad", n=2)
    (images / "zero.png").touch()
    command = ("score", folder / "model.pt", images, *SMALL, "--no-stages", "--max-skipped")
    assert run(*command, 1)[0] == 0
    code, out, err = run(*command, 0)
    assert (code, out) == (2, "")
    assert "zero.png" in err


def test_a_flag_wins_over_the_environment_which_wins_over_the_file(
    run: InProcess, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shiftaudit.toml").write_text("[score]\nshifts = '3'\nsize = 16\nmax-shift = 2\nworkers = 0\n")
    command = ("score", folder / "model.pt", folder / "images", "--no-stages", "--format", "json")

    def shifts(*more: str) -> str:
        code, out, err = run(*command, *more)
        assert code == 0, err
        return str(json.loads(out)["protocol"]["shifts"])

    assert shifts() == "3"
    monkeypatch.setenv("SHIFTAUDIT_SCORE_SHIFTS", "4")
    assert shifts() == "4"
    assert shifts("--shifts", "5") == "5"


def test_a_list_in_the_file_is_what_commas_are_on_the_command_line(run: InProcess, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("[score]\nsize = 16\nworkers = 0\nstd = 0.25\nmean = [0.5, 0.4, 0.3]\n")
    command = ("score", "model.pt", "images", "--no-stages", "--shifts", 2, "--format", "json")
    code, out, err = run("--config", tmp_path / "own.toml", *command)
    assert code == 0, err
    assert json.loads(out)["model"]["preprocessing"]["mean"] == [0.5, 0.4, 0.3]


def test_a_version_in_the_environment_is_no_question_for_ours(run: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIFTAUDIT_VERSION", "1.2.3")
    assert run("explain", "consistency")[0] == 0


def test_debug_may_be_asked_for_in_the_environment(run: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("score", "no_such_model", sample.images_path(), "--limit", 1)
    assert "Traceback" not in run(*command)[2]
    monkeypatch.setenv("SHIFTAUDIT_DEBUG", "1")
    assert "Traceback" in run(*command)[2]


INTERRUPTED = """
import sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
from shiftaudit.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["typer", "shiftaudit.cli.patch"])
def test_ctrl_c_while_the_program_is_being_imported_is_no_traceback(module: str) -> None:
    done = python("-c", INTERRUPTED, module)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted: no result was written\n")


RUN = """
import sys, time
sys.argv = ["shiftaudit", *sys.argv[1:]]
from shiftaudit.cli.main import main
try:
    main()
except SystemExit as ended:
    assert ended.code == 0
"""

HELP = (
    RUN
    + """
assert not {"torch", "torchvision", "timm"} & set(sys.modules)
assert time.process_time() < 1, time.process_time()
"""
)


@pytest.mark.parametrize("arguments", [("--help",), ("score", "--help")])
def test_help_takes_less_than_a_second_and_imports_no_torch(arguments: tuple[str, ...]) -> None:
    done = python("-c", HELP, *arguments)
    assert done.returncode == 0, done.stderr
    assert "Usage: shiftaudit" in done.stdout


IMPORTS = (
    RUN
    + """
print({"torchvision", "torch._dynamo", "torch.distributed._functional_collectives", "sympy", "jinja2"} & set(sys.modules))
"""
)


def test_scoring_a_file_that_brings_its_preprocessing_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    # Each of these takes as long to import as torch itself, or longer than all of the program.
    command = ("score", sample.model_path(), sample.images_path(), "--limit", 2, "--stages", "-q", "-o", "report.json")
    done = python("-c", IMPORTS, *command, cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "set()"), done.stderr


def test_ctrl_c_ends_with_130_and_leaves_only_the_partial_rows(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "shiftaudit", "score", str(sample.model_path()), str(sample.images_path())]
    options = [
        "--protocol",
        "circular",
        "--shifts",
        "350",
        "-o",
        "report.json",
        "--samples",
        "rows.jsonl",
        "--workers",
        "2",
    ]
    process = subprocess.Popen(
        [*command, *options],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        partial = tmp_path / "rows.jsonl.partial"
        deadline = time.monotonic() + 60
        while not (partial.exists() and partial.read_bytes().count(b"\n") >= 2):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches the workers as well
        out, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert out == ""
        assert "Traceback" not in err
        assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl.partial"]
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)  # no worker is left
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_demo_gives_its_sample_to_the_other_commands_and_overwrites_nothing(run: InProcess, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    code, _, err = run("demo", "--copy", tmp_path, "-q")
    assert code == 2
    assert "images exists already" in err
    assert not (tmp_path / "model.pt").exists()
    code, _, err = run("demo", "--copy", tmp_path / "new", "-q")
    assert (code, err) == (0, "")
    assert (tmp_path / "new" / "model.pt").exists()
    assert len(list((tmp_path / "new" / "images").glob("*/*.jpg"))) == 80
