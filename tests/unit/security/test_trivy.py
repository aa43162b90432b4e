import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairlead._locks import LOCKS
from fairlead.security import dependencies, trivy
from fairlead.security.locked import Locked

PINS = {name: Locked(name, "1.0", "requirements.txt", 3) for name in ("one-package", "two")}
PACKAGES = [{"Name": "One_Package", "Version": "1.0"}, {"Name": "two", "Version": "1.0"}]
VULNERABLE = {
    "VulnerabilityID": "CVE-2026-1",
    "PkgName": "two",
    "InstalledVersion": "1.0",
    "FixedVersion": "1.1",
    "Severity": "MEDIUM",
    "Title": "lets anybody in",
}
CONTROL = {**VULNERABLE, "VulnerabilityID": "CVE-2013-7459", "PkgName": "pycrypto", "InstalledVersion": "2.6.1"}
MATCHED = "the text itself"
SECRET = {"RuleID": "private-key", "Severity": "HIGH", "Title": "A key", "StartLine": 2, "Match": MATCHED}
Trivy = Callable[..., str]


def locks_report(**changes: Any) -> str:
    result = {"Target": "requirements.txt", "Class": "lang-pkgs", "Type": "pip", "Packages": PACKAGES, **changes}
    return json.dumps({"SchemaVersion": 2, "Results": [result]})


def image_report(*kinds: str, **changes: Any) -> str:
    results = [{"Target": kind, "Class": kind, "Packages": PACKAGES, **changes} for kind in kinds]
    return json.dumps({"SchemaVersion": 2, "Results": results})


def test_every_locked_package_listed_and_none_vulnerable_passes() -> None:
    scan = trivy.read_locks(locks_report(), expected=PINS)
    assert scan.passed
    assert scan.looked_at == "2 of 2 locked packages scanned"


def test_a_vulnerability_is_a_finding_with_what_mends_it() -> None:
    (finding,) = trivy.read_locks(locks_report(Vulnerabilities=[VULNERABLE]), expected=PINS).findings
    assert str(finding) == "two 1.0 (requirements.txt): CVE-2026-1: lets anybody in (fixed in 1.1)"
    assert finding.level == "warning"


@pytest.mark.parametrize(
    ("text", "gap"),
    [
        ("", "not usable"),
        ("{}", "not usable"),
        ("[]", "not usable"),
        (json.dumps({"SchemaVersion": 3}), "schema is 3"),
        (json.dumps({"SchemaVersion": 2}), "two 1.0: is not in its report"),
        (locks_report(Packages=PACKAGES[:1]), "two 1.0: is not in its report"),
        (locks_report(Packages=[PACKAGES[0], {"Name": "two", "Version": "2"}]), "two 1.0: is not in its report"),
        (locks_report(Vulnerabilities=[{}]), "not usable"),
    ],
)
def test_a_lock_that_was_not_looked_at_is_a_gap(text: str, gap: str) -> None:
    scan = trivy.read_locks(text, expected=PINS)
    assert not scan.passed
    assert any(gap in line for line in scan.gaps)


def test_locks_without_a_package_are_a_gap() -> None:
    assert trivy.read_locks(locks_report(), expected={}).gaps == ("the locks hold no package",)


@pytest.mark.parametrize(
    ("text", "gaps"),
    [
        (image_report("os-pkgs", "lang-pkgs"), 0),
        (image_report("os-pkgs"), 1),
        (image_report("lang-pkgs"), 1),
        (image_report(), 2),
        ("?", 1),
    ],
)
def test_an_image_without_packages_was_not_looked_at(text: str, gaps: int) -> None:
    assert len(trivy.read_image(text, name="ours").gaps) == gaps


def test_a_secret_in_an_image_is_found_and_not_shown() -> None:
    (finding, _) = trivy.read_image(image_report("os-pkgs", "lang-pkgs", Secrets=[SECRET]), name="ours").findings
    assert (finding.rule, finding.line, finding.level) == ("private-key", 2, "error")
    assert MATCHED not in repr(finding)


# --- the tool, by a stand-in for it ---


@pytest.fixture
def stand_in(tmp_path: Path) -> Trivy:
    """Give a program that tells a version and writes a report, and writes down how it was called."""

    def make(*, version: str = "0.72.0", report: str | None = None, code: int = 0) -> str:
        told = json.dumps({"Version": version})
        writes = "" if report is None else f'printf %s {shlex.quote(report)} > "$last"'
        program = tmp_path / "trivy"
        program.write_text(
            f"""#!/bin/sh
echo "$@" >> {tmp_path}/called
env >> {tmp_path}/environment
[ "$1" = version ] && {{ echo '{told}'; exit 0; }}
for word; do [ "$before" = --output ] && last=$word; before=$word; done
{writes}
echo "cannot reach its database" >&2
exit {code}
"""
        )
        program.chmod(0o755)
        return str(program)

    return make


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for lock in LOCKS:
        (tmp_path / "tree" / lock).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / lock).write_text("two==1.0\n")
    return tmp_path / "tree"


