"""Write result files so that a reader sees the old file or the whole new one, never half of it; and what files are known by."""

from __future__ import annotations

import gzip
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from shiftaudit.errors import InputError

_COMPRESSED = ".gz"


def path_to_write(text: str | Path) -> Path:
    """A path as it is typed for a file that will be written.

    Raises:
        InputError: it is empty, or ends like a folder's.
    """
    if not str(text) or str(text).endswith(("/", os.sep)):
        raise InputError(f"cannot write {str(text)!r}: it names a folder", hint="give the path of a file")
    return Path(text)


def check_writable(path: Path, *, force: bool = True) -> None:
    """Make sure that exactly this path can be written later, and leave nothing behind.

    To be called before the expensive work. `force=False` refuses to replace a file that exists.

    Raises:
        InputError: the path is a folder, is write-protected or (without `force`) exists, or its folder is missing or
            cannot be written to.
    """
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder", hint="give the path of a file")
    if path.exists():
        if not force:
            raise InputError(f"{path} already exists", hint="choose another path, or pass --force to replace it")
        if not os.access(path, os.W_OK):
            raise InputError(f"cannot write {path}: the file is write-protected")
        if is_device(path):
            return
    folder = _destination(path).parent
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"cannot write {path}: the folder {folder} {what}", hint="create the folder first")
    try:
        # On Linux this file never has a name, so not even a kill leaves it behind. Asking the permission bits instead
        # would miss read-only and full file systems.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error} in the folder {folder}") from error


def is_device(path: Path) -> bool:
    """Whether it is a device or pipe such as /dev/stdout: written to, never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` when the block ends, and vanishes when the block fails.

    Until then it is a hidden temporary file in the same folder. The new file has the permissions of the file it
    replaces, or those of the umask. A symbolic link is kept and the file it points to is replaced; a device or pipe is
    written to directly.

    Raises:
        InputError: the file system refused (missing folder, permissions, disk full).
    """
    destination = _destination(path)
    if is_device(path):
        try:
            with path.open("wb") as device:
                yield device
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        return
    temporary = destination.parent / f".shiftaudit-{secrets.token_hex(8)}.tmp"
    try:
        handle = os.fdopen(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), "wb"
        )
        with handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        with suppress(FileNotFoundError):
            temporary.chmod(stat.S_IMODE(destination.stat().st_mode))
        temporary.replace(destination)
    except BaseException as error:  # an interrupt too must leave no half-written file
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        raise


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write a file's whole content in one step; see `write_parts_atomically`."""
    write_parts_atomically(path, [data])


def write_parts_atomically(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file's content part by part, all of them or nothing; see `open_atomically` for what is promised and raised.

    Under a name in `.gz` it is compressed; the same content gives the same bytes.
    """
    with open_atomically(path) as handle:
        if path.suffix.lower() != _COMPRESSED:
            handle.writelines(parts)
            return
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=handle, mtime=0) as compressed:
            compressed.writelines(parts)


def suffix_of(path: Path) -> str:
    """How a file's name says what is in it, compressed or not.

    >>> suffix_of(Path("report.JSON")), suffix_of(Path("report.json.gz")), suffix_of(Path("report"))
    ('.json', '.json', '')
    """
    return (path.with_suffix("") if path.suffix.lower() == _COMPRESSED else path).suffix.lower()


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file as UTF-8 with the newlines it has; see `open_atomically` for what is promised and raised.

    Halves of surrogate pairs, which file names and labels can hold and UTF-8 cannot, become escapes (`\\udc80`).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text_atomically(Path(folder) / "report.json", "{}")
    ...     [(item.name, item.read_text()) for item in Path(folder).iterdir()]
    [('report.json', '{}')]
    """
    write_bytes_atomically(path, text.encode("utf-8", "backslashreplace"))


def _destination(path: Path) -> Path:
    # Resolving keeps a link a link. A loop of links cannot be resolved, and fails as any other missing file does.
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def sha256_of(*paths: Path) -> str:
    """SHA-256 of the bytes of files, one behind the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def sha256_of_set(texts: Iterable[str]) -> str:
    """One hash for a set of texts, such as hashes of images, whatever their order."""
    return hashlib.sha256("\n".join(sorted(texts)).encode("utf-8", "surrogatepass")).hexdigest()
