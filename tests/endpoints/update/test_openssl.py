"""Encryption: the output of `openssl` can be decrypted, and `openssl` decrypts ours."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jidoteki.core.archives import openssl

MODERN = ("-md", "sha256", "-pbkdf2")
LEGACY = ("-md", "md5")
SIZES = [0, 1, 15, 16, 17, 4096, 524_287, 524_288, 524_289, 3_000_000]


def enc(key: Path, content: bytes, *options: str) -> bytes:
    argv = ["openssl", "enc", "-aes-256-cbc", *options, "-pass", f"file:{key}"]
    return subprocess.run(argv, input=content, capture_output=True, check=True).stdout


def decrypted(content: bytes, passphrase: bytes, legacy: bool = False) -> bytes:
    reader = openssl.DecryptingReader(io.BytesIO(content), passphrase, legacy=legacy)
    return b"".join(iter(lambda: reader.read(524_288), b""))


def encrypted(content: bytes, passphrase: bytes) -> bytes:
    target = io.BytesIO()
    writer = openssl.EncryptingWriter(target, passphrase)
    writer.write(content[:100])
    writer.write(content[100:])
    writer.close()
    return target.getvalue()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "secret.key"
    path.write_bytes(b"correct horse\nsecond line\n")
    return path


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("options", "legacy"), [(MODERN, False), (LEGACY, True)])
def test_what_openssl_encrypts_is_decrypted(key: Path, size: int, options: tuple[str, ...], legacy: bool) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    assert decrypted(enc(key, content, *options), openssl.read_passphrase(key), legacy) == content


@pytest.mark.parametrize("size", SIZES)
def test_openssl_decrypts_what_is_encrypted(key: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    assert enc(key, encrypted(content, openssl.read_passphrase(key)), *MODERN, "-d") == content


@pytest.mark.parametrize(
    "content", [b"one", b"one\n", b"\n", b"one\r\n", b"one \ntwo", b"a\0b\n", b"x" * 3000, b"\xff\n"]
)
def test_a_passphrase_file_is_read_as_openssl_reads_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.key"
    path.write_bytes(content)

    assert decrypted(enc(path, b"content", *MODERN), openssl.read_passphrase(path)) == b"content"


def test_an_empty_passphrase_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.key"
    path.touch()

    with pytest.raises(ValueError, match="must hold a passphrase"):
        openssl.read_passphrase(path)


def test_the_wrong_passphrase_is_told_apart() -> None:
    with pytest.raises(openssl.DecryptionError, match="another passphrase"):
        decrypted(b"Salted__saltsalt" + bytes(32), b"wrong")


@pytest.mark.parametrize(
    "content", [b"", b"Salted__", b"Salted__1234567", b"PK\3\4" + bytes(100), b"salted__" + bytes(24)]
)
def test_what_openssl_did_not_encrypt_is_told_apart(content: bytes) -> None:
    with pytest.raises(openssl.DecryptionError, match="not a file that was encrypted"):
        decrypted(content, b"any")


@pytest.mark.parametrize("left", [16, 17, 31, 33, 100, 1000])
def test_a_cut_off_file_is_told_apart(key: Path, left: int) -> None:
    content = enc(key, b"x" * 2000, *MODERN)

    with pytest.raises(openssl.DecryptionError, match="cut off"):
        decrypted(content[:left], openssl.read_passphrase(key))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=5000), st.binary(min_size=1, max_size=40), st.integers(1, 700))
def test_what_is_encrypted_is_decrypted_whatever_the_chunks(content: bytes, passphrase: bytes, size: int) -> None:
    reader = openssl.DecryptingReader(io.BytesIO(encrypted(content, passphrase)), passphrase)

    assert b"".join(iter(lambda: reader.read(size), b"")) == content


def test_openssl_opens_what_is_sealed(tmp_path: Path) -> None:
    private = tmp_path / "private.pem"
    subprocess.run(["openssl", "genrsa", "-out", private, "2048"], check=True, capture_output=True)
    public = subprocess.run(["openssl", "rsa", "-in", private, "-pubout"], check=True, capture_output=True).stdout

    sealed = openssl.seal(public, b"secret\n")

    opened = subprocess.run(
        ["openssl", "rsautl", "-decrypt", "-inkey", private], input=sealed, check=True, capture_output=True
    ).stdout
    assert opened == b"secret\n"


def test_a_key_that_is_not_rsa_is_refused(tmp_path: Path) -> None:
    argv: list[str | Path] = [
        "openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "ec.pem",
    ]  # fmt: skip
    subprocess.run(argv, check=True)
    argv = ["openssl", "ec", "-in", tmp_path / "ec.pem", "-pubout"]
    public = subprocess.run(argv, check=True, capture_output=True).stdout

    with pytest.raises(ValueError, match="another kind than RSA"):
        openssl.seal(public, b"secret")


def test_rubbish_is_no_key() -> None:
    with pytest.raises(ValueError, match="not a public key"):
        openssl.seal(b"rubbish", b"secret")
