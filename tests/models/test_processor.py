"""What image processors do, measured, against their own pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers as hf
from image_files import as_file
from PIL import Image

from shiftaudit.errors import InputError
from shiftaudit.images.decode import decode
from shiftaudit.models.processor import SQUEEZED, measured

CROP = {"crop_size": {"height": 64, "width": 64}}
STATISTICS = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
PROCESSORS: dict[str, tuple[Any, int]] = {
    "convnext": (hf.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.875), 73),
    "mobilenet": (hf.MobileNetV2ImageProcessor(size={"shortest_edge": 73}, **CROP), 73),
    "poolformer": (hf.PoolFormerImageProcessor(size={"shortest_edge": 64}, crop_pct=0.9, **CROP), 71),
    "bit": (hf.BitImageProcessor(size={"shortest_edge": 90}, **CROP), 90),
    "levit": (hf.LevitImageProcessor(size={"shortest_edge": 64}, **CROP), 73),
    "mobilevit": (hf.MobileViTImageProcessor(size={"shortest_edge": 72}, **CROP), 72),
    "vit": (hf.ViTImageProcessor(size={"height": 64, "width": 64}, **STATISTICS), 64),
    "efficientnet": (hf.EfficientNetImageProcessor(size={"height": 64, "width": 64}, resample=3), 64),
}


def a_photograph(path: Path, height: int, width: int) -> Image.Image:
    small = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    image.save(path)
    return image


@pytest.mark.parametrize("name", PROCESSORS)
def test_the_tool_s_pixels_are_the_processor_s(tmp_path: Path, name: str) -> None:
    processor, resize = PROCESSORS[name]
    found = measured(processor, 3)
    assert found is not None
    used = found.preprocessing
    assert (used.size, used.resize) == (64, resize)
    # Where a processor squeezes, the two agree on square images alone.
    image = a_photograph(tmp_path / "a.png", 150, 150 if used.source == SQUEEZED else 220)
    theirs = processor(images=image, return_tensors="pt")["pixel_values"][0].numpy()
    ours = decode(as_file(tmp_path / "a.png"), used, used.size).pixels / 255
    ours = (ours - np.reshape(used.mean, (3, 1, 1))) / np.reshape(used.std, (3, 1, 1))
    ours = ours[::-1] if found.reversed_channels else ours
    # Of two pixels in the middle this library cuts at one and torchvision, now and then, at the other.
    inner, places = ours[:, 1:-1, 1:-1], [(y, x) for y in range(3) for x in range(3)]
    differ = min(abs(inner - theirs[:, y : y + 62, x : x + 62]).max() for y, x in places)
    assert differ * min(used.std) < 3 / 255
    assert (used.source == SQUEEZED) == (name in ("vit", "efficientnet"))
    assert found.reversed_channels == (name == "mobilevit")


def test_a_processor_that_keeps_the_size_or_fails_tells_nothing() -> None:
    assert measured(hf.ViTImageProcessor(do_resize=False), 3) is None
    assert measured(hf.ViTImageProcessor(), 1) is None
    assert measured(object(), 3) is None


def test_an_input_that_is_not_square_is_refused() -> None:
    with pytest.raises(InputError, match="makes images of 64×96; only square inputs can be scored"):
        measured(hf.ViTImageProcessor(size={"height": 64, "width": 96}), 3)
