from __future__ import annotations

import io
import re
from dataclasses import replace

import html5lib
import pytest
from jinja2 import UndefinedError
from PIL import Image
from report_builder import CLASS_NAMES, fake_report

from shiftaudit.gate.compare import compare
from shiftaudit.records.report import AuditReport
from shiftaudit.render.grids import Grid
from shiftaudit.render.html import svg
from shiftaudit.render.html.compare import compare_part
from shiftaudit.render.html.maps import phase_maps
from shiftaudit.render.html.page import render
from shiftaudit.render.html.templating import environment

NASTY = "</code><script>alert(1)</script>\x00\ud800 & \"'\u202egpj"


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "JPEG")
    return buffer.getvalue()


def nasty_report() -> AuditReport:
    report = fake_report(source=NASTY, skipped=[(NASTY, NASTY)], names=[NASTY] * 4)
    images = tuple(replace(image, path=f"{index}{NASTY}") for index, image in enumerate(report.per_image))
    stages = tuple(replace(stage, name=NASTY + stage.name) for stage in report.stages)
    return replace(report, per_image=images, stages=stages)


def before_and_after(before: AuditReport, after: AuditReport) -> str:
    return render(before, after, compare(before, after))


PAGES = {
    "random shifts": render(fake_report(), thumbnails={f"{index:064x}": jpeg() for index in range(40)}),
    "grid and before/after": before_and_after(fake_report(grid=8), fake_report(grid=8, wobble=0.2, scale=0.4)),
    "degenerate, no stages": render(fake_report(degenerate=True, stages=False, wobble=0.0)),
    "nasty names": render(nasty_report()),
    "nothing": render(replace(fake_report(), protocols={}, stages=(), skipped_stages=(), levels=(), per_image=())),
}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_strictly_valid_html5(name: str) -> None:
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    document = parser.parse(PAGES[name])
    assert document.find("head/title") is not None
    [script] = document.findall(".//script")
    assert script.text == environment().globals["script"], "no script but the page's own"
    assert environment().globals["script_hash"] in PAGES[name]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_refers_to_nothing_outside_itself(name: str) -> None:
    document = html5lib.parse(PAGES[name], namespaceHTMLElements=False)
    for element in document.iter():
        for attribute in ("src", "href", "xlink:href", "srcset", "action", "data", "poster", "style"):
            value = element.get(attribute)
            assert value is None or value.startswith(("data:image/jpeg;base64,", "#")), (element.tag, attribute, value)
    assert not re.search(r"url\(|@import", PAGES[name])


@pytest.mark.parametrize("name", PAGES)
def test_the_contents_lead_to_parts_that_are_there(name: str) -> None:
    document = html5lib.parse(PAGES[name], namespaceHTMLElements=False)
    targets = [link.get("href", "") for link in document.findall(".//nav/a")]
    ids = {element.get("id") for element in document.iter()}
    assert targets
    assert {target.removeprefix("#") for target in targets} <= ids


@pytest.mark.parametrize("name", PAGES)
def test_images_and_drawings_have_words_for_those_who_cannot_see_them(name: str) -> None:
    document = html5lib.parse(PAGES[name], namespaceHTMLElements=False)
    assert all(image.get("alt") for image in document.iter("img"))
    assert all(drawing.get("aria-label") for drawing in document.iter("{http://www.w3.org/2000/svg}svg"))
    assert all(head.get("scope") for head in document.iter("th"))
    assert [heading.tag for heading in document.iter("h1")] == ["h1"]


def test_names_from_outside_are_shown_literally() -> None:
    document = html5lib.parse(PAGES["nasty names"], namespaceHTMLElements=False)
    names = ["".join(code.itertext()) for code in document.iter("code")]
    assert sum("</code><script>alert(1)</script>" in name for name in names) > 10
    assert not re.search("[\x00\u202e]", PAGES["nasty names"])
    PAGES["nasty names"].encode("utf-8")


def test_the_verdict_comes_first_and_the_warning_before_it() -> None:
    assert PAGES["random shifts"].index("Verdict") < PAGES["random shifts"].index("Which shifts change")
    page = PAGES["degenerate, no stages"]
    assert page.index("Warning") < page.index("Same answer")


