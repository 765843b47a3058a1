"""`gate`, `baseline` and `compare` through the command line: exit codes, formats and what is written where."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from cli_run import in_process, installed
from report_builder import make_report

from shiftaudit.cli.main import main
from shiftaudit.records import codec
from shiftaudit.records.settings import Settings
from shiftaudit.schema import FOLDER

FORMATS = ("table", "json", "markdown", "junit", "github")


def run(*arguments, cwd, env=None, code=0, start=in_process):
    """The command's stdout and stderr, after its exit code was checked."""
    done = start(*arguments, cwd=cwd, **(env or {}))
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    reports = {
        "base": make_report(),
        "same": make_report(seed=2),
        "worse": make_report(seed=2, flips=0.35),
        "better": make_report(seed=2, flips=0.0),
        "few_base": make_report(30),
        "few": make_report(30, seed=2),
        "fewer": make_report(30, seed=2, flips=0.22),
        "seed": make_report(30, settings=Settings(seed=9)),
        "limited": make_report(30, limit=30),
    }
    for name, report in reports.items():
        (folder / f"{name}.json").write_text(codec.dumps(report), encoding="utf-8")
    old = json.loads(codec.dumps(reports["few"]))
    (folder / "old.json").write_text(json.dumps({**old, "schema_version": 0}), encoding="utf-8")
    (folder / "broken.json").write_text("{", encoding="utf-8")
    evil = replace(
        reports["few"], model=replace(reports["few"].model, source="a]]>\x1b[31m::error::<b>|100%\r\n::set-output")
    )
    (folder / "evil.json").write_text(codec.dumps(evil), encoding="utf-8")
    run("baseline", "save", "base.json", cwd=folder)
    run("baseline", "save", "few_base.json", "-o", "few_baseline.json", cwd=folder)
    return folder


CASES = {
    "same": (["same.json"], 0),
    "better": (["better.json"], 0),
    "worse": (["worse.json"], 1),
    "inconclusive, within the margin": (["few.json", "-b", "few_baseline.json"], 0),
    "inconclusive, beyond the margin": (["fewer.json", "-b", "few_baseline.json"], 3),
    "inconclusive, warned": (["fewer.json", "-b", "few_baseline.json", "--on-inconclusive", "warn"], 0),
    "inconclusive, passed": (["few.json", "-b", "few_baseline.json", "--on-inconclusive", "pass"], 0),
    "inconclusive, no verdict": (["few.json", "-b", "few_baseline.json", "--on-inconclusive", "fail"], 3),
    "no baseline": (["same.json", "-b", "none.json"], 3),
    "another protocol": (["seed.json", "-b", "few_baseline.json"], 3),
    "other images": (["few.json"], 3),
    "an older schema": (["old.json", "-b", "few_baseline.json"], 3),
    "the same file": (["base.json", "-b", "base.json"], 2),
    "a baseline for a candidate": (["few_baseline.json"], 2),
    "a missing candidate": (["none.json"], 2),
    "a broken candidate": (["broken.json"], 2),
    "a broken baseline": (["same.json", "-b", "broken.json"], 2),
    "an unknown metric": (["same.json", "--margin", "speed=0.1"], 2),
    "a margin without a number": (["same.json", "--margin", "consistency"], 2),
    "an unknown policy": (["same.json", "--on-inconclusive", "maybe"], 2),
    "an unknown option": (["same.json", "--marginal", "1"], 2),
    "an unwritable output": (["same.json", "-o", "no/such/folder/x"], 2),
}


NO_RESULT = ("no baseline", "another protocol", "other images", "an older schema")


@pytest.mark.parametrize("case", CASES)
def test_each_outcome_has_its_exit_code(made, case):
    arguments, code = CASES[case]
    stdout, stderr = run("gate", *arguments, cwd=made, code=code)
    assert bool(stdout) == (code != 2 and case not in NO_RESULT)
    assert bool(stdout) != bool(stderr)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("case", CASES)
