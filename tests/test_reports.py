"""Reports in all forms, from Python and from the command line alike."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from cli_run import in_process
from report_builder import fake_report, make_report

import shiftaudit
from shiftaudit import reports


@pytest.mark.parametrize("format", reports.REPORT_FORMATS)
def test_a_report_has_every_form(format: str) -> None:
    text = shiftaudit.format_report(fake_report(4), format)
    assert text.endswith("\n")
    assert "resnet50" in text or format == "heatmap"


def test_comparisons_and_gates_have_forms_too() -> None:
    report = make_report(40)
    comparison, result = shiftaudit.compare(report, report), shiftaudit.judge(report, report)
    assert '"n_shared": 40' in shiftaudit.format_report(comparison, "json")
    assert "testsuite" in shiftaudit.format_report(result, "junit")
    with pytest.raises(shiftaudit.InputError, match="format got 'junit'; expected table, json or markdown"):
        shiftaudit.format_report(comparison, "junit")


@pytest.mark.parametrize("suffix", [".json", ".html", ".md", ".txt", ".csv", ".parquet", ".svg", ".png", ".pdf"])
def test_python_and_the_command_line_write_the_same_files(tmp_path: Path, suffix: str) -> None:
    shiftaudit.save_report(fake_report(6), tmp_path / "report.json")
    read = shiftaudit.load_report(tmp_path / "report.json")
    shiftaudit.save_report(read, tmp_path / f"python{suffix}")
    done = in_process("report", "report.json", "-o", f"shell{suffix}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"shell{suffix}").read_bytes() == (tmp_path / f"python{suffix}").read_bytes()


def test_every_command_that_reads_reports_reads_compressed_ones(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        report = make_report(40, seed=seed)
        report.save(tmp_path / f"{name}.json")
        report.save(tmp_path / f"{name}.json.gz")
    report.save(tmp_path / "again.json.gz")
    assert (tmp_path / "again.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.json.gz").read_bytes()) == (tmp_path / "a.json").read_bytes()
    answers = []
    for end in ("json", "json.gz"):
        commands = (
            f"baseline save a.{end} -o baseline.{end}",
            f"gate b.{end} -b baseline.{end} -f json",
            f"compare a.{end} b.{end} -f json",
            f"report a.{end} b.{end} -o page.html",
            f"baseline update b.{end} -b baseline.{end} --force --accept-drop",
            f"baseline show baseline.{end}",
        )
        runs = [in_process(*command.split(), cwd=tmp_path) for command in commands]
        assert not [run.stderr for run in runs if run.returncode not in (0, 1, 3) or "error" in run.stderr]
        answers.append([run.stdout for run in runs] + [(tmp_path / "page.html").read_text(encoding="utf-8")])
    assert answers[0] == answers[1]
    assert gzip.decompress((tmp_path / "baseline.json.gz").read_bytes()) == (tmp_path / "baseline.json").read_bytes()


def test_a_file_whose_kind_cannot_be_told_is_refused(tmp_path: Path) -> None:
    report = make_report(10)
    for name in ("report", "report.xlsx", "report.docx"):
        with pytest.raises(shiftaudit.InputError, match=r"end its name in \.json"):
            shiftaudit.save_report(report, tmp_path / name)
    with pytest.raises(shiftaudit.InputError, match="two reports cannot be written"):
        shiftaudit.save_report(report, tmp_path / "report.json", other=report)
    assert not list(tmp_path.iterdir())


def test_a_report_in_a_notebook_is_short_and_escaped() -> None:
    report = fake_report(4, source="<script>alert(1)</script>")
    assert repr(report).startswith("<AuditReport: <script>")
    assert len(repr(report)) < 200
    piece = report._repr_html_()
    assert "<script>" not in piece
    assert "Same answer for" in piece


def test_rows_hold_every_view_and_give_the_report_s_measures() -> None:
    report = make_report(30, wrong=0.3)
    frame = report.to_pandas()
    assert len(frame) == 30 * (1 + 2 * 8)
    for protocol in ("circular", "crop"):
        of_images = frame[frame.protocol == protocol].groupby("id").agrees.mean()
        expected = report.protocols[protocol].metrics["agreement_with_unshifted"].value
        assert of_images.mean() == pytest.approx(expected)
    accuracy = frame[frame.protocol == "unshifted"].correct.astype(float).mean()
    assert accuracy == pytest.approx(report.protocols["crop"].metrics["accuracy"].value)


def test_half_a_surrogate_pair_can_be_written_in_every_form(tmp_path: Path) -> None:
    report = make_report(2)
    odd = replace(
        report,
        model=replace(report.model, source="m\udcff.pt"),
        per_image=tuple(replace(image, path=f"\ud800{image.path}") for image in report.per_image),
        class_names=tuple(f"class \udc80 {index}" for index in range(10)),
    )
    for suffix in (".json", ".html", ".md", ".txt", ".csv", ".parquet", ".svg"):
        reports.save_report(odd, tmp_path / f"report{suffix}")
    for suffix in (".json", ".html", ".csv", ".txt"):
        reports.save_board(reports.leaderboard([odd, report]), tmp_path / f"board{suffix}")
    first = odd.to_pandas().iloc[0]
    assert (first.model, first.path[:6], first.label_name) == ("m\\udcff.pt", "\\ud800", "class \\udc80 0")
    assert "m\\udcff.pt,\\ud800" in (tmp_path / "report.csv").read_text()


def test_rows_without_labels_keep_whole_numbers() -> None:
    frame = make_report(5, labelled=False).to_pandas()
    assert frame.label.isna().all()
    assert str(frame.label.dtype) == "Int64"


def test_a_figure_shows_what_was_measured_and_opens_no_window() -> None:
    figure = make_report(60).plot()
    labels = [axis.get_xlabel() for axis in figure.get_axes()]
    assert labels.count("dx (px)") == 2
    assert any(label.startswith("distance moved (px)") for label in labels)
    assert "equivariance error (circular)" in labels
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.get_figwidth() == pytest.approx(3.35)


def test_a_figure_is_as_wide_as_its_words_and_leaves_out_cells_of_few_views() -> None:
    figure = fake_report(3).plot()
    figure.canvas.draw()
    for axis in figure.get_axes():
        box = axis.xaxis.label.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width, axis.get_xlabel()
    maps = [axis.images[0].get_array() for axis in figure.get_axes() if axis.get_xlabel() == "dx (px)"]
    assert len(maps) == 2
    assert all(values.mask.any() for values in maps), "of three images some cells have fewer than five views"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(shiftaudit.InputError, match=r"data frames need pandas.*pip install 'shiftaudit\[pandas\]'"):
        make_report(5).to_pandas()


def test_a_figure_that_cannot_be_drawn_into_a_file_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "shiftaudit.render.figures", raising=False)
    with pytest.raises(shiftaudit.InputError, match=r"figures need matplotlib.*pip install 'shiftaudit\[figures\]'"):
        shiftaudit.save_report(make_report(5), tmp_path / "figure.svg")
    assert not list(tmp_path.iterdir())
