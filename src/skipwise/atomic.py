"""Files and folders that are there whole or not at all: written aside, then renamed."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from skipwise.errors import SkipwiseError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """A file object for a new `path`, which takes its place when the block ends well; after an error nothing is left.

    `mode` is "w" (UTF-8) or "wb"; missing parent folders are made; what is at `path` already stays until the last
    moment. `file.name` is where the bytes lie until then, for libraries that want a path.
    Raises SkipwiseError if no space is left or the place cannot be written to.
    """
    if mode not in ("w", "wb"):
        raise SkipwiseError(f'mode must be "w" or "wb", got {mode!r}. What is written aside cannot be appended to.')
    target = _target(path)
    if target.is_dir():
        raise SkipwiseError(f"{target} must be a file or free, got a folder of that name. Name a file in it.")
    with _space_named(target):
        aside = _aside(target)
        try:
            with open(aside, mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
            os.replace(aside, target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def atomic_dir(path: str | os.PathLike[str]) -> Iterator[Path]:
    """An empty folder that becomes `path` when the block ends well, in place of a folder that was there.

    After an error nothing is left of it. Raises SkipwiseError if no space is left, the place cannot be written to, or a
    file is in the way.
    """
    target = _target(path)
    if target.exists() and not target.is_dir():
        raise SkipwiseError(f"{target} must be a folder or free, got a file of that name. Name another path.")
    with _space_named(target):
        aside = _aside(target)
        try:
            aside.mkdir()
            yield aside
            _replace_dir(aside, target)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


@contextlib.contextmanager
def usual_mode(path: str | os.PathLike[str]) -> Iterator[None]:
    """For a library that writes `path` itself: the file ends with the rights that any new file has.

    Safetensors (0.8) lets nobody but the owner read what it writes, so that a server could not load the model.
    """
    Path(path).touch()
    mode = Path(path).stat().st_mode
    yield
    Path(path).chmod(mode)


def _target(path: str | os.PathLike[str]) -> Path:
    """Where the new thing goes: the end of a link, so that renaming does not replace the link itself."""
    return Path(os.path.realpath(path))


def _aside(target: Path) -> Path:
    """A free name in the same folder (a rename across disks would copy)."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise
        raise _not_writable(target, error) from error
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise _not_writable(target, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")


def _replace_dir(aside: Path, target: Path) -> None:
    """Rename over a folder that may hold files, which the system itself refuses to do."""
    if not target.exists():
        os.replace(aside, target)
        return
    old = target.with_name(f"{aside.name}.old")
    os.replace(target, old)
    try:
        os.replace(aside, target)
    except BaseException:
        os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _space_named(target: Path) -> Iterator[None]:
    """Safetensors hides the error number in the text of its own exception ("... (os error 28)")."""
    try:
        yield
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number not in _NO_SPACE and f"os error {errno.ENOSPC}" not in str(error):
            raise
        folder = next(parent for parent in target.parents if parent.exists())
        free_mb = shutil.disk_usage(folder).free / 1e6
        raise SkipwiseError(
            f"no space left to write {target}: {free_mb:.1f} MB are free in {folder}, and nothing half-written was "
            "left there. Free some space or write to another disk."
        ) from error


def _not_writable(target: Path, error: OSError) -> SkipwiseError:
    return SkipwiseError(
        f"{target} cannot be written: got {error.strerror} for {target.parent}. Name a path in a folder that is yours."
    )