def test_the_exit_code_never_depends_on_the_format(made, case, form):
    arguments, code = CASES[case]
    out, _ = run("gate", *arguments, "--format", form, cwd=made, code=code)
    decided = code != 2 and case not in NO_RESULT
    if form == "github" and case != "an unknown option":
        # Without a result, one annotation says why.
        assert decided or re.fullmatch(r"::error title=shiftaudit gate::.+\n", out)
    else:
        assert bool(out) == decided


@pytest.mark.parametrize(("name", "code"), [("same", 0), ("worse", 1)])
def test_a_step_summary_that_cannot_be_written_changes_no_verdict(made, name, code):
    env = {"GITHUB_STEP_SUMMARY": "no/such/folder/summary"}
    _, stderr = run("gate", f"{name}.json", "-f", "github", cwd=made, env=env, code=code)
    assert stderr.startswith("warning: cannot write the step summary")


def test_the_step_summary_says_why_there_is_no_verdict(made, tmp_path):
    env = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    run("gate", "same.json", "-b", "none.json", "-f", "github", cwd=made, env=env, code=3)
    text = (tmp_path / "summary").read_text()
    assert text.startswith("## Shift gate\n\n**No verdict (exit code 3)**: the baseline none.json does not exist")
    assert "\\`shiftaudit baseline save" in text


@pytest.mark.parametrize("form", FORMATS)
def test_no_locale_changes_the_exit_code(made, form, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    monkeypatch.setattr(sys, "argv", ["shiftaudit", "gate", "worse.json", "-f", form])
    monkeypatch.chdir(made)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    text = raw.getvalue().decode("utf-8")
    assert ("→" in text or "≤" in text) == (form in ("markdown", "junit", "github"))
    if form == "junit":
        ElementTree.fromstring(raw.getvalue())


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes and devices")
def test_a_reader_that_has_gone_and_a_closed_stdout_change_no_verdict(made):
    gate = f"{sys.executable} -m shiftaudit gate"
    script = f"{gate} same.json | true; echo ${{PIPESTATUS[0]}}; {gate} worse.json >&-; echo $?"
    done = subprocess.run(["bash", "-c", script], cwd=made, capture_output=True, check=False, encoding="utf-8")
    assert done.stdout.split() == ["0", "1"], done.stderr
    if Path("/dev/full").exists():
        full = subprocess.run(
            ["bash", "-c", f"{gate} same.json > /dev/full"], cwd=made, capture_output=True, check=False
        )
        assert (full.returncode, full.stderr.startswith(b"error: cannot write the result")) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--margin", "speed=0.1"],
        ["--margin", "consistency=3"],
        ["--floor", "crop.stable=-1"],
        ["--stage-limit", "conv1=2"],
        ["--stage-margin", "much"],
        ["--alpha", "0.9"],
        ["--on-inconclusive", "maybe"],
    ],
)
def test_settings_are_looked_at_before_the_baseline_and_the_model_are(made, arguments):
    _, stderr = run("gate", "no-model.pt", "no-images", "-b", "none.json", *arguments, cwd=made, code=2)
    assert arguments[1].split("=")[0] in stderr


def test_a_report_followed_by_images_is_a_mistake_that_is_named(made):
    assert "IMAGES are for a MODEL" in run("gate", "same.json", made, cwd=made, code=2)[1]


def broken(data, how):
    if how == "truncated":
        return json.dumps(data)[:5000]
    if how == "too deep":
        return "[" * 100_000
    if how == "NaN":
        return json.dumps(data).replace('"alpha"', "").replace('"degenerate": false', '"degenerate": NaN', 1)
    image = next(iter(data["images"].values())) if "images" in data else None
    if how == "count too large":
        image["views"]["crop"]["agreeing_pairs"] = 99
    elif how == "image lost":
        data["images"].popitem()
    elif how == "view lost":
        image["views"]["crop"].update(n_views=7, agreeing_pairs=0, agreeing_with_unshifted=0, correct=0)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("truncated", 2, "is not readable JSON"),
        ("too deep", 2, "is nested too deeply"),
        ("NaN", 2, "NaN is no number in JSON"),
        ("count too large", 2, "was changed after it was made"),
        ("image lost", 2, "was changed after it was made"),
        ("view lost", 2, "was changed after it was made"),
    ],
)
def test_a_damaged_baseline_is_refused_with_a_sentence(made, tmp_path, how, code, words):
    data = json.loads((made / "baseline.json").read_text())
    (tmp_path / "b.json").write_text(broken(data, how))
    _, error = run("gate", "same.json", "-b", tmp_path / "b.json", cwd=made, code=code)
    assert words in error
    assert error.count("\n") == 1


