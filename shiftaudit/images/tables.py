"""Images in parquet files, as Hugging Face's data sets lay them out: a column of bytes and names, one of labels."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from shiftaudit.errors import InputError, first_line, from_extra
from shiftaudit.images.file import Member, UnreadableImageError, clean_name, require_size

MAX_GROUP_BYTES = 2 * 2**30
"""Largest group of rows that is unpacked: it is what a process holds in memory at a time."""

_KEPT = 2
_IMAGE_NAMES = ("image", "img")
_LABEL_NAMES = ("label", "labels", "class")


@dataclass(frozen=True)
class TablePart:
    """One row. Rows are stored in groups, and a group is unpacked as a whole."""

    column: str
    group: int
    row: int
    size: int
    """Of an image on average: a table does not tell the sizes of its images."""

    def read(self, path: Path) -> bytes:
        """The bytes, as `Part` has it."""
        rows = _unpacked(str(path), self.column, self.group, os.getpid())
        value = rows[self.row].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise UnreadableImageError("its bytes are not in the table")
        require_size(len(data))
        return data


# By process: what was opened before a fork is not the child's to read from.
@lru_cache(maxsize=_KEPT)
def _unpacked(path: str, column: str, group: int, _process: int) -> Any:
    parquet = _parquet(Path(path))
    try:
        with parquet.ParquetFile(path) as table:
            stored = table.metadata.row_group(group)
            columns = [stored.column(index) for index in range(stored.num_columns)]
            size = sum(one.total_uncompressed_size for one in columns if one.path_in_schema.split(".")[0] == column)
            if size > MAX_GROUP_BYTES:
                raise UnreadableImageError(
                    f"its group of rows unpacks to more than {MAX_GROUP_BYTES // 2**20} MiB; write smaller groups"
                )
            return table.read_row_group(group, columns=[column], use_threads=False).column(0)
    except UnreadableImageError:
        raise
    except Exception as error:  # Arrow's errors are those of the operating system, of values and its own
        raise UnreadableImageError(f"damaged in the archive: {first_line(error, 120)}") from error


def read_table(path: Path) -> tuple[list[Member], tuple[str, ...] | None]:
    """A member for every row, in their order, and the names of the classes that labels number, if the table has them.

    Images are known by the name that the table gives them where all have one, each another; else by the number of the row.

    Raises:
        InputError: it is no parquet file, is damaged, or has no column of images; pyarrow is missing.
    """
    parquet = _parquet(path)
    try:
        with parquet.ParquetFile(path) as table:
            image, names, label, class_names = _columns(path, table.schema_arrow)
            rows = list(_rows(table, image, [f"{image}.path"] if names else [], [label] if label else []))
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path} is no parquet file that can be read, or its end is missing: {first_line(error, 120)}",
            hint="copy it once more",
        ) from error
    counts = Counter(name for _, name, _ in rows)
    named = None not in counts and max(counts.values(), default=1) == 1
    width = len(str(max(0, len(rows) - 1)))
    members = []
    for number, (part, name, text) in enumerate(rows):
        shown = name if named and name is not None else f"{number:0{width}}"
        members.append(Member(shown, part, label=text))
    return members, class_names


def _rows(
    table: Any, image: str, names: list[str], labels: list[str]
) -> Iterator[tuple[TablePart, str | None, str | None]]:
    for group in range(table.num_row_groups):
        stored = table.metadata.row_group(group)
        size = stored.total_byte_size // max(1, stored.num_rows)
        read = table.read_row_group(group, columns=[*names, *labels], use_threads=False)
        none = [None] * stored.num_rows
        paths = [row and row["path"] for row in read.column(image).to_pylist()] if names else none
        texts = read.column(labels[0]).to_pylist() if labels else none
        for row, (name, text) in enumerate(zip(paths, texts, strict=True)):
            shown = clean_name(name.replace("\\", "/")) if name else (None, None)
            # Paths of the machine that made the table say nothing here but for the file's own name.
            short = shown[0] if shown[1] is None or shown[0] is None else shown[0].rsplit("/", 1)[-1]
            unknown = text is None or text == "" or text == -1
            yield TablePart(image, group, row, size), short or None, None if unknown else str(text)


def _columns(path: Path, schema: Any) -> tuple[str, bool, str | None, tuple[str, ...] | None]:
    """The column of images and whether it holds names, the column of labels, and the names of classes."""
    images = {field.name: field for field in schema if _holds_images(field)}
    chosen = next((name for name in _IMAGE_NAMES if name in images), next(iter(images), None))
    if chosen is None:
        raise InputError(
            f"{path} has no column of images; its columns are {', '.join(schema.names)}",
            hint="expected a column image of {bytes, path}, as Hugging Face's data sets have it",
        )
    names = _is_struct(images[chosen].type) and images[chosen].type.get_field_index("path") >= 0
    features = _features(schema)
    of_classes = [name for name in schema.names if (features.get(name) or {}).get("_type") == "ClassLabel"]
    label = next((name for name in (*_LABEL_NAMES, *of_classes) if name in schema.names), None)
    known = (features.get(label) or {}).get("names") if label else None
    return chosen, names, label, tuple(map(str, known)) if isinstance(known, list) else None


def _holds_images(field: Any) -> bool:
    if _is_struct(field.type):
        return bool(field.type.get_field_index("bytes") >= 0)
    return field.name in _IMAGE_NAMES and str(field.type) in ("binary", "large_binary")


def _is_struct(kind: Any) -> bool:
    return str(kind).startswith("struct<")


def _features(schema: Any) -> dict[str, Any]:
    """What Hugging Face's library writes about its columns, if it is there and sound."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"].items()
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: value for name, value in features if isinstance(value, dict)}


def _parquet(path: Path) -> Any:
    with from_extra("pandas", f"{path} needs pyarrow, which"):
        from pyarrow import parquet
    return parquet
