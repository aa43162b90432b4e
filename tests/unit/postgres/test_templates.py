"""Templates of clusters: a whole one is copied, and anything else costs no more than an initdb."""

import base64
import errno
import hmac
import os
import time
from pathlib import Path

import pytest

from fairlead.postgres import templates
from fairlead.postgres.binaries import Binaries
from fairlead.postgres.cluster import hash_password


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "base" / "1").mkdir(parents=True)
    (folder / "base" / "1" / "112").write_bytes(b"rows")
    (folder / "empty").touch()
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> Binaries:
    (tmp_path / "pg" / "bin").mkdir(parents=True)
    (tmp_path / "pg" / "share" / "postgresql").mkdir(parents=True)
    (tmp_path / "pg" / "share" / "postgresql" / "postgres.bki").write_text("catalog")
    for name in ("initdb", "postgres"):
        (tmp_path / "pg" / "bin" / name).write_text(name)
    return Binaries(tmp_path / "pg" / "bin")


def test_kept_template_is_copied_whole_and_private(data: Path, tmp_path: Path) -> None:
    templates.keep_template(data, tmp_path / "cache" / "key")
    assert templates.copy_template(tmp_path / "cache" / "key", tmp_path / "copy", None)
    assert (tmp_path / "copy" / "base" / "1" / "112").read_bytes() == b"rows"
    assert (tmp_path / "copy" / "empty").read_bytes() == b""
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "copy" / "empty").stat().st_mode & 0o777 == 0o600


def test_first_template_stays_where_two_are_made_at_once(data: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    templates.keep_template(data, cache / "key")
    (data / "empty").write_text("later")
    templates.keep_template(data, cache / "key")
    assert (cache / "key" / "data" / "empty").read_text() == ""
    assert [folder.name for folder in cache.iterdir()] == ["key"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("data/base/1/112", b""), ("size", b""), ("size", b"many"), ("data/empty", b"surplus")],
)
def test_damaged_template_is_not_copied(data: Path, tmp_path: Path, name: str, content: bytes) -> None:
    template = tmp_path / "cache" / "key"
    templates.keep_template(data, template)
    (template / name).write_bytes(content)
    assert not templates.copy_template(template, tmp_path / "copy", None)
    assert not (tmp_path / "copy").exists()
    templates.keep_template(data, template)
    assert templates.copy_template(template, tmp_path / "copy", None)


def test_missing_template_is_not_copied(tmp_path: Path) -> None:
    assert not templates.copy_template(tmp_path / "none", tmp_path / "copy", None)
    assert not (tmp_path / "copy").exists()


def test_link_in_a_template_is_not_followed(data: Path, tmp_path: Path) -> None:
    template = tmp_path / "cache" / "key"
    templates.keep_template(data, template)
    (template / "data" / "empty").unlink()
    (template / "data" / "empty").symlink_to(tmp_path / "data" / "empty")
    assert not templates.copy_template(template, tmp_path / "copy", None)


def test_cache_that_cannot_be_made_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    templates.keep_template(data, tmp_path / "file" / "key")
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize(
    ("name", "age_in_days", "stays"),
    [("key", 29.0, True), ("key", 31.0, False), (".new-1", 0.01, True), (".new-1", 1.0, False)],
)
def test_templates_are_removed_when_unused(tmp_path: Path, name: str, age_in_days: float, stays: bool) -> None:
    (tmp_path / name).mkdir()
    then = time.time() - age_in_days * 86_400
    os.utime(tmp_path / name, (then, then))
    templates.remove_unused(tmp_path)
    assert (tmp_path / name).exists() is stays


def test_copying_keeps_a_template_in_use(data: Path, tmp_path: Path) -> None:
    template = tmp_path / "cache" / "key"
    templates.keep_template(data, template)
    os.utime(template, (0, 0))
    templates.copy_template(template, tmp_path / "copy", None)
    templates.remove_unused(tmp_path / "cache")
    assert template.exists()


def test_key_tells_programs_options_and_catalogs_apart(programs: Binaries) -> None:
    keys = [templates.make_key(programs, []), templates.make_key(programs, ["--wal-segsize=1"])]
    programs.program("postgres").write_text("another build")
    keys.append(templates.make_key(programs, []))
    (programs.folder.parent / "share" / "postgresql" / "postgres.bki").write_text("another catalog")
    keys.append(templates.make_key(programs, []))
    assert None not in keys
    assert len(set(keys)) == 4


def test_programs_that_are_not_all_there_have_no_key(tmp_path: Path) -> None:
    assert templates.make_key(Binaries(tmp_path), []) is None


def test_verifier_gives_the_server_signature_of_rfc_7677() -> None:
    verifier = hash_password("pencil", salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    assert verifier.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    exchange = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
    signature = hmac.digest(base64.b64decode(verifier.rpartition(":")[2]), exchange.encode(), "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_equal_passwords_have_different_verifiers() -> None:
    assert hash_password("pencil") != hash_password("pencil")


def test_full_disk_does_not_cost_the_template(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, target: Path, account: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    template = tmp_path / "cache" / "key"
    templates.keep_template(data, template)
    with monkeypatch.context() as patch:
        patch.setattr(templates, "copy_tree", fail)
        assert not templates.copy_template(template, tmp_path / "copy", None)
    assert templates.copy_template(template, tmp_path / "copy", None)
