"""What belongs to one run: its images and labels, their parts on several machines, and the rows put together again.

A report is a function of its rows, and a row of one image alone, so shards that are merged give the very report that one
process would have written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from shiftaudit.audit.samples import Line, path_of, read_samples
from shiftaudit.errors import InputError
from shiftaudit.files import sha256_of_set
from shiftaudit.images.file import ImageFile
from shiftaudit.records.report import Skipped
from shiftaudit.records.samples import RunImages, SamplesHeader
from shiftaudit.records.settings import Shard, parse_shard


def run_images(files: Sequence[ImageFile], labels: Mapping[str, int], skipped: Sequence[Skipped]) -> RunImages:
    """What a run is about, without reading any image."""
    return RunImages(
        n_files=len(files),
        n_unusable=len(skipped),
        names_sha256=sha256_of_set(f"{file.relative}\0{_size(file)}" for file in files),
        labels_sha256=sha256_of_set(f"{name}\0{label}" for name, label in labels.items()),
    )


def images_differ(a: SamplesHeader, b: SamplesHeader) -> str | None:
    """`images` or `labels`, if two runs are about different ones."""
    if a.images is None or b.images is None or a.images == b.images:
        return None
    return "labels" if replace(a.images, labels_sha256=b.images.labels_sha256) == b.images else "images"


def _size(file: ImageFile) -> int:
    try:
        return file.size()
    except OSError:
        return -1


def merge(paths: Sequence[Path]) -> tuple[SamplesHeader, list[Line], tuple[str, ...]]:
    """The header, all lines and warnings of samples files that belong to one run.

    Raises:
        InputError: the files are of different runs, a shard or a row is missing, or one is there twice.
    """
    read = [(path, *read_samples(path)) for path in paths]
    first_path, first, _ = read[0]
    for path, header, _ in read[1:]:
        field = _differing_field(first, header)
        if field is not None:
            raise InputError(f"{first_path} and {path} are not of one run: their {field} differs")
        difference = images_differ(first, header)
        if difference is not None:
            raise InputError(f"{first_path} and {path} are not of one run: their {difference} differ")
    _check_complete([(path, header) for path, header, _ in read])
    for path, header, lines in read:
        _check_rows(path, header, lines)
    warnings = tuple(
        f"{path} was made in another environment than {first_path}; numbers agree to about 1e-5"
        for path, header, _ in read[1:]
        if header.environment != first.environment
    )
    return replace(first, shard=None), [line for _, _, lines in read for line in lines], warnings


def _differing_field(a: SamplesHeader, b: SamplesHeader) -> str | None:
    for name in ("schema_version", "model", "protocol", "limit", "layout", "skipped_stages", "class_names"):
        if getattr(a, name) != getattr(b, name):
            return name
    # Another machine computes the same to 1e-5; another precision does not.
    return "precision" if a.environment.precision != b.environment.precision else None


def _check_rows(path: Path, header: SamplesHeader, lines: Sequence[Line]) -> None:
    assert header.images is not None  # `read_samples` refuses such a file
    shard = Shard(1, 1) if header.shard is None else parse_shard(header.shard)
    # A part of a range is a range: a file may claim any number of images.
    expected = len(shard.take(range(header.images.n_files))) + (header.images.n_unusable if shard.index == 1 else 0)
    counts = Counter(map(path_of, lines))
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{path} holds two rows of {twice}", hint="it was edited, or two runs wrote to it at once")
    if len(counts) != expected:
        raise InputError(
            f"{path} holds {len(counts)} rows, but its run is about {expected} images",
            hint="continue that run with --resume",
        )


def _check_complete(shards: Sequence[tuple[Path, SamplesHeader]]) -> None:
    named = [(path, parse_shard(header.shard)) for path, header in shards if header.shard is not None]
    if len(named) != len(shards):
        if len(shards) > 1 and named:
            raise InputError("some of the files are shards of a run and some are whole runs")
        return
    counts = {shard.count for _, shard in named}
    if len(counts) != 1:
        raise InputError(
            f"the files are of runs with different numbers of shards: {', '.join(map(str, sorted(counts)))}"
        )
    indices = [shard.index for _, shard in named]
    twice = sorted({index for index in indices if indices.count(index) > 1})
    if twice:
        raise InputError(f"shard {twice[0]}/{counts.pop()} was given twice")
    missing = sorted(set(range(1, counts.pop() + 1)) - set(indices))
    if missing:
        raise InputError(
            f"shards are missing: {', '.join(map(str, missing))}", hint="give the samples files of all shards"
        )
