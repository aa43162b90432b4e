"""The bundle: reproducible, refused whole with every reason, written whole or not at all."""

import dataclasses
import gzip
import io
import os
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from fairlead import build, config
from fairlead.build import BuildInfo
from fairlead.bundle import Entry, compute_digest, make_bundle, read_entries
from fairlead.config import Config
from fairlead.exceptions import Error, PreflightError

INFO = BuildInfo(
    name="maya",
    version="1.2.3",
    revision="0123456789abcdef",
    branch="main",
    build_number="7",
    build_time="2024-05-06T07:08:09Z",
    digest="",
    actor="Zoë",
    dirty=False,
)
FILES = {
    "app/__init__.py": "",
    "app/main.py": "app = None\n",
    "app/routers/health.py": "# health\n",
    "migrations/001_create_tenants.sql": "create table tenants (id int);\n",
    "requirements.txt": "fastapi==1\n",
    "start.sh": "#!/bin/sh\n",
    "README.md": "not bundled\n",
}
INCLUDE = ("app/**/*.py", "migrations/*.sql", "requirements.txt", "start.sh")
BUNDLED = [*sorted(name for name in FILES if name != "README.md")]


def make_project(root: Path, *, include: tuple[str, ...] = INCLUDE, toolkit: bool = False, more: str = "") -> Config:
    patterns = ", ".join(f"'{pattern}'" for pattern in include)
    root.mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text(
        f"[tool.fairlead]\nname = 'maya'\n{more}\n"
        f"[tool.fairlead.bundle]\ninclude = [{patterns}]\ntoolkit = {str(toolkit).lower()}\n"
    )
    for name, content in FILES.items():
        file = root / "backend" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    (root / "backend/start.sh").chmod(0o755)
    return config.load(root, environ={})


@pytest.fixture
def project(tmp_path: Path) -> Config:
    return make_project(tmp_path / "project")


def refusals(loaded: Config) -> tuple[str, ...]:
    with pytest.raises(PreflightError, match="the bundle cannot be made") as caught:
        make_bundle(loaded, INFO)
    return caught.value.problems


def with_include(loaded: Config, *patterns: str) -> Config:
    return dataclasses.replace(loaded, bundle=dataclasses.replace(loaded.bundle, include=patterns))


# --- what goes in ---


def test_bundle_holds_what_the_patterns_match_and_the_build_info(project: Config) -> None:
    assert make_bundle(project, INFO).files() == tuple(sorted([*BUNDLED, "build-info.json"]))


def test_caches_are_passed_over(project: Config) -> None:
    cached = project.backend / "app/__pycache__/main.cpython-311.pyc"
    cached.parent.mkdir()
    cached.write_bytes(b"x")
    assert make_bundle(with_include(project, "app/**/*"), INFO).files() == (
        "app/__init__.py",
        "app/main.py",
        "app/routers/health.py",
        "build-info.json",
    )


def test_file_matched_twice_goes_in_once(project: Config) -> None:
    twice = with_include(project, "app/*.py", "app/main.py", "app/**/*.py")
    assert make_bundle(twice, INFO).files().count("app/main.py") == 1


def test_digest_is_filled_into_the_build_info(project: Config) -> None:
    made = make_bundle(project, INFO)
    assert made.digest == made.info.digest == compute_digest(made.entries)
    assert made.digest.startswith("sha256:")
    assert len(made.digest) == len("sha256:") + 64


# --- the digest depends on the content alone ---


def _touch(root: Path) -> None:
    for file in root.rglob("*"):
        os.utime(file, (1, 1))


def _tighten(root: Path) -> None:
    for file in root.rglob("*"):
        if file.is_file():
            file.chmod(file.stat().st_mode & 0o700)


def _widen(root: Path) -> None:
    for file in root.rglob("*"):
        file.chmod(file.stat().st_mode | 0o066)


def _give_away(root: Path) -> None:
    if os.geteuid() == 0:
        for file in root.rglob("*"):
            os.chown(file, 12345, 12345)


def _nothing(root: Path) -> None:
    pass


