"""Find the images under the folders and files a user gives."""

from __future__ import annotations

import hashlib
import heapq
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from shiftaudit.errors import InputError
from shiftaudit.images.archives import ARCHIVES, images_in, is_archive
from shiftaudit.images.file import LABEL_BYTES, LABEL_SUFFIX, SUFFIXES, ImageFile, label_keys, os_reason
from shiftaudit.records.report import Skipped


def find_images(
    root: str | Path | Sequence[str | Path], *, limit: int | None = None
) -> tuple[list[ImageFile], list[Skipped]]:
    """All images under a folder, or in archives, or the given files, or several of them, sorted by relative path.

    Folders are searched recursively, hidden files and folders left out, symbolic links followed, each real folder
    visited once. With several roots, paths are relative to the folder they have in common. A file that is named itself
    is tried whatever its suffix. `.tar`, `.zip` and parquet files are read in place, those in a folder where it holds no image
    itself; paths in them are relative to the folder that their images have in common. A file X.cls beside X.jpg holds its label.
    `limit` keeps that many files with the smallest SHA-256 of their relative path: an
    even sample of class folders, where the first by name would all be one class, and a growing limit only adds files.

    Returns the images, and what looked like one but cannot be (folders that cannot be listed, dangling links, pipes, members of
    archives that are links, encrypted or lead out of them).

    Raises:
        InputError: a root does not exist, there is no image at all, an archive is damaged, archives stand beside other images,
            or the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"--limit got {limit}; expected 1 or more")
    roots = [Path(one) for one in ([root] if isinstance(root, (str, Path)) else root)]
    if not roots:
        raise InputError("no images were given", hint="point IMAGES at a folder that holds images")
    skipped: dict[str, Skipped] = {}
    found, archives = _loose(roots, skipped)
    if found and archives:
        raise InputError(f"{archives[0]} stands beside images that are files", hint="score archives by themselves")
    if archives:
        found, unusable = images_in(archives)
        skipped.update((item.path, item) for item in unusable)
    if not found:
        raise _nothing_found(roots, skipped)
    files = sorted(found, key=lambda file: file.relative)
    if limit is not None and limit < len(files):
        chosen = heapq.nsmallest(limit, files, key=lambda file: hashlib.sha256(file.relative.encode()).digest())
        files = sorted(chosen, key=lambda file: file.relative)
    return files, sorted(skipped.values(), key=lambda item: item.path)


def _loose(roots: Sequence[Path], skipped: dict[str, Skipped]) -> tuple[list[ImageFile], list[Path]]:
    """Images that are files of their own, and the archives to read."""
    base = _common_folder(roots)
    found: dict[Path, ImageFile] = {}
    archives: dict[Path, None] = {}
    for item in roots:
        path = item.absolute()  # not resolve(): a link keeps its own name
        within: list[Path] = []
        if path.is_dir():
            candidates = list(_walk(path, base, skipped, within))
            archives.update(dict.fromkeys(sorted(within) if not candidates else ()))
        elif os.path.lexists(path):
            if is_archive(path):
                archives[path] = None
                continue
            candidates = [(path, _label(path))]
        else:
            raise InputError(f"{item} does not exist", hint="point IMAGES at a folder that holds images")
        for candidate, label in candidates:
            relative = _relative(candidate, base)
            reason = _not_a_file(candidate)
            if reason is None:
                found[candidate] = ImageFile(candidate, relative, label=label)
            else:
                skipped[relative] = Skipped(relative, reason)
    return list(found.values()), list(archives)


def _common_folder(roots: Sequence[Path]) -> Path:
    folders = [(path if path.is_dir() else path.parent).absolute() for path in roots]
    try:
        return Path(os.path.commonpath(folders))
    except ValueError as error:
        raise InputError("the images lie on different drives", hint="audit them one after the other") from error


def _walk(
    root: Path, base: Path, skipped: dict[str, Skipped], archives: list[Path]
) -> Iterator[tuple[Path, str | None]]:
    """Files with an image's suffix, and labels. Linked folders come last, so that one reached twice keeps its real name."""
    visited: set[tuple[int, int]] = set()
    pending: list[Path] = [root]
    links: list[Path] = []
    while pending or links:
        folder = pending.pop() if pending else heapq.heappop(links)
        try:
            status = folder.stat()
            identity = (status.st_dev, status.st_ino)
            if identity in visited:
                continue
            visited.add(identity)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            relative = _relative(folder, base)
            skipped[relative] = Skipped(relative, f"the folder cannot be listed: {os_reason(error)}")
            continue
        labelled = any(entry.name.endswith(LABEL_SUFFIX) for entry in entries)
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                if entry.is_symlink():
                    heapq.heappush(links, path)
                else:
                    pending.append(path)
            elif path.suffix.lower() in SUFFIXES:
                yield path, _label(path) if labelled else None
            elif path.suffix.lower() in ARCHIVES:
                archives.append(path)


def _label(path: Path) -> str | None:
    """What the `.cls` file beside an image says."""
    for key in label_keys(path.name):
        try:
            with path.with_name(f"{key}{LABEL_SUFFIX}").open("rb") as handle:
                return handle.read(LABEL_BYTES).decode("utf-8", "replace").strip() or None
        except (OSError, ValueError):
            continue
    return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to a place that may not be looked at
        return False


def _relative(path: Path, base: Path) -> str:
    # File names are bytes on POSIX; those that are not UTF-8 are shown escaped, so that every report can hold them.
    return os.fsencode(path.relative_to(base).as_posix()).decode("utf-8", "backslashreplace")


def _not_a_file(path: Path) -> str | None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "a link to a file that does not exist" if path.is_symlink() else "no longer exists"
    except OSError as error:
        return os_reason(error)
    return None if stat.S_ISREG(mode) else "not a regular file"


def _nothing_found(roots: Sequence[Path], skipped: dict[str, Skipped]) -> InputError:
    where = str(roots[0]) if len(roots) == 1 else f"{len(roots)} files and folders"
    if skipped:
        first = min(skipped.values(), key=lambda item: item.path)
        return InputError(
            f"found no readable image in {where}: {len(skipped)} skipped, the first is {first.path}: {first.reason}"
        )
    return InputError(
        f"found no image in {where}",
        hint="point IMAGES at a folder or archive that holds JPEG, PNG, WebP, BMP, TIFF or GIF files",
    )