def test_the_table_keeps_its_columns_whole_in_80_columns(made):
    rules = ["--floor", "consistency=0.9", "--margin", "stable=0.1", "--stage-limit", "layer*=0.1"]
    for name, width in (("worse", 80), ("few", 80), ("few", 120), ("few", 40)):
        baseline = ["-b", "few_baseline.json"] if name == "few" else []
        columns, code = {"COLUMNS": str(width)}, int(name == "worse")
        text, _ = run("gate", f"{name}.json", *baseline, *rules, cwd=made, env=columns, code=code)
        assert max(map(len, text.splitlines())) <= width
        words = text.split()
        assert "limit" in words or width == 40
        assert "consistency" in words or "crop.consistency" in words or width == 40
        assert "10.0" in words
        assert "106.0" not in text


def test_an_unknown_format_is_a_usage_error(made):
    run("gate", "same.json", "--format", "yaml", cwd=made, code=2)


def test_an_internal_error_has_its_own_exit_code_and_no_traceback(made, tmp_path):
    # A module that fails where the gate loads it, found before the installed one.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['shiftaudit.gate.comparable'] = object()\n")
    _, stderr = run("gate", "same.json", cwd=made, env={"PYTHONPATH": str(tmp_path)}, start=installed, code=4)
    assert stderr.startswith("internal error:")
    assert "--debug" in stderr


@pytest.mark.parametrize(
    "arguments", [["gate", "same.json"], ["compare", "base.json", "same.json"], ["baseline", "show"]]
)
def test_torch_is_never_imported_on_json(made, tmp_path, arguments):
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, sys\natexit.register(lambda: sys.stderr.write('TORCH' if 'torch' in sys.modules else 'none'))\n"
    )
    _, stderr = run(*arguments, cwd=made, env={"PYTHONPATH": str(tmp_path)}, start=installed)
    assert stderr == "none"


def test_the_json_is_valid_and_holds_the_exit_code(made):
    schema = json.loads((FOLDER / "gate.schema.json").read_text())
    for name, code in (("same", 0), ("worse", 1)):
        data = json.loads(run("gate", f"{name}.json", "-f", "json", cwd=made, code=code)[0])
        jsonschema.validate(data, schema)
        assert data["exit_code"] == code


def test_the_junit_file_is_xml_that_counts_what_it_holds(made):
    for arguments, code, kind in (
        (["worse.json"], 1, "failure"),
        (["few.json", "-b", "few_baseline.json"], 0, "skipped"),
        (["few.json", "-b", "few_baseline.json", "--on-inconclusive", "fail"], 3, "error"),
    ):
        root = ElementTree.fromstring(run("gate", *arguments, "-f", "junit", cwd=made, code=code)[0])
        suite = root.find("testsuite")
        assert int(suite.get("tests")) == len(suite.findall("testcase")) == 3
        counted = {"failure": "failures", "skipped": "skipped", "error": "errors"}
        for tag, attribute in counted.items():
            assert int(suite.get(attribute)) == len(suite.findall(f"testcase/{tag}"))
        assert suite.findall(f"testcase/{kind}")


def test_github_gets_one_annotation_a_failed_metric_and_the_step_summary(made, tmp_path):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    floors = ["--floor", "crop.consistency=0.99", "--floor", "circular.consistency=0.99"]
    stdout, _ = run(
        "gate", "worse.json", *floors, "-f", "github", cwd=made, env={"GITHUB_STEP_SUMMARY": str(summary)}, code=1
    )
    errors = [line for line in stdout.splitlines() if line.startswith("::error")]
    assert len(errors) == 2
    assert all(re.match(r"::error title=[^:,]*::.*", line) for line in errors)
    assert "95.1 %25" in stdout
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("before\n## Shift gate")
    assert "❌ fail" in text


