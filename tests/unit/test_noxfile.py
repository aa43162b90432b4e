"""The noxfile itself, and above all the one helper that installs: what it reuses, what it remakes, what it refuses."""

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nox
import nox.registry
import pytest
from sp_repo_review.checks import noxfile as repo_review

import noxfile

ROOT = Path(noxfile.__file__).parent
GATES = nox.registry.get()


def test_it_imports_nothing_but_nox_and_the_standard_library() -> None:
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) == {"nox"}


@pytest.mark.parametrize("check", ["NOX101", "NOX102", "NOX103", "NOX201", "NOX202", "NOX203"])
def test_the_scientific_python_checks_hold(check: str) -> None:
    assert repo_review.repo_review_checks()[check].check(repo_review.noxfile(ROOT)) is True


@pytest.mark.parametrize("name", sorted(GATES))
def test_every_gate_says_in_one_line_what_it_does(name: str) -> None:
    text = GATES[name].__doc__ or ""
    assert text.endswith(".")
    assert "\n" not in text
    assert GATES[name].tags


def test_a_plain_nox_runs_the_quick_gates() -> None:
    assert {name for name, gate in GATES.items() if gate.default} == {"lint", "typecheck", "unit"}


@pytest.mark.parametrize("version", noxfile.PYTHONS)
def test_tests_run_on_every_supported_python(version: str) -> None:
    assert GATES[f"unit-{version}"].python == version
    assert GATES[f"integration-{version}"].python == version
    assert f"Programming Language :: Python :: {version}" in (ROOT / "pyproject.toml").read_text()


def test_tests_require_unit_integration_and_coverage() -> None:
    assert GATES["tests"].requires == ["coverage"]
    assert GATES["coverage"].requires == ["unit", "integration"]


@pytest.mark.parametrize(
    ("posargs", "expected"),
    [
        ([], ["tests/unit", "backend/tests/unit"]),
        (["-k", "login"], ["tests/unit", "backend/tests/unit", "-k", "login"]),
        (["tests/unit/test_noxfile.py"], ["tests/unit/test_noxfile.py"]),
        (["tests/unit/test_noxfile.py::test_a", "-x"], ["tests/unit/test_noxfile.py::test_a", "-x"]),
    ],
)
def test_what_follows_the_dashes_reaches_pytest(posargs: list[str], expected: list[str]) -> None:
    assert noxfile.selection(posargs, ["tests/unit", "backend/tests/unit"]) == expected


@pytest.mark.parametrize("name", sorted(set(GATES) - {"coverage", "tests"}))
def test_every_gate_passes_on_what_follows_the_dashes(name: str) -> None:
    source = (ROOT / "noxfile.py").read_text()
    function = GATES[name].func.__name__
    body = re.search(rf"def {function}\(session: nox\.Session\).*?(?=\n\n|\Z)", source, re.DOTALL)
    assert body
    assert "session.posargs" in body[0] or "run_tests(" in body[0]


@pytest.mark.parametrize("name", ["contract", "e2e", "performance"])
def test_a_gate_that_starts_servers_is_given_the_time_to_end_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, object]] = []
    monkeypatch.setattr(noxfile, "provide", lambda *_: None)
    session: Any = SimpleNamespace(env={}, posargs=[], run=lambda *_, **options: given.append(options))
    GATES[name].func(session)
    assert given == [noxfile.PATIENCE]


# --- Environments ---


@dataclass
class Session:
    """What `provide` uses of a session, in a process of our own."""

    location: Path
    python: str | None = None
    lines: list[str] = field(default_factory=list)

    @property
    def virtualenv(self) -> Any:
        return SimpleNamespace(location=str(self.location))

    def log(self, line: str) -> None:
        self.lines.append(line)

    def error(self, line: str) -> None:
        raise RuntimeError(line)


