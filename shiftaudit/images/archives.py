"""Images in archives: `.tar`, `.zip` and parquet files, listed here and read in place. Nothing is written to the disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from shiftaudit.errors import InputError
from shiftaudit.images.file import (
    LABEL_BYTES,
    LABEL_SUFFIX,
    SUFFIXES,
    Archives,
    ImageFile,
    Member,
    UnreadableImageError,
    clean_name,
    label_keys,
    os_reason,
)
from shiftaudit.images.tars import tar_members
from shiftaudit.images.zips import zip_members
from shiftaudit.records.report import Skipped

ARCHIVES = frozenset({".tar", ".zip", ".parquet"})

_COMPRESSED = frozenset({".tgz", ".tbz2", ".txz", ".tzst", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"})


def is_archive(path: Path) -> bool:
    """Whether a file's name says that images may be read from it.

    Raises:
        InputError: it is an archive of a kind that cannot be read in place.
    """
    suffix = path.suffix.lower()
    if suffix in _COMPRESSED:
        raise InputError(
            f"{path} is compressed as a whole, so that no image in it can be read alone",
            hint="give the .tar within it, or a .zip: images hardly get smaller by it",
        )
    return suffix in ARCHIVES


def images_in(paths: Sequence[Path]) -> tuple[list[ImageFile], list[Skipped]]:
    """All images in archives, and what looked like one but cannot be used.

    Names are relative to the folder that all images share, as if the archives had been unpacked into one place. A name that
    stands in several of them begins with the archive's.

    Raises:
        InputError: an archive cannot be read, ends early, or tells of other classes than another one.
    """
    read = [_read(path) for path in paths]
    known = {contents.class_names for contents in read}
    if len(known) > 1:
        raise InputError(f"{read[0].path} and the archives beside it number different classes", hint="score them alone")
    shared = _shared_folder(name for contents in read for name in contents.images)
    count = Counter(name for contents in read for name in contents.images)
    base = os.path.commonpath([path.parent for path in paths]) if paths else ""
    inside = [folder[len(shared) :] for contents in read for folder in contents.folders if folder.startswith(shared)]
    archives = Archives(frozenset(name.split("/")[0] for name in inside if name), known.pop() if known else None)
    files: list[ImageFile] = []
    skipped: list[Skipped] = []
    for contents in read:
        for name, member in contents.images.items():
            relative = name[len(shared) :] if name.startswith(shared) else name
            if count[name] > 1:
                relative = f"{contents.path.relative_to(base).as_posix()}/{relative}"
            if member.part is None:
                skipped.append(Skipped(relative, member.reason or "no file"))
            else:
                files.append(ImageFile(contents.path, relative, member.part, member.label, archives))
    return files, skipped


@dataclass(frozen=True)
class _Contents:
    path: Path
    images: dict[str, Member]
    """By cleaned name; the last of a name, as unpacking would leave it."""
    folders: frozenset[str]
    """Each ends in a slash."""
    class_names: tuple[str, ...] | None


def _read(path: Path) -> _Contents:
    try:
        if path.suffix.lower() == ".parquet":
            from shiftaudit.images.tables import read_table

            rows, class_names = read_table(path)
            return _Contents(path, {row.name: row for row in rows}, frozenset(), class_names)
        members = tar_members(path) if path.suffix.lower() == ".tar" else zip_members(path)
        images, folders = _sorted_out(path, members)
    except OSError as error:
        raise InputError(f"cannot read {path}: {os_reason(error)}") from error
    return _Contents(path, images, folders, None)


def _sorted_out(path: Path, members: Iterable[Member]) -> tuple[dict[str, Member], frozenset[str]]:
    images: dict[str, Member] = {}
    labels: dict[str, Member] = {}
    folders: set[str] = set()
    for member in members:
        name, wrong = clean_name(member.name)
        parts = name.split("/")
        if any(part.startswith(".") and part != ".." for part in parts):
            continue
        is_folder = member.part is None and member.reason is None
        if wrong is None:
            folders.update(_above(name + "/" if is_folder else name))
        suffix = PurePosixPath(name).suffix.lower()
        if is_folder:
            continue
        if suffix in SUFFIXES:
            images[name] = member if wrong is None else replace(member, part=None, reason=wrong)
        elif suffix == LABEL_SUFFIX and wrong is None:
            labels[name] = member
    return {name: replace(image, label=_label(path, name, labels)) for name, image in images.items()}, frozenset(
        folders
    )


def _above(name: str) -> Iterator[str]:
    place = name.find("/")
    while place >= 0:
        yield name[: place + 1]
        place = name.find("/", place + 1)


def _label(path: Path, name: str, labels: dict[str, Member]) -> str | None:
    """What the `.cls` member of the same key says. A key ends at the first dot, as WebDataset has it, or at the last."""
    if not labels:
        return None
    folder, _, base = name.rpartition("/")
    for key in label_keys(base):
        member = labels.get(f"{folder}/{key}{LABEL_SUFFIX}" if folder else f"{key}{LABEL_SUFFIX}")
        if member is not None and member.part is not None and 0 < member.part.size <= LABEL_BYTES:
            try:
                return member.part.read(path).decode("utf-8", "replace").strip() or None
            except UnreadableImageError:
                return None
    return None


def _shared_folder(names: Iterable[str]) -> str:
    """The folder that all lie in, with a slash at its end; empty where there is none."""
    folders = [name.rpartition("/")[0] for name in names if not name.startswith("/") and ".." not in name.split("/")]
    shared = os.path.commonpath(folders) if folders and all(folders) else ""
    return f"{shared}/" if shared else ""