def test_two_reports_are_shown_one_beside_the_other() -> None:
    page = PAGES["grid and before/after"]
    document = html5lib.parse(page, namespaceHTMLElements=False)
    headings = ["".join(heading.itertext()) for heading in document.iter("h3")]
    for protocol in ("circular", "crop"):
        for label in ("Before", "After"):
            assert f"{label}: share of answers that change, by shift ({protocol})" in headings
    scales = re.findall(r"share of answers that change, by shift \(crop\)</title>.*?([\d.]+ %)</text>", page, re.DOTALL)
    assert len(scales) == 2
    assert scales[0] == scales[1], "one scale, so that colours can be compared"
    assert "".join(document.find("head/title").itertext()).count(", ") == 1
    assert page.count("after: under ") == 12


def test_a_change_is_told_with_its_paired_interval_and_pale_where_it_may_be_chance() -> None:
    page = PAGES["grid and before/after"]
    told = page.partition("<header>")[2].partition("</header>")[0]
    assert re.search(
        r'consistency \(circular\) <span class="better whole">\+[\d.]+ points \[\+[\d.]+, \+[\d.]+\]</span>', told
    )
    assert re.search(r'accuracy, unshifted <span class="pale whole">0\.0 points', told.replace("+0.0", "0.0"))
    assert "Images gained" in page
    same = before_and_after(fake_report(), fake_report())
    assert 'class="better' not in same
    assert "Images gained" not in same


def test_a_model_fitted_on_these_images_is_warned_of_once_above_the_verdict() -> None:
    report = fake_report()
    model = replace(report.model, taught_on=tuple(image.id[:16] for image in report.per_image))
    fitted = replace(report, model=model)
    for page in (render(fitted), before_and_after(report, fitted)):
        assert page.count("refitted or tuned on 40 of these") == 1
        assert page.index("refitted or tuned on 40 of these") < page.index('<section id="verdict"')


def test_images_gained_and_lost_show_both_answers() -> None:
    before, after = fake_report(), fake_report(wobble=0.0)
    part = compare_part(before, after, compare(before, after))
    assert part.lost == ()
    assert len(part.gained) == 31
    assert all(one.changed_before[0] > 0 and one.changed_after == (0, 16) for one in part.gained)
    assert {one.after for one in part.gained} <= set(CLASS_NAMES)
    assert compare_part(after, before, compare(after, before)).gained == ()


def test_maps_of_one_stage_before_and_after_have_one_scale() -> None:
    groups = phase_maps([("Before", fake_report()), ("After", fake_report(scale=0.5))], 8)
    assert len(groups) == 4
    for before, after in groups:
        assert before.stage == after.stage
        assert before.drawing.end == after.drawing.end
        assert before.drawing.shades != after.drawing.shades


def test_the_page_says_it_in_a_sentence_first() -> None:
    page = PAGES["random shifts"]
    assert re.search(r'<p class="lead">\d+\sof\s40 images change their answer', page)
    still = render(fake_report(wobble=0.0))
    assert "No tried shift changes the answer of any of the 40 images." in still
    assert 'class="lead"' not in PAGES["degenerate, no stages"], "a useless model gets no praise"


def test_a_map_of_nothing_is_a_sentence_and_gaps_are_explained() -> None:
    still = render(fake_report(wobble=0.0))
    assert "No tried shift changes any answer." in still
    assert 'class="map"' not in still.partition("Which shifts change")[2].partition("</section>")[0]
    assert "Pale: no shift fell there." in render(fake_report(3))
    assert "Pale" not in PAGES["grid and before/after"]


def test_definitions_show_code_as_code() -> None:
    assert "<code>--shifts grid:STEP</code>" in PAGES["random shifts"]
    assert "`" not in PAGES["random shifts"].partition("<style>")[2].partition("</style>")[2]


def test_reports_made_differently_carry_a_warning() -> None:
    after = fake_report(grid=8)
    after = replace(after, protocol=replace(after.protocol, protocol_hash="00"))
    assert "no differences are given" in before_and_after(fake_report(grid=8), after)
    assert "no differences are given" not in PAGES["grid and before/after"]


@pytest.mark.parametrize("name", PAGES)
def test_every_part_can_be_linked_to(name: str) -> None:
    document = html5lib.parse(PAGES[name], namespaceHTMLElements=False)
    anchors = [part.get("id") for part in document.iter("section")]
    assert all(anchors)
    assert len(set(anchors)) == len(anchors)


