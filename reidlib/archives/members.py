"""The files inside one zip or tar, each checked before it is handed on; `reidlib.archives.archive` is the way in."""

import gzip
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from reidlib.archives.decode import KIND_BYTES, picture_kind
from reidlib.progress import progress

_LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini", "Icon\r", "@eaDir"}
PICTURE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".avif", ".tif", ".tiff", ".gif", ".jp2", ".ppm"),
    *(".heic", ".heif", ".jxl"),  # told, with what to do, when they are decoded
)
_TEXTS = re.compile(r"(?:list_(?:train|val|query|gallery)\.txt|(?:identities|times)\.csv)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")  # also: turned writing
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADER_BYTES = 2**20
_DIGITS = re.compile(rb"[0-9]{256}")  # in a tar's header: tarfile's search takes quadratic time over them


@dataclass(frozen=True)
class Limits:
    """What an archive may hold at most: files, bytes of one file, of a name, in all, and growth in unpacking.

    Bytes are counted of what is read, pictures and lists: a film that lies beside them may be as large as it likes.
    """

    files: int = 5_000_000
    file_bytes: int = 64 * 2**20
    name_bytes: int = 4096
    total_bytes: int = 2**40
    ratio: float = 100.0


class Member(NamedTuple):
    """One file: its plain name (``/`` between folders, NFC) and the bytes of its name as stored.

    `start` is how it begins, where its name does not say what it is and no files were asked for by name.
    """

    name: str
    raw: bytes
    start: bytes = b""


def archive_kind(path: Path) -> str:
    """Return "zip", "gzip" or "tar" by the file's first bytes."""
    with path.open("rb") as file:
        start = file.read(512)
    if start[:2] == b"PK":
        return "zip"
    if start[:2] == b"\x1f\x8b":
        return "gzip"
    if start[257:262] == b"ustar":
        return "tar"
    raise ValueError(
        f"{path.name}: not a zip, tar.gz or tar archive ({path.stat().st_size:,} bytes, beginning {start[:8]!r}); "
        "download it again (a web page saved under the archive's name looks like this)"
    )


def _member(raw: bytes, file: str, limits: Limits) -> Member | None:
    """Return the member with its name checked and made plain, None for litter."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("utf-8", "backslashreplace").replace("\\x", "%")  # stays printable, storable and distinct
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
    if text[:1] in ("/", "\\") or re.match(r"[A-Za-z]:[\\/]", text) or ".." in parts:
        raise ValueError(f"{file}: {text!r} leads out of the archive; refused: do not use an archive like this")
    if not parts or any(part.startswith(".") or part in _LITTER for part in parts):
        return None
    name = unicodedata.normalize("NFC", "/".join(parts))  # macOS writes é as e and an accent: the same name
    if _CONTROL.search(name):
        raise ValueError(f"{file}: control characters in the name {name!r}; rename it")
    if len(raw) > limits.name_bytes:
        raise ValueError(f"{file}: a name of {len(raw):,} bytes ({name[:60]!r}...); at most {limits.name_bytes:,}")
    return Member(name, raw)


def zip_members(
    path: Path, limits: Limits, wanted: Collection[str] = ()
) -> Iterator[tuple[Member, bytes | ValueError | None]]:
    """Yield the checked files of a zip in stored order, with the bytes of those in `wanted` and of text lists."""
    with zipfile.ZipFile(path) as archive:
        size, total = path.stat().st_size, 0
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
        _check_count(len(infos), path.name, limits)
        for info in progress(infos, f"reading {path.name}"):
            raw = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
            member = _member(raw, path.name, limits)
            mode = stat.S_IFMT(info.external_attr >> 16)
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f"{path.name}: {info.filename!r} is a link or a device, not a file; refused")
            if member is None or raw[-1:] in (b"/", b"\\") or mode == stat.S_IFDIR:
                continue
            if not 0 <= info.header_offset < size:
                raise zipfile.BadZipFile(f"{member.name!r} lies outside")
            member = member._replace(start=b"" if wanted or _says(member.name) else _zip_start(archive, info))
            if not _is_read(member, wanted):
                yield member, None
                continue
            if info.flag_bits & 1:
                raise ValueError(f"{path.name}: {member.name!r} is encrypted; unpack it and zip it without a password")
            if info.compress_type not in _COMPRESSIONS:
                raise ValueError(
                    f"{path.name}: {member.name!r} has compression {info.compress_type}; zip it with deflate"
                )
            total += info.file_size
            _check_size(member.name, info.file_size, total, path.name, limits)
            if total > limits.ratio * size:
                raise ValueError(f"{path.name}: unpacks to over {limits.ratio:g} times its size; refused as a zip bomb")
            yield member, _zip_bytes(archive, info) if _is_wanted(member.name, wanted) else None


def _zip_start(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return how a file begins; nothing where it is encrypted, damaged or oddly compressed (LZMA wants gigabytes)."""
    if info.flag_bits & 1 or info.compress_type not in _COMPRESSIONS:
        return b""
    try:
        with archive.open(info) as file:
            return file.read(KIND_BYTES)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):  # the last: another password in its own header
        return b""


