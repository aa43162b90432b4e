import socket
from pathlib import Path

import pytest

from fairlead._locks import LOCKS
from fairlead.security import __main__ as program
from fairlead.security import audit, bandit
from fairlead.security.report import Scan

LOCK = "six==1.16.0 \\\n    --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead]\nname = "x"\n')
    (tmp_path / "backend").mkdir()
    for lock in LOCKS:
        (tmp_path / lock).write_text(LOCK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bandit, "scan", lambda root, folders: Scan("bandit", f"{folders}"))
    return tmp_path


def test_an_unreachable_service_could_not_be_checked(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pip_audit", reason="the audit is installed for the security gate only")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        code = program.main(["--osv-url", f"http://127.0.0.1:{unused.getsockname()[1]}/v1/query"])
    assert code == 5
    assert "could not be checked" in capsys.readouterr().err


@pytest.mark.parametrize(("events", "code"), [('{"introduced": "0"}', 1), ('{"introduced": "2"}', 0)])
def test_an_audit_against_a_file_needs_no_network(
    repository: Path, capsys: pytest.CaptureFixture[str], events: str, code: int
) -> None:
    pytest.importorskip("pip_audit", reason="the audit is installed for the security gate only")
    ranges = f'[{{"type": "ECOSYSTEM", "events": [{events}]}}]'
    text = (
        f'{{"id": "GHSA-six", "affected": [{{"package": {{"name": "six", "ecosystem": "PyPI"}}, "ranges": {ranges}}}]}}'
    )
    (repository / "advisories.json").write_text(text)
    assert program.main(["--advisories", "advisories.json"]) == code
    assert ("GHSA-six" in capsys.readouterr().err) == bool(code)


def test_a_missing_lock_could_not_be_checked(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "requirements.txt").unlink()
    assert program.main([]) == 10
    assert "could not be checked" in capsys.readouterr().err


def test_missing_advisories_could_not_be_checked(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--advisories", "none.json"]) == 10
    assert "could not be checked" in capsys.readouterr().err


def test_all_locks_and_the_applications_folder_are_looked_at(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def scan(root: Path, locks: object, **facts: object) -> Scan:
        asked.update(facts, locks=locks)
        return Scan("pip-audit", "all")

    monkeypatch.setattr(audit, "scan", scan)
    assert program.main([]) == 0
    assert asked["locks"] == ("backend/requirements.txt", "requirements.txt", "requirements-gates.txt")
    assert asked["expected"] == {"six": "1.16.0"}
    assert asked["url"] == audit.OSV_URL
