"""Archives are listed and read without trusting them."""

import io
import stat
import struct
import tarfile
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from reidlib.archives.archive import image_names, list_archive, read_members
from reidlib.archives.members import Limits

FILES = {
    "Top/a.jpg": b"first",
    "Top/b/c.png": b"second" * 100,
    "Top/list_train.txt": b"a.jpg 0\n",
    "Top/notes.doc": b"x",
}


def test_zip_tar_and_targz_are_read_alike(tmp_path, make_zip, make_tar) -> None:
    # an ending that lies does not matter
    archives = [
        make_zip(tmp_path / "a.tar.gz", FILES),
        make_tar(tmp_path / "b.tar", FILES),
        make_tar(tmp_path / "c.tar.gz", FILES),
        make_tar(tmp_path / "d.tgz", FILES),
    ]
    for archive in archives:
        contents = list_archive(archive)
        assert contents.file == archive.name
        assert contents.names == tuple(sorted(FILES))
        assert contents.texts == {"Top/list_train.txt": "a.jpg 0\n"}
        assert contents.raw_names["Top/a.jpg"] == b"Top/a.jpg"
        assert dict(read_members(archive, ["Top/a.jpg", "Top/b/c.png"])) == {
            name: FILES[name] for name in ("Top/a.jpg", "Top/b/c.png")
        }


def test_litter_and_folders_are_left_out(tmp_path, make_zip) -> None:
    litter = ["__MACOSX/x/._a.jpg", "x/._a.jpg", "x/Thumbs.db", "x/.DS_Store", "x/Icon\r", "x/@eaDir/a.jpg", "x/sub/"]
    archive = make_zip(tmp_path / "a.zip", {name: b"" for name in ["x/a.jpg", *litter]})
    assert list_archive(archive).names == ("x/a.jpg",)


def test_plain_names_keep_their_raw_bytes(tmp_path, make_tar, make_zip) -> None:
    tar = list_archive(make_tar(tmp_path / "a.tar", {"./x/a.jpg": b""}))
    assert (tar.names, tar.raw_names) == (("x/a.jpg",), {"x/a.jpg": b"./x/a.jpg"})
    windows = list_archive(make_zip(tmp_path / "a.zip", {"x\\a.jpg": b"1"}))
    assert windows.names == ("x/a.jpg",)
    assert [name for name, _ in read_members(tmp_path / "a.zip", windows.names)] == ["x/a.jpg"]


@pytest.mark.parametrize("name", ["é人.jpg", "n" * 300 + ".jpg", "=cmd|' '!A0.jpg"])
def test_odd_names_are_kept(tmp_path, make_zip, make_tar, name: str) -> None:
    for archive in (make_zip(tmp_path / "a.zip", {name: b"1"}), make_tar(tmp_path / "a.tar", {name: b"1"})):
        assert list_archive(archive).names == (name,)
        assert list_archive(archive).raw_names[name] == name.encode()
        assert list(read_members(archive, [name])) == [(name, b"1")]


def test_names_that_are_not_utf8(tmp_path, make_zip) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo(b"caf\xe9.jpg".decode("utf-8", "surrogateescape")), io.BytesIO())
    contents = list_archive(tmp_path / "a.tar")
    assert contents.names == ("caf%e9.jpg",)
    assert contents.raw_names["caf%e9.jpg"] == b"caf\xe9.jpg"
    make_zip(tmp_path / "a.zip", {"café.jpg": b""})  # stored as UTF-8; break it in place
    data = (tmp_path / "a.zip").read_bytes().replace("é".encode(), b"\xe9\xe9")
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.zip: a file name said to be UTF-8 is not"):
        list_archive(tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["../evil.jpg", "a/../../evil.jpg", "/etc/evil.jpg", "C:\\evil.jpg", "..\\evil.jpg"])
def test_paths_that_lead_out_are_refused_by_name(tmp_path, make_zip, make_tar, name: str) -> None:
    for archive in (make_zip(tmp_path / "a.zip", {name: b""}), make_tar(tmp_path / "a.tar", {name: b""})):
        with pytest.raises(ValueError, match=r"evil\.jpg' leads out of the archive"):
            list_archive(archive)