@pytest.mark.parametrize("change", [_nothing, _touch, _tighten, _widen, _give_away])
def test_other_folder_time_umask_and_owner_give_the_same_archive(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    one, other = make_project(tmp_path / "one"), make_project(tmp_path / "deep er" / "other")
    change(other.backend)
    archives = []
    for loaded in (one, other):
        made = make_bundle(loaded, INFO)
        archive = tmp_path / f"{loaded.root.name}.tar.gz"
        assert made.write(archive) == archive.stat().st_size
        archives.append((made.digest, archive.read_bytes()))
    assert archives[0] == archives[1]


def test_archive_names_no_person_and_no_moment(project: Config, tmp_path: Path) -> None:
    archive = tmp_path / "bundle.tar.gz"
    make_bundle(project, INFO).write(archive)
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, "", "")}
    assert len({member.mtime for member in members}) == 1
    assert archive.read_bytes()[4:8] == bytes(4)


def test_source_date_epoch_gives_the_same_archive_at_any_time(project: Config, tmp_path: Path) -> None:
    archives = set()
    for number in range(2):
        info = build.collect(project.root, name="maya", version="1", environ={"SOURCE_DATE_EPOCH": "1715000000"})
        target = tmp_path / f"{number}.tar.gz"
        make_bundle(project, info).write(target)
        archives.add(target.read_bytes())
    assert len(archives) == 1


def _edit(backend: Path) -> None:
    (backend / "app/main.py").write_text("app = 1   \n")


def _edit_keeping_size(backend: Path) -> None:
    (backend / "app/main.py").write_text("app = Nona\n")


def _make_executable(backend: Path) -> None:
    (backend / "app/main.py").chmod(0o755)


def _rename(backend: Path) -> None:
    (backend / "app/main.py").rename(backend / "app/other.py")


def _delete(backend: Path) -> None:
    (backend / "app/main.py").unlink()


def _create(backend: Path) -> None:
    (backend / "app/empty.py").write_text("")


def _swap(backend: Path) -> None:
    one, other = backend / "app/main.py", backend / "app/routers/health.py"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


@pytest.mark.parametrize("change", [_edit, _edit_keeping_size, _make_executable, _rename, _delete, _create, _swap])
def test_change_of_content_mode_or_path_changes_the_digest(project: Config, change: Callable[[Path], None]) -> None:
    before = make_bundle(project, INFO).digest
    change(project.backend)
    assert make_bundle(project, INFO).digest != before


def test_file_outside_the_patterns_does_not_change_the_digest(project: Config) -> None:
    before = make_bundle(project, INFO).digest
    (project.backend / "README.md").write_text("changed")
    assert make_bundle(project, INFO).digest == before


def test_build_info_does_not_enter_the_digest(project: Config, tmp_path: Path) -> None:
    one = make_bundle(project, INFO)
    other = make_bundle(project, dataclasses.replace(INFO, build_number="8", actor="other", dirty=True, branch="x"))
    assert one.digest == other.digest
    one.write(tmp_path / "bundle.tar.gz")
    assert compute_digest(read_entries(tmp_path / "bundle.tar.gz")) == one.digest


def test_order_of_the_entries_does_not_enter_the_digest() -> None:
    entries = tuple(Entry(PurePosixPath(name), 0o644, name.encode()) for name in ("b", "a", "c"))
    assert compute_digest(entries) == compute_digest(entries[::-1])


# --- what is refused ---


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".env.production",
        "app/.env",
        "server.pem",
        "app/private.key",
        "PRIVATE.KEY",
        "cert.p12",
        "cert.pfx",
        "id_rsa",
        "id_ed25519.pub",
        "id_ecdsa",
        ".netrc",
        ".pypirc",
    ],
)
def test_name_that_never_belongs_in_a_release_is_refused(project: Config, name: str) -> None:
    file = project.backend / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("secret")
    (problem,) = refusals(with_include(project, "app/main.py", name))
    assert problem == f"{name}: a file of this name never goes into a release"


@pytest.mark.parametrize("folder", [".git", ".venv", "app/.aws", "node_modules"])
def test_folder_that_never_belongs_in_a_release_is_refused_once(project: Config, folder: str) -> None:
    for name in ("one.py", "two/three.py"):
        file = project.backend / folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    assert refusals(with_include(project, "app/main.py", f"{folder}/**/*.py")) == (
        f"{folder}: a folder of this name never goes into a release",
    )