def test_no_text_from_a_report_becomes_a_workflow_command_markup_or_an_escape_sequence(made):
    for form in FORMATS:
        stdout, _ = run("gate", "evil.json", "-b", "few_baseline.json", "-f", form, cwd=made)
        assert "\x1b" not in stdout
        assert not any(line.startswith("::set-output") for line in stdout.splitlines())
        if form == "github":
            assert all(re.match(r"::(error|warning|notice) title=", line) for line in stdout.splitlines())
        if form == "markdown":
            assert "<b>" not in stdout


def test_the_result_goes_to_a_file_when_asked(made, tmp_path):
    stdout, _ = run("gate", "worse.json", "-o", tmp_path / "gate.xml", cwd=made, code=1)
    assert stdout == ""
    ElementTree.parse(tmp_path / "gate.xml")
    _, stderr = run("gate", "worse.json", "-o", tmp_path / "gate.xlsx", cwd=made, code=2)
    assert "end its name in .json, .md, .txt or .xml" in stderr


def test_an_improvement_says_refresh_the_baseline(made):
    for form in ("table", "markdown", "github"):
        assert "refresh the baseline" in " ".join(run("gate", "better.json", "-f", form, cwd=made)[0].split())
        assert "refresh the baseline" not in run("gate", "same.json", "-f", form, cwd=made)[0]


def test_an_inconclusive_gate_says_how_many_images_would_decide(made):
    stdout, _ = run("gate", "few.json", "-b", "few_baseline.json", cwd=made)
    assert re.search(r"about [\d,]+ images would decide", stdout)
    assert "PASS, NOT PROVEN: no estimate lies beyond its limit" in " ".join(stdout.split())
    assert "--on-inconclusive evidence): exit code 0" in " ".join(stdout.split())


@pytest.mark.parametrize("name", ["same", "worse", "few"])
def test_every_verdict_prints_the_smallest_drop_that_so_many_images_show(made, name):
    baseline = ["-b", "few_baseline.json"] if name == "few" else []
    for form in ("table", "markdown", "junit", "github"):
        text = " ".join(
            run("gate", f"{name}.json", *baseline, "-f", form, cwd=made, code=int(name == "worse"))[0].split()
        )
        assert re.search(r"In 4 of 5 cases these images show accuracy: a drop of [\d.]+ points", text.replace("\\", ""))


def test_what_passes_quietly_is_one_notice_on_github_and_what_does_not_says_why(made):
    quiet, _ = run("gate", "few.json", "-b", "few_baseline.json", "-f", "github", cwd=made)
    assert quiet.count("::") == 2
    assert quiet.startswith("::notice")
    loud, _ = run("gate", "fewer.json", "-b", "few_baseline.json", "-f", "github", cwd=made, code=3)
    assert "::warning" in loud
    assert "beyond the limit as far as measured, without proof" in loud


def test_a_missing_baseline_says_how_to_make_one_in_ci_and_out_of_it(made):
    for env in ({}, {"CI": "true"}):
        _, stderr = run("gate", "same.json", "-b", "none.json", cwd=made, env=env, code=3)
        assert "shiftaudit baseline save" in stderr


def test_a_baseline_is_saved_once_and_replaced_only_by_force(made, tmp_path):
    target = tmp_path / "b.json"
    run("baseline", "save", "few.json", "-o", target, cwd=made)
    before = target.read_text()
    _, stderr = run("baseline", "save", "few_base.json", "-o", target, cwd=made, code=2)
    assert "already exists" in stderr
    assert target.read_text() == before
    run("baseline", "save", "few_base.json", "-o", target, "--force", cwd=made)
    assert target.read_text() != before
    _, stderr = run("baseline", "save", "limited.json", "-o", tmp_path / "c.json", cwd=made, code=2)
    assert "--limit 30" in stderr
    assert not (tmp_path / "c.json").exists()