def test_bars_and_dots_say_their_value_when_the_mouse_rests_on_them() -> None:
    svg = "{http://www.w3.org/2000/svg}"
    document = html5lib.parse(PAGES["random shifts"], namespaceHTMLElements=False)
    drawings = [drawing for drawing in document.iter(f"{svg}svg") if drawing.get("class") in ("bar", "dots")]
    assert all(drawing.findtext(f"{svg}title") for drawing in drawings)
    marks = [mark for drawing in drawings for mark in drawing.iter() if mark.get("class") in ("stay", "flip")]
    assert len(marks) == 12 * 2 * 8
    assert all(re.fullmatch(r"\(.+, .+\): .+ %", mark.findtext(f"{svg}title") or "") for mark in marks)


def test_a_stage_s_damage_is_told_with_an_interval_that_is_marked_as_approximate() -> None:
    report = fake_report()
    first = report.stages[0]
    assert first.damage is not None
    damage = replace(first.damage, variation=replace(first.damage.variation, method="approximate-t"))
    page = render(replace(report, stages=(replace(first, damage=damage),)))
    assert '0.0790<span class="dim">≈[0.0590,0.0990]</span>' in page
    changed = "2.4 % [0.4, 4.4] of answers change, n 64 on 8 images"
    assert f"<title>conv1: damage 0.0790 ≈[0.0590,0.0990], {changed}</title>" in page
    assert '0.0790<span class="dim">[0.0590, 0.0990]</span>' in render(report)


def test_every_cell_says_its_value_and_how_many_views_it_is_made_of() -> None:
    [circular, crop, *_] = html5lib.parse(PAGES["random shifts"], namespaceHTMLElements=False).findall(
        ".//*[@class='map']"
    )
    for drawing in (circular, crop):
        cells = [cell for cell in drawing.iter("{http://www.w3.org/2000/svg}path") if cell.get("class") is None]
        titles = [cell.findtext("{http://www.w3.org/2000/svg}title") for cell in cells]
        assert len(titles) >= 9
        assert all(re.fullmatch(r"(around )?\(.+, .+\): [\d.]+ %, n [\d.]+", title or "") for title in titles)
        assert "Answers change most around" in "".join(drawing.itertext())


def test_cells_of_few_views_are_hatched_and_outside_the_scale() -> None:
    grid = Grid((0, 1), (0, 1), ((0.1, 0.9), (0.2, None)), ((9, 4), (5, 0)), 1)
    drawn = svg.heat_map(grid, "a map", top=grid.highest(5), shares=True, least=5)
    assert drawn.end == "20.0 %"
    assert [cell.title for cell in drawn.few] == ["(0, +1): 90.0 %, n 4"]
    assert drawn.hatching.startswith("M1 ")
    assert sum(len(cells) for _, cells in drawn.shades) == 2


def test_all_images_are_in_the_table_and_the_definitions_fold_away() -> None:
    document = html5lib.parse(PAGES["random shifts"], namespaceHTMLElements=False)
    [table] = [table for table in document.iter("table") if "filterable" in table.get("class", "")]
    assert len(table.findall("tbody/tr")) == 40
    [words] = [part for part in document.iter("details") if part.get("id") == "definitions"]
    assert words.get("open") is None
    assert "Accuracy 80.0\N{NO-BREAK SPACE}%" in PAGES["random shifts"]


def test_thumbnails_are_embedded_only_when_given() -> None:
    assert PAGES["random shifts"].count("<img") == 12
    assert "<img" not in PAGES["grid and before/after"]


def test_templates_escape_text_and_attributes() -> None:
    made = environment().from_string('<a title="{{ title }}">{{ text }}</a>').render(text="<&>", title='"<')
    assert made == '<a title="&#34;&lt;">&lt;&amp;&gt;</a>'


@pytest.mark.parametrize("template", ["{{ missing }}", "{{ 'a'.missing }}", "{{ value }}"])
def test_a_template_that_prints_nothing_by_mistake_is_an_error(template: str) -> None:
    with pytest.raises((UndefinedError, TypeError)):
        environment().from_string(template).render(value=None)


def luminance(colour: str) -> float:
    """Of `#rgb` or `#rrggbb`, by WCAG 2."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def test_every_text_can_be_read_in_light_dark_and_print() -> None:
    style = PAGES["nothing"].partition("<style>")[2].partition("</style>")[0]
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(schemes) == 3
    for scheme in schemes:
        for ink in ("text", "dim", "good", "bad"):
            for paper in ("page", "card"):
                assert contrast(scheme[ink], scheme[paper]) >= 4.5, (ink, paper, scheme)
        if "warn" in scheme:
            assert contrast(scheme["text"], scheme["warn"]) >= 4.5
