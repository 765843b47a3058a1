"""Shards, resumed runs and several processes write the very report that one process writes."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest
from cli_run import python
from networks import Residual, loaded, seeded, write_images

from shiftaudit.audit.audit import Audit, audit
from shiftaudit.audit.run import run
from shiftaudit.audit.samples import partial_path
from shiftaudit.audit.shards import merge
from shiftaudit.errors import InputError
from shiftaudit.images.find import find_images
from shiftaudit.records.codec import dumps
from shiftaudit.records.report import AuditReport
from shiftaudit.records.settings import RunOptions, Settings, Shard, parse_shard

SETTINGS = Settings(workers=0, shifts="3", max_shift=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = write_images(tmp_path / "images", n=9)
    (images / "broken.png").write_bytes(b"no image")
    (images / "copy.png").write_bytes((images / "03.png").read_bytes())
    return images


def fresh() -> Audit:
    return Audit(loaded(seeded(Residual())), SETTINGS)


def whole(folder: Path) -> AuditReport:
    files, skipped = find_images(folder)
    return audit(loaded(seeded(Residual())), files, SETTINGS, skipped=skipped)


@pytest.mark.parametrize("count", [1, 2, 4, 20])
def test_merged_shards_are_byte_identical_to_one_run(folder: Path, tmp_path: Path, count: int) -> None:
    files, skipped = find_images(folder)
    paths = []
    for index in range(1, count + 1):
        paths.append(tmp_path / f"{index}.jsonl")
        try:
            run(fresh(), files, {}, skipped, RunOptions(paths[-1], shard=Shard(index, count)))
        except InputError as error:
            # More shards than images: an empty one has no report of its own, but its file counts.
            assert "could be scored" in str(error)
    from shiftaudit.audit.summary import summarise

    header, lines, warnings = merge(paths[::-1])
    assert warnings == ()
    assert dumps(summarise(header, lines)) == dumps(whole(folder))


def test_a_resumed_run_is_byte_identical_to_an_uninterrupted_one(folder: Path, tmp_path: Path) -> None:
    files, skipped = find_images(folder)
    samples = tmp_path / "samples.jsonl"

    class Interrupt:
        def start(self, total: int) -> None:
            self.left = 4

        def advance(self, line: object) -> None:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(fresh(), files, {}, skipped, RunOptions(samples), observer=Interrupt())
    assert not samples.exists()
    partial = partial_path(samples)
    # A killed process may have been in the middle of a line.
    partial.write_text(partial.read_text() + '{"image": {"id": "0')
    scored = []

    class Count:
        def start(self, total: int) -> None:
            scored.append(total)

        def advance(self, line: object) -> None:
            pass

    with pytest.raises(InputError, match="rows of an unfinished run"):
        run(fresh(), files, {}, skipped, RunOptions(samples))
    report = run(fresh(), files, {}, skipped, RunOptions(samples, resume=True), observer=Count())
    assert report is not None
    assert scored == [len(files) - 3]
    assert dumps(report) == dumps(whole(folder))
    assert not partial.exists()
    again = run(fresh(), files, {}, skipped, RunOptions(samples, resume=True), observer=Count())
    assert again == report
    assert scored[-1] == 0


def test_rows_of_another_run_are_not_resumed(folder: Path, tmp_path: Path) -> None:
    files, _ = find_images(folder)
    samples = tmp_path / "samples.jsonl"
    run(fresh(), files, {}, (), RunOptions(samples))
    other = Audit(loaded(seeded(Residual())), dataclasses.replace(SETTINGS, seed=1))
    with pytest.raises(InputError, match="its protocol differs"):
        run(other, files, {}, (), RunOptions(samples, resume=True))
    other = Audit(loaded(seeded(Residual(), seed=5)), SETTINGS)
    with pytest.raises(InputError, match="its model differs"):
        run(other, files, {}, (), RunOptions(samples, resume=True))


def test_shards_that_do_not_belong_together_are_refused(folder: Path, tmp_path: Path) -> None:
    files, _ = find_images(folder)
    paths = [tmp_path / f"{index}.jsonl" for index in (1, 2, 3)]
    for index, path in enumerate(paths, start=1):
        run(fresh(), files, {}, (), RunOptions(path, shard=Shard(index, 3)))
    with pytest.raises(InputError, match="shards are missing: 2"):
        merge([paths[0], paths[2]])
    with pytest.raises(InputError, match="given twice"):
        merge([paths[0], paths[0], paths[1]])
    other = tmp_path / "other.jsonl"
    run(Audit(loaded(seeded(Residual(), seed=9)), SETTINGS), files, {}, (), RunOptions(other, shard=Shard(2, 3)))
    with pytest.raises(InputError, match="their model differs"):
        merge([paths[0], other])


def test_a_run_stops_when_consistency_is_precise_enough_and_says_so(tmp_path: Path) -> None:
    files, _ = find_images(write_images(tmp_path / "images", n=60))
    report = run(fresh(), files, {}, (), RunOptions(precision=0.2))
    assert report is not None
    assert report.data.n_images < 60
    assert report.data.precision == 0.2
    for result in report.protocols.values():
        metric = result.metrics["consistency"]
        assert metric.method == "confidence-sequence"
        assert metric.ci_low is not None
        assert metric.ci_high is not None
        assert metric.ci_low <= (metric.value or 0) <= metric.ci_high
        assert metric.ci_high - metric.ci_low <= 0.4
    everything = run(fresh(), files, {}, (), RunOptions(precision=0.0005))
    assert everything is not None
    assert everything.data.n_images == 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (RunOptions(shard=Shard(1, 2)), "needs --samples"),
        (RunOptions(resume=True), "needs the --samples"),
        (RunOptions(samples=Path("x"), shard=Shard(1, 2), precision=0.1), "excludes shards"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options: RunOptions, message: str, folder: Path) -> None:
    with pytest.raises(InputError, match=message):
        run(fresh(), find_images(folder)[0], {}, (), options)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_malformed_shard_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected i/n"):
        parse_shard(text)


SCRIPT = """
import os, time, torch
from networks import Residual, seeded

