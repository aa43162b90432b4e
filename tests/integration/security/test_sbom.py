"""Bills of this repository's own locks, made in a git repository and held against the schema."""

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from fairlead import build, config
from fairlead._locks import parse
from fairlead.exceptions import ConfigurationError, InconclusiveError
from fairlead.security import licences, sbom
from fairlead.security.licences import Licence
from fairlead.security.locked import read_locked
from fairlead.tasks import find_act
from tests.git import git

ROOT = Path(__file__).resolve().parents[3]
COMMITTED = "2026-03-01T12:00:00+02:00"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("SOURCE_DATE_EPOCH", "GITHUB_SHA"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead]\nname = "shop"\nversion = "1.2.0"\n')
    (tmp_path / ".gitignore").write_text("/.fairlead/\n")
    (tmp_path / "backend").mkdir()
    for lock in licences.SHIPPED:
        shutil.copyfile(ROOT / lock, tmp_path / lock)
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "Begin", at=COMMITTED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


#: Licences of every shape that a bill can state.
SHAPES = ("MIT", "MIT OR Apache-2.0", "LicenseRef-Ours", "GPL-2.0+", "Apache-2.0 WITH LLVM-exception", "LGPL-3.0-only")


def known_of(root: Path, lock: str) -> sbom.Licences:
    names = enumerate(sorted(read_locked(root, [lock])))
    return {name: (SHAPES[place % 6], ("declared", "concluded")[place // 6 % 2]) for place, name in names}


def make(root: Path, lock: str, *, known: sbom.Licences | None = None) -> str:
    text, info = (root / lock).read_text("utf-8"), sbom.collect(config.load(root), lock)
    return sbom.render(text, lock=lock, info=info, known=known or {})


@pytest.mark.parametrize("lock", licences.SHIPPED)
@pytest.mark.parametrize("licensed", [False, True])
def test_the_bills_of_this_repository_are_valid_and_list_its_locks(repository: Path, lock: str, licensed: bool) -> None:
    pytest.importorskip("cyclonedx", reason="the schema is installed for the security gate only")
    pytest.importorskip("jsonschema_rs", reason="what reads the schema is installed for the gates only")
    bill = make(repository, lock, known=known_of(repository, lock) if licensed else None)
    assert sbom.validate(bill) == []
    assert sbom.differences(bill, (repository / lock).read_text("utf-8"), lock=lock) == []


def test_the_reference_validator_agrees(repository: Path) -> None:
    pytest.importorskip("jsonschema", reason="the library's own validation is not installed everywhere")
    validation = pytest.importorskip("cyclonedx.validation.json", reason="installed for the security gate only")
    from cyclonedx.schema import SchemaVersion

    hashed = f"--hash=sha256:{'a' * 64}  # via -r requirements.in"
    (repository / "requirements.txt").write_text("".join(f"package-{place}==1.0 {hashed}\n" for place in range(12)))
    bill = make(repository, "requirements.txt", known=known_of(repository, "requirements.txt"))
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"serialNumber": "1"},
        {"metadata": {"timestamp": "yesterday"}},
        {"components": [{"type": "library"}]},
        {"components": [{"type": "library", "name": "six", "licenses": [{"license": {"id": "Nothing-1.0"}}]}]},
        {"components": [{"type": "library", "name": "six", "hashes": [{"alg": "SHA-256", "content": "1"}]}]},
    ],
)
def test_the_schema_is_strict(repository: Path, change: dict[str, Any]) -> None:
    pytest.importorskip("cyclonedx", reason="the schema is installed for the security gate only")
    pytest.importorskip("jsonschema_rs", reason="what reads the schema is installed for the gates only")
    bill = json.loads(make(repository, "requirements.txt"))
    assert any("not valid CycloneDX 1.6" in line for line in sbom.validate(json.dumps({**bill, **change})))