def test_a_baseline_is_updated_outside_ci_and_shows_what_changes(made, tmp_path):
    target = tmp_path / "b.json"
    run("baseline", "save", "few_base.json", "-o", target, cwd=made)
    before = target.read_text()
    _, stderr = run("baseline", "update", "few.json", "-b", target, cwd=made, env={"CI": "true"}, code=2)
    assert "refused to update a baseline in CI" in stderr
    run("baseline", "update", "limited.json", "-b", target, "--force", cwd=made, code=2)
    assert target.read_text() == before
    stdout, stderr = run("baseline", "update", "few.json", "-b", target, cwd=made)
    assert "circular.consistency: " in stdout
    assert "its anchor is still the measurement of" in stderr
    assert target.read_text() != before
    assert json.loads(target.read_text())["anchor"]["images"]
    assert (
        run("baseline", "update", "few.json", "-b", target, "--force", cwd=made, env={"CI": "1"})[0]
        == "nothing changes\n"
    )
    _, stderr = run("baseline", "update", "few.json", "-b", target, "--re-anchor", cwd=made)
    assert "its anchor is now this measurement instead of that of" in stderr
    assert json.loads(target.read_text())["anchor"] is None
    run("baseline", "update", "few.json", "-b", tmp_path / "none.json", cwd=made, code=3)


def test_a_baseline_is_not_lowered_unless_the_drop_is_accepted(made, tmp_path):
    target = tmp_path / "b.json"
    run("baseline", "save", "base.json", "-o", target, cwd=made)
    before = target.read_text()
    _, stderr = run("baseline", "update", "worse.json", "-b", target, cwd=made, code=2)
    assert "surely lower in circular.consistency, crop.consistency" in stderr
    assert "--accept-drop" in stderr
    assert target.read_text() == before
    run("baseline", "update", "worse.json", "-b", target, "--accept-drop", cwd=made)
    assert target.read_text() != before


def test_a_baseline_can_be_looked_at(made):
    stdout, _ = run("baseline", "show", cwd=made)
    assert "200 images, 200 labelled" in stdout
    assert "circular.consistency" in stdout
    data = json.loads(run("baseline", "show", "baseline.json", "-f", "json", cwd=made)[0])
    assert "images" not in data
    assert "anchor: this measurement" in stdout
    assert data["data"]["n_images"] == 200


@pytest.mark.parametrize("form", ["table", "json", "markdown"])
def test_compare_informs_and_never_fails(made, form):
    stdout, _ = run("compare", "base.json", "worse.json", "-f", form, cwd=made)
    # The table has the metrics of a protocol under a line of its own.
    assert ("\n crop\n   consistency " if form == "table" else "crop.consistency") in stdout.replace("\\", "")
    if form == "json":
        jsonschema.validate(json.loads(stdout), json.loads((FOLDER / "compare.schema.json").read_text()))
    run("compare", "base.json", "seed.json", "-f", form, cwd=made)


def test_compare_refuses_what_is_no_report(made):
    run("compare", "base.json", "none.json", cwd=made, code=2)
    run("compare", "base.json", "baseline.json", cwd=made, code=2)
    run("compare", "base.json", "old.json", cwd=made, code=3)
    run("compare", "base.json", "same.json", "-f", "junit", cwd=made, code=2)


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def thresholds(folder, made, *flags, env=None, name="same"):
    arguments = ["gate", made / f"{name}.json", "-b", made / "baseline.json", "-f", "json", *flags]
    data = json.loads(run(*arguments, cwd=folder, env=env)[0])
    return {verdict["name"]: -verdict["threshold"] for verdict in data["verdicts"] if verdict["rule"] == "margin"}


