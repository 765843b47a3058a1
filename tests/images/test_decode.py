"""Decoding images: every format, every way a file can be bad, torchvision as the oracle."""

from __future__ import annotations

import builtins
import hashlib
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from image_files import EXACT, as_file, noise, preset, save
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from shiftaudit.errors import InputError
from shiftaudit.images import file as image_file
from shiftaudit.images.decode import decode
from shiftaudit.images.file import ImageFile, UnreadableImageError
from shiftaudit.records.report import Preprocessing


def pixels_of(file: ImageFile, preprocessing: Preprocessing = EXACT) -> np.ndarray:
    return decode(file, preprocessing, preprocessing.size).pixels


def reason_of(path: Path) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        decode(as_file(path), EXACT, 8)
    assert str(path) not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"])
@pytest.mark.parametrize(("height", "width"), [(37, 53), (53, 37), (20, 31), (16, 16), (9, 13), (100, 21), (21, 20)])
@pytest.mark.parametrize(("size", "resize"), [(16, 20), (17, 20), (16, 16), (15, 22)])
def test_pixels_are_exactly_those_of_torchvision(
    tmp_path: Path, height: int, width: int, size: int, resize: int, interpolation: str
) -> None:
    file = save(tmp_path / "a.png", noise(height, width))
    reference = transforms.Compose(
        [transforms.Resize(resize, InterpolationMode(interpolation)), transforms.CenterCrop(size)]
    )
    expected = np.asarray(reference(Image.open(file.path).convert("RGB"))).transpose(2, 0, 1)
    pixels = decode(file, preset(size, resize, interpolation=interpolation), size).pixels
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, expected)


