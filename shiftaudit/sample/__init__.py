"""The bundled sample: real images and two small trained classifiers, so that every command can be tried offline.

Made by `scripts/make_sample.py`; who made the photographs is in ATTRIBUTION.md beside this file.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def images_path() -> Path:
    """Folder of 80 images in ten class folders.

    >>> len(list(images_path().glob("*/*.jpg")))
    80
    """
    return _FOLDER / "images"


def model_path() -> Path:
    """TorchScript classifier that says which photograph an image was cut from; its downsampling aliases."""
    return _FOLDER / "model.pt"


def antialiased_model_path() -> Path:
    """The same network with BlurPool in front of every downsampling, trained in the same way."""
    return _FOLDER / "model-antialiased.pt"
