"""Packages at their limits: bytes read, messages for wrong ones, and files left on the disk."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jidoteki.core.archives import unpacking
from jidoteki.core.endpoints.update import encryption_guesses, package
from jidoteki.core.endpoints.update.package import ARCHIVE, SIGNATURE, Decrypted, Keys, PackageError

Decrypt = Callable[..., Decrypted]


class Slow:
    """A file that returns few bytes at a time, and counts them."""

    def __init__(self, content: bytes, step: int = 100) -> None:
        self._file = io.BytesIO(content)
        self._step = step
        self.given = 0

    def read(self, size: int, /) -> bytes:
        chunk = self._file.read(min(size, self._step))
        self.given += len(chunk)
        return chunk


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """Return the directory for the archive."""
    path = tmp_path / "into"
    path.mkdir()
    return path


@pytest.fixture
def decrypt(vendor: Any, into: Path) -> Decrypt:
    """Return a function that encrypts content and decrypts it as a package."""

    def decrypt_one(plain: bytes, *how: str, **options: Any) -> Decrypted:
        content = Slow(vendor.encrypt(plain, *how))
        return package.decrypt(content, package.load_keys(vendor.directory), into, **options)

    return decrypt_one


def member(name: str, content: bytes = b"", **fields: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


END = bytes(1024)
GOOD = member(ARCHIVE, b"archive") + member(SIGNATURE, b"signature")


def test_both_members_come_out_with_the_digest_of_the_archive(decrypt: Decrypt, into: Path) -> None:
    for plain in (GOOD, member("./" + SIGNATURE, b"signature") + member("./" + ARCHIVE, b"archive")):
        found = decrypt(plain + END)

        assert found == Decrypted(into / ARCHIVE, hashlib.sha256(b"archive").digest(), (b"signature",))
        assert [each.name for each in into.iterdir()] == [ARCHIVE]
        assert found.archive.read_bytes() == b"archive"
        found.archive.unlink()


def test_an_archive_that_is_there_already_is_not_replaced(decrypt: Decrypt, into: Path) -> None:
    (into / ARCHIVE).write_text("old")

    with pytest.raises(FileExistsError):
        decrypt(GOOD + END)
    assert (into / ARCHIVE).read_text() == "old"


def test_each_chunk_may_end_it(decrypt: Decrypt) -> None:
    called: list[None] = []
    decrypt(GOOD + END, checkpoint=lambda: called.append(None)).archive.unlink()
    assert called

    def cancel() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        decrypt(member(SIGNATURE, b"signature") + member(ARCHIVE, b"x") + END, checkpoint=cancel)


def told(decrypt: Decrypt, plain: bytes, *how: str, **options: Any) -> str:
    with pytest.raises(PackageError) as caught:
        decrypt(plain, *how, **options)
    return str(caught.value)


DAMAGED = "The package is damaged or not an update package: "


@pytest.mark.parametrize(
    ("plain", "reason"),
    [
        (member(ARCHIVE, b"a"), f"there is no {SIGNATURE} in it"),
        (member(SIGNATURE, b"a"), f"there is no {ARCHIVE} in it"),
        (b"", f"there is no {ARCHIVE} in it"),
        (GOOD + member(ARCHIVE, b""), f"the archive's member '{ARCHIVE}' comes twice"),
        (GOOD + member(SIGNATURE), f"the archive's member '{SIGNATURE}' comes twice"),
        (GOOD + member("more"), f"the archive's member 'more' is neither {ARCHIVE} nor {SIGNATURE}"),
        (member("././" + ARCHIVE), f"the archive's member '././{ARCHIVE}' is neither {ARCHIVE} nor {SIGNATURE}"),
        (
            member("._" + ARCHIVE),
            f"the archive's member '._{ARCHIVE}' is neither {ARCHIVE} nor {SIGNATURE}: the tar of macOS adds such "
            "files unless COPYFILE_DISABLE=1 is in its environment",
        ),
        (member(ARCHIVE, type=tarfile.DIRTYPE), f"the archive's member '{ARCHIVE}' is not a file"),
        (
            member(ARCHIVE, mode=0o4755),
            f"the archive's member '{ARCHIVE}' is set-user-id: no archive brings privileges, a script has to give them",
        ),
        (member(SIGNATURE, bytes(8193)), f"the archive's member '{SIGNATURE}' is longer than 8192 bytes"),
        (member(ARCHIVE, linkname="x"), f"the archive's member '{ARCHIVE}' has a damaged header"),
        (member(ARCHIVE, uname="a\x01"), f"the archive's member '{ARCHIVE}' has a damaged header"),
        (member(ARCHIVE, gname="\x01a"), f"the archive's member '{ARCHIVE}' has a damaged header"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_by_name(decrypt: Decrypt, plain: bytes, reason: str) -> None:
    assert told(decrypt, plain + END) == DAMAGED + reason


def test_a_link_is_no_file(decrypt: Decrypt) -> None:
    plain = member(ARCHIVE, type=tarfile.SYMTYPE, linkname="x")

    assert told(decrypt, plain + END) == DAMAGED + f"the archive's member '{ARCHIVE}' has a damaged header"


def test_owners_names_are_nobodys(decrypt: Decrypt) -> None:
    assert decrypt(member(ARCHIVE, uname="root", gname="wheel") + member(SIGNATURE) + END).signatures[0] == b""


def test_a_signature_has_8192_bytes(decrypt: Decrypt) -> None:
    assert decrypt(member(ARCHIVE) + member(SIGNATURE, b"s" * 8192) + END).signatures[0] == b"s" * 8192


# The text fields of a ustar header, and the others: the version, the device numbers.
TEXTS = {"name": (0, 100), "link": (157, 257), "owner": (265, 297), "group": (297, 329), "prefix": (345, 512)}


@pytest.mark.parametrize("field", TEXTS)
@pytest.mark.parametrize("at", ["behind the text", "the last byte"])
def test_what_stands_behind_the_end_of_a_text_in_a_header_is_damage(decrypt: Decrypt, field: str, at: str) -> None:
    header = bytearray(member(SIGNATURE))
    start, end = TEXTS[field]
    place = end - 1 if at == "the last byte" else header.index(b"\0", start) + 1
    header[place] = 1
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)

    assert told(decrypt, bytes(header) + member(ARCHIVE) + END).endswith("has a damaged header")


def test_the_headers_of_both_members_have_8_kib(decrypt: Decrypt) -> None:
    info = tarfile.TarInfo(ARCHIVE)
    for comment, can in ((6000, True), (9000, False)):
        info.pax_headers = {"comment": "x" * comment}
        plain = info.tobuf(tarfile.PAX_FORMAT) + member(SIGNATURE) + END
        if can:
            decrypt(plain).archive.unlink()
        else:
            assert "header longer" in told(decrypt, plain)


# Guessing the encryption


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Disable guessing, and return the beginnings that would have been guessed from."""
    seen: list[bytes] = []

    def explained(beginning: bytes, passphrase: bytes) -> str:
        seen.append(beginning)
        return ""

    monkeypatch.setattr(encryption_guesses, "explained", explained)
    return seen


