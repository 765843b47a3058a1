from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import Residual, loaded, seeded, write_pictures
from PIL import Image

from shiftaudit.image_files import find_images
from shiftaudit.models import LoadedModel
from shiftaudit.records.report import Views
from shiftaudit.render.pictures import Frame, gif, strip
from shiftaudit.render.show import flips_by_answer, render
from shiftaudit.render.terminal import Terminal
from shiftaudit.show import Microscope, look


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return loaded(seeded(Residual()), size=32, resize=40)


@pytest.fixture(scope="module")
def seen(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Microscope:
    files, _ = find_images(write_pictures(tmp_path_factory.mktemp("pictures"), n=1, side=48))
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
    assert terminal.unicode or text.isascii()
    for protocol, views in seen.grids.items():
        flips = sum(answer != seen.prediction for answer in views.predictions)
        assert f"{protocol}: {flips} of 80" in text or f"{protocol}: no shift of 80" in text


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
    picture = Image.open(io.BytesIO(gif(frames(5))))
    assert picture.format == "GIF"
    assert picture.n_frames == 8


def test_the_strip_holds_all_panels_framed_by_their_verdict() -> None:
    picture = Image.open(io.BytesIO(strip(frames(3)))).convert("RGB")
    panel = picture.width // 3
    borders = [picture.getpixel((k * panel + 10, 10)) for k in range(3)]
    assert borders[0] == borders[2] != borders[1]


def test_a_picture_that_is_none_is_refused(model: LoadedModel, tmp_path: Path) -> None:
    from shiftaudit.errors import InputError
    from shiftaudit.image_files import ImageFile

    bad = tmp_path / "x.png"
    bad.write_text("no picture")
    with pytest.raises(InputError):
        look(model, ImageFile(bad, "x.png"))
