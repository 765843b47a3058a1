"""True classes of images: from the folders they lie in, or from a CSV file. Never guessed without saying so."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shiftaudit.errors import InputError
from shiftaudit.images.file import ImageFile
from shiftaudit.records.digits import whole_number

_LONGEST_SHOWN = 80
AUTO, FOLDER, NONE = "auto", "folder", "none"

_PATH_HEADERS = frozenset(
    {"path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_id", "image_name", "image_path"}
)
_LABEL_HEADERS = frozenset({"label", "class", "target", "class_id", "label_id", "category"})
_SEPARATORS = (",", ";", "\t")
_SORTED = "numbered in sorted order"
_WORDNET_ID = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Labels:
    """Class indices by relative path; images that are not in it have no label."""

    by_path: Mapping[str, int] = field(default_factory=dict)
    source: str = NONE
    """`folder`, `csv`, `own` (beside the images) or `none`."""
    note: str = ""
    """How folders became classes, or why there are no labels that were asked for: one sentence for the user."""
    class_names: tuple[str, ...] | None = None
    """The folders' names, where they are all classes in their order; for models that bring no names."""


def read_labels(
    mode: str, files: Sequence[ImageFile], *, class_names: tuple[str, ...] | None, n_classes: int | None
) -> Labels:
    """The true classes, as `--labels` asks for them.

    `folder` takes images in one level of class folders. The folders mean the classes of the same name (case, spaces,
    underscores and hyphens aside); or else their own numbers; or else, where there is one folder a class, their place
    in sorted order, as torchvision's `ImageFolder` numbers them (not where class names are known and differ, unless the
    folders are WordNet identifiers, whose order is ImageNet's). `auto` takes what stands beside the images (`.cls` files,
    a table's column of labels), or else the folders, and gives no labels where these fail. `none` gives none. Anything
    else is a CSV file of two columns, path and label: the path as in reports, from the current folder, absolute or the
    file's name alone, the label a class name or index, a header (`path,label`) optional. With a header the columns may
    stand in any place. Semicolons and tabs separate as well.

    Raises:
        InputError: `folder` cannot tell the classes; the CSV file is missing, damaged, names an unknown class (with its
            line) or none of the images.

    >>> from pathlib import Path
    >>> files = [ImageFile(Path("photos") / name, name) for name in ("Polar bear/1.jpg", "cat/1.jpg")]
    >>> read_labels("auto", files, class_names=("cat", "dog", "polar_bear"), n_classes=3).by_path
    {'Polar bear/1.jpg': 2, 'cat/1.jpg': 0}
    """
    classes = _Classes.of(class_names, n_classes)
    if mode == NONE:
        return Labels()
    if mode in (AUTO, FOLDER):
        own = mode == AUTO and any(file.label is not None for file in files)
        try:
            return _own(files, classes) if own else _from_folders(files, classes)
        except InputError as error:
            if mode == FOLDER:
                raise
            return Labels(note=f"no labels: {error.message}")
    return _from_csv(Path(mode), files, classes)


@dataclass(frozen=True)
class _Classes:
    """What is known of the model's classes."""

    count: int | None
    named: bool
    exact: Mapping[str, int]
    folded: Mapping[str, int]

    @classmethod
    def of(cls, class_names: Sequence[str] | None, n_classes: int | None) -> _Classes:
        names = class_names or ()
        count = len(names) if n_classes is None and names else n_classes
        return cls(count, bool(names), _unshared(names), _unshared([_fold(name) for name in names]))

    def index_of_name(self, name: str) -> int | None:
        return self.exact[name] if name in self.exact else self.folded.get(_fold(name))

    def index_of_number(self, text: str) -> int | None:
        number = whole_number(text)
        return None if number is None or (self.count is not None and number >= self.count) else number

    def __str__(self) -> str:
        return "an unknown number of classes" if self.count is None else f"{self.count} classes"