def test_link_of_a_name_that_never_belongs_in_a_release_is_refused_for_its_name(project: Config) -> None:
    (project.backend / ".env").symlink_to("app/main.py")
    assert refusals(with_include(project, "app/main.py", ".env")) == (
        ".env: a file of this name never goes into a release",
    )


@pytest.mark.parametrize(
    "name",
    [
        ".env.example",
        ".coveragerc",
        "app/core/log.py",
        "app/database.py",
        "app/environment.py",
        "app/keys.py",
        "app/passwords.py",
        "app/pem.py",
        "app/secrets/__init__.py",
        "app/secrets.py",
        "app/token_secrets.json",
        "app/credentials_form.html",
        "certificates/root.crt",
    ],
)
def test_harmless_name_is_taken(project: Config, name: str) -> None:
    file = project.backend / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("x")
    assert name in make_bundle(with_include(project, name), INFO).files()


# --- what is inside ---

BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"


def pem(kind: str, body: str) -> str:
    # Put together here, so that no scanner takes this file for a leak.
    return f"-----BEGIN {kind}-----{body}"


@pytest.mark.parametrize(
    "content",
    [
        pem("PRIVATE KEY", f"\n{BODY}\n"),
        pem("RSA PRIVATE KEY", f"\r\nProc-Type: 4,ENCRYPTED\r\nDEK-Info: AES-128-CBC,8A6F\r\n\r\n{BODY}\r\n"),
        pem("OPENSSH PRIVATE KEY", f"\n{BODY}\n"),
        pem("PGP PRIVATE KEY BLOCK", f"\nVersion: GnuPG v2\n\n{BODY}\n"),
        '{"private_key": "' + pem("PRIVATE KEY", f"\\n{BODY}\\n") + '"}',
        'KEY = ("' + pem("EC PRIVATE KEY", f'\\n"\n    "{BODY}\\n")'),
        "AGE-SECRET-KEY-1" + "QPZRY9X8GF" * 6,
    ],
    ids=["pkcs8", "encrypted", "openssh", "pgp", "json", "python", "age"],
)
def test_private_key_is_refused_whatever_its_file_is_called(project: Config, content: str) -> None:
    (project.backend / "app/main.py").write_text(content)
    assert refusals(project) == ("app/main.py: it holds a private key",)


@pytest.mark.parametrize(
    "content",
    [
        "MARK = '" + pem("PRIVATE KEY", "'\n\n\ndef read(text: str) -> bool:\n    return text.startswith(MARK)\n"),
        pem("PRIVATE KEY", "'\n# " + "=" * 80 + "\n"),
        pem("PUBLIC KEY", f"\n{BODY}\n"),
        pem("CERTIFICATE", f"\n{BODY}\n"),
    ],
    ids=["the marker alone", "a ruler", "a public key", "a certificate"],
)
def test_what_only_looks_like_a_private_key_is_taken(project: Config, content: str) -> None:
    (project.backend / "app/main.py").write_text(content)
    assert "app/main.py" in make_bundle(project, INFO).files()