def test_options_come_from_the_flag_then_the_environment_then_the_file(made, tmp_path):
    folder = write(
        tmp_path, "shiftaudit.toml", '[gate]\nstage-margin = 0.4\n[gate.margin]\nconsistency = 0.1\naccuracy = "off"\n'
    )
    inner = folder / "a" / "b"
    inner.mkdir(parents=True)
    everywhere = {"circular.consistency": 0.1, "crop.consistency": 0.1}
    stages = {"stages.conv1": -0.4, "stages.layer2.0.conv2": -0.4}
    assert thresholds(inner, made) == {**everywhere, **stages}
    by_env = thresholds(
        inner, made, env={"SHIFTAUDIT_GATE_STAGE_MARGIN": "0.3", "SHIFTAUDIT_GATE_MARGIN": "crop.consistency=0.2"}
    )
    assert by_env == {**everywhere, "crop.consistency": 0.2, "stages.conv1": -0.3, "stages.layer2.0.conv2": -0.3}
    flags = ["--stage-margin", "0.2", "--margin", "consistency=0.05", "--margin", "accuracy=0.06"]
    by_flag = thresholds(inner, made, *flags, env={"SHIFTAUDIT_GATE_STAGE_MARGIN": "0.3"})
    assert by_flag == {
        "accuracy": 0.06, "circular.consistency": 0.05, "crop.consistency": 0.05,
        "stages.conv1": -0.2, "stages.layer2.0.conv2": -0.2,
    }  # fmt: skip


def test_a_stage_margin_in_a_file_can_be_taken_away(made, tmp_path):
    folder = write(tmp_path, "shiftaudit.toml", "[gate]\nstage-margin = 0.4\n")
    assert "stages.conv1" in thresholds(folder, made)
    assert "stages.conv1" not in thresholds(folder, made, "--stage-margin", "off")
    write(tmp_path, "shiftaudit.toml", "[gate]\nstage-margin = false\n")
    assert "stages.conv1" not in thresholds(folder, made)


def test_an_option_that_may_be_given_several_times_takes_one_text_too(made, tmp_path):
    folder = write(tmp_path, "shiftaudit.toml", '[gate]\nmargin = "accuracy=off"\n')
    assert "accuracy" not in thresholds(folder, made)
    write(tmp_path, "shiftaudit.toml", '[gate]\nmargin = ["accuracy=off", "crop.consistency=0.2"]\n')
    assert thresholds(folder, made) == {"circular.consistency": 0.03, "crop.consistency": 0.2}


def test_pyproject_is_read_where_there_is_no_file_of_its_own(made, tmp_path):
    folder = write(
        tmp_path, "pyproject.toml", "[project]\nname = 'x'\n[tool.shiftaudit.gate.margin]\nconsistency = 0.2\n"
    )
    assert thresholds(folder, made)["crop.consistency"] == 0.2
    write(folder, "shiftaudit.toml", "[gate.margin]\nconsistency = 0.3\n")
    assert thresholds(folder, made)["crop.consistency"] == 0.3
    write(folder, "other.toml", "[gate.margin]\nconsistency = 0.4\n")
    stdout, _ = run(
        "--config", "other.toml", "gate", made / "same.json", "-b", made / "baseline.json", "-f", "json", cwd=folder
    )
    assert '"threshold": -0.4' in stdout


def test_a_key_outside_a_table_is_for_every_command_that_has_the_option(made, tmp_path):
    folder = write(tmp_path, "shiftaudit.toml", 'format = "json"\n')
    json.loads(run("compare", made / "base.json", made / "same.json", cwd=folder)[0])
    json.loads(run("baseline", "show", made / "baseline.json", cwd=folder)[0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[gate]\nmargn = 1\n", "unknown key 'gate.margn'; did you mean margin"),
        ("[gat]\nmargin = 1\n", "unknown key 'gat'; did you mean gate"),
        ("formt = 'json'\n", "unknown key 'formt'; did you mean format"),
        ("[baseline.svae]\nforce = true\n", "unknown key 'baseline.svae'; did you mean save"),
        ("[gate.format]\nx = 1\n", "gate.format is a table"),
        ("gate = 3\n", "expected a table"),
        ("[gate\n", "not valid TOML"),
        ("[gate.margin]\nconsistency = 'lots'\n", "expected a number"),
        ("[gate.margin]\nspeed = 0.1\n", "knows no metric 'speed'"),
    ],
)
def test_a_wrong_configuration_is_a_usage_error_that_names_the_key(made, tmp_path, text, words):
    folder = write(tmp_path, "shiftaudit.toml", text)
    _, stderr = run("gate", made / "same.json", "-b", made / "baseline.json", cwd=folder, code=2)
    assert words in stderr


def test_a_missing_configuration_file_is_a_usage_error(made):
    run("--config", "none.toml", "gate", "same.json", cwd=made, code=2)
