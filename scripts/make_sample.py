"""Make the bundled sample: test images, and two small classifiers trained to tell which photograph a crop comes from.

    OMP_NUM_THREADS=1 python scripts/make_sample.py

Needs scikit-image (`pip install shiftaudit[test]`), whose wheel holds the ten photographs. Each photograph is one class. Some
cells of it are set apart and become the test images; training crops never touch them. The two networks differ in one
thing: where `model.pt` takes every second value, `model-antialiased.pt` filters first (BlurPool, filter 3; Zhang 2019).
Seeded; takes a few minutes on one thread and writes into `shiftaudit/sample/`.
"""

from __future__ import annotations

import argparse
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import skimage
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from shiftaudit.files import write_bytes_atomically
from shiftaudit.images.decode import decode
from shiftaudit.images.find import find_images
from shiftaudit.models.carried import EXTRA_FILE, Carried
from shiftaudit.records.report import Preprocessing
from shiftaudit.surgery.blurpool import BlurPool

PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "galaxies": "hubble_deep_field.jpg",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
}
CLASSES = tuple(sorted(PHOTOGRAPHS))

CELL = 96
ROWS = 5
TEST_CELLS = 8
SIZE, RESIZE = 64, 80
MEAN, STD = 0.45, 0.25
# Few crops a class: enough to be right mostly, too few to be sure, as classifiers of real things are.
CROPS, STEPS, BATCH = 24, 600, 64


def photograph(name: str) -> Image.Image:
    """The photograph of a class, its shorter side as long as five cells."""
    path = Path(skimage.__file__).parent / "data" / PHOTOGRAPHS[name]
    image = Image.open(path).convert("RGB")
    scale = ROWS * CELL / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def test_cells(image: Image.Image) -> list[tuple[int, int]]:
    """Upper left corners (x, y) of the cells set apart, spread over the photograph."""
    columns = image.width // CELL
    cells = [(x, y) for y in range(ROWS) for x in range(columns) if (x + 2 * y) % 3 == 0]
    chosen = [cells[i] for i in np.linspace(0, len(cells) - 1, TEST_CELLS).round().astype(int)]
    return [(x * CELL, y * CELL) for x, y in chosen]


