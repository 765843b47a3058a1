"""One run of an audit over many images: in shards or ranks, resumed where it was interrupted, stopped when precise enough."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from shiftaudit.audit.audit import Audit, Observer
from shiftaudit.audit.ranks import Ranks, gather
from shiftaudit.audit.samples import Line, SamplesWriter, drop_empty_partial, partial_path, path_of, read_samples
from shiftaudit.audit.shards import images_differ, run_images
from shiftaudit.audit.summary import summarise
from shiftaudit.errors import InputError
from shiftaudit.images.file import ImageFile
from shiftaudit.metrics.counts import view_counts
from shiftaudit.metrics.sequence import ConfidenceSequence
from shiftaudit.records.report import AuditReport, ProtocolResult, Skipped
from shiftaudit.records.samples import ImageScore, SamplesHeader
from shiftaudit.records.settings import RunOptions
from shiftaudit.records.words import Protocol


def run(
    audit: Audit,
    files: Sequence[ImageFile],
    labels: Mapping[str, int],
    skipped: Sequence[Skipped] = (),
    options: RunOptions | None = None,
    *,
    observer: Observer | None = None,
    here: Ranks | None = None,
) -> AuditReport | None:
    """Score files and report.

    Returns:
        The report; None on every rank but the first.

    Raises:
        InputError: options that exclude each other, more skipped files than allowed, nothing to score.
        ModelError: the model failed.
    """
    options, here = options or RunOptions(), here or Ranks()
    _check(options, here)
    audit.header = replace(
        audit.header,
        shard=str(options.shard) if options.shard else None,
        images=run_images(files, labels, skipped) if options.samples is not None else None,
    )
    whole = files
    if options.precision is not None:
        files = sorted(files, key=lambda file: hashlib.sha256(file.relative.encode("utf-8", "replace")).digest())
    shard = options.shard or here.shard
    own = shard.take(files)
    before: list[Line] = list(skipped) if shard.index == 1 else []
    if options.resume and options.samples is not None:
        audit.header, earlier = _resumed(options.samples, audit.header, own)
        before = earlier or before
    audit.begin(whole)
    done = {path_of(line) for line in before}
    waiting = [file for file in own if file.relative not in done]
    lines = _Rows(before, options, audit.protocol.protocols, waiting=len(waiting))
    with closing(audit.lines(waiting, labels, observer)) as scored:
        lines.collect(scored, audit.header)
    everything = gather(here, lines.rows)
    if not here.is_first:
        return None
    report = summarise(audit.header, everything)
    return lines.with_sequences(report)


def _check(options: RunOptions, here: Ranks) -> None:
    if options.precision is not None and (options.shard or here.world > 1):
        raise InputError("--precision looks at all rows as they come, so it excludes shards and several processes")
    if options.shard is not None and options.samples is None:
        raise InputError(
            "--shard needs --samples FILE", hint="put the files of all shards together with shiftaudit merge"
        )
    if options.shard is not None and here.world > 1:
        raise InputError("--shard and torchrun both split the images", hint="use one of the two")
    if options.resume and options.samples is None:
        raise InputError("--resume needs the --samples FILE of the interrupted run")
    if options.samples is not None and not options.resume and partial_path(options.samples).exists():
        raise InputError(
            f"{partial_path(options.samples)} holds the rows of an unfinished run, which would be lost",
            hint="go on from them with --resume, or delete the file to start afresh",
        )
    if options.samples is not None and here.world > 1:
        raise InputError(
            "--samples cannot be written by several processes", hint="use --shard i/n and shiftaudit merge instead"
        )


def _resumed(samples: Path, header: SamplesHeader, files: Sequence[ImageFile]) -> tuple[SamplesHeader, list[Line]]:
    """The header with the calibration of an interrupted run, and the rows it left; none when it left nothing.

    Raises:
        InputError: they are of another model, protocol or shard, of other images or labels.
    """
    drop_empty_partial(samples)
    path = partial_path(samples)
    if not path.exists():
        path = samples
    if not path.exists():
        return header, []
    found, lines = read_samples(path, allow_cut=True)
    for name in ("model", "protocol", "shard", "limit", "layout"):
        if getattr(found, name) != getattr(header, name):
            raise _of_another_run(path, f"its {name} differs")
    difference = images_differ(found, header)
    if difference is not None:
        raise _of_another_run(path, f"its {difference} differ")
    _check_contents(path, lines, files)
    if found.environment.precision != header.environment.precision:
        raise InputError(
            f"{path} was computed in {found.environment.precision}, this run in {header.environment.precision}",
            hint="start afresh without --resume, or with the same --autocast",
        )
    return replace(header, calibration=found.calibration, n_calibration=found.n_calibration), lines


def _of_another_run(path: Path, why: str) -> InputError:
    return InputError(
        f"{path} is of another run: {why}",
        hint="start afresh without --resume and with another --samples, or with the same options",
    )


def _check_contents(path: Path, lines: Sequence[Line], files: Sequence[ImageFile]) -> None:
    """Refuse rows of images that have other contents now: names alone do not tell two folders apart."""
    by_name = {file.relative: file for file in files}
    for line in lines:
        if isinstance(line, ImageScore):
            file = by_name.get(line.image.path)
            if file is None or file.identity() != line.image.id:
                raise _of_another_run(path, f"the contents of {line.image.path} differ")


class _Rows:
    """Rows as they come: kept, written, counted, and watched for precision."""

    def __init__(self, before: list[Line], options: RunOptions, protocols: Sequence[Protocol], *, waiting: int) -> None:
        self.rows = before
        self._waiting = waiting
        self._options = options
        self._sequences = (
            {} if options.precision is None else {p: ConfidenceSequence(options.precision) for p in protocols}
        )
        for line in before:
            self._watch(line)

    def collect(self, scored: Iterator[Line], header: SamplesHeader) -> None:
        """Take rows until there are no more, or enough."""
        path = self._options.samples
        writer = SamplesWriter(path, header, self.rows) if path is not None and self._unwritten(path) else None
        try:
            while not self._enough() and (line := next(scored, None)) is not None:
                if writer is not None:
                    writer.write(line)
                self.rows.append(line)
                self._watch(line)
                if isinstance(line, Skipped) and self._options.max_skipped is not None:
                    self._check_skipped(line, self._options.max_skipped)
            if writer is not None:
                writer.commit()
        finally:
            if writer is not None:
                writer.close()

    def _unwritten(self, path: Path) -> bool:
        """Whether there is anything to write: not where a complete file has every row already."""
        return not (self._options.resume and self._waiting == 0 and path.exists() and not partial_path(path).exists())

    def _watch(self, line: Line) -> None:
        if isinstance(line, ImageScore):
            for protocol, sequence in self._sequences.items():
                counts = view_counts(line.image, protocol)
                if counts is not None:
                    sequence.add(counts.consistency)

    def _enough(self) -> bool:
        return bool(self._sequences) and all(sequence.reached for sequence in self._sequences.values())

    def _check_skipped(self, last: Skipped, allowed: int) -> None:
        count = sum(isinstance(line, Skipped) for line in self.rows)
        if count > allowed:
            what = f"{count} files were skipped, more than --max-skipped {allowed}"
            raise InputError(f"{what}; the last is {last.path}: {last.reason}")

    def with_sequences(self, report: AuditReport) -> AuditReport:
        """The report, with intervals of consistency that hold although their width decided when to stop."""
        if not self._sequences:
            return report
        protocols = {name: self._with_sequence(name, result) for name, result in report.protocols.items()}
        data = replace(report.data, precision=self._options.precision)
        return replace(report, protocols=protocols, data=data)

    def _with_sequence(self, name: Protocol, result: ProtocolResult) -> ProtocolResult:
        consistency = self._sequences[name].metric(result.metrics["consistency"])
        return replace(result, metrics={**result.metrics, "consistency": consistency})