def test_links_are_refused_by_name(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("link.jpg")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        with tarfile.open(tmp_path / f"{kind.decode()}.tar", "w") as archive:
            info = tarfile.TarInfo("link.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=r"link\.jpg' is a link or a device"):
            list_archive(path)


def test_control_characters_and_endless_names_are_refused(tmp_path, make_tar) -> None:
    with pytest.raises(ValueError, match=r"control characters in the name 'a\\x1b\[31m\.jpg'"):
        list_archive(make_tar(tmp_path / "a.tar", {"a\x1b[31m.jpg": b""}))
    with pytest.raises(ValueError, match=r"control characters in the name 'a\\u202egpj\.exe'"):
        list_archive(make_tar(tmp_path / "a.tar", {"a\u202egpj.exe": b""}))  # shown as aexe.jpg
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("aXb.jpg", b"")
    path = tmp_path / "a.zip"
    path.write_bytes(path.read_bytes().replace(b"aXb", b"a\0b"))  # zipfile's own names end at the zero
    with pytest.raises(ValueError, match=r"control characters in the name 'a\\x00b\.jpg'"):
        list_archive(path)
    with pytest.raises(ValueError, match="a name of 5,000 bytes"):
        list_archive(make_tar(tmp_path / "a.tar", {"n" * 5000: b""}))


def test_duplicates_are_refused(tmp_path, make_zip, make_tar) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("a.jpg", "1")
        archive.writestr("a.jpg", "2")
    for path in (tmp_path / "a.zip", make_tar(tmp_path / "a.tar", {"a.jpg": b"", "./a.jpg": b""})):
        with pytest.raises(ValueError, match=r"'a\.jpg' is in it twice"):
            list_archive(path)


def test_not_an_archive(tmp_path) -> None:
    (tmp_path / "a.zip").write_bytes(b"<!DOCTYPE html><html>")
    with pytest.raises(ValueError, match=r"a\.zip: not a zip, tar\.gz or tar archive \(21 bytes"):
        list_archive(tmp_path / "a.zip")
    (tmp_path / "b.zip").write_bytes(b"")
    with pytest.raises(ValueError, match="0 bytes"):
        list_archive(tmp_path / "b.zip")


def test_truncated_archives(tmp_path, make_zip, make_tar) -> None:
    files = {f"{number}.jpg": bytes(range(256)) * 40 for number in range(10)}
    for archive in (make_zip(tmp_path / "a.zip", files), make_tar(tmp_path / "a.tar.gz", files)):
        whole = archive.read_bytes()
        for size in (len(whole) // 3, len(whole) - 5):
            archive.write_bytes(whole[:size])
            with pytest.raises(ValueError, match="truncated or damaged"):
                list_archive(archive)
    tar = make_tar(tmp_path / "a.tar", files)
    whole = tar.read_bytes()
    member = 512 + 20 * 512
    for size in (member * 3, member * 3 + 700):  # between two members, inside one
        tar.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="truncated or damaged"):
            list_archive(tar)


def test_a_broken_header_in_the_middle_is_not_taken_for_the_end(tmp_path, make_tar) -> None:
    tar = make_tar(tmp_path / "a.tar", {f"{number}.jpg": b"1" * 512 for number in range(4)})
    data = bytearray(tar.read_bytes())
    data[2048:2148] = b"\xff" * 100
    tar.write_bytes(data)
    with pytest.raises(ValueError, match="truncated or damaged"):
        list_archive(tar)


def test_a_damaged_member_is_told_apart_from_a_damaged_archive(tmp_path, make_zip) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:  # stored, so that bytes can be flipped
        archive.writestr("a.jpg", b"A" * 100)
        archive.writestr("b.jpg", b"B" * 100)
    path = tmp_path / "a.zip"
    path.write_bytes(path.read_bytes().replace(b"AAAA", b"AXAA"))
    found = dict(read_members(path, ["a.jpg", "b.jpg"]))
    assert found["b.jpg"] == b"B" * 100
    assert isinstance(found["a.jpg"], ValueError)
    assert "damaged in the archive" in str(found["a.jpg"])


def test_gzip_checksum_is_verified(tmp_path, make_tar) -> None:
    path = make_tar(tmp_path / "a.tar.gz", {"a.jpg": b"1" * 100})
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="CRC"):
        list_archive(path)


def test_encrypted_and_strangely_compressed(tmp_path, make_zip) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.jpg": b"1"})
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"'a\.jpg' is encrypted"):
        list_archive(path)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.jpg", b"1")
    with pytest.raises(ValueError, match=r"'a\.jpg' has compression 14"):
        list_archive(tmp_path / "b.zip")