class Network(Residual):
    passes = 0
    def forward(self, x):
        Network.passes += 1
        if Network.passes == 3 and os.environ.get("RANK") == "1":
            {trouble}
        return super().forward(x)

def make():
    return seeded(Network())
"""


def torchrun(
    n: int, folder: Path, report: Path, trouble: str = "pass", **environment: str
) -> subprocess.CompletedProcess[str]:
    (folder.parent / "net.py").write_text(SCRIPT.format(trouble=trouble))
    start = ("-m", "torch.distributed.run", f"--nproc-per-node={n}") if n > 1 else ()
    score = (
        "-m",
        "shiftaudit",
        "score",
        "net:make",
        folder,
        "--size",
        16,
        "--resize",
        20,
        "--shifts",
        3,
        "--workers",
        0,
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(folder.parent)])
    return python(*start, *score, "-o", report, cwd=folder.parent, PYTHONPATH=path, **environment)


@pytest.mark.slow
def test_one_and_three_processes_write_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    reports = []
    for n in (1, 3):
        done = torchrun(n, folder, tmp_path / f"{n}.json")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("same answer for") == 2
        reports.append((tmp_path / f"{n}.json").read_bytes())
    assert reports[0] == reports[1]


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_and_leaves_no_report(folder: Path, tmp_path: Path) -> None:
    done = torchrun(2, folder, tmp_path / "report.json", trouble="os._exit(9)", SHIFTAUDIT_RANK_TIMEOUT="20")
    assert done.returncode != 0
    assert not (tmp_path / "report.json").exists()
    assert "same answer for" not in done.stdout


@pytest.mark.slow
def test_a_process_that_does_not_answer_is_named_and_leaves_no_report(folder: Path, tmp_path: Path) -> None:
    done = torchrun(2, folder, tmp_path / "report.json", trouble="time.sleep(60)", SHIFTAUDIT_RANK_TIMEOUT="8")
    assert done.returncode != 0
    assert not (tmp_path / "report.json").exists()
    assert "lost each other" in done.stderr
    assert "1" in done.stderr.split("lost each other")[1].splitlines()[0]