def _unshared(names: Sequence[str]) -> dict[str, int]:
    """Name to index, without names that two classes share (ImageNet has two cranes)."""
    count = Counter(names)
    return {name: index for index, name in enumerate(names) if count[name] == 1}


def _fold(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _own(files: Sequence[ImageFile], classes: _Classes) -> Labels:
    """Labels that stand beside the images: names or indices of the model's classes, or indices of a data set's."""
    texts = {file.relative: file.label for file in files if file.label is not None}
    names = files[0].archives.class_names if files[0].archives else None
    note = f"{len(texts)} of {len(files)} images labelled by what stands beside them"
    if names is None:
        return Labels({path: _class_index(text, classes, path) for path, text in texts.items()}, "own", note)
    own = _Classes(len(names), False, {}, {})
    by_path = {path: _class_index(text, own, path) for path, text in texts.items()}
    if classes.count not in (None, len(names)) and not classes.named:
        raise InputError(
            f"the labels are of {len(names)} classes, the model has {classes}", hint="pass --labels FILE.csv"
        )
    # The same classes in the same order may be named by one synonym here and by several there, and two may share a name.
    same = sum(classes.index_of_name(name.split(",")[0]) == index for index, name in enumerate(names))
    if not classes.named or (classes.count == len(names) and 2 * same >= len(names)):
        return Labels(by_path, "own", f"{note}, numbered as the data set's classes", None if classes.named else names)
    meant = {index: classes.index_of_name(names[index]) for index in set(by_path.values())}
    stranger = next((names[index] for index, found in meant.items() if found is None), None)
    if stranger is not None:
        raise InputError(f"the label {stranger!r} is none of the model's class names", hint="pass --labels FILE.csv")
    named = {path: found for path, index in by_path.items() if (found := meant[index]) is not None}
    return Labels(named, "own", f"{note}, by the names of classes")


def _from_folders(files: Sequence[ImageFile], classes: _Classes) -> Labels:
    parts = [file.relative.split("/") for file in files]
    odd = next((file.relative for file, names in zip(files, parts, strict=True) if len(names) != 2), None)
    if odd is not None:
        raise InputError(f"the images are not all in one level of class folders ({odd})", hint="pass --labels FILE.csv")
    folders = sorted({names[0] for names in parts})
    # An image left out, by a limit say, must not change what other folders mean: all of them are asked for.
    roots = {file.path.parent.parent for file in files if file.part is None}
    archives = files[0].archives
    on_disk = sorted(set(folders).union(*map(_folders_in, roots), archives.folders if archives else ()))
    if len(on_disk) < 2:
        raise InputError("there are fewer than two class folders", hint="pass --labels FILE.csv or --labels none")
    indices, how = _folder_classes(folders, on_disk, classes)
    by_path = {file.relative: indices[names[0]] for file, names in zip(files, parts, strict=True)}
    names = tuple(on_disk) if how == _SORTED and not classes.named else None
    return Labels(by_path, FOLDER, f"labels from {len(folders)} folders, {how}", names)


def _folders_in(root: Path) -> set[str]:
    try:
        return {item.name for item in root.iterdir() if item.is_dir() and not item.name.startswith(".")}
    except OSError:
        return set()


def _folder_classes(folders: Sequence[str], on_disk: Sequence[str], classes: _Classes) -> tuple[dict[str, int], str]:
    by_name = {name: classes.index_of_name(name) for name in folders}
    named = {name: index for name, index in by_name.items() if index is not None}
    if len(named) == len(folders):
        return named, "which bear the names of classes"
    if all(name.isascii() and name.isdecimal() for name in folders):
        numbers = {name: index for name in folders if (index := classes.index_of_number(name)) is not None}
        if len(set(numbers.values())) == len(folders):
            return numbers, "whose names are class indices"
        raise InputError(
            f"the folders are numbers, but not class indices (from 0) of a model with {classes}",
            hint="pass --labels FILE.csv",
        )
    if len(on_disk) == classes.count and (not classes.named or all(map(_WORDNET_ID.fullmatch, on_disk))):
        places = {name: index for index, name in enumerate(on_disk)}
        return {name: places[name] for name in folders}, _SORTED
    if classes.named:
        stranger = next(name for name in folders if name not in named)
        raise InputError(f"the folder {stranger!r} is none of the model's class names", hint="pass --labels FILE.csv")
    raise InputError(
        f"{len(on_disk)} folders cannot be told to be classes of a model with {classes}",
        hint="name the folders by class index, or pass --labels FILE.csv",
    )


def _from_csv(table: Path, files: Sequence[ImageFile], classes: _Classes) -> Labels:
    known = {file.relative for file in files}
    absolute = {str(file.place.absolute()): file.relative for file in files}
    by_basename: dict[str, list[str]] = {}
    for name in known:
        by_basename.setdefault(name.rsplit("/", 1)[-1], []).append(name)
    by_path: dict[str, int] = {}
    for line, written, text in table_rows(table):
        index = _class_index(text, classes, f"{table}, line {line}")
        path = written.replace("\\", "/").removeprefix("./")
        place = os.path.abspath(written)  # noqa: PTH100  # unlike Path.absolute(), without ".." in it
        exact = path if path in known else absolute.get(place)
        matches = by_basename.get(path, []) if exact is None else [exact]
        if len(matches) > 1:
            raise InputError(f"{table}, line {line}: {path} is the name of {len(matches)} images; give the whole path")
        for match in matches:
            if by_path.setdefault(match, index) != index:
                raise InputError(f"{table}, line {line}: {path} has a second, different label {text!r}")
    if not by_path:
        raise InputError(
            f"{table} labels none of the {len(files)} images",
            hint="its first column, or the one headed path, holds paths relative to IMAGES, or file names",
        )
    return Labels(by_path, "csv", f"{len(by_path)} of {len(files)} images labelled by {table.name}")


def table_rows(table: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, path and label of every row of a CSV file but the header and empty ones.

    Raises:
        InputError: there is no such file, or it is no CSV file of paths and labels.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as handle:
            first = handle.readline()
            separator = next((separator for separator in _SEPARATORS if separator in first), ",")
            handle.seek(0)
            reader = csv.reader(handle, strict=True, delimiter=separator)
            columns = (0, 1)
            for number, row in enumerate(reader):
                cells = [cell.strip() for cell in row]
                if number == 0 and (header := _header(table, cells)) is not None:
                    columns = header
                elif any(cells):
                    if len(cells) <= max(columns) or not all(cells[column] for column in columns):
                        raise InputError(
                            f"{table}, line {reader.line_num}: expected a path and a label, got {separator.join(row)!r}"
                        )
                    yield reader.line_num, cells[columns[0]], cells[columns[1]]
    except FileNotFoundError as error:
        raise InputError(
            f"--labels got {str(table)!r}, which is no file", hint="use auto, folder, none or the path of a CSV file"
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table} is not a readable CSV file: {error}") from error


def _header(table: Path, cells: Sequence[str]) -> tuple[int, int] | None:
    """The columns of path and label where the first row is a header; None where it is an image's row."""
    path, label = _column(cells, _PATH_HEADERS), _column(cells, _LABEL_HEADERS)
    if path is None or (label is None and path > 0):
        return None  # a class may be called "image"
    if label is None:
        raise InputError(f"{table} has no column named label; its header is {', '.join(cells)}")
    return path, label


def _column(header: Sequence[str], names: frozenset[str]) -> int | None:
    return next((index for index, name in enumerate(header) if name.lower() in names), None)


def _class_index(text: str, classes: _Classes, where: str) -> int:
    # Names first, for models whose classes are named by numbers.
    for index in (classes.index_of_name(text), classes.index_of_number(text)):
        if index is not None:
            return index
    expected = "a class name or index" if classes.named else "a class index"
    limit = "" if classes.count is None else f" (0 to {classes.count - 1})"
    shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    raise InputError(f"{where}: unknown label {shown!r}; expected {expected}{limit}")