def test_grey_pixels_are_exactly_those_of_torchvision(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", noise(31, 47))
    reference = transforms.Compose([transforms.Grayscale(), transforms.Resize(20), transforms.CenterCrop(16)])
    expected = np.asarray(reference(Image.open(file.path)))[None]
    np.testing.assert_array_equal(decode(file, preset(channels=1), 16).pixels, expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_may_be_written_to_and_lie_in_order(tmp_path: Path, channels: int) -> None:
    # Tensors share their memory, and PyTorch warns of memory it may not write to.
    pixels = decode(save(tmp_path / "a.png", noise(31, 47)), preset(channels=channels), 16).pixels
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize(("height", "width"), [(37, 53), (54, 37), (40, 41), (41, 45)])
def test_the_centre_of_a_larger_canvas_is_what_torchvision_would_crop(tmp_path: Path, height: int, width: int) -> None:
    file = save(tmp_path / "a.png", noise(height, width))
    pixels = decode(file, preset(size=16, resize=30), 24).pixels
    reference = transforms.Compose([transforms.Resize(30), transforms.CenterCrop(16)])
    expected = np.asarray(reference(Image.open(file.path))).transpose(2, 0, 1)
    assert pixels.shape == (3, 24, 24)
    np.testing.assert_array_equal(pixels[:, 4:20, 4:20], expected)


def test_a_canvas_larger_than_the_resize_enlarges_the_image(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", noise(33, 50))
    expected = np.asarray(
        transforms.Compose([transforms.Resize(28), transforms.CenterCrop(28)])(Image.open(file.path))
    ).transpose(2, 0, 1)
    np.testing.assert_array_equal(decode(file, preset(size=16, resize=20), 28).pixels, expected)


def test_an_unknown_interpolation_is_an_input_error(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", noise(20, 20))
    with pytest.raises(InputError, match="unknown interpolation 'cubic'; use one of"):
        decode(file, preset(interpolation="cubic", resize=16), 16)


def test_the_id_is_the_hash_of_the_bytes(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", noise(8, 8))
    decoded = decode(file, EXACT, 8)
    assert (decoded.id, decoded.relative) == (hashlib.sha256(file.path.read_bytes()).hexdigest(), "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp"])
def test_lossless_formats_give_the_pixels_back(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    file = save(tmp_path / name, noise(8, 8), **options)
    np.testing.assert_array_equal(pixels_of(file), noise(8, 8).transpose(2, 0, 1))


def test_a_jpeg_is_decoded_as_pillow_does(tmp_path: Path) -> None:
    file = save(tmp_path / "a.jpg", noise(8, 8), quality=95)
    np.testing.assert_array_equal(pixels_of(file), np.asarray(Image.open(file.path)).transpose(2, 0, 1))


ORIENTED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_the_exif_orientation_is_applied_once(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = noise(8, 12)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = save(tmp_path / f"a.{suffix}", stored, exif=exif)
    upright = ORIENTED[orientation](stored)
    top, left = (upright.shape[0] - 8) // 2, (upright.shape[1] - 8) // 2
    expected = upright[top : top + 8, left : left + 8].transpose(2, 0, 1)
    np.testing.assert_array_equal(pixels_of(file), expected)


def test_damaged_metadata_does_not_lose_the_image(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", noise(8, 8), exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12garbage")
    np.testing.assert_array_equal(pixels_of(file), noise(8, 8).transpose(2, 0, 1))


def test_grey_palette_and_two_level_images_become_colour(tmp_path: Path) -> None:
    grey = noise(8, 8)[..., 0]
    np.testing.assert_array_equal(pixels_of(save(tmp_path / "l.png", grey)), np.stack([grey] * 3))
    np.testing.assert_array_equal(pixels_of(save(tmp_path / "1.png", grey > 127)), np.stack([(grey > 127) * 255] * 3))
    palette = Image.fromarray(noise(8, 8)).quantize(16)
    palette.save(tmp_path / "p.png")
    expected = np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(pixels_of(as_file(tmp_path / "p.png")), expected)


def test_alpha_is_dropped_as_in_training_pipelines(tmp_path: Path) -> None:
    alpha = np.random.default_rng(1).integers(0, 256, (8, 8, 1), dtype=np.uint8)
    rgba = save(tmp_path / "rgba.png", np.concatenate([noise(8, 8), alpha], 2))
    np.testing.assert_array_equal(pixels_of(rgba), noise(8, 8).transpose(2, 0, 1))
    grey = noise(8, 8)[..., :1]
    la = save(tmp_path / "la.png", np.concatenate([grey, alpha], 2))
    np.testing.assert_array_equal(pixels_of(la), np.stack([grey[..., 0]] * 3))
    palette = Image.fromarray(noise(8, 8)).quantize(16)
    palette.save(tmp_path / "p.png", transparency=bytes(range(0, 256, 16)))  # Pillow warns about these
    expected = np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(pixels_of(as_file(tmp_path / "p.png")), expected)


def test_cmyk_is_converted(tmp_path: Path) -> None:
    image = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    image.save(tmp_path / "a.tif")
    image.save(tmp_path / "a.jpg", quality=100)
    for name in ("a.tif", "a.jpg"):
        np.testing.assert_allclose(pixels_of(as_file(tmp_path / name))[:, 0, 0], (0, 255, 255), atol=2)


def sixteen_bits() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 65536, (8, 8), dtype=np.uint16)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, name: str) -> None:
    values = sixteen_bits()
    file = save(tmp_path / name, values)
    np.testing.assert_array_equal(pixels_of(file, preset(8, 8, channels=1)), (values >> 8)[None])
    np.testing.assert_array_equal(pixels_of(file), np.stack([values >> 8] * 3))


def tiff_16(values: np.ndarray, bits: int, photometric: int) -> bytes:
    """A little-endian uncompressed grey TIFF of 16-bit (or bit-packed 12-bit) values, written from its definition."""
    height, width = values.shape
    if bits == 16:
        data = values.astype("<u2").tobytes()
    else:
        packed = "".join(f"{int(value):012b}" for value in values.reshape(-1))
        data = int(packed, 2).to_bytes(len(packed) // 8, "big")
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 0), (277, 1), (278, height)]
    tags.append((279, len(data)))
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in tags)
    return struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags)) + entries + bytes(4) + data