def _zip_bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | ValueError:
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:  # the rest of the archive may be sound
        return ValueError(f"damaged in the archive ({error})")


def tar_members(
    path: Path, limits: Limits, wanted: Collection[str] = ()
) -> Iterator[tuple[Member, bytes | ValueError | None]]:
    """Yield the checked files of a tar or tar.gz as `zip_members` does, in one pass, to its very end (its checksum)."""
    opened: Any = gzip.open if archive_kind(path) == "gzip" else Path.open
    with (
        opened(path, "rb") as file,
        tarfile.open(fileobj=(stream := _BoundedStream(file, path, limits)), mode="r:") as archive,  # type: ignore[call-overload]
    ):
        total = 0
        for number, info in enumerate(archive if wanted else progress(archive, f"reading {path.name}"), start=1):
            archive.members = []  # tarfile keeps all it has seen; a bomb has millions
            _check_count(number, path.name, limits)
            member = _member(info.name.encode("utf-8", "surrogateescape"), path.name, limits)
            if not info.isdir() and (not info.isreg() or info.issparse()):
                raise ValueError(f"{path.name}: {info.name!r} is a link or a device, not a file; refused")
            if info.size < 0:
                raise ValueError(f"{path.name}: {info.name!r} holds {info.size} bytes; refused")
            if member is None or info.isdir():
                continue
            member = member._replace(start=b"" if wanted or _says(member.name) else stream.start(info))
            if not _is_read(member, wanted):
                yield member, None
                continue
            total += info.size
            _check_size(info.name, info.size, total, path.name, limits)
            yield member, stream.data(info) if _is_wanted(member.name, wanted) else None
        if not stream.last or stream.last.strip(b"\0"):
            raise tarfile.ReadError("no end mark after the last file")
        while stream.read(2**20):
            pass


def _is_wanted(name: str, wanted: Collection[str]) -> bool:
    return name in wanted if wanted else _TEXTS.fullmatch(name.rpartition("/")[2]) is not None


def _says(name: str) -> bool:
    """Whether a name tells that the file is a picture or a list; what others are their first bytes must tell."""
    return name.lower().endswith(PICTURE_ENDINGS) or _is_wanted(name, ())


def _is_read(member: Member, wanted: Collection[str]) -> bool:
    """Whether the file is among `wanted`; without these, whether it is a picture or a list, which may be later."""
    return member.name in wanted if wanted else _says(member.name) or picture_kind(member.start) is not None


def _check_count(number: int, file: str, limits: Limits) -> None:
    if number > limits.files:
        raise ValueError(f"{file}: more than {limits.files:,} files; refused as a zip bomb")


def _check_size(name: str, size: int, total: int, file: str, limits: Limits) -> None:
    if size > limits.file_bytes:
        raise ValueError(f"{file}: {name!r} holds {size:,} bytes; at most {limits.file_bytes:,} are read")
    if total > limits.total_bytes:
        raise ValueError(f"{file}: holds over {limits.total_bytes:,} bytes; refused as a zip bomb")


class _BoundedStream:
    """A stream for tarfile that never gives more than the limits allow, and remembers what it gave last."""

    def __init__(self, stream: Any, path: Path, limits: Limits) -> None:
        self.last = b""
        self._stream, self._file, self._limits = stream, path.name, limits
        self._most = int(min(limits.total_bytes, limits.ratio * path.stat().st_size)) + 2**20

    def read(self, size: int = -1) -> bytes:
        """Read a header: tarfile asks for nothing else."""
        if not 0 <= size <= _HEADER_BYTES:
            raise ValueError(f"{self._file}: a header of {size:,} bytes; refused")
        self.last = self._stream.read(size)
        if _DIGITS.search(self.last):
            raise ValueError(f"{self._file}: a header with 256 digits in a row; refused")
        self._check(self._stream.tell())
        return self.last

    def data(self, info: tarfile.TarInfo) -> bytes:
        """Read a file of a size that was checked."""
        self.seek(info.offset_data)
        data = self._stream.read(info.size)
        if len(data) != info.size:
            raise tarfile.ReadError("unexpected end of data")
        return data

    def start(self, info: tarfile.TarInfo) -> bytes:
        """Read how a file begins."""
        self.seek(info.offset_data)
        return self._stream.read(min(info.size, KIND_BYTES))

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0:
            self._check(offset)
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, offset: int) -> None:
        if offset > self._most:
            raise ValueError(f"{self._file}: unpacks to over {self._most:,} bytes; refused as a zip bomb")
