"""Find the images under the folders and files a user gives."""

from __future__ import annotations

import hashlib
import heapq
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shiftaudit.errors import InputError
from shiftaudit.records.report import Skipped

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})


@dataclass(frozen=True)
class ImageFile:
    """A file that looks like an image."""

    path: Path
    relative: str
    """Relative to the folder given, with forward slashes: the name used in reports, CSV files and sorting."""

    def sha256(self) -> str:
        """Of the file's bytes, which is what an image is known by in reports and records.

        Raises:
            OSError: the file cannot be read.
        """
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def find_images(root: Path | Sequence[Path], *, limit: int | None = None) -> tuple[list[ImageFile], list[Skipped]]:
    """All images under a folder, or the given files, or several of both, sorted by relative path.

    Folders are searched recursively, hidden files and folders left out, symbolic links followed, each real folder
    visited once. With several roots, paths are relative to the folder they have in common. A file that is named itself
    is tried whatever its suffix. `limit` keeps that many files with the smallest SHA-256 of their relative path: an
    even sample of class folders, where the first by name would all be one class, and a growing limit only adds files.

    Returns the images, and what looked like one but cannot be (folders that cannot be listed, dangling links, pipes).

    Raises:
        InputError: a root does not exist, there is no image at all, or the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"--limit got {limit}; expected 1 or more")
    roots = [root] if isinstance(root, Path) else list(root)
    if not roots:
        raise InputError("no images were given", hint="point IMAGES at a folder that holds images")
    base = _common_folder(roots)
    found: dict[Path, ImageFile] = {}
    skipped: dict[str, Skipped] = {}
    for item in roots:
        path = item.absolute()  # not resolve(): a link keeps its own name
        if path.is_dir():
            candidates = _walk(path, base, skipped)
        elif os.path.lexists(path):
            candidates = iter([path])
        else:
            raise InputError(f"{item} does not exist", hint="point IMAGES at a folder that holds images")
        for candidate in candidates:
            relative = _relative(candidate, base)
            reason = _not_a_file(candidate)
            if reason is None:
                found[candidate] = ImageFile(candidate, relative)
            else:
                skipped[relative] = Skipped(relative, reason)
    if not found:
        raise _nothing_found(roots, skipped)
    files = sorted(found.values(), key=lambda file: file.relative)
    if limit is not None and limit < len(files):
        chosen = heapq.nsmallest(limit, files, key=lambda file: hashlib.sha256(file.relative.encode()).digest())
        files = sorted(chosen, key=lambda file: file.relative)
    return files, sorted(skipped.values(), key=lambda item: item.path)


def _common_folder(roots: Sequence[Path]) -> Path:
    folders = [(path if path.is_dir() else path.parent).absolute() for path in roots]
    try:
        return Path(os.path.commonpath(folders))
    except ValueError as error:
        raise InputError("the images lie on different drives", hint="audit them one after the other") from error


def _walk(root: Path, base: Path, skipped: dict[str, Skipped]) -> Iterator[Path]:
    """Files with an image's suffix. Linked folders come last, so that a folder reached twice keeps its real name."""
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
                yield path


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
        hint="point IMAGES at a folder that holds JPEG, PNG, WebP, BMP, TIFF or GIF files",
    )


def os_reason(error: OSError) -> str:
    """Why the operating system refused a file, in a few words and without its path."""
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, FileNotFoundError):
        return "no longer exists"
    return error.strerror or type(error).__name__