def undecrypted(vendor: Any, content: Slow, into: Path, **options: Any) -> str:
    with pytest.raises(PackageError) as caught:
        package.decrypt(content, Keys(vendor.directory), into, **options)
    assert not any(into.iterdir())
    return str(caught.value)


UNKNOWN = "The package cannot be decrypted: it was encrypted with another passphrase, or its beginning is damaged"
NO_FILE = "The package cannot be decrypted: it is not a file that was encrypted with a passphrase by openssl enc"


@pytest.mark.parametrize("legacy", [False, True])
def test_another_passphrase_is_told_without_reading_on(
    vendor: Any, stranger: Any, into: Path, quick: list[bytes], legacy: bool
) -> None:
    content = Slow(stranger.encrypt(GOOD + END))

    assert undecrypted(vendor, content, into, legacy=legacy) == UNKNOWN
    assert [len(each) for each in quick] == [content.given] == [16 + 1024]


def test_what_the_guesses_say_is_told(vendor: Any, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption_guesses, "explained", lambda beginning, passphrase: f"It is {passphrase == b'x'}")

    assert undecrypted(vendor, Slow(b"rubbish"), into) == "The package cannot be decrypted: it is False"


@pytest.mark.parametrize("content", [b"", b"Salted_", b"rubbish" * 1000])
def test_what_is_not_encrypted_is_told(vendor: Any, into: Path, quick: list[bytes], content: bytes) -> None:
    assert undecrypted(vendor, Slow(content), into) == NO_FILE


def test_a_package_of_old_is_refused_unless_it_is_allowed(vendor: Any, into: Path, decrypt: Decrypt) -> None:
    assert told(decrypt, GOOD + END, "-md", "md5") == (
        "The package cannot be decrypted: it was encrypted with -md md5, which is too weak unless 'legacy-packages' "
        "allows it"
    )
    assert decrypt(GOOD + END, "-md", "md5", legacy=True).signatures[0] == b"signature"


def test_a_good_passphrase_is_told_by_an_archive_or_by_nothing_at_all(decrypt: Decrypt, quick: list[bytes]) -> None:
    assert told(decrypt, END).startswith(DAMAGED)
    assert told(decrypt, bytes(512) + b"x" * 600).startswith(DAMAGED)
    assert told(decrypt, b"x" + bytes(1023)) == UNKNOWN
    assert told(decrypt, bytes(511) + b"x" + bytes(512)) == UNKNOWN


# Keys