def _wheel(folder: Path, name: str, version: str, requires: str = "") -> str:
    """Make a wheel of one module and return its line for a lock."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", metadata + (f"Requires-Dist: {requires}\n" if requires else ""))
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@dataclass
class Place:
    """A small repository with a lock, an index of wheels made here, and the environment of one session."""

    root: Path
    session: Session

    def lock(self, *lines: str) -> None:
        (self.root / noxfile.GATES_LOCK).write_text("".join(lines))

    def wheel(self, name: str, version: str, requires: str = "") -> str:
        return _wheel(self.root / "wheels", name, version, requires)

    def provide(self, *packages: str) -> None:
        noxfile.provide(self.session, *packages)  # type: ignore[arg-type]  # a stand-in with what it uses

    def installed(self) -> set[str]:
        return {path.stem for path in self.session.location.glob("lib/*/site-packages/*.py") if path.stem[0] != "_"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    (tmp_path / "wheels").mkdir()
    monkeypatch.setattr(noxfile, "ROOT", tmp_path)
    for name in [name for name in os.environ if name.startswith("UV_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return Place(tmp_path, Session(tmp_path / "env" / "gate"))


@pytest.fixture
def made(place: Place) -> Place:
    place.lock(place.wheel("alpha", "1.0"), place.wheel("beta", "1.0"))
    place.provide("alpha", "beta")
    return place


def _version(place: Place, name: str = "alpha") -> str:
    code = f"import {name}; print({name}.VERSION)"
    python = place.session.location / "bin" / "python"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_an_environment_holds_what_was_asked_for(made: Place) -> None:
    assert made.installed() == {"alpha", "beta"}
    assert _version(made) == "1.0"


def test_with_the_stamp_equal_nothing_is_run(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **_: object) -> None:
        pytest.fail(f"ran {arguments}")

    monkeypatch.setattr(subprocess, "run", refuse)
    made.provide("alpha", "beta")


def test_a_changed_pin_is_installed(made: Place) -> None:
    made.lock(made.wheel("alpha", "2.0"), made.wheel("beta", "1.0"))
    made.provide("alpha", "beta")
    assert _version(made) == "2.0"


def test_what_is_no_longer_asked_for_is_gone(made: Place) -> None:
    made.provide("alpha")
    assert made.installed() == {"alpha"}


@pytest.mark.parametrize("damage", ["", "{", '{"packages": []}', None])
def test_a_half_made_environment_is_made_anew(made: Place, damage: str | None) -> None:
    stamp = made.session.location / "gate-stamp.json"
    next(made.session.location.glob("lib/*/site-packages/alpha.py")).unlink()
    stamp.unlink() if damage is None else stamp.write_text(damage)
    made.provide("alpha", "beta")
    assert made.installed() == {"alpha", "beta"}


def test_a_hash_that_does_not_fit_is_refused_and_leaves_no_environment(place: Place) -> None:
    place.lock(re.sub(r"sha256:.", "sha256:f", place.wheel("alpha", "1.0"))[:-9] + "00000000\n")
    with pytest.raises(RuntimeError, match=r"(?i)hash mismatch"):
        place.provide("alpha")
    assert not place.session.location.exists()


def test_a_package_that_the_lock_lacks_is_refused(place: Place) -> None:
    place.wheel("beta", "1.0")
    place.lock(place.wheel("alpha", "1.0", requires="beta"))
    with pytest.raises(RuntimeError, match=r"not in requirements-gates\.txt with a hash: beta 1\.0"):
        place.provide("alpha")
    assert not place.session.location.exists()


def test_a_pin_without_a_hash_is_refused(place: Place) -> None:
    place.lock(place.wheel("alpha", "1.0").split(" ")[0] + "\n", place.wheel("beta", "1.0"))
    with pytest.raises(RuntimeError, match=r"with a hash: alpha 1\.0"):
        place.provide("alpha", "beta")


def test_the_stamp_says_what_the_environment_was_made_from(made: Place) -> None:
    stamp = json.loads((made.session.location / "gate-stamp.json").read_text())
    assert set(stamp) == {"locks", "packages", "python", "uv"}
    lock = (made.root / noxfile.GATES_LOCK).read_bytes()
    assert stamp["locks"] == {noxfile.GATES_LOCK: hashlib.sha256(lock).hexdigest()}
    assert stamp != noxfile.stamp("3.14", ("alpha", "beta"))
    assert stamp != noxfile.stamp(None, ("beta",))
    assert stamp == noxfile.stamp(None, ("alpha", "beta"))


def test_a_lock_that_is_installed_from_counts_too(made: Place) -> None:
    (made.root / "other.txt").write_text("one")
    before = noxfile.stamp(None, ("-r", "other.txt"))
    (made.root / "other.txt").write_text("two")
    assert noxfile.stamp(None, ("-r", "other.txt")) != before


def test_two_runs_at_once_make_one_whole_environment(place: Place) -> None:
    place.lock(place.wheel("alpha", "1.0"), place.wheel("beta", "1.0"))
    code = (
        "import sys, pathlib, types; sys.path.insert(0, sys.argv[1]); import noxfile\n"
        "noxfile.ROOT = pathlib.Path(sys.argv[2]); lines = []\n"
        "environment = types.SimpleNamespace(location=str(noxfile.ROOT / 'env' / 'gate'))\n"
        "session = types.SimpleNamespace(virtualenv=environment, python=None, log=lines.append, error=sys.exit)\n"
        "noxfile.provide(session, 'alpha', 'beta'); print(len(lines))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(ROOT), str(place.root)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    made = sorted(run.communicate(timeout=120)[0].strip() for run in running)
    assert made == ["0", "0", "1"]
    assert place.installed() == {"alpha", "beta"}


# --- Data ---


def test_coverage_data_of_another_run_is_not_in_this_runs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noxfile, "STATE", tmp_path)
    ours = noxfile.coverage_folder()
    monkeypatch.setattr(noxfile, "RUN", "ffff-1")
    theirs = noxfile.coverage_folder()
    assert ours != theirs
    os.utime(ours, (0, 0))
    noxfile.coverage_folder()
    assert not ours.exists()
    assert theirs.exists()


def test_every_gate_has_a_cache_of_its_own() -> None:
    assert noxfile.cache("mypy") != noxfile.cache("ruff")
    assert noxfile.cache("mypy").is_relative_to(noxfile.STATE)
