"""Archives as downloaded: the names inside a .zip, .tar.gz or .tar, and the bytes behind them.

Nothing is ever extracted to the disk. An archive comes from a stranger: whatever would lead out of it (absolute paths,
``..``, links), name two things alike or unpack to far more than it should is refused by name before any image is read.
"""

import gzip
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reidlib.images.members import Limits, Member, archive_kind, tar_members, zip_members

__all__ = ["ARCHIVE_ENDINGS", "LIMITS", "Contents", "list_archive", "read_members", "shown"]

ARCHIVE_ENDINGS = (".zip", ".tar.gz", ".tgz", ".tar")
LIMITS = Limits()
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, struct.error),
    *(EOFError, OverflowError, NotImplementedError, RuntimeError),  # the last: a password that only one header wants
)


@dataclass(frozen=True)
class Contents:
    """What an archive holds, litter left out.

    `names` is sorted, with ``/`` between folders and no leading ``./``; `raw_names` gives each name's bytes as stored
    (image ids are made of them); `texts` holds the lists that readers need (MSMT17's lists, identities.csv).
    """

    file: str
    names: tuple[str, ...]
    texts: Mapping[str, str]
    raw_names: Mapping[str, bytes]


def list_archive(path: Path, *, limits: Limits = LIMITS) -> Contents:
    """Return the names inside the archive at `path`, with the text lists among them.

    Told by content, not by ending. Folders, hidden files and litter (``__MACOSX``, ``Thumbs.db``, ...) are left out.

    Raises:
        ValueError: No archive, truncated or damaged; a path that leads out, a link, a name twice or with control
            characters; an encrypted or oddly compressed file; more than `limits` allow. The message names the file.
    """
    kind = archive_kind(path)
    members: dict[str, Member] = {}
    texts: dict[str, str] = {}
    with _damage_told(path):
        for member, data in (zip_members if kind == "zip" else tar_members)(path, limits):
            if member.name in members:
                raise ValueError(f"{path.name}: {member.name!r} is in it twice; make an archive with each name once")
            members[member.name] = member
            if data is not None:
                texts[member.name] = _text(data, f"{path.name}: {member.name}")
    names = tuple(sorted(members))
    return Contents(path.name, names, texts, {name: members[name].raw for name in names})


def read_members(
    path: Path, names: Collection[str], *, limits: Limits = LIMITS
) -> Iterator[tuple[str, bytes | ValueError]]:
    """Yield each of `names` (as `list_archive` gave them) with its bytes, in the archive's order.

    A file whose bytes are damaged (zip: its checksum fails) comes with a ValueError that says so in their place.

    Raises:
        ValueError: As `list_archive`; also where one of `names` is not in the archive.
    """
    wanted = set(names)
    with _damage_told(path):
        for member, data in (zip_members if archive_kind(path) == "zip" else tar_members)(path, limits, wanted):
            if member.name in wanted and data is not None:
                wanted.discard(member.name)
                yield member.name, data
    if wanted:
        raise ValueError(f"{path.name}: not in it (did the file change while it was read?): {shown(wanted)}")


def shown(names: Collection[object], most: int = 10) -> str:
    """Return names for a message: sorted, at most `most` of them, then how many more there are."""
    ordered = sorted(map(str, names))
    more = f" and {len(ordered) - most:,} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more if ordered else "nothing"


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Turn what zipfile, tarfile and gzip raise on a broken archive into one ValueError that names it."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name}: a file name said to be UTF-8 is not ({error}); make the archive anew"
        ) from error
    except (*_DAMAGE, ValueError) as error:
        if isinstance(error, ValueError) and str(error).startswith(f"{path.name}: "):
            raise  # ours
        raise ValueError(f"{path.name}: truncated or damaged ({error}); download it again") from error


def _text(data: bytes | ValueError, where: str) -> str:
    """Return a text list's text."""
    if isinstance(data, ValueError):
        raise ValueError(f"{where}: {data}") from data
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: not UTF-8 text ({error}); save it as UTF-8") from error