SECRET = "s3cr3t-of-this-shell"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_SECRET_KEY", f"  {SECRET}\n"),
        ("jwt_secret_key", SECRET),
        ("RAILWAY_TOKEN", SECRET),
        ("SMTP_PASSWORD", SECRET),
        ("PGPWD", SECRET),
        ("SENDGRID_API_KEY", SECRET),
        ("SENDGRID_APIKEY", SECRET),
        ("KEY", SECRET),
        ("DATABASE_URL", f"postgresql://maya:{SECRET}@db.example.com/maya"),
        ("ANYTHING", f"redis://:{SECRET}@cache.example.com/0"),
        ("ANYTHING", f"redis://:{SECRET.replace('s', '%73')}@cache.example.com/0"),
    ],
)
def test_secret_of_this_environment_is_refused_by_its_variable(project: Config, variable: str, value: str) -> None:
    (project.backend / "app/main.py").write_text(f"KEY = '{SECRET}'\n")
    (problem,) = refusals(dataclasses.replace(project, environ={variable: value}))
    assert problem == f"app/main.py: it holds the secret that the variable {variable} has here"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("JWT_SECRET_KEY", "another-secret-than-that"),
        ("JWT_SECRET_KEY", ""),
        ("SMTP_PASSWORD", "postgres"),
        ("HOSTNAME", SECRET),
        ("KEYBOARD", SECRET),
        ("JWT_SECRET_KEY_ID", SECRET),
        ("TOKEN_TYPE", SECRET),
        ("AUTH_URL", f"https://{SECRET}"),
        ("DATABASE_URL", "postgresql://postgres:postgres@localhost:5432/app"),
        ("DATABASE_URL", f"postgresql://[{SECRET}"),
    ],
)
def test_what_no_variable_calls_a_secret_is_taken(project: Config, variable: str, value: str) -> None:
    content = f"A = '{SECRET}'\nB = 'postgresql://postgres:postgres@localhost:5432/app'\n"
    (project.backend / "app/main.py").write_text(content)
    assert make_bundle(dataclasses.replace(project, environ={variable: value}), INFO).files()


def test_path_of_a_file_with_credentials_is_no_secret(project: Config, tmp_path: Path) -> None:
    file = tmp_path / "service-account"
    file.touch()
    (project.backend / "app/main.py").write_text(f"DEFAULT = '{file}'\n")
    aware = dataclasses.replace(project, environ={"GOOGLE_APPLICATION_CREDENTIALS": str(file)})
    assert make_bundle(aware, INFO).files()


@pytest.mark.parametrize("inside", [True, False])
def test_link_is_refused_wherever_it_points(project: Config, tmp_path: Path, inside: bool) -> None:
    target = project.backend / "app/main.py" if inside else tmp_path / "outside.py"
    target.touch()
    (project.backend / "app/linked.py").symlink_to(target)
    (problem,) = refusals(project)
    assert problem.startswith("app/linked.py: a link cannot be bundled")


def test_broken_link_is_refused(project: Config) -> None:
    (project.backend / "app/linked.py").symlink_to("nowhere")
    (problem,) = refusals(with_include(project, "app/*.py"))
    assert problem.startswith("app/linked.py: a link cannot be bundled")


