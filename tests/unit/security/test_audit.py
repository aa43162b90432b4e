import json
import sys
from pathlib import Path
from typing import Any

import pytest

from fairlead.exceptions import CommandError
from fairlead.security import audit
from fairlead.security.advisories import Database
from fairlead.security.dependencies import CONTROLS
from fairlead.security.locked import Locked

LOCKED = {
    "jinja2": Locked("jinja2", "2.10", "requirements.txt", 7),
    "six": Locked("six", "1.16.0", "requirements.txt", 9),
}
VULNERABLE = {"id": "GHSA-1", "aliases": ["CVE-1"], "fix_versions": ["2.10.1"], "description": "bad " * 60}


def _report(*entries: dict[str, Any]) -> str:
    return json.dumps({"dependencies": entries, "fixes": []})


def _entry(name: str, version: str, *vulns: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "version": version, "vulns": list(vulns)}


SIX = _entry("six", "1.16.0")


def test_every_package_audited_and_nothing_found_passes() -> None:
    scan = audit.read(_report(_entry("jinja2", "2.10"), SIX), expected=LOCKED)
    assert scan.passed
    assert scan.looked_at == "2 of 2 locked packages audited"


def test_an_advisory_is_a_finding_with_the_version_that_fixes_it() -> None:
    scan = audit.read(_report(_entry("jinja2", "2.10", VULNERABLE), SIX), expected=LOCKED)
    (finding,) = scan.findings
    assert (finding.subject, finding.place) == ("jinja2 2.10", "requirements.txt:7")
    assert finding.names == ("GHSA-1", "CVE-1")
    assert "fixed in 2.10.1" in finding.message
    assert not scan.gaps


def test_a_package_in_several_locks_is_told_once() -> None:
    jinja = _entry("jinja2", "2.10", VULNERABLE)
    assert len(audit.read(_report(jinja, jinja, SIX), expected=LOCKED).findings) == 1


@pytest.mark.parametrize(
    ("report", "expected", "gap"),
    [
        (_report({"name": "jinja2", "skip_reason": "not found"}, SIX), LOCKED, "jinja2: skipped: not found"),
        (_report(*({"name": name, "skip_reason": "404"} for name in LOCKED)), LOCKED, "six: skipped: 404"),
        (_report(SIX), LOCKED, "jinja2 2.10: was not audited"),
        (_report(_entry("jinja2", "3.0"), SIX), LOCKED, "jinja2 2.10: was not audited (3.0 was)"),
        (_report(), LOCKED, "was not audited"),
        (_report(SIX), {}, "the locks hold no package"),
        ("", LOCKED, "it is empty"),
        ("{}", LOCKED, "not usable"),
        ("[]", LOCKED, "not usable"),
    ],
)
def test_what_was_not_looked_at_is_a_gap(report: str, expected: dict[str, Locked], gap: str) -> None:
    scan = audit.read(report, expected=expected)
    assert not scan.passed
    assert not scan.findings
    assert any(gap in line for line in scan.gaps)


def test_a_control_that_was_not_found_is_a_gap() -> None:
    (gap,) = audit.read(_report(_entry("jinja2", "2.10"), SIX), expected=LOCKED, control=CONTROLS[0]).gaps
    assert "it does not look" in gap


def test_what_would_have_it_look_away_is_not_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_AUDIT_LOGLEVEL", "CRITICAL")
    script = "import os, sys; print([name for name in os.environ if name.startswith('PIP_')])"
    monkeypatch.setattr(audit, "command", lambda *_, **__: [sys.executable, "-c", script])
    (tmp_path / "a.txt").touch()
    (gap,) = audit.scan(tmp_path, ["a.txt"], expected=LOCKED).gaps
    assert gap.endswith(": []")


def test_a_lock_that_is_not_there_is_a_gap(tmp_path: Path) -> None:
    (gap,) = audit.scan(tmp_path, ["a.txt"], expected=LOCKED).gaps
    assert "a.txt cannot be read" in gap


def test_hashes_are_required_and_nothing_is_resolved() -> None:
    command = audit.command(["a.txt", "b.txt"], url="http://x", report=Path("r"), cache=Path("c"))
    assert command[1:10] == [
        "-P",
        "-m",
        "pip_audit",
        "--require-hashes",
        "--disable-pip",
        *("--requirement", "a.txt", "--requirement", "b.txt"),
    ]
    assert command[command.index("--osv-url") + 1] == "http://x"


def test_an_audit_that_does_not_end_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise CommandError("did not end within 240 s and was killed")

    monkeypatch.setattr(audit, "run", hang)
    (tmp_path / "a.txt").touch()
    assert audit.scan(tmp_path, ["a.txt"], expected=LOCKED).gaps == ("did not end within 240 s and was killed",)


def test_an_audit_without_a_report_is_a_gap_that_names_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "command", lambda *_, **__: ["sh", "-c", "echo connection refused >&2; exit 1"])
    (tmp_path / "a.txt").touch()
    (gap,) = audit.scan(tmp_path, ["a.txt"], expected=LOCKED, url="http://nowhere").gaps
    assert "http://nowhere" in gap
    assert "connection refused" in gap


def test_an_advisory_that_cannot_be_applied_to_a_locked_package_is_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = _entry(CONTROLS[0].name, CONTROLS[0].version, VULNERABLE)
    text = _report(_entry("jinja2", "2.10"), SIX, control)
    script = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
    monkeypatch.setattr(audit, "command", lambda *_, report, **__: [sys.executable, "-c", script, str(report), text])
    (tmp_path / "a.txt").touch()
    database = Database([_unreadable("PYSEC-1", "jinja2"), _unreadable("PYSEC-2", "other")])
    scan = audit.scan(tmp_path, ["a.txt"], expected=LOCKED, database=database)
    assert scan.gaps == ("jinja2: its advisory PYSEC-1 names versions that cannot be read",)


def _unreadable(identifier: str, name: str) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.0-n653"}]}]
    return {"id": identifier, "affected": [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges}]}
