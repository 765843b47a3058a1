from __future__ import annotations

import dataclasses
import io
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_builder import fake_report

from shiftaudit import Settings, sample, score
from shiftaudit.gate.compare import compare
from shiftaudit.records.report import AuditReport
from shiftaudit.render.html.page import render
from shiftaudit.reports import web_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


def before_and_after(before: AuditReport, after: AuditReport, **more: Mapping[str, bytes]) -> str:
    return render(before, after, compare(before, after), **more)


def taught(report: AuditReport) -> AuditReport:
    """The same of a model that was fitted on these very images: one warning more."""
    model = dataclasses.replace(report.model, taught_on=tuple(image.id[:16] for image in report.per_image))
    return dataclasses.replace(report, model=model)


def browse(page: Path, width: int, height: int, *more: str) -> str:
    command = [
        str(CHROMIUM),
        *FLAGS,
        f"--user-data-dir={page.parent / 'profile'}",
        f"--window-size={width},{height}",
        *more,
    ]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize(("width", "dark"), [(1100, False), (1100, True), (500, False)])
def test_the_page_shows_without_a_console_message(tmp_path: Path, width: int, dark: bool) -> None:
    page, screenshot = tmp_path / "report.html", tmp_path / "page.png"
    page.write_text(before_and_after(fake_report(12), fake_report(12, wobble=0.2)), encoding="utf-8")
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    log = browse(page, width, 1500, f"--screenshot={screenshot}", *scheme)
    assert "CONSOLE" not in log, log
    pixels = np.asarray(Image.open(screenshot).convert("L"))
    assert pixels.shape == (1500, width)
    assert pixels.std() > 10, "the page is empty"
    corner = pixels[:20, :8].mean()
    assert corner < 60 if dark else corner > 200


def test_the_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    """Chromium writes down every request it makes; the only address of ours in its log is the page itself."""
    page, log = tmp_path / "report.html", tmp_path / "net.json"
    hostile = '<img src="http://example.com/a.png" onerror="fetch(1)">'
    thumbnail = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(thumbnail, "JPEG")
    report = fake_report(12, source=hostile, skipped=[(hostile, hostile)], names=[hostile] * 4)
    images = {image.id: thumbnail.getvalue() for image in report.per_image}
    page.write_text(before_and_after(report, fake_report(12), thumbnails=images), encoding="utf-8")
    browse(page, 1100, 1500, f"--screenshot={tmp_path / 'page.png'}", f"--log-net-log={log}")
    text = log.read_text(encoding="utf-8", errors="replace")
    assert text.startswith("{")
    assert "example.com" not in text


