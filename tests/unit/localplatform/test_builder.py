"""What an archive may hold, and which environment a lock leads to."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from fairlead.exceptions import PlatformError
from fairlead.localplatform.builder import Environments, make_install_commands, unpack

FILE, FOLDER, HARD, SOFT, DEVICE, FIFO = (
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.FIFOTYPE,
)
Member = tuple[str, bytes, bytes]


def write_archive(folder: Path, *members: Member, mode: int = 0o644) -> Path:
    archive = folder / "bundle.tar.gz"
    with tarfile.open(archive, mode="w:gz") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, mode
            if kind == FILE:
                info.size = len(content)
            else:
                info.linkname = content.decode()
            tar.addfile(info, io.BytesIO(content))
    return archive


def test_files_and_folders_are_unpacked_as_they_are(tmp_path: Path) -> None:
    archive = write_archive(
        tmp_path, ("./app", FOLDER, b""), ("./app/main.py", FILE, b"print()"), ("./deep/er/file", FILE, b"x")
    )
    unpack(archive, tmp_path / "release")
    assert (tmp_path / "release/app/main.py").read_bytes() == b"print()"
    assert (tmp_path / "release/deep/er/file").read_bytes() == b"x"


@pytest.mark.parametrize(("given", "wanted"), [(0o644, 0o644), (0o755, 0o755), (0o7777, 0o755), (0o000, 0o644)])
def test_modes_are_plain_or_executable_only(tmp_path: Path, given: int, wanted: int) -> None:
    unpack(write_archive(tmp_path, ("./file", FILE, b"x"), mode=given), tmp_path / "release")
    assert (tmp_path / "release/file").stat().st_mode & 0o7777 == wanted


REFUSED: dict[str, tuple[tuple[Member, ...], str]] = {
    "absolute path": ((("/etc/evil", FILE, b"x"),), "leads out"),
    "climbs out": ((("./../evil", FILE, b"x"),), "leads out"),
    "climbs out from inside": ((("./app/../../evil", FILE, b"x"),), "leads out"),
    "folder that climbs out": ((("../evil", FOLDER, b""),), "leads out"),
    "very long path": ((("a/" * 600 + "b", FILE, b"x"),), "leads out"),
    "symbolic link": ((("./link", SOFT, b"/etc/passwd"),), "neither a plain file nor a folder"),
    "link within": ((("./a", FILE, b"x"), ("./b", SOFT, b"a")), "neither a plain file nor a folder"),
    "hard link": ((("./a", FILE, b"x"), ("./b", HARD, b"./a")), "neither a plain file nor a folder"),
    "write through a link": ((("./d", SOFT, b"/tmp"), ("./d/evil", FILE, b"x")), "neither a plain file nor a folder"),
    "device": ((("./zero", DEVICE, b""),), "neither a plain file nor a folder"),
    "pipe": ((("./pipe", FIFO, b""),), "neither a plain file nor a folder"),
    "same name twice": ((("./a", FILE, b"x"), ("a", FILE, b"y")), "twice"),
    "file where a folder is": ((("./a/b", FILE, b"x"), ("./a", FILE, b"y")), "stands where another"),
    "file as a folder": ((("./a", FILE, b"x"), ("./a/b", FILE, b"y")), "stands where another"),
    "folder where a file is": ((("./a", FILE, b"x"), ("./a", FOLDER, b"")), "stands where another"),
    "no file at all": ((("./a", FOLDER, b""),), "holds no file"),
}


@pytest.mark.parametrize(("members", "says"), REFUSED.values(), ids=REFUSED)
def test_dangerous_archive_is_refused_and_leaves_nothing(
    tmp_path: Path, members: tuple[Member, ...], says: str
) -> None:
    archive = write_archive(tmp_path, *members)
    with pytest.raises(PlatformError, match=says):
        unpack(archive, tmp_path / "inside" / "release")
    assert not (tmp_path / "inside" / "release").exists()
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ({"most_bytes": 999}, "more than 999 bytes"),
        ({"most_members": 2}, "more than 2 entries"),
    ],
)
def test_archive_larger_than_its_bounds_is_refused(tmp_path: Path, bounds: Mapping[str, int], says: str) -> None:
    archive = write_archive(tmp_path, *((f"./{number}", FILE, b"x" * 500) for number in range(3)))
    unpack(archive, tmp_path / "release")
    with pytest.raises(PlatformError, match=says):
        unpack(archive, tmp_path / "other", **bounds)
    assert not (tmp_path / "other").exists()


def test_header_that_swells_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("./small")
    info.pax_headers = {"comment": "x" * 3_000_000}
    archive = tmp_path / "bundle.tar.gz"
    with tarfile.open(archive, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    with pytest.raises(PlatformError, match="more than it may"):
        unpack(archive, tmp_path / "release", most_bytes=1_000_000, most_members=10)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00garbage"], ids=["empty", "text", "garbage"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bundle.tar.gz").write_bytes(content)
    with pytest.raises(PlatformError):
        unpack(tmp_path / "bundle.tar.gz", tmp_path / "release")
    assert not (tmp_path / "release").exists()


@pytest.mark.parametrize("cut", [30, 200, 1000])
def test_archive_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    content = bytes(number * 7919 % 256 for number in range(5000))
    archive = write_archive(tmp_path, ("./a", FILE, content), ("./b", FILE, content[::-1]))
    archive.write_bytes(archive.read_bytes()[:-cut])
    with pytest.raises(PlatformError, match="damaged"):
        unpack(archive, tmp_path / "release")


class Installer:
    """Stands in for uv: makes the interpreter, counts what is run, fails when told to."""

    def __init__(self, code: int = 0) -> None:
        self.commands: list[list[str]] = []
        self.code = code

    def __call__(self, argv: list[str], _cwd: Path, _variables: Mapping[str, str]) -> int:
        self.commands.append(argv)
        if argv[1] == "venv":
            (Path(argv[-1]) / "bin").mkdir(parents=True)
            (Path(argv[-1]) / "bin" / "python").touch()
            return 0
        return self.code


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "requirements.txt"
    file.write_text("first\n")
    return file


def prepare(environments: Environments, lock: Path, installer: Installer) -> Path:
    return environments.prepare(lock, run=installer, variables={}, report=lambda _text: None)


def test_environment_is_made_once_for_a_lock_and_anew_for_another(tmp_path: Path, lock: Path) -> None:
    environments, installer = Environments(tmp_path / "environments"), Installer()
    first = prepare(environments, lock, installer)
    assert prepare(environments, lock, installer) == first
    assert len(installer.commands) == 2
    lock.write_text("second\n")
    assert prepare(environments, lock, installer) != first
    assert len(installer.commands) == 4


def test_environment_that_was_left_half_made_is_made_again(tmp_path: Path, lock: Path) -> None:
    environments, installer = Environments(tmp_path / "environments"), Installer()
    path = environments.path(lock)
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "python").touch()
    assert prepare(environments, lock, installer) == path
    assert len(installer.commands) == 2


def test_environment_that_cannot_be_made_leaves_nothing(tmp_path: Path, lock: Path) -> None:
    environments = Environments(tmp_path / "environments")
    with pytest.raises(PlatformError, match="exit code 2"):
        prepare(environments, lock, Installer(code=2))
    assert not environments.path(lock).exists()


def test_environments_not_used_lately_are_removed(tmp_path: Path, lock: Path) -> None:
    environments, made = Environments(tmp_path / "environments"), []
    for number in range(5):
        lock.write_text(f"{number}\n")
        made.append(prepare(environments, lock, Installer()))
        (made[-1] / ".complete").touch()
    removed = environments.prune(used={made[0]}, kept=2)
    assert set(removed) == {made[1], made[2]}
    assert [path.exists() for path in made] == [True, False, False, True, True]


def test_bundle_without_a_lock_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"no readable requirements.txt"):
        Environments(tmp_path).path(tmp_path / "requirements.txt")


def test_hashes_are_required_of_every_package() -> None:
    venv, install = make_install_commands("uv", Path("/e"), Path("/r/requirements.txt"), python="/usr/bin/python3")
    assert venv == ["uv", "venv", "--quiet", "--no-project", "--no-config", "--python", "/usr/bin/python3", "/e"]
    assert install == [
        "uv",
        "pip",
        "install",
        "--require-hashes",
        "--python",
        "/e/bin/python",
        "--requirement",
        "/r/requirements.txt",
    ]
