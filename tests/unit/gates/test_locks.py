import subprocess
from pathlib import Path

import pytest

from fairlead._locks import LOCKS, Pin, parse
from fairlead._process import Completed
from fairlead.exceptions import ConfigurationError
from fairlead.gates import locks

ROOT = Path(__file__).resolve().parents[3]
HASH = "--hash=sha256:" + "a" * 64


def _entry(name: str, version: str = "1.0") -> str:
    return f"{name}=={version} \\\n    {HASH}\n    # via nobody\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("six==1.16.0\n", "six==1.16.0 has no hash"),
        ("six==1.16.0 --hash=md5:00\n", "six==1.16.0 has no hash"),
        (f"--index-url https://example.com/simple\n{_entry('six')}", "names an address or an index"),
        (f"--extra-index-url foo\n{_entry('six')}", "names an address or an index"),
        (f"--find-links /srv/wheels\n{_entry('six')}", "names an address or an index"),
        (f"six @ file:///tmp/six.whl {HASH}\n", "names an address or an index"),
        ("six>=1.16\n", "is not a pinned requirement"),
        ("-e .\n", "is not a pinned requirement"),
    ],
)
def test_what_must_not_be_in_a_lock_is_named(text: str, problem: str) -> None:
    _, problems = parse(text)
    assert any(problem in line for line in problems)


def test_a_sound_lock_has_no_problem() -> None:
    pins, problems = parse(f"# made by nox\n{_entry('Six_Seven', '2')}{_entry('b')}")
    assert problems == []
    assert pins == {"six-seven": Pin("six-seven", "2", (HASH,)), "b": Pin("b", "1.0", (HASH,))}


def test_a_marker_is_not_part_of_the_version() -> None:
    pins, problems = parse(f'uvloop==0.22.1 ; sys_platform != "win32" \\\n    {HASH}\n')
    assert problems == []
    assert pins["uvloop"].version == "0.22.1"


def test_the_repositorys_locks_are_sound() -> None:
    assert locks.problems_of(ROOT) == []


def _write(root: Path, **texts: str) -> None:
    (root / "backend").mkdir()
    for lock in LOCKS:
        (root / lock).write_text(texts.get(lock.replace("/", "_").replace("-", "_").removesuffix(".txt"), ""))


def test_two_versions_of_one_package_are_a_problem(tmp_path: Path) -> None:
    _write(tmp_path, backend_requirements=_entry("six", "1"), requirements_gates=_entry("six", "2"))
    assert locks.problems_of(tmp_path) == ["requirements-gates.txt: six==2, but backend/requirements.txt has six==1"]


def test_what_a_person_installs_stays_small(tmp_path: Path) -> None:
    _write(tmp_path, requirements="".join(_entry(f"p{number}") for number in range(46)))
    assert locks.problems_of(tmp_path) == ["requirements.txt: 46 packages, and at most 45 are allowed"]


def test_a_missing_lock_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        locks.problems_of(tmp_path)


def _pins(**versions: str) -> dict[str, Pin]:
    return {name: Pin(name, version, ()) for name, version in versions.items()}


@pytest.mark.parametrize(
    ("locked", "resolved", "python", "expected"),
    [
        (_pins(a="1"), _pins(a="1"), "3.11", []),
        (_pins(a="1"), _pins(a="1", b="2"), "3.11", ["b is missing"]),
        (_pins(a="1"), _pins(a="2"), "3.11", ["a==1, but"]),
        (_pins(a="1", b="2"), _pins(a="1"), "3.11", ["nothing in requirements.in asks for it"]),
        (_pins(a="1", b="2"), _pins(a="1"), "3.14", []),
        (_pins(a="1"), _pins(a="1", b="2"), "3.14", ["b is missing"]),
    ],
)
def test_differences_between_a_lock_and_its_source(
    locked: dict[str, Pin], resolved: dict[str, Pin], python: str, expected: list[str]
) -> None:
    found = locks.differences("requirements.txt", locked, resolved, python=python)
    assert len(found) == len(expected)
    assert all(part in line for part, line in zip(expected, found, strict=True))