def test_it_prints_on_paper_without_wasting_it(tmp_path: Path) -> None:
    page, pdf = tmp_path / "report.html", tmp_path / "report.pdf"
    page.write_text(render(fake_report(12)), encoding="utf-8")
    log = browse(page, 1100, 1500, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    assert "CONSOLE" not in log, log
    data = pdf.read_bytes()
    assert data.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", data)) <= 5


@pytest.mark.parametrize("width", [320, 390])
def test_it_fits_a_phone(tmp_path: Path, width: int) -> None:
    """Chromium's windows are at least 500 px wide, so the page is shown in a frame of the phone's width."""
    page, outer = tmp_path / "report.html", tmp_path / "phone.html"
    inner, _ = re.subn(
        r'<meta http-equiv="Content-Security-Policy"[^>]*>',
        "",
        before_and_after(fake_report(12), taught(fake_report(12))),
    )
    probe = "<script>parent.postMessage(document.documentElement.scrollWidth, '*')</script></body>"
    page.write_text(inner.replace("</body>", probe), encoding="utf-8")
    outer.write_text(
        f"<!DOCTYPE html><title>waiting</title><body><iframe src='report.html' width={width} height=800 frameborder=0>"
        "</iframe><script>onmessage = e => document.title = e.data</script>",
        encoding="utf-8",
    )
    dumped = browse(outer, 500, 900, "--dump-dom", "--virtual-time-budget=5000")
    assert int(dumped.split("<title>")[1].split("</title>")[0]) <= width


def test_nothing_runs_and_nothing_is_wider_than_a_phone(tmp_path: Path) -> None:
    """The page's own policy forbids scripts, so it is taken out of the copy that measures itself."""
    long = fake_report(12, source="a_very_long_model_name_without_any_place_to_break_it_" * 3)
    inner = before_and_after(long, fake_report(12))
    inner, policies = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", inner)
    assert policies == 1
    probe = "<script>document.title = document.documentElement.scrollWidth + ' of ' + innerWidth</script></body>"
    page = tmp_path / "phone.html"
    page.write_text(inner.replace("</body>", probe), encoding="utf-8")
    dumped = browse(page, 500, 900, "--dump-dom")
    title = dumped.split("<title>")[1].split("</title>")[0]
    content, _, window = title.partition(" of ")
    assert int(content) <= int(window)


def test_tables_can_be_sorted_and_filtered_under_the_page_s_own_policy(tmp_path: Path) -> None:
    """The policy lets the page's one script run, and no other; a copy without the policy clicks and types."""
    page, copy = tmp_path / "report.html", tmp_path / "copy.html"
    text = render(fake_report(12))
    page.write_text(text.replace("</body>", "<script>document.title = 'foreign'</script></body>"), encoding="utf-8")
    dumped = browse(page, 1100, 900, "--dump-dom")
    assert "<button" in dumped
    assert "12 of 12" in dumped
    assert "<title>foreign" not in dumped
    probe = """<script>
      const table = document.querySelector("table.filterable"), names = () => [...table.tBodies[0].rows]
        .filter((row) => !row.hidden).map((row) => row.cells[0].dataset.value.match(/\\d+/)[0]).join(" ");
      const head = table.tHead.rows[0].cells[0].firstChild, said = [];
      head.click(); said.push(names()); head.click(); said.push(names());
      const text = document.querySelector(".filter input");
      text.value = "espresso"; text.dispatchEvent(new Event("input")); said.push(names());
      document.title = said.join("|");
    </script></body>"""
    inner, _ = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    copy.write_text(inner.replace("</body>", probe.replace("\\\\", "\\")), encoding="utf-8")
    found = browse(copy, 1100, 900, "--dump-dom").split("<title>")[1].split("</title>")[0]
    down, up, filtered = (part.split() for part in found.split("|"))
    assert up == [f"{n:03d}" for n in range(12)]
    assert down == up[::-1]
    assert 0 < len(filtered) < 12


def test_the_page_is_complete_without_scripts(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    text, count = re.subn(r"script-src '[^']+'", "script-src 'none'", render(fake_report(12)))
    assert count == 1
    page.write_text(text, encoding="utf-8")
    dumped = browse(page, 1100, 900, "--dump-dom")
    assert "<button" not in dumped
    assert len(re.findall(r"<tr data-changed", dumped)) == 12
    assert re.search(r"<title>(around )?\(.+?\): [\d.]+ %, n \d+</title>", dumped)


def test_the_page_of_the_bundled_sample_is_short_on_screen_and_on_paper(tmp_path: Path) -> None:
    report = score(sample.model_path(), sample.images_path(), Settings(damage=1, workers=0))
    page, pdf = tmp_path / "report.html", tmp_path / "report.pdf"
    page.write_text(web_page(report, images=[sample.images_path()]), encoding="utf-8")
    browse(page, 1280, 900, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes())) <= 4
    inner, _ = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    probe = "<script>document.title = document.documentElement.scrollHeight</script></body>"
    page.write_text(inner.replace("</body>", probe), encoding="utf-8")
    dumped = browse(page, 1280, 900, "--dump-dom")
    assert 1000 < int(dumped.split("<title>")[1].split("</title>")[0]) < 3000
