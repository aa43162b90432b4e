import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fairlead._process import Completed
from fairlead.security import baseline, detect_secrets

EXPECTED = {"000000.py": "a.py", "000001.txt": "b.lock"}
LOG = "[scan]\tINFO\tChecking file: 000000.py\n[scan]\tINFO\tChecking file: 000001.txt\n"
CANARY = [
    {"type": "GitHub Token", "hashed_secret": "c1", "line_number": 1},
    {"type": "Secret Keyword", "hashed_secret": "c2", "line_number": 2},
]


def report(**results: list[dict[str, Any]]) -> str:
    return json.dumps({"results": {"canary.py": CANARY, **results}})


def test_every_file_opened_and_only_the_canary_found_is_clean() -> None:
    found = detect_secrets.read(report(), LOG, expected=EXPECTED)
    assert (found.secrets, found.gaps, found.looked_at) == ((), (), "2 of 2 tracked texts scanned")


def test_a_secret_is_told_of_by_its_file_and_not_by_the_copy() -> None:
    entry = {"type": "JSON Web Token", "hashed_secret": "d1", "line_number": 7}
    text = json.dumps({"results": {"canary.py": CANARY, "000001.txt": [entry]}})
    (secret,) = detect_secrets.read(text, LOG, expected=EXPECTED).secrets
    assert (secret.path, secret.line, secret.kind, secret.digest) == ("b.lock", 7, "JSON Web Token", "d1")


@pytest.mark.parametrize(
    ("text", "log", "gap"),
    [
        (report(), LOG.splitlines()[0], "b.lock: was not scanned"),
        (report(), "", "a.py: was not scanned"),
        (json.dumps({"results": {}}), LOG, "planted"),
        (json.dumps({"results": {"canary.py": CANARY[:1]}}), LOG, "planted"),
        ("", LOG, "not usable"),
        ("[]", LOG, "not usable"),
        ('{"results": {"canary.py": [{}]}}', LOG, "not usable"),
    ],
)
def test_what_was_not_looked_at_is_a_gap(text: str, log: str, gap: str) -> None:
    found = detect_secrets.read(text, log, expected=EXPECTED)
    assert any(gap in line for line in found.gaps)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "a.py").write_text("x = 1\n")
    subprocess.run(["git", "add", "--all"], cwd=tmp_path, check=True)
    return tmp_path


def test_the_scanner_itself_finds_a_secret_in_a_file_whose_name_it_would_pass_over(repository: Path) -> None:
    pytest.importorskip("detect_secrets", reason="the scanner is installed for the security gate only")
    assert detect_secrets.scan(repository).passed
    token = "gh" + "p_" + secrets.token_hex(18)
    (repository / "poetry.lock").write_text(f"token: {token}\n")
    subprocess.run(["git", "add", "--all"], cwd=repository, check=True)
    scan = detect_secrets.scan(repository)
    assert [(one.rule, one.place) for one in scan.findings] == [("github-token", "poetry.lock:1")]
    assert scan.gaps == ()
    assert token[4:] not in repr(scan)


def test_outside_a_checkout_nothing_passes(tmp_path: Path) -> None:
    scan = detect_secrets.scan(tmp_path)
    assert not scan.passed
    assert scan.gaps


def test_a_broken_baseline_is_a_gap(repository: Path) -> None:
    (repository / baseline.FILE).write_text("{")
    assert "cannot be read" in detect_secrets.scan(repository).gaps[0]


def test_a_scanner_that_says_nothing_is_a_gap(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect_secrets, "settings", lambda **_: {"version": "1.5.0"})
    monkeypatch.setattr(detect_secrets, "run", lambda *_, **__: Completed((), 0, "", ""))
    scan = detect_secrets.scan(repository)
    assert not scan.passed
    assert scan.gaps


def test_a_scanner_that_is_not_installed_is_a_gap(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect_secrets, "TOOL", "no-such-scanner")
    assert detect_secrets.scan(repository).gaps == ("detect-secrets is not installed",)


def test_the_projects_own_baseline_gives_the_hook_the_settings_of_the_gate() -> None:
    pytest.importorskip("detect_secrets", reason="the scanner is installed for the security gate only")
    root = Path(__file__).parents[3]
    written = json.loads((root / baseline.FILE).read_text("utf-8"))
    assert {**written, "results": {}} == {**detect_secrets.settings(), "results": {}}