def test_pip_compile_writes_hashes_and_no_address() -> None:
    command = locks.compile_command("backend/requirements.txt", upgrades=["--upgrade-package", "httpx"])
    assert command[1:] == [
        *("-m", "piptools", "compile", "--quiet", "--generate-hashes", "--strip-extras", "--allow-unsafe"),
        *("--no-emit-index-url", "--no-emit-find-links", "--upgrade-package", "httpx"),
        *("--output-file", "backend/requirements.txt", "backend/requirements.in"),
    ]


def test_a_machines_own_package_folders_stay_out_of_the_locks() -> None:
    given = {"PIP_FIND_LINKS": "/w", "PIP_EXTRA_INDEX_URL": "x", "PIP_INDEX_URL": "https://mirror", "PATH": "/bin"}
    kept = locks.variables(given)
    assert "PIP_FIND_LINKS" not in kept
    assert "PIP_EXTRA_INDEX_URL" not in kept
    assert kept["PIP_CONFIG_FILE"] == "/dev/null"
    assert kept["PIP_INDEX_URL"] == "https://mirror"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    _write(tmp_path, requirements=_entry("six"))
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead]\nname = "x"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Uv:
    """Answers the commands of the check as uv would; `resolved` is what each lock's source asks for."""

    def __init__(self, resolved: dict[str, str], *, refusal: str = "", online_only: bool = False) -> None:
        self.resolved, self.refusal, self.online_only = resolved, refusal, online_only
        self.commands: list[tuple[str, ...]] = []

    def __call__(self, argv: list[str], **_: object) -> Completed:
        self.commands.append(tuple(argv))
        if self.online_only and "--offline" in argv:
            return Completed(tuple(argv), 1, "", "not in the cache")
        if self.refusal:
            return Completed(tuple(argv), 1, "", self.refusal)
        source = argv[argv.index("--constraints") + 1] if "--constraints" in argv else ""
        return Completed(tuple(argv), 0, self.resolved.get(source, ""), "")


@pytest.mark.parametrize("online_only", [False, True])
def test_locks_in_step_pass_with_and_without_a_warm_cache(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], online_only: bool
) -> None:
    monkeypatch.setattr(locks, "run", Uv({"requirements.txt": "six==1.0\n"}, online_only=online_only))
    assert locks.lock(["--check"]) == 0
    assert "in step" in capsys.readouterr().err


def test_a_requirement_that_is_not_locked_fails(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "run", Uv({"requirements.txt": "six==1.0\nnew==1\n"}))
    assert locks.lock(["--check"]) == 1
    assert "new is missing" in capsys.readouterr().err


def test_a_source_that_cannot_be_resolved_fails_with_the_reason(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "run", Uv({}, refusal="no version of six==9"))
    assert locks.lock(["--check"]) == 1
    assert "no version of six==9" in capsys.readouterr().err


def test_the_check_changes_no_file(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    monkeypatch.setattr(locks, "run", Uv({"requirements.txt": "six==1.0\nnew==1\n"}))
    locks.lock(["--check"])
    assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == before


def test_compiling_goes_through_the_locks_in_order(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = Uv({})
    monkeypatch.setattr(locks, "run", uv)
    assert locks.lock(["--upgrade"]) == 0
    assert [command[-1] for command in uv.commands] == [
        "backend/requirements.in",
        "requirements.in",
        "requirements-gates.in",
    ]
    assert all("--upgrade" in command for command in uv.commands)


def test_check_takes_nothing_beside_it(repository: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing beside it"):
        locks.lock(["--check", "--upgrade"])


def test_the_program_ends_with_the_errors_code(repository: Path) -> None:
    import sys

    command = [sys.executable, "-m", "fairlead.gates.locks", "--check", "--upgrade"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == ConfigurationError.exit_code
    assert "Traceback" not in done.stderr