def training_crops(count: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """`count` crops a class, none of which touches a test cell: pixels (N, 3, SIZE, SIZE) in [0, 255] and classes (N,)."""
    pixels, classes = [], []
    for index, name in enumerate(CLASSES):
        image = photograph(name)
        taken = np.zeros((image.height, image.width), dtype=bool)
        for x, y in test_cells(image):
            taken[y : y + CELL, x : x + CELL] = True
        accepted = 0
        while accepted < count:
            side = int(generator.integers(60, 92))
            x, y = (int(generator.integers(0, limit - side)) for limit in image.size)
            if taken[y : y + side, x : x + side].any():
                continue
            crop = image.crop((x, y, x + side, y + side)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            pixels.append(np.asarray(crop).transpose(2, 0, 1))
            classes.append(index)
            accepted += 1
    return torch.from_numpy(np.stack(pixels)), torch.tensor(classes)


class Network(nn.Module):
    """A residual network of total stride 16 for (N, 3, 64, 64), with the three ways of downsampling that networks use."""

    def __init__(self, antialiased: bool) -> None:
        super().__init__()
        self.stem = self._strided(3, 16, antialiased)
        self.pool: nn.Module = nn.MaxPool2d(2)
        if antialiased:
            self.pool = nn.Sequential(nn.MaxPool2d(2, stride=1), BlurPool(16, 3, 2))
        self.layer1 = Block(16, 32, antialiased)
        self.layer2 = Block(32, 64, antialiased)
        self.fc = nn.Linear(64, len(CLASSES))

    @staticmethod
    def _strided(inputs: int, outputs: int, antialiased: bool) -> nn.Sequential:
        layers = [
            nn.Conv2d(inputs, outputs, 3, 1 if antialiased else 2, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
        return nn.Sequential(*layers, BlurPool(outputs, 3, 2)) if antialiased else nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem(x))
        x = self.layer2(self.layer1(x))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Block(nn.Module):
    """Two convolutions beside a 1×1 shortcut; the first convolution and the shortcut halve the map."""

    def __init__(self, inputs: int, outputs: int, antialiased: bool) -> None:
        super().__init__()
        self.conv1 = Network._strided(inputs, outputs, antialiased)
        self.conv2 = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        shortcut: list[nn.Module] = [BlurPool(inputs, 3, 2)] if antialiased else []
        shortcut.append(nn.Conv2d(inputs, outputs, 1, 1 if antialiased else 2, bias=False))
        self.shortcut = nn.Sequential(*shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(self.conv1(x)) + self.shortcut(x))


def train(antialiased: bool, pixels: Tensor, classes: Tensor, steps: int, seed: int) -> Network:
    """Cross-entropy, AdamW, one cycle; random flips, brightness and loss of colour."""
    torch.manual_seed(seed)
    model = Network(antialiased)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        chosen = torch.randint(len(classes), (BATCH,))
        loss = F.cross_entropy(model(augment(pixels[chosen])), classes[chosen], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 250 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    return model.eval()


def augment(pixels: Tensor) -> Tensor:
    """Normalised inputs (N, 3, SIZE, SIZE), each flipped, dimmed and greyed by chance."""
    x = pixels.float() / 255
    n = len(x)
    x = torch.where(torch.rand(n, 1, 1, 1) < 0.5, x.flip(-1), x)
    x = torch.where(torch.rand(n, 1, 1, 1) < 0.5, x.mean(1, keepdim=True).expand_as(x), x)
    x = x * (0.8 + 0.4 * torch.rand(n, 1, 1, 1))
    return (x.clamp(0, 1) - MEAN) / STD


def write_images(folder: Path) -> None:
    """The test cells as JPEG files, grey where the photograph is, one folder a class."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in CLASSES:
        image = photograph(name)
        target = folder / name
        target.mkdir(parents=True)
        for number, (x, y) in enumerate(test_cells(image)):
            crop = image.crop((x, y, x + CELL, y + CELL))
            red, green, blue = (np.asarray(band) for band in crop.split())
            if (red == green).all() and (green == blue).all():
                crop = crop.convert("L")
            crop.save(target / f"{number}.jpg", quality=92, optimize=True)


def torchscript_bytes(model: Network) -> bytes:
    """The scripted model with what it takes to feed it, without the debug records, which name folders of this machine."""
    preprocessing = Preprocessing(SIZE, RESIZE, (MEAN,) * 3, (STD,) * 3, "bilinear", 3, "file")
    carried = Carried(preprocessing, CLASSES)
    saved, stripped = io.BytesIO(), io.BytesIO()
    torch.jit.save(torch.jit.script(model), saved, _extra_files={EXTRA_FILE: carried.to_json()})
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(stripped, "w", zipfile.ZIP_STORED) as target:
        for item in source.infolist():
            if not item.filename.endswith(".debug_pkl"):
                target.writestr(zipfile.ZipInfo(item.filename), source.read(item))
    return stripped.getvalue()


def accuracy(model: Network, folder: Path) -> float:
    """Share of the test images, prepared as the audit prepares them, that get their class."""
    preprocessing = Preprocessing(SIZE, RESIZE, (MEAN,) * 3, (STD,) * 3, "bilinear", 3, "file")
    files, _ = find_images(folder)
    pixels = np.stack([decode(file, preprocessing, SIZE).pixels for file in files])
    with torch.inference_mode():
        answers = model((torch.from_numpy(pixels).float() / 255 - MEAN) / STD).argmax(1)
    return float(np.mean([CLASSES[i] == file.relative.split("/")[0] for i, file in zip(answers, files, strict=True)]))


def main() -> None:
    """Write the test images and both models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent.parent / "shiftaudit" / "sample")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_images(arguments.folder / "images")
    pixels, classes = training_crops(CROPS, np.random.default_rng(arguments.seed))
    for name, antialiased in (("model.pt", False), ("model-antialiased.pt", True)):
        model = train(antialiased, pixels, classes, arguments.steps, arguments.seed)
        write_bytes_atomically(arguments.folder / name, torchscript_bytes(model))
        print(f"{name}: accuracy {accuracy(model, arguments.folder / 'images'):.3f}")


if __name__ == "__main__":
    main()