def test_bombs_are_refused(tmp_path, make_zip, make_tar) -> None:
    zeros = {"a.jpg": bytes(3_000_000), "b.jpg": bytes(3_000_000)}
    for path in (make_zip(tmp_path / "a.zip", zeros), make_tar(tmp_path / "a.tar.gz", zeros)):
        with pytest.raises(ValueError, match="refused as a zip bomb"):
            list_archive(path)
        with pytest.raises(ValueError, match="holds 3,000,000 bytes; at most 1,000,000"):
            list_archive(path, limits=Limits(file_bytes=1_000_000))
        with pytest.raises(ValueError, match="over 4,000,000 bytes; refused as a zip bomb"):
            list_archive(path, limits=Limits(total_bytes=4_000_000, ratio=1e9))
        with pytest.raises(ValueError, match="more than 1 files"):
            list_archive(path, limits=Limits(files=1, ratio=1e9))


def test_caps_are_for_what_is_read(tmp_path, make_image, make_zip, make_tar) -> None:
    film = np.random.default_rng(0).bytes(300_000)
    files = {"door/film.mp4": film, "door/1.jpg": make_image(1), "door/2.jpg_large": make_image(2), "notes.doc": b"x"}
    limits = Limits(file_bytes=2_000, total_bytes=3_000, ratio=1e9)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_LZMA) as archive:  # so would be a password
        archive.writestr("door/film.mp4", film)
        archive.writestr("door/1.jpg", files["door/1.jpg"], zipfile.ZIP_DEFLATED)
        archive.writestr("door/2.jpg_large", files["door/2.jpg_large"], zipfile.ZIP_DEFLATED)
        archive.writestr("notes.doc", b"x")
    for path in (make_zip(tmp_path / "a.zip", files), tmp_path / "b.zip"):
        contents = list_archive(path, limits=limits)
        assert image_names(contents) == ["door/1.jpg", "door/2.jpg_large"]
        names = image_names(contents)
        assert dict(read_members(path, names, limits=limits)) == {name: files[name] for name in names}
    tar = list_archive(make_tar(tmp_path / "a.tar", files), limits=Limits(file_bytes=2_000))
    assert image_names(tar) == ["door/1.jpg", "door/2.jpg_large"]
    with pytest.raises(ValueError, match=r"'door/2\.jpg_large' holds 2,\d+ bytes; at most 2,000"):
        files["door/2.jpg_large"] += bytes(2_000)
        list_archive(make_zip(tmp_path / "c.zip", files), limits=limits)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_a_picture_is_one_whatever_its_name_ends_in(tmp_path, make_image, make_zip, make_tar, kind: str) -> None:
    files = {f"a/{name}": make_image(1, kind) for name in ("1", "2.jpg_large", "3.data", "4.jpg")}
    others = {"a/5": b"", "a/6.data": b"text", "a/7.pdf": b"%PDF-1.4 ...", "a/8.mp4": b"\0\0\0\x20ftypisom" + bytes(20)}
    for path in (make_zip(tmp_path / "a.zip", files | others), make_tar(tmp_path / "a.tar.gz", files | others)):
        contents = list_archive(path)
        assert image_names(contents) == sorted(files)
        assert dict(read_members(path, files)) == files


