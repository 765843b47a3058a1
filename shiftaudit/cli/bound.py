"""`shiftaudit patch --max-drop`: the search behind it, and what is said when no copy is within the bound."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from shiftaudit.cli import stdout
from shiftaudit.cli.memory import keep_memory
from shiftaudit.cli.progress import progress_bar
from shiftaudit.cli.run_audit import ImageOptions, warn_of_unusable
from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.records.bound import BoundOptions
from shiftaudit.records.patch import PatchOptions
from shiftaudit.records.recovery import RecoveryOptions

if TYPE_CHECKING:
    from shiftaudit.models import LoadedModel


def check_images(bound: BoundOptions, recovery: RecoveryOptions) -> None:
    """Find what is missing or excludes each other before a network is loaded.

    Raises:
        InputError: --max-drop comes with --refit or --tune, or there is no image.
    """
    for images in (recovery.refit, recovery.tune, recovery.verify):
        if images:
            ImageOptions(images).check()
    if bound.max_drop is None:
        return
    if recovery.refit or recovery.tune:
        raise InputError(
            "--max-drop fits the copies on --images itself, and came with --refit or --tune", hint="leave these out"
        )
    ImageOptions(bound.images, bound.labels).check()


def copy_within_bound(
    loaded: LoadedModel, choices: PatchOptions, bound: BoundOptions, seed: int, *, as_json: bool, quiet: bool
) -> LoadedModel:
    """The copy that the search chose; it holds the record of the search.

    Raises:
        NoVerdictError: none is within the bound; the best three were shown.
    """
    from shiftaudit.render.bound import render_search, verdict
    from shiftaudit.tune.bound import search

    keep_memory()
    images = ImageOptions(bound.images, bound.labels)
    files, unusable = images.found
    warn_of_unusable(unusable, quiet=quiet)
    labels = images.known_labels(loaded, quiet=quiet).by_path
    with progress_bar(quiet=quiet, what="preparing") as bar:
        observer = None if bar is None else lambda what: bar.update(0, None, what)
        done = search(loaded, files, bound, choices, labels=labels, seed=seed, observer=observer)
    if done.model is None:
        stdout.show({"search": done.record}, partial(render_search, done.record), as_json=as_json)
        longer = ", a longer --budget" if done.record.n_fitted < done.record.n_planned else ""
        raise NoVerdictError(
            verdict(done.record), hint=f"nothing was written; give more images{longer} or a larger --max-drop"
        )
    return done.model