def test_tiffs_with_twelve_bits_or_white_as_zero_are_scaled(tmp_path: Path) -> None:
    values = sixteen_bits()
    (tmp_path / "white.tif").write_bytes(tiff_16(values, 16, photometric=0))
    np.testing.assert_array_equal(pixels_of(as_file(tmp_path / "white.tif"))[0], 255 - (values >> 8))
    (tmp_path / "twelve.tif").write_bytes(tiff_16(values >> 4, 12, photometric=1))
    np.testing.assert_array_equal(pixels_of(as_file(tmp_path / "twelve.tif"))[0], values >> 8)


def test_sixteen_bit_colour_is_scaled(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 65536, (8, 8, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    (tmp_path / "a.png").write_bytes(png_of(8, 8, bit_depth=16, data=zlib.compress(rows)))
    np.testing.assert_array_equal(pixels_of(as_file(tmp_path / "a.png")), (values >> 8).transpose(2, 0, 1))


def png_of(width: int, height: int, *, bit_depth: int, data: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_values_without_a_range_are_refused(tmp_path: Path, dtype: type) -> None:
    save(tmp_path / "a.tif", noise(8, 8)[..., 0].astype(dtype))
    assert "32-bit" in reason_of(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.webp", "a.png"])
def test_the_first_frame_is_taken(tmp_path: Path, name: str) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 0, 255)))
    options = {"lossless": True} if name.endswith("webp") else {}
    first.save(tmp_path / name, save_all=True, append_images=[second], **options)
    with Image.open(tmp_path / name) as image:
        assert image.n_frames == 2
    np.testing.assert_array_equal(pixels_of(as_file(tmp_path / name))[:, 3, 3], (255, 0, 0))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.tif", "a.gif"])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    buffer = BytesIO()
    Image.fromarray(noise(64, 64)).save(buffer, format={"jpg": "JPEG", "tif": "TIFF"}.get(name[2:], name[2:]))
    (tmp_path / name).write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    reason = reason_of(tmp_path / name)
    assert reason.startswith(("truncated or damaged: ", "not a JPEG, PNG"))
    assert len(reason) < 150


def test_files_that_are_no_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    assert reason_of(tmp_path / "empty.png") == "the file is empty"
    (tmp_path / "text.jpg").write_text("not an image")
    assert reason_of(tmp_path / "text.jpg") == "not a JPEG, PNG, WEBP, BMP, TIFF or GIF image"


def test_a_format_pillow_would_open_with_an_outside_program_is_not_tried(tmp_path: Path) -> None:
    Image.fromarray(noise(8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    assert reason_of(tmp_path / "a.jpg").startswith("not a JPEG")


@pytest.mark.parametrize("side", [10_000, 20_000])  # where Pillow would warn, and where it would raise
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(png_of(side, side, bit_depth=8, data=zlib.compress(bytes(100))))
    assert reason_of(tmp_path / "a.png") == "more pixels than the limit of 89478485"


def test_the_limit_holds_when_pillow_s_own_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    (tmp_path / "a.png").write_bytes(png_of(10_000, 10_000, bit_depth=8, data=zlib.compress(bytes(100))))
    assert reason_of(tmp_path / "a.png") == "10000×10000 pixels, more than the limit of 89478485"


def test_a_image_that_would_explode_when_resized_is_refused(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", noise(1, 4000))
    with pytest.raises(UnreadableImageError, match=r"4000×1 is too elongated: resized it would be 256×1024000"):
        decode(file, preset(size=224, resize=256), 224)


def test_a_file_larger_than_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_file, "MAX_BYTES", 2**20)
    with (tmp_path / "a.tif").open("wb") as handle:
        handle.truncate(2**20 + 1)
    assert reason_of(tmp_path / "a.tif") == "the file is larger than 1 MiB"


def test_a_file_that_vanished_or_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason_of(tmp_path / "gone.png") == "no longer exists"
    file = save(tmp_path / "a.png", noise(8, 8))

    def refuse(*_arguments: object, **_options: object) -> object:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:  # root may read everything, so the refusal is played
        patched.setattr(Path, "open", refuse)
        patched.setattr(builtins, "open", refuse)
        assert reason_of(file.path) == "permission denied"