def test_a_machine_without_it_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trivy, "find", lambda: None)
    scan = trivy.scan(root, expected=PINS)
    assert "not on this machine" in scan.not_run
    assert not scan.passed


def test_the_locks_are_scanned_and_nothing_else(root: Path, stand_in: Trivy, tmp_path: Path) -> None:
    assert trivy.scan(root, expected=PINS, program=stand_in(report=locks_report(Vulnerabilities=[CONTROL]))).passed
    assert " --scanners vuln " in (tmp_path / "called").read_text()
    assert str(root) not in (tmp_path / "called").read_text()


def test_an_image_is_scanned_from_its_archive(stand_in: Trivy, tmp_path: Path) -> None:
    program = stand_in(report=image_report("os-pkgs", "lang-pkgs"))
    assert trivy.scan_image(tmp_path / "image.tar", name="ours", program=program).passed
    assert f"image --input {tmp_path}/image.tar" in (tmp_path / "called").read_text()


@pytest.mark.parametrize("version", ["0.69.4", "0.69.5", "0.69.6", "v0.69.4", "0.69.5-1", "", "latest"])
def test_a_version_that_steals_or_hides_is_not_used(root: Path, stand_in: Trivy, tmp_path: Path, version: str) -> None:
    scan = trivy.scan(root, expected=PINS, program=stand_in(version=version, report=locks_report()))
    assert len(scan.gaps) == 1
    assert not scan.passed
    assert (tmp_path / "called").read_text() == "version --format json\n"


@pytest.mark.parametrize("version", ["0.69.3", "0.69.7", "0.70.0", "v0.72.0"])
def test_other_versions_are_used(root: Path, stand_in: Trivy, version: str) -> None:
    report = locks_report(Vulnerabilities=[CONTROL])
    assert trivy.scan(root, expected=PINS, program=stand_in(version=version, report=report)).passed


def test_a_database_that_knows_nothing_is_a_gap(root: Path, stand_in: Trivy) -> None:
    scan = trivy.scan(root, expected=PINS, program=stand_in(report=locks_report()))
    assert scan.gaps == ("it found nothing in pycrypto 2.6.1, which is known to be vulnerable: it does not look",)


def test_the_control_is_scanned_with_the_locks_and_is_no_finding(root: Path, tmp_path: Path) -> None:
    program = tmp_path / "trivy"
    program.write_text(
        f"""#!/bin/sh
[ "$1" = version ] && {{ echo '{{"Version": "0.72.0"}}'; exit 0; }}
for word; do folder=$word; done
cat "$folder/control/requirements.txt" > {tmp_path}/control
"""
    )
    program.chmod(0o755)
    trivy.scan(root, expected=PINS, program=str(program))
    assert (tmp_path / "control").read_text() == "pycrypto==2.6.1\n"
    text = locks_report(Vulnerabilities=[CONTROL, VULNERABLE])
    found = trivy.read_locks(text, expected=PINS, control=dependencies.CONTROLS[0]).findings
    assert [one.rule for one in found] == ["CVE-2026-1"]


@pytest.mark.parametrize(
    ("report", "code", "gap"),
    [
        (None, 1, "cannot reach its database"),
        (None, 0, "no report"),
        (locks_report(), 2, "no report"),
        ("", 0, "usable"),
    ],
)
def test_a_scan_that_failed_is_a_gap(root: Path, stand_in: Trivy, report: str | None, code: int, gap: str) -> None:
    scan = trivy.scan(root, expected=PINS, program=stand_in(report=report, code=code))
    assert len(scan.gaps) == 1
    assert gap in scan.gaps[0]


def test_a_lock_that_is_missing_is_a_gap(root: Path, stand_in: Trivy) -> None:
    (root / LOCKS[0]).unlink()
    assert "cannot be read" in trivy.scan(root, expected=PINS, program=stand_in(report=locks_report())).gaps[0]


def test_it_sees_no_secret_of_the_environment(
    root: Path, stand_in: Trivy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", MATCHED)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    trivy.scan(root, expected=PINS, program=stand_in(report=locks_report()))
    seen = (tmp_path / "environment").read_text()
    assert MATCHED not in seen
    assert "proxy.example" in seen