def test_overlapping_files_are_a_bomb(tmp_path) -> None:
    # one file's bytes under a thousand names: small for every name, huge in all [Fifield, WOOT 2019]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("0000.jpg", bytes(range(256)) * 200)
    data = (tmp_path / "a.zip").read_bytes()
    directory, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry = data[directory:end]
    entries = b"".join(entry.replace(b"0000.jpg", b"%04d.jpg" % number) for number in range(1000))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1000, 1000, len(entries), directory, 0)
    (tmp_path / "a.zip").write_bytes(data[:directory] + entries + tail)
    with pytest.raises(ValueError, match="unpacks to over 100 times its size; refused as a zip bomb"):
        list_archive(tmp_path / "a.zip")


def test_archives_inside_an_archive_are_files_like_others(tmp_path, make_zip) -> None:
    inner = make_zip(tmp_path / "inner.zip", {"../evil.jpg": b"1", "identities.csv": b"x"}).read_bytes()
    for depth in range(3):
        inner = make_zip(tmp_path / f"{depth}.zip", {"inner.zip": inner, "inner.jpg": inner}).read_bytes()
    contents = list_archive(tmp_path / "2.zip")
    assert (contents.names, contents.texts) == (("inner.jpg", "inner.zip"), {})
    assert dict(read_members(tmp_path / "2.zip", ["inner.jpg"])) == {"inner.jpg": (tmp_path / "1.zip").read_bytes()}


def test_folders_and_litter_are_counted_and_not_kept(tmp_path, make_tar) -> None:
    peaks = []
    for count in (100, 1000):
        path = make_tar(tmp_path / f"{count}.tar.gz", {f"{number}/.hidden": b"" for number in range(count)})
        with pytest.raises(ValueError, match="more than 99 files"):
            list_archive(path, limits=Limits(files=99, ratio=1e9))
        tracemalloc.start()
        assert list_archive(path, limits=Limits(ratio=1e9)).names == ()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 150_000  # tarfile's own list would take 430 bytes for each


def test_a_tar_that_leads_back_or_takes_quadratic_time_is_refused(tmp_path) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.size = -512
    (tmp_path / "back.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ValueError, match=r"'a\.jpg' holds -512 bytes"):
        list_archive(tmp_path / "back.tar")
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 2**20
    (tmp_path / "digits.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"1" * 2**20 + bytes(1024))
    with pytest.raises(ValueError, match="256 digits in a row"):
        list_archive(tmp_path / "digits.tar")


def test_a_tar_with_an_endless_tail_or_header_is_refused(tmp_path) -> None:
    with tarfile.open(tmp_path / "tail.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO())
        archive.fileobj.write(bytes(8 * 2**20))
    with pytest.raises(ValueError, match="refused as a zip bomb"):
        list_archive(tmp_path / "tail.tar.gz")
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 2**33
    (tmp_path / "header.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ValueError, match="a header of"):
        list_archive(tmp_path / "header.tar")


def test_zip_that_understates_a_size_gives_no_more_than_it_says(tmp_path, make_zip) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.jpg": b"1" * 1000})
    data = path.read_bytes().replace(struct.pack("<L", 1000), struct.pack("<L", 10))
    path.write_bytes(data)
    ((_, found),) = read_members(path, ["a.jpg"])
    assert isinstance(found, ValueError)


def test_missing_members_are_named(tmp_path, make_zip) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.jpg": b"1"})
    with pytest.raises(ValueError, match=r"not in it .*: gone\.jpg"):
        list(read_members(path, ["a.jpg", "gone.jpg"]))


def test_text_lists_must_be_utf8(tmp_path, make_zip) -> None:
    assert list_archive(make_zip(tmp_path / "a.zip", {"list_val.txt": "\ufeffx".encode()})).texts == {
        "list_val.txt": "x"
    }
    with pytest.raises(ValueError, match=r"identities\.csv: not UTF-8"):
        list_archive(make_zip(tmp_path / "a.zip", {"identities.csv": b"\xff\xfe"}))


def test_nothing_is_ever_extracted(tmp_path, make_zip, monkeypatch) -> None:
    path = make_zip(tmp_path / "a.zip", FILES)
    monkeypatch.chdir(tmp_path)
    list(read_members(path, list_archive(path).names))
    assert [entry.name for entry in Path().iterdir()] == ["a.zip"]
