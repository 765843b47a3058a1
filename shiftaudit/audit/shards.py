"""Split the images of one run over processes and machines, and put the rows together again.

A report is a function of its rows, and a row of one image alone, so shards that are merged give the very report that one
process would have written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shiftaudit.audit.samples import Line, read_samples
from shiftaudit.errors import InputError
from shiftaudit.records.samples import SamplesHeader
from shiftaudit.records.settings import parse_shard


def merge(paths: Sequence[Path]) -> tuple[SamplesHeader, list[Line], tuple[str, ...]]:
    """The header, all lines and warnings of samples files that belong to one run.

    Raises:
        InputError: the files are of different runs, a shard is missing, or one is there twice.
    """
    read = [(path, *read_samples(path)) for path in paths]
    first_path, first, _ = read[0]
    for path, header, _ in read[1:]:
        field = _differing_field(first, header)
        if field is not None:
            raise InputError(f"{first_path} and {path} are not of one run: their {field} differs")
    _check_complete([(path, header) for path, header, _ in read])
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
