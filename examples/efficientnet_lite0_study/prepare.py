"""Make the study's images: `python prepare.py OUT BACKGROUNDS WALLPAPERS --stamps STAMPS`, with Debian's folders.

From Debian's mate-backgrounds, lomiri-wallpapers-*, gnome-backgrounds, ukui-wallpapers and plasma-workspace-wallpapers
(wherever they are unpacked), and the photographs of scikit-image and scikit-learn:
- OUT/tune: what the copy is taught on, photographs and drawings, shorter side at most 900 pixels; and, with `--stamps`,
  scenes: cut-out photographs of animals and things (Debian's tuxpaint-stamps-default) on those images;
- OUT/test: 21 random square crops of 256×256 pixels from each of 24 photographs that are not in OUT/tune;
- OUT/labelled: the 20 labelled ImageNet images of foolbox, and their classes in labels.csv.

Whole photographs are assigned, never crops: 24 to the test and 8 to trying ideas out, by the hash of their names.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

Image.MAX_IMAGE_PIXELS = None

SHORTER_SIDE, CROP, CROPS = 900, 256, 21
SCENES, STAMPS_A_SCENE, SCENE_SIZE = 100, 3, (1200, 900)
_STAMP_BYTES = 30_000
N_TEST, N_TRIALS = 24, 8

# Chosen by eye among the files: photographs of things and places. Everything else is a drawing or a pattern.
PHOTOGRAPHS = [
    "Aqua",
    "Autumn",
    "Blinds",
    "Bridge_by_Sander_Klootwijk",
    "BytheWater",
    "ColdRipple",
    "ColorfulCups",
    "DarkestHour",
    "Dragonfly_by_Bolly",
    "Dune",
    "EveningGlow",
    "FallenLeaf",
    "Fossa_by_Jasper_Roks",
    "Garden",
    "GreenMeadow",
    "Infinite_Sea_by_Aury88",
    "Kleiber_by_Lukas_Baubkus",
    "LadyBird",
    "MilkyWay",
    "OneStandsOut",
    "Painting_Colors_by_herobrine7gamer",
    "Image_0B_by_freespace",
    "Image_1A_by_freespace",
    "RainDrops",
    "Storm",
    "TwoWings",
    "Wine_by_Jakkub_Mede",
    "Wood",
    "YellowFlower",
    "aitzgorri_by_Aitzol_Berasategi",
    "astronaut",
    "camera",
    "chelsea",
    "china",
    "coffee",
    "coins",
    "firstgeneration",
    "flower",
    "free_by_Peter_Nerlich",
    "friends_by_Aitzol_Berasategi",
    "greentock_by_Peter_Nerlich",
    "life_by_Aitzol_Berasategi",
    "motorcycle_left",
    "picosdeeuropa_by_Aitzol_Berasategi",
    "rocket",
    "seeding_by_Clements_Engelhardt",
    "summer_1am",
    "sunset_by_Aitzol_Berasategi",
    "Grey",
    "Kite",
]
# Empty once their transparency is dropped, or nearly so; and one near-duplicate.
UNUSABLE = [
    "Arc_Colors_Transparent_Wallpaper",
    "GreenTraditional",
    "Gulp",
    "MATE_Stripes_Dark",
    "MATE_Stripes_Light",
    "Silk",
    "Waves",
    "Stripes",
    "Ubuntu_Mate_Dark_no_logo",
    "truchet_l",
    "Float_into_MATE",
    "Ubuntu_Mate_Cold_no_logo",
    "2004default",
]
# Other sizes, dark variants and previews of the same image.
_COPIES = re.compile(r"screenshot|images_dark|1080x1920|720x1440|1622x2880|Elephants_|-d\.webp")
_SCIKIT_IMAGE = [
    "coffee",
    "camera",
    "astronaut",
    "gravel",
    "brick",
    "hubble_deep_field",
    "grass",
    "retina",
    "ihc",
    "moon",
    "motorcycle_left",
    "rocket",
    "chelsea",
    "coins",
    "page",
    "text",
]


def sources(folders: list[Path]) -> dict[str, Path]:
    """One file an image, by name."""
    import skimage
    import sklearn

    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            suitable = path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp") and not path.is_symlink()
            if suitable and path.stat().st_size > 90_000 and not _COPIES.search(str(path)):
                parts = path.parts
                name = parts[parts.index("contents") - 1] if "contents" in parts else path.stem
                found[re.sub(r"[^A-Za-z0-9]+", "_", name)] = path
    data = Path(skimage.__file__).parent / "data"
    for name in _SCIKIT_IMAGE:
        found[name] = next(path for path in (data / f"{name}.png", data / f"{name}.jpg") if path.exists())
    for path in sorted((Path(sklearn.__file__).parent / "datasets" / "images").glob("*.jpg")):
        found[path.stem] = path
    return {name: path for name, path in sorted(found.items()) if name not in UNUSABLE}


def split(names: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Names of images to tune on, to try ideas on, and to test on."""
    photographs = [name for name in PHOTOGRAPHS if name in names]
    ranked = sorted(photographs, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    test, trials = ranked[:N_TEST], ranked[N_TEST : N_TEST + N_TRIALS]
    return sorted(set(names) - set(test) - set(trials)), trials, test


def shrunk(path: Path) -> Image.Image:
    """The image with a shorter side of at most 900 pixels."""
    image = Image.open(path).convert("RGB")
    factor = SHORTER_SIDE / min(image.size)
    if factor >= 1:
        return image
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


def write_crops(image: Image.Image, name: str, folder: Path, generator: np.random.Generator) -> None:
    """Random squares that show 5 % to 90 % of the image's area, as far as they fit."""
    for index in range(CROPS):
        area = image.width * image.height * np.exp(generator.uniform(np.log(0.05), np.log(0.9)))
        side = min(float(np.sqrt(area)), *image.size)
        x, y = generator.uniform(0, image.width - side), generator.uniform(0, image.height - side)
        crop = image.resize((CROP, CROP), Image.Resampling.BICUBIC, box=(x, y, x + side, y + side), reducing_gap=2.0)
        crop.save(folder / f"{name}-{index:02d}.png")


def write_scenes(images: list[Path], stamps: list[Path], folder: Path, generator: np.random.Generator) -> None:
    """Stamps at random sizes and places on random parts of the images to tune on; each stamp is used in turn."""
    order = [int(i) for i in np.concatenate([generator.permutation(len(stamps)) for _ in range(2)])]
    for index in range(SCENES):
        scene = shrunk(images[int(generator.integers(len(images)))])
        width, height = scene.size
        w = min(width, height * SCENE_SIZE[0] / SCENE_SIZE[1]) * generator.uniform(0.3, 1.0)
        h = w * SCENE_SIZE[1] / SCENE_SIZE[0]
        x, y = generator.uniform(0, width - w), generator.uniform(0, height - h)
        scene = scene.resize(SCENE_SIZE, Image.Resampling.BICUBIC, box=(x, y, x + w, y + h))
        for slot in range(STAMPS_A_SCENE):
            stamp = Image.open(stamps[order[(index * STAMPS_A_SCENE + slot) % len(order)]]).convert("RGBA")
            side = int(generator.uniform(300, 650))
            stamp.thumbnail((side, side), Image.Resampling.LANCZOS)
            left = slot * SCENE_SIZE[0] // STAMPS_A_SCENE + generator.integers(-60, 61)
            top = generator.integers(0, max(1, SCENE_SIZE[1] - stamp.height))
            scene.paste(stamp, (int(left), int(top)), stamp)
        scene.save(folder / f"scene-{index:03d}.jpg", quality=93)


def labelled(folder: Path) -> None:
    """foolbox names its images after their class."""
    import foolbox

    rows = ["path,label"]
    for path in sorted((Path(foolbox.__file__).parent / "data").glob("imagenet_*.jpg")):
        shutil.copy(path, folder / path.name)
        rows.append(f"{path.name},{int(path.stem.split('_')[-1])}")
    (folder.parent / "labels.csv").write_text("\n".join(rows) + "\n")


def main() -> None:
    """Write the three folders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--stamps", type=Path, help="cut-out images (PNG with transparency), for scenes to tune on")
    arguments = parser.parse_args()
    folders = {name: arguments.out / name for name in ("tune", "trials", "test", "labelled")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    found = sources(arguments.folders)
    tune, trials, test = split(list(found))
    generator = np.random.default_rng(0)
    for name in tune:
        shrunk(found[name]).save(folders["tune"] / f"{name}.jpg", quality=93)
    for share, names in (("trials", trials), ("test", test)):
        for name in names:
            write_crops(shrunk(found[name]), name, folders[share], generator)
    if arguments.stamps is not None:
        stamps = sorted(path for path in arguments.stamps.rglob("*.png") if path.stat().st_size > _STAMP_BYTES)
        write_scenes([found[name] for name in tune], stamps, folders["tune"], np.random.default_rng(1))
    labelled(folders["labelled"])
    print(f"{len(tune)} images to tune on, {len(test)} photographs in the test")


if __name__ == "__main__":
    main()
