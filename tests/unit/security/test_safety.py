import configparser
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from fairlead.exceptions import CommandError
from fairlead.security import safety, safetydatabase
from fairlead.security.advisories import Database
from fairlead.security.dependencies import CONTROLS
from fairlead.security.locked import Locked

LOCKED = {
    "jinja2": Locked("jinja2", "2.10", "requirements.txt", 7),
    "six": Locked("six", "1.16.0", "requirements.txt", 9),
}
VERSIONS = {"jinja2": "2.10", "six": "1.16.0"}
VULNERABLE = {
    "vulnerability_id": "GHSA-1",
    "package_name": "jinja2",
    "analyzed_version": "2.10",
    "advisory": "bad " * 60,
    "fixed_versions": ["2.10.1"],
    "resources": ["https://osv.dev/vulnerability/GHSA-1", "https://osv.dev/vulnerability/CVE-1"],
}
WARNING = {"type": "warning", "message": "Version x for six is invalid and is ignored by Safety."}


def _report(versions: dict[str, str] = VERSIONS, **parts: list[dict[str, Any]]) -> str:
    scanned = {name: {"name": name, "version": version} for name, version in versions.items()}
    empty: dict[str, list[Any]] = {"vulnerabilities": [], "ignored_vulnerabilities": [], "announcements": []}
    return json.dumps({"scanned_packages": scanned, **empty, **parts})


def test_every_package_audited_and_nothing_found_passes() -> None:
    scan = safety.read(_report(), expected=LOCKED)
    assert scan.passed
    assert scan.looked_at == "2 of 2 locked packages audited"


@pytest.mark.parametrize("part", ["vulnerabilities", "ignored_vulnerabilities"])
def test_an_advisory_is_a_finding_even_where_a_policy_ignores_it(part: str) -> None:
    scan = safety.read(_report(VERSIONS, **{part: [VULNERABLE, VULNERABLE]}), expected=LOCKED)
    (finding,) = scan.findings
    assert (finding.subject, finding.place) == ("jinja2 2.10", "requirements.txt:7")
    assert finding.names == ("GHSA-1", "CVE-1")
    assert "fixed in 2.10.1" in finding.message
    assert not scan.gaps


@pytest.mark.parametrize(
    ("report", "expected", "gap"),
    [
        (_report({}), LOCKED, "six 1.16.0: was not audited"),
        (_report({"six": "1.16.0"}), LOCKED, "jinja2 2.10: was not audited"),
        (_report(VERSIONS | {"jinja2": "3.0"}), LOCKED, "jinja2 2.10: was not audited (3.0 was)"),
        (_report(announcements=[WARNING]), LOCKED, "it says: Version x for six is invalid"),
        (_report(), {}, "the locks hold no package"),
        ("", LOCKED, "it is empty"),
        ("{}", LOCKED, "not usable"),
        ("[]", LOCKED, "not usable"),
        (_report(vulnerabilities=[{}]), LOCKED, "not usable"),
    ],
)
def test_what_was_not_looked_at_is_a_gap(report: str, expected: dict[str, Locked], gap: str) -> None:
    scan = safety.read(report, expected=expected)
    assert not scan.passed
    assert not scan.findings
    assert any(gap in line for line in scan.gaps)


def test_a_control_that_was_not_found_is_a_gap() -> None:
    (gap,) = safety.read(_report(), expected=LOCKED, control=CONTROLS[0]).gaps
    assert "it does not look" in gap


def test_nothing_but_the_folder_is_asked() -> None:
    command = safety.command([Path("/a.txt"), Path("/b.txt")], database=Path("/db"), report=Path("/r.json"))
    assert command == [
        *(sys.executable, "-m", "safety", "--disable-optional-telemetry", "check"),
        *("--file", "/a.txt", "--file", "/b.txt"),
        *("--db", "/db", "--disable-audit-and-monitor", "--output", "bare", "--save-json", "/r.json"),
    ]


def test_no_account_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFETY_API_KEY", "any")
    monkeypatch.setenv("SAFETY_DB_DIR", "any")
    environment = safety.environment(tmp_path)
    assert "any" not in environment.values()
    assert environment["HOME"] == str(tmp_path)


def test_no_address_of_a_server_is_left_as_it_is(tmp_path: Path) -> None:
    constants = pytest.importorskip("safety.constants", reason="safety is installed where audits are run")
    safety.environment(tmp_path)
    settings = configparser.ConfigParser()
    settings.read(tmp_path / ".safety" / "config.ini")
    assert {one.name for one in constants.URLSettings} - {"CLIENT_ID"} == {
        name.upper() for name in settings["settings"]
    }
    assert {value.partition(":")[2] for value in settings["settings"].values()} == {"//127.0.0.1:9"}


def _advisories(name: str) -> Database:
    events = [{"introduced": "0"}, {"fixed": "1"}]
    part = {"package": {"name": name, "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    return Database([{"id": "GHSA-1", "affected": [part]}])


def _database(folder: Path) -> Path:
    safetydatabase.write(_advisories("six"), folder)
    return folder


@pytest.mark.parametrize(
    ("script", "gap"),
    [
        ("", "exit code 0 and said nothing"),
        ("import sys; print('no database'); sys.exit(69)", "exit code 69: no database"),
        ("import pathlib, sys; pathlib.Path(sys.argv[1]).touch()", "it is empty"),
        ("import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('{}'); sys.exit(1)", "exit code 1"),
    ],
)
def test_a_run_that_proves_nothing_is_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, gap: str
) -> None:
    monkeypatch.setattr(safety, "command", lambda *_, report, **__: [sys.executable, "-c", script, str(report)])
    scan = safety.check(tmp_path, [], expected=LOCKED, database=_database(tmp_path / "db"))
    assert not scan.findings
    assert any(gap in line for line in scan.gaps)


@pytest.mark.parametrize(
    ("lock", "advised", "gap"),
    [
        ("six==1.16.0\n", "six", "a.txt: six==1.16.0 has no hash"),
        (f"six==1.16.0 --hash=sha256:{'0' * 64}\n", "other", "the advisories are about none of the locked packages"),
        (f"six==1.16.0 --hash=sha256:{'0' * 64}\n", "six", None),
    ],
)
def test_what_it_does_not_see_itself_is_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str, advised: str, gap: str | None
) -> None:
    (tmp_path / "a.txt").write_text(lock)
    control = VULNERABLE | {"package_name": CONTROLS[0].name, "analyzed_version": CONTROLS[0].version}
    script = f"import pathlib, sys; pathlib.Path(sys.argv[1]).write_text({_report(vulnerabilities=[control])!r})"
    monkeypatch.setattr(safety, "command", lambda *_, report, **__: [sys.executable, "-c", script, str(report)])
    scan = safety.scan(tmp_path, ["a.txt"], expected=LOCKED, database=_advisories(advised))
    assert scan.gaps == (() if gap is None else (gap,))


def test_an_audit_that_does_not_end_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise CommandError("did not end within 240 s and was killed")

    monkeypatch.setattr(safety, "run", hang)
    scan = safety.check(tmp_path, [], expected=LOCKED, database=_database(tmp_path / "db"))
    assert scan.gaps == ("did not end within 240 s and was killed",)


def test_a_lock_that_is_not_there_is_a_gap(tmp_path: Path) -> None:
    (gap,) = safety.scan(tmp_path, ["a.txt"], expected=LOCKED, database=Database([])).gaps
    assert "a.txt cannot be read" in gap