@pytest.mark.parametrize("name", ["updates.key", "updates.pub"])
def test_a_key_is_read_when_it_is_needed_and_once(vendor: Any, tmp_path: Path, name: str) -> None:
    for each in ("updates.key", "updates.pub"):
        (tmp_path / each).write_bytes((vendor.directory / each).read_bytes())
    keys = package.load_keys(tmp_path)
    (tmp_path / name).unlink()
    assert keys.passphrase and keys.public

    with pytest.raises(PackageError, match=f"The appliance has no {name}, without which it cannot take updates"):
        package.load_keys(tmp_path)
    Keys(tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(PackageError, match=f"The appliance's {name} cannot be read: It is not a regular file"):
        package.load_keys(tmp_path)
    (tmp_path / name).rmdir()
    (tmp_path / name).write_text("")
    with pytest.raises(PackageError, match=f"The appliance's {name} cannot be used: "):
        package.load_keys(tmp_path)


def test_a_public_key_has_64_kib(vendor: Any, tmp_path: Path) -> None:
    (tmp_path / "updates.key").write_text("x\n")
    content = (vendor.directory / "updates.pub").read_bytes()
    (tmp_path / "updates.pub").write_bytes(content.ljust(64 * 1024, b"\n"))
    assert package.load_keys(tmp_path).passphrase == b"x"

    (tmp_path / "updates.pub").write_bytes(content.ljust(64 * 1024 + 1, b"\n"))
    with pytest.raises(PackageError, match="cannot be read"):
        package.load_keys(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to somebody else")
def test_a_public_key_of_somebody_else_is_none(vendor: Any, tmp_path: Path) -> None:
    for each in ("updates.key", "updates.pub"):
        (tmp_path / each).write_bytes((vendor.directory / each).read_bytes())
    os.chown(tmp_path / "updates.pub", 1234, 1234)

    with pytest.raises(PackageError, match="updates.pub cannot be read"):
        package.load_keys(tmp_path)


# Verified and unpacked


@pytest.mark.parametrize("spoil", ["digest", "signature", "neither"])
def test_a_signature_is_of_the_very_archive(vendor: Any, tmp_path: Path, spoil: str) -> None:
    archive = vendor.archive(tmp_path / "made", {"version.txt": "1"})
    signature = bytearray(vendor.sign(archive).read_bytes())
    digest = bytearray(hashlib.sha256(archive.read_bytes()).digest())
    if spoil == "neither":
        package.verify(Decrypted(archive, bytes(digest), (bytes(signature),)), Keys(vendor.directory))
        return
    (digest if spoil == "digest" else signature)[-1] ^= 1

    with pytest.raises(PackageError, match="not valid: it was changed or signed with another key"):
        package.verify(Decrypted(archive, bytes(digest), (bytes(signature),)), Keys(vendor.directory))


def test_disk_is_left_free(decrypt: Decrypt, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Status:
        f_bavail, f_frsize = 10, 1000

    monkeypatch.setattr(os, "statvfs", lambda path: Status if path == into else None)

    decrypt(GOOD + END, free_space=10_000 - 7).archive.unlink()
    assert told(decrypt, GOOD + END, free_space=10_000 - 6) == (
        "The 7 bytes of the package would leave less than 9994 bytes of disk free: 10000 are free"
    )
    assert not any(into.iterdir())


def test_a_file_that_takes_part_of_what_it_is_given_gets_the_rest(
    decrypt: Decrypt, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    class Partial:
        def __init__(self, file: Any) -> None:
            self._file = file

        def __enter__(self) -> Partial:
            return self

        def __exit__(self, *why: object) -> None:
            self._file.close()

        def write(self, chunk: memoryview) -> int:
            return int(self._file.write(chunk[:3]))

    def open_partially(path: Path, *arguments: Any, **options: Any) -> Any:
        file = opened(path, *arguments, **options)
        return Partial(file) if arguments == ("xb",) else file

    monkeypatch.setattr(Path, "open", open_partially)
    found = decrypt(GOOD + END)

    assert found.digest == hashlib.sha256(b"archive").digest()
    assert found.archive.read_bytes() == b"archive"


def test_what_an_archive_may_unpack_to_is_bounded_by_its_files_and_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []

    def reader(file: Any, limit: int) -> Any:
        limits.append(limit)
        return io.BytesIO(END)

    monkeypatch.setattr(package, "GunzipReader", reader)
    (tmp_path / "archive").write_bytes(b"")
    (tmp_path / "into").mkdir()
    package.unpack(
        tmp_path / "archive",
        tmp_path / "into",
        unpacking.Policy.update(max_size=5000, max_members=10, free_space=0),
    )

    assert limits == [5000 + 10 * 512 + 1024 * 1024]


@pytest.mark.parametrize("content", [b"", b"rubbish"])
def test_a_damaged_archive_is_told_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "archive").write_bytes(content)
    (tmp_path / "into").mkdir()

    with pytest.raises(PackageError, match="^The package cannot be unpacked: [a-z]"):
        package.unpack(
            tmp_path / "archive",
            tmp_path / "into",
            unpacking.Policy.update(max_size=5000, max_members=10, free_space=0),
        )
