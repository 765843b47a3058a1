"""Model and images to a report: stream the images, score each, and put the rows together."""

from __future__ import annotations

import platform
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from typing import Protocol

import numpy as np
import PIL
import torch

from shiftaudit.audit.damages import share_of
from shiftaudit.audit.samples import Line
from shiftaudit.audit.scorer import Scorer
from shiftaudit.audit.summary import summarise
from shiftaudit.images.decode import DecodedImage
from shiftaudit.images.file import ImageFile
from shiftaudit.images.stream import decoded, stream
from shiftaudit.models import LoadedModel
from shiftaudit.models.precision import precision_of
from shiftaudit.records.report import SCHEMA_VERSION, AuditReport, Environment, Skipped
from shiftaudit.records.samples import SamplesHeader, StageLayout
from shiftaudit.records.settings import Settings
from shiftaudit.version import __version__
from shiftaudit.views.protocol import resolve

CALIBRATION_IMAGES = 8
"""Their 28 pairs give the unit of stage errors."""


class Observer(Protocol):
    """Told how an audit goes on."""

    def start(self, total: int) -> None:
        """`total` files are about to be scored."""

    def advance(self, line: Line) -> None:
        """One file was scored or skipped."""


class Audit:
    """One model under one protocol, ready to score images.

    Making it loads nothing but runs the network three times, on a random image, to find its stages and its fastest forms.

    Raises:
        InputError: the settings do not fit the model's input.
        ModelError: the model cannot run on an input of its size.
    """

    def __init__(self, model: LoadedModel, settings: Settings, *, limit: int | None = None) -> None:
        self.model = model
        self.settings, self.protocol = resolve(settings, model.preprocessing.size)
        self._scorer = Scorer(model, self.protocol, self.settings)
        self.header = SamplesHeader(
            schema_version=SCHEMA_VERSION,
            tool_version=__version__,
            model=replace(model.info, taught_on=model.taught_on),
            protocol=self.protocol,
            environment=environment(self.settings),
            layout=_layout(self._scorer) if self.protocol.stages else (),
            skipped_stages=self._scorer.prepared.stages.skipped if self.protocol.stages else (),
            class_names=model.class_names,
            limit=limit,
            not_sampled=self._scorer.damage.not_sampled if self._scorer.damage else (),
        )

    def name_classes(self, names: tuple[str, ...] | None) -> None:
        """Names of the classes, for a model that brings none."""
        if self.header.class_names is None:
            self.header = replace(self.header, class_names=names)

    def begin(self, files: Sequence[ImageFile]) -> None:
        """Find the unit of stage errors, from the first readable images, and how many images are taken apart.

        Args:
            files: the whole folder, whatever part of it is scored here.
        """
        if self._scorer.damage is not None:
            self._scorer.damage.share = share_of(len(files), self.settings.damage)
        if not self.header.layout or self.header.calibration:
            return
        images = list(islice(decoded(files, self.model.preprocessing, self.protocol.canvas, 0), CALIBRATION_IMAGES))
        found = self._scorer.calibrate([image.pixels for image in images])
        self.header = replace(self.header, calibration=found, n_calibration=len(images))

    @property
    def n_classes(self) -> int:
        """How many classes the model's answers have."""
        return self._scorer.prepared.n_classes

    def lines(
        self, files: Sequence[ImageFile], labels: Mapping[str, int], observer: Observer | None = None
    ) -> Generator[Line, None, None]:
        """Score files in order, one line each."""
        if observer is not None:
            observer.start(len(files))
        for item in stream(files, self.model.preprocessing, self.protocol.canvas, self.settings.workers):
            if isinstance(item, DecodedImage):
                line: Line = self._scorer.score(item.pixels, item.id, item.relative, labels.get(item.relative))
            else:
                line = item
            if observer is not None:
                observer.advance(line)
            yield line


def audit(
    model: LoadedModel,
    files: Sequence[ImageFile],
    settings: Settings | None = None,
    *,
    labels: Mapping[str, int] | None = None,
    skipped: Sequence[Skipped] = (),
    observer: Observer | None = None,
) -> AuditReport:
    """Score a model on image files.

    Args:
        model: from `shiftaudit.models.load_model`.
        files: from `shiftaudit.images.find.find_images`.
        settings: protocol and batch settings.
        labels: class index by relative path; images without one are scored without accuracy.
        skipped: files that were already found unusable, to be listed in the report.

    Raises:
        InputError: no image could be read, or the settings do not fit.
        ModelError: the model failed.
    """
    run = Audit(model, settings or Settings())
    run.begin(files)
    with closing(run.lines(files, labels or {}, observer)) as lines:
        return summarise(run.header, [*skipped, *lines])


def environment(settings: Settings) -> Environment:
    """What this process computes with."""
    return Environment(
        python=platform.python_version(),
        torch=torch.__version__,
        torchvision=version("torchvision"),
        numpy=np.__version__,
        pillow=PIL.__version__,
        platform=f"{platform.system()}-{platform.machine()}",
        device=settings.device,
        threads=torch.get_num_threads(),
        precision=precision_of(settings.device, autocast=settings.autocast),
    )


def _layout(scorer: Scorer) -> tuple[StageLayout, ...]:
    discovery = scorer.prepared.stages
    layout = []
    for place, stage in enumerate(discovery.stages):
        before, after = discovery.slots[stage.input_slot], discovery.slots[stage.output_slot]
        layout.append(
            StageLayout(
                name=stage.name,
                op=stage.op,
                layer_stride=stage.layer_stride,
                stride=after.stride,
                input_size=before.size,
                output_size=after.size,
                channels=after.channels,
                input_slot=stage.input_slot,
                output_slot=stage.output_slot,
                grid=scorer.damage.grid_of(place) if scorer.damage else None,
            )
        )
    return tuple(layout)
