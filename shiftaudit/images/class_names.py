"""Names of a model's classes, from a file that a user gives. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shiftaudit.errors import InputError

_EXPECTED = "one name a line, a JSON list of names, or a JSON object of names by class index"


def read_class_names(path: Path) -> tuple[str, ...]:
    """The names, class 0 first.

    The file holds a name a line, or JSON: a list of names; an object from class index to name, or to several of which the last
    is read (as ImageNet's `imagenet_class_index.json` has it); or an object with such a one under `id2label`, as the
    `config.json` of a Hugging Face model has it.

    Raises:
        InputError: the file cannot be read, or is none of these.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
    ...     _ = file.write('{"1": ["n01443537", "goldfish"], "0": ["n01440764", "tench"]}')
    ...     file.flush()
    ...     read_class_names(Path(file.name))
    ('tench', 'goldfish')
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read the class names in {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text; expected {_EXPECTED}") from error
    is_json = text.lstrip()[:1] in ("{", "[")
    names = _from_json(text, path) if is_json else tuple(line.strip() for line in text.rstrip().splitlines())
    if not names or not all(names):
        raise InputError(f"{path} leaves {'a class' if names else 'all classes'} without a name; expected {_EXPECTED}")
    return names


def _from_json(text: str, path: Path) -> tuple[str, ...]:
    try:
        data = json.loads(text)
        data = data.get("id2label", data) if isinstance(data, dict) else data
        if isinstance(data, dict):
            by_index = {int(key): value for key, value in data.items()}
            data = [by_index[index] for index in range(len(by_index))]
        return tuple(_name(value) for value in data)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise InputError(f"{path} holds no class names that can be read; expected {_EXPECTED}") from error


def _name(value: Any) -> str:
    name = value[-1] if isinstance(value, list) else value
    if not isinstance(name, str):
        raise TypeError
    return name.strip()