def test_file_behind_a_linked_folder_is_refused(project: Config, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.py").write_text("")
    (project.backend / "app/elsewhere").symlink_to(outside)
    problems = refusals(with_include(project, "app/elsewhere/*.py"))
    assert problems[0].startswith("app/elsewhere/x.py: a link cannot be bundled")


@pytest.mark.parametrize("pattern", ["../secrets/*", "/etc/passwd", "app/../../x"])
def test_pattern_that_leaves_the_backend_is_refused(project: Config, pattern: str) -> None:
    assert refusals(with_include(project, pattern)) == (f"{pattern!r}: a pattern stays within the backend's folder",)


@pytest.mark.parametrize("pattern", ["nothing/*.py", "app", "app/routers", "Procfile"])
def test_pattern_that_matches_no_file_is_refused(project: Config, pattern: str) -> None:
    (problem,) = refusals(with_include(project, "app/main.py", pattern))
    assert problem.startswith(f"{pattern!r} matches no file")


def test_bundle_without_a_pattern_is_refused(project: Config) -> None:
    (problem,) = refusals(with_include(project))
    assert "tool.fairlead.bundle.include" in problem


def test_build_info_of_the_backend_is_refused(project: Config) -> None:
    (project.backend / "build-info.json").write_text("{}")
    (problem,) = refusals(with_include(project, "build-info.json"))
    assert problem.startswith("build-info.json: it is written by the build")


def test_special_file_is_refused(project: Config) -> None:
    os.mkfifo(project.backend / "app/pipe.py")
    assert refusals(project) == ("app/pipe.py: it is not a regular file",)


def test_file_that_cannot_be_read_is_refused(project: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "health.py":
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert refusals(project) == ("app/routers/health.py: it cannot be read: Permission denied",)


@pytest.mark.parametrize("name", [b"app/new\nline.py", b"app/not-utf-8-\xff.py"])
def test_name_that_cannot_be_printed_is_refused(project: Config, name: bytes) -> None:
    try:
        Path(os.fsdecode(os.fsencode(project.backend) + b"/" + name)).touch()
    except OSError:
        pytest.skip("this file system takes no such name")
    (problem,) = refusals(project)
    assert problem.isprintable()
    assert problem.endswith("its name holds characters that cannot be printed")


def test_missing_backend_is_refused(tmp_path: Path) -> None:
    loaded = dataclasses.replace(make_project(tmp_path), backend=tmp_path / "gone")
    (problem,) = refusals(loaded)
    assert "does not exist (tool.fairlead.backend)" in problem


def test_every_reason_is_listed_at_once(project: Config) -> None:
    (project.backend / ".env").write_text("SECRET=1")
    (project.backend / "app/linked.py").symlink_to("main.py")
    problems = refusals(with_include(project, ".env", "app/*.py", "gone/*", "../x"))
    assert [problem.split(" ")[0].rstrip(":") for problem in problems] == [
        ".env",
        "app/linked.py",
        "'gone/*'",
        "'../x'",
    ]


# --- the toolkit ---


def test_toolkit_goes_along_with_a_configuration_that_loads(tmp_path: Path) -> None:
    more = "version = 'a\"b\\c'\nhealth-path = '/up\"'\nmigrations.directory = 'backend/data base'"
    loaded = make_project(tmp_path / "project", toolkit=True, more=more)
    archive = tmp_path / "bundle.tar.gz"
    made = make_bundle(loaded, INFO)
    made.write(archive)
    release = tmp_path / "release"
    for entry in read_entries(archive):
        (release / entry.path).parent.mkdir(parents=True, exist_ok=True)
        (release / entry.path).write_bytes(entry.content)
    inside = config.load(release, environ={})
    assert (inside.name, inside.version, inside.health_path) == ("maya", 'a"b\\c', '/up"')
    assert inside.backend.resolve() == release.resolve()
    assert inside.migrations.directory == release.resolve() / "data base"
    assert inside.environment("local").database_url_env == "DATABASE_URL"
    needed = {"__main__.py", "config.py", "migrations/__init__.py", "bundle/__init__.py", "py.typed"}
    assert {"pyproject.toml", *(f"fairlead/{name}" for name in needed)} <= set(made.files())
    assert not [name for name in made.files() if name.endswith(".pyc")]


def test_migrations_outside_the_backend_cannot_go_along(tmp_path: Path) -> None:
    loaded = make_project(tmp_path / "project", toolkit=True, more="migrations.directory = 'database'")
    (problem,) = refusals(loaded)
    assert problem.startswith("tool.fairlead.migrations.directory: ")


def test_migrations_may_lie_anywhere_without_the_toolkit(tmp_path: Path) -> None:
    loaded = make_project(tmp_path / "project", more="migrations.directory = 'database'")
    assert make_bundle(loaded, INFO).files()


def test_without_the_toolkit_none_of_it_goes_along(project: Config) -> None:
    assert not [name for name in make_bundle(project, INFO).files() if name.startswith(("fairlead", "pyproject"))]


# --- the archive ---


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 300_000])
def test_archive_is_gzip_that_needs_no_compression_library_to_be_the_same(
    project: Config, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(size)
    (project.backend / "app/main.py").write_bytes(content)
    monkeypatch.delattr(zlib, "compressobj")
    monkeypatch.delattr(zlib, "compress")
    make_bundle(project, INFO).write(tmp_path / "bundle.tar.gz")
    with tarfile.open(tmp_path / "bundle.tar.gz", "r:gz") as tar:
        member = tar.extractfile("./app/main.py")
        assert member is not None
        assert member.read() == content


@pytest.mark.skipif(shutil.which("gzip") is None, reason="gzip is not installed")
def test_other_programs_read_the_archive(project: Config, tmp_path: Path) -> None:
    (project.backend / "app/main.py").write_bytes(bytes(200_000))
    size = make_bundle(project, INFO).write(tmp_path / "bundle.tar.gz")
    checked = subprocess.run(["gzip", "-tv", tmp_path / "bundle.tar.gz"], check=True, capture_output=True, text=True)
    assert "OK" in checked.stderr
    assert size > 200_000


def test_archive_gives_back_what_was_written(project: Config, tmp_path: Path) -> None:
    made = make_bundle(project, INFO)
    made.write(tmp_path / "bundle.tar.gz")
    entries = {str(entry.path): entry for entry in read_entries(tmp_path / "bundle.tar.gz")}
    info = entries.pop("build-info.json")
    assert tuple(entries.values()) == made.entries
    assert entries["start.sh"].mode == 0o755
    assert entries["app/main.py"].mode == 0o644
    assert build.parse(info.content.decode()) == made.info


def test_paths_in_the_archive_are_prefixed_for_the_platform(project: Config, tmp_path: Path) -> None:
    make_bundle(project, INFO).write(tmp_path / "bundle.tar.gz")
    with tarfile.open(tmp_path / "bundle.tar.gz") as tar:
        assert all(name.startswith("./") for name in tar.getnames())


def test_long_and_foreign_names_survive(project: Config, tmp_path: Path) -> None:
    name = "app/" + "/".join(["ein-sehr-langer-ordner"] * 8) + "/größe_漢字.py"
    file = project.backend / name
    file.parent.mkdir(parents=True)
    file.write_text("x")
    make_bundle(project, INFO).write(tmp_path / "bundle.tar.gz")
    assert name in {str(entry.path) for entry in read_entries(tmp_path / "bundle.tar.gz")}


def test_folder_of_the_archive_is_made(project: Config, tmp_path: Path) -> None:
    make_bundle(project, INFO).write(tmp_path / "a/b/bundle.tar.gz")
    assert [file.name for file in (tmp_path / "a/b").iterdir()] == ["bundle.tar.gz"]


def test_failing_write_leaves_the_old_archive_and_nothing_else(
    project: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out" / "bundle.tar.gz"
    target.parent.mkdir()
    target.write_bytes(b"old")
    written: list[str] = []

    def full(self: tarfile.TarFile, header: tarfile.TarInfo, content: io.BytesIO) -> None:
        written.append(header.name)
        if len(written) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(Error, match="cannot be written: No space left on device") as caught:
        make_bundle(project, INFO).write(target)
    assert str(target) in str(caught.value)
    assert target.read_bytes() == b"old"
    assert [file.name for file in target.parent.iterdir()] == ["bundle.tar.gz"]


def test_archive_is_not_written_over_a_folder(project: Config, tmp_path: Path) -> None:
    target = tmp_path / "out" / "bundle.tar.gz"
    target.mkdir(parents=True)
    with pytest.raises(Error, match="cannot be written"):
        make_bundle(project, INFO).write(target)
    assert [file.name for file in target.parent.iterdir()] == ["bundle.tar.gz"]


def test_archive_is_not_written_below_a_file(project: Config, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match="cannot be written"):
        make_bundle(project, INFO).write(tmp_path / "file" / "bundle.tar.gz")


def _damaged(archive: bytes) -> bytes:
    middle = len(archive) // 2
    return archive[:middle] + bytes(byte ^ 0xFF for byte in archive[middle : middle + 40]) + archive[middle + 40 :]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda archive: b"",
        lambda archive: b"garbage" * 100,
        lambda archive: archive[: len(archive) // 2],
        lambda archive: archive[:-4],
        _damaged,
        lambda archive: gzip.compress(b"not a tar archive" * 100),
    ],
    ids=["empty", "garbage", "cut in the middle", "cut at the end", "damaged", "no tar inside"],
)
def test_file_that_is_no_bundle_is_an_expected_error(
    project: Config, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    (project.backend / "app/large.py").write_bytes(b"# " + os.urandom(4000).hex().encode())
    archive = tmp_path / "bundle.tar.gz"
    make_bundle(project, INFO).write(archive)
    archive.write_bytes(spoil(archive.read_bytes()))
    with pytest.raises(Error, match="is not a bundle") as caught:
        read_entries(archive)
    assert caught.value.hint


def test_missing_archive_is_an_expected_error(tmp_path: Path) -> None:
    with pytest.raises(Error, match="is not a bundle"):
        read_entries(tmp_path / "gone.tar.gz")
