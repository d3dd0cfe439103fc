"""Files and folders that appear whole or not at all; names of files and of what is in them, for messages.

An artifact is written under a temporary name beside its place, flushed to the disk and renamed, so that nobody ever
reads half of one: not after an exception, not after a kill, not after a power cut.
"""

import errno
import fcntl
import glob
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

__all__ = ["atomic_file", "atomic_folder", "listed"]

_LOST = "was not written and nothing was left behind"
# safetensors and numpy give no errno; asking the disk instead fails, since safetensors takes its half file away again
_FULL = re.compile(r"No space left|quota exceeded|\d+ requested and \d+ written")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it takes the name `path` when the block ends without an exception.

    The temporary file lies beside `path` and has its suffix (writers that look at the suffix work); it exists and is
    empty at first. Missing parent folders are made. What stood at `path` stays untouched until the new file is
    complete, and for good when the block raises; the temporary file is then removed.

    Raises:
        ValueError: The block removed the temporary file instead of writing it.
        OSError: The disk is full (the message names the artifact) or not writable.
    """
    with _beside(path, Path.touch) as temporary:
        yield temporary
        if not temporary.is_file():
            raise ValueError(f"{path}: nothing was written; expected a file at {temporary}")
        _flush(temporary)
        os.replace(temporary, path)  # noqa: PTH105 - the call whose atomicity this module rests on
    _flush(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder to fill; it takes the name `path` when the block ends without an exception.

    As `atomic_file`, for a whole folder. A folder that stood at `path` is replaced as one piece: it is renamed away,
    the new one takes its place, and the old one is deleted. (Between the two renames there is no folder at `path`; a
    half-written one there never is.)

    Raises:
        ValueError: The block removed the temporary folder.
        OSError: The disk is full (the message names the artifact) or not writable.
    """
    with _beside(path, Path.mkdir) as temporary:
        yield temporary
        if not temporary.is_dir():
            raise ValueError(f"{path}: nothing was written; expected a folder at {temporary}")
        for entry in [*sorted(temporary.rglob("*")), temporary]:
            _flush(entry)
        old = _unused_name(path)
        if path.is_symlink() or path.exists():
            path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            if old.is_symlink() or old.exists():
                old.rename(path)
            raise
        _remove(old)
    _flush(path.parent)


def listed(names: Collection[object], most: int = 10) -> str:
    """Return names for a message: sorted, at most `most` of them, then how many more there are."""
    ordered = sorted(map(str, names))
    more = f" and {len(ordered) - most:,} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more if ordered else "nothing"


def _unused_name(path: Path) -> Path:
    """Return a new hidden name beside `path`, with its suffix."""
    return path.with_name(f".{path.stem}.{uuid4().hex[:12]}.partial{path.suffix}")


@contextmanager
def _beside(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """Make a temporary file or folder, locked against other writers' cleaning; it is removed if the block raises.

    What killed runs left beside `path` is removed first.
    """
    with _explain(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{glob.escape(path.stem)}.*.partial{glob.escape(path.suffix)}"):
            if not _in_use(leftover):
                _remove(leftover)
        temporary = _unused_name(path)
        make(temporary)
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        with suppress(OSError):  # file systems without locks: leftovers are then removed a little too eagerly
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with _explain(path):
            yield temporary
    except BaseException:
        _remove(temporary)
        raise
    finally:
        os.close(descriptor)


@contextmanager
def _explain(path: Path) -> Iterator[None]:
    """Name the artifact, and what to do, where the disk is full or the folder is not writable."""
    try:
        yield
    except Exception as error:
        number = getattr(error, "errno", None)
        if _LOST in str(error):  # told of an artifact inside this one
            raise
        if number in (errno.ENOSPC, errno.EDQUOT) or _FULL.search(str(error)):
            number, mend = number or errno.ENOSPC, "free some space"
        elif number in (errno.EACCES, errno.EPERM, errno.EROFS) and _is_beside(error, path):
            mend = f"make {path.parent} writable for this user"
        else:
            raise
        raise OSError(number, f"{os.strerror(number)}: {path} {_LOST}; {mend}") from error


def _is_beside(error: Exception, path: Path) -> bool:
    """Return whether an OSError is about a file in the folder of `path`, or about that folder."""
    name = getattr(error, "filename", None)
    return name is not None and path.parent.is_relative_to(Path(os.fsdecode(name)).parent)


def _in_use(leftover: Path) -> bool:
    """Return whether a running process holds the lock of this temporary file or folder."""
    try:
        descriptor = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _flush(path: Path) -> None:
    """Force a file's or a folder's content onto the disk (symbolic links are left alone)."""
    if path.is_symlink():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