def test_every_entry_of_the_locks_is_a_component_with_its_hashes(repository: Path) -> None:
    for lock in licences.SHIPPED:
        pins = parse((ROOT / lock).read_text("utf-8"))[0]
        components = json.loads(make(repository, lock))["components"]
        assert [one["name"] for one in components] == sorted(pins)
        assert sum(len(one["hashes"]) for one in components) == (ROOT / lock).read_text("utf-8").count("--hash=sha256:")


class NoClock(datetime):
    """A clock that nobody may look at."""

    @classmethod
    def now(cls, tz: Any = None) -> "NoClock":
        raise AssertionError("the clock was asked")


def test_the_time_is_that_of_the_commit_and_the_clock_is_not_asked(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "datetime", NoClock)
    monkeypatch.setattr(sbom, "datetime", NoClock)
    document = json.loads(make(repository, "requirements.txt"))
    revision = {"name": "fairlead:revision", "value": git(repository, "rev-parse", "HEAD")}
    assert document["metadata"]["timestamp"] == "2026-03-01T10:00:00Z"
    assert revision in document["metadata"]["component"]["properties"]


def run_program(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fairlead.security.sbom", "--lock", "backend/requirements.txt", *arguments]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=False)


def test_two_runs_write_the_same_bytes_wherever_they_are_made(repository: Path) -> None:
    first, second = repository / "first.json", repository / "new" / "second.json"
    assert run_program(repository, "--output", str(first), TZ="UTC", PYTHONHASHSEED="1").returncode == 0
    elsewhere = {"TZ": "Pacific/Auckland", "PYTHONHASHSEED": "2", "LC_ALL": "C"}
    assert run_program(repository / "backend", "--output", str(second), **elsewhere).returncode == 0
    assert first.read_bytes() == second.read_bytes()


def test_source_date_epoch_is_the_time_where_it_is_set(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert json.loads(make(repository, "requirements.txt"))["metadata"]["timestamp"] == "1970-01-01T00:00:00Z"


def test_without_a_commit_and_a_time_there_is_no_bill(repository: Path) -> None:
    shutil.rmtree(repository / ".git")
    with pytest.raises(ConfigurationError, match="no commit whose time"):
        make(repository, "requirements.txt")


def test_a_lock_that_was_changed_since_the_commit_is_told_and_no_other(repository: Path) -> None:
    with (repository / "requirements.txt").open("a") as lock:
        lock.write("# changed\n")
    assert '-dirty"' in make(repository, "requirements.txt")
    assert '-dirty"' not in make(repository, "backend/requirements.txt")


def test_a_bill_is_held_against_its_lock(repository: Path) -> None:
    file = repository / "bill.json"
    flags = ["--output", str(file), "--check"]
    missing = run_program(repository, *flags)
    assert (missing.returncode, "cannot be read" in missing.stderr) == (5, True)
    assert run_program(repository, "--output", str(file)).returncode == 0
    assert run_program(repository, *flags).returncode == 0
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "Go on", at=COMMITTED)
    assert run_program(repository, *flags).returncode == 0, "what it lists is the same at another commit"
    lock = repository / "backend" / "requirements.txt"
    text = lock.read_text("utf-8")
    first = next(iter(parse(text)[0].values()))
    lock.write_text(text.replace(f"{first} ", f"{first.name}==0.0.1 ", 1))
    changed = run_program(repository, *flags)
    assert changed.returncode == 1
    assert f"{first.name}==0.0.1 stands there as {first.version}" in changed.stderr


def test_the_act_writes_both_bills(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    act = find_act("security.sbom")
    assert act is not None
    assert act.run({"output": "made", "licences": False}) == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [file.name for file in files] == ["backend-requirements.cdx.json", "requirements.cdx.json"]
    assert [json.loads(file.read_text("utf-8"))["bomFormat"] for file in files] == ["CycloneDX"] * 2


def test_the_act_writes_nothing_when_a_lock_cannot_be_listed(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "requirements.txt").write_text("six==1.16.0\n")
    act = find_act("security.sbom")
    assert act is not None
    assert act.run({"output": "made", "licences": False}) == 10
    assert "six==1.16.0 has no hash" in capsys.readouterr().err
    assert not (repository / "made").exists()


def test_where_one_bill_cannot_be_written_none_is_left(repository: Path) -> None:
    (repository / "made" / "requirements.cdx.json").mkdir(parents=True)
    with pytest.raises(InconclusiveError, match="cannot be written into"):
        sbom.write(repository / "made", config.load(repository), licences.SHIPPED)
    assert [file.name for file in (repository / "made").iterdir()] == ["requirements.cdx.json"]


def test_the_gate_passes_with_bills_that_it_has_read_back(repository: Path) -> None:
    pytest.importorskip("cyclonedx", reason="the schema is installed for the security gate only")
    pytest.importorskip("jsonschema_rs", reason="what reads the schema is installed for the gates only")
    scan = sbom.scan(config.load(repository), repository / "made")
    count = sum(len(read_locked(repository, [lock])) for lock in licences.SHIPPED)
    assert scan.passed, scan.gaps
    assert scan.looked_at == f"{count} packages listed in 2 bills"


@pytest.mark.parametrize(
    ("text", "gap"),
    [
        ("six==1.16.0\n", "holds what cannot be listed: six==1.16.0 has no hash"),
        (f"six==1.16.0 --hash=sha256:{'a' * 64}\n", "six says nothing of what needs it"),
        (None, "requirements.txt cannot be read"),
    ],
)
def test_a_bill_that_could_not_be_made_is_a_gap(repository: Path, text: str | None, gap: str) -> None:
    lock = repository / "requirements.txt"
    lock.unlink() if text is None else lock.write_text(text)
    scan = sbom.scan(config.load(repository), repository / "made")
    assert not scan.passed
    assert any(gap in line for line in scan.gaps)


def test_a_bill_whose_schema_was_not_seen_is_a_gap(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    scan = sbom.scan(config.load(repository), repository / "made")
    assert any("could not be checked" in line for line in scan.gaps)


def test_locks_without_a_package_are_a_gap(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sbom, "validate", lambda bill: [])
    for lock in licences.SHIPPED:
        (repository / lock).write_text("# nothing\n")
    assert sbom.scan(config.load(repository), repository / "made").gaps == ("the locks hold no package",)


SIX = f"six==1.16.0 --hash=sha256:{'a' * 64}  # via -r requirements.in\n"


@pytest.mark.parametrize(
    ("seen", "reason", "stated"),
    [
        ({"six": Licence("1.16.0", "MIT", "MIT")}, "", {"id": "MIT", "acknowledgement": "declared"}),
        ({"six": Licence("1.16.0", "")}, "MIT: its LICENSE file", {"id": "MIT", "acknowledgement": "concluded"}),
        ({"six": Licence("1.16.0", "")}, "", "its licence is not known"),
        ({"six": Licence("1.15.0", "MIT")}, "", "1.15.0 is installed here"),
        ({}, "MIT: its LICENSE file", "is not installed here"),
    ],
)
def test_with_licences_each_one_is_stated_or_there_is_no_bill(
    repository: Path, monkeypatch: pytest.MonkeyPatch, seen: dict[str, Licence], reason: str, stated: Any
) -> None:
    (repository / "requirements.txt").write_text(SIX)
    if reason:
        with (repository / "pyproject.toml").open("a") as file:
            file.write(f'[tool.fairlead.security.licence-exceptions]\nSix = "{reason}"\n')
    monkeypatch.setattr(licences, "collect", lambda: seen)
    loaded = config.load(repository)
    if isinstance(stated, str):
        with pytest.raises(InconclusiveError, match=stated):
            sbom.make(loaded, "requirements.txt", licensed=True)
        return
    (component,) = json.loads(sbom.make(loaded, "requirements.txt", licensed=True))["components"]
    assert component["licenses"] == [{"license": stated}]
