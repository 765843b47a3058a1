from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import Residual, loaded, seeded, write_images
from PIL import Image

from shiftaudit.audit.microscope import Microscope, look
from shiftaudit.images.find import find_images
from shiftaudit.models import LoadedModel
from shiftaudit.records.report import Views
from shiftaudit.render.frames import Frame, gif, strip
from shiftaudit.render.show import flips_by_answer, render
from shiftaudit.render.terminal import Terminal


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return loaded(seeded(Residual()), size=32, resize=40)


@pytest.fixture(scope="module")
def seen(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Microscope:
    files, _ = find_images(write_images(tmp_path_factory.mktemp("images"), n=1, side=48))
    return look(model, files[0], step=1, max_shift=4)


def test_every_shift_of_the_grid_is_what_one_forward_pass_says(seen: Microscope, model: LoadedModel) -> None:
    for protocol, views in seen.grids.items():
        assert len(views.shifts) == 80
        for shift in ((-4, 3), (2, 2), (0, -1)):
            pixels = torch.from_numpy(seen.view(protocol, shift)).permute(2, 0, 1)[None].float() / 255
            with torch.inference_mode():
                logits = model((pixels - 0.5) / 0.25)[0]
            place = views.shifts.index(shift)
            assert views.predictions[place] == int(logits.argmax())
            expected = float(logits.softmax(0)[seen.prediction])
            assert views.probabilities[place] == pytest.approx(expected, abs=1e-5)


def test_the_view_moves_content_down_and_right(seen: Microscope) -> None:
    still, moved = seen.view("crop", (0, 0)), seen.view("crop", (3, 2))
    assert np.array_equal(moved[3:, 2:], still[:-3, :-2])
    assert np.array_equal(seen.view("circular", (3, 2)), np.roll(still, (3, 2), (0, 1)))


def test_the_diagonal_agrees_with_the_grid(seen: Microscope) -> None:
    for protocol, line in seen.diagonals.items():
        assert line.shifts == ((1, 1), (2, 2), (3, 3), (4, 4))
        grid = seen.grids[protocol]
        for shift, probability in zip(line.shifts, line.probabilities, strict=True):
            assert probability == pytest.approx(grid.probabilities[grid.shifts.index(shift)], abs=1e-5)


def test_flips_are_grouped_by_answer_nearest_shift_first() -> None:
    views = Views(((4, 4), (1, 0), (0, 2), (3, 3)), (7, 7, 1, 2), (0.1,) * 4, (0.0,) * 4, 0)
    assert flips_by_answer(views, 1) == {7: [(1, 0), (4, 4)], 2: [(3, 3)]}


@pytest.mark.parametrize("terminal", [Terminal(40), Terminal(80), Terminal(80, unicode=False)])
def test_the_text_fits_and_counts_the_flips(seen: Microscope, terminal: Terminal) -> None:
    text = render(
        seen.path,
        seen.prediction,
        seen.probability,
        seen.grids,
        seen.diagonals,
        ["\x1b[31ma", "b", "c", "d", "e"],
        terminal,
    )
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= terminal.width
    assert terminal.unicode or text.isascii()
    for protocol, views in seen.grids.items():
        flips = sum(answer != seen.prediction for answer in views.predictions)
        assert f"{protocol}: {flips} of 80" in text or f"{protocol}: no shift of 80" in text


def made_up(step: int) -> Views:
    """Answer 1 below the diagonal, 2 far to the left, and a probability that falls with the distance."""
    shifts = [(y, x) for y in range(-8, 9, step) for x in range(-8, 9, step) if y or x]
    answers = [2 if x < -4 else 1 if y > x else 0 for y, x in shifts]
    return Views(
        tuple(shifts), tuple(answers), tuple(0.9 - (y * y + x * x) / 200 for y, x in shifts), (0.0,) * len(shifts), 0
    )


@pytest.mark.parametrize(
    ("name", "terminal"),
    [
        ("show_80", Terminal(80)),
        ("show_120", Terminal(120)),
        ("show_40", Terminal(40)),
        ("show_colour_80", Terminal(80, colour=True, true_colour=True)),
    ],
)
def test_the_text_is_the_golden_one(golden: Callable[[str, str], None], name: str, terminal: Terminal) -> None:
    line = Views(
        tuple((k, k) for k in range(1, 9)),
        (0, 0, 1, 1, 0, 2, 0, 0),
        tuple(1 - k / 10 for k in range(8)),
        (0.0,) * 8,
        0,
    )
    names = ("cat", "<b>dog</b>", "a very long name of a class " * 3)
    grids = {"circular": made_up(1), "crop": made_up(4)}
    text = render("cats/7.jpg", 0, 0.9, grids, {"circular": line, "crop": line}, names, terminal)
    golden(text, f"{name}.txt")


def test_the_letters_on_the_map_are_those_of_the_list() -> None:
    text = render("x", 0, 0.9, {"circular": made_up(4)}, {}, ("cat", "dog", "cow"), Terminal(80))
    assert re.search(r"a = dog: 6 shifts", text)
    assert re.search(r"b = cow: 5 shifts", text)
    rows = re.findall(r"^ *(?:[−+]?\d)? {1,5}(\S.{9})$", text, re.M)
    assert "".join(rows).count("aa") == 6
    assert "".join(rows).count("bb") == 5


def frames(n: int) -> list[Frame]:
    rng = np.random.default_rng(0)
    return [
        Frame(
            rng.integers(0, 255, (32, 32, 3), dtype=np.uint8),
            f"moved (−{k}, +{k}) px",
            "a very long name " * 9,
            k / n,
            k % 2 == 0,
        )
        for k in range(n)
    ]


def test_the_animation_goes_there_and_back() -> None:
    image = Image.open(io.BytesIO(gif(frames(5))))
    assert image.format == "GIF"
    assert image.n_frames == 8


def test_the_strip_holds_all_panels_framed_by_their_verdict() -> None:
    image = Image.open(io.BytesIO(strip(frames(3)))).convert("RGB")
    panel = image.width // 3
    borders = [image.getpixel((k * panel + 10, 10)) for k in range(3)]
    assert borders[0] == borders[2] != borders[1]


def test_a_image_that_is_none_is_refused(model: LoadedModel, tmp_path: Path) -> None:
    from shiftaudit.errors import InputError
    from shiftaudit.images.file import ImageFile

    bad = tmp_path / "x.png"
    bad.write_text("no image")
    with pytest.raises(InputError, match=r"cannot read .*x\.png: not a JPEG"):
        look(model, ImageFile(bad, "x.png"))
