import json
import socket
from pathlib import Path

import pytest

from fairlead._locks import LOCKS
from fairlead.exceptions import CommandError, InconclusiveError
from fairlead.security import __main__ as program
from fairlead.security import audit, kingfisher, rebaseline, results
from fairlead.security.__main__ import Order
from fairlead.security.report import Finding, Scan

LOCK = "six==1.16.0 \\\n    --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254\n"
CLEAN = Scan("bandit", "3 files")
ABSENT = Scan("trivy", "", not_run="it is not on this machine")


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead]\nname = "x"\n')
    (tmp_path / "backend").mkdir()
    for lock in LOCKS:
        (tmp_path / lock).write_text(LOCK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(program, "RUNNERS", {"bandit": lambda order: CLEAN, "trivy": lambda order: ABSENT})
    return tmp_path


def _audit(order: Order) -> Scan:
    return audit.scan(order.root, LOCKS, expected=order.locked, url=order.osv_url, database=order.database)


def test_an_unreachable_service_could_not_be_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pip_audit", reason="the audit is installed for the gates only")
    monkeypatch.setattr(program, "RUNNERS", {"pip-audit": _audit})
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        code = program.main(["--osv-url", f"http://127.0.0.1:{unused.getsockname()[1]}/v1/query"])
    assert code == 5
    assert "could not be checked" in capsys.readouterr().err


@pytest.mark.parametrize(("events", "code"), [('{"introduced": "0"}', 1), ('{"introduced": "2"}', 0)])
def test_an_audit_against_a_file_needs_no_network(
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    events: str,
    code: int,
) -> None:
    pytest.importorskip("pip_audit", reason="the audit is installed for the gates only")
    monkeypatch.setattr(program, "RUNNERS", {"pip-audit": _audit})
    ranges = f'[{{"type": "ECOSYSTEM", "events": [{events}]}}]'
    text = (
        f'{{"id": "GHSA-six", "affected": [{{"package": {{"name": "six", "ecosystem": "PyPI"}}, "ranges": {ranges}}}]}}'
    )
    (repository / "advisories.json").write_text(text)
    assert program.main(["--advisories", "advisories.json"]) == code
    assert ("GHSA-six" in capsys.readouterr().err) == bool(code)


def test_a_missing_lock_could_not_be_checked(repository: Path) -> None:
    (repository / "requirements.txt").unlink()
    assert program.main([]) == 10


def test_missing_advisories_could_not_be_checked() -> None:
    assert program.main(["--advisories", "none.json"]) == 10


def test_the_tools_are_given_the_locks_and_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Order] = []
    monkeypatch.setattr(program, "RUNNERS", {"bandit": lambda order: asked.append(order) or CLEAN})
    assert program.main([]) == 0
    assert {name: pin.version for name, pin in asked[0].locked.items()} == {"six": "1.16.0"}
    assert (asked[0].osv_url, asked[0].database) == (audit.OSV_URL, None)


def test_what_is_found_and_what_is_not_looked_at_are_told_apart_and_written(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Scan("bandit", "3 files", findings=(Finding("B105", "a password", "a.py", 1),))
    gap = Scan("pip-audit", "nothing", gaps=("no answer",))
    runners = {"bandit": lambda order: found, "pip-audit": lambda order: gap, "trivy": lambda order: ABSENT}
    monkeypatch.setattr(program, "RUNNERS", runners)
    assert program.main([]) == 1
    told = capsys.readouterr().err
    assert "bandit: 1 finding (3 files)\n  - a.py:1: B105: a password" in told
    assert "pip-audit: could not be checked\n  - no answer" in told
    assert "trivy: not run: it is not on this machine" in told
    report = json.loads((repository / ".fairlead" / "security" / "report.json").read_text())
    assert [tool["tool"] for tool in report["tools"]] == ["bandit", "pip-audit", "trivy"]


@pytest.mark.parametrize(
    ("variables", "arguments", "code"),
    [
        ({}, [], 0),
        ({"CI": "true"}, [], 5),
        ({"CI": "woodpecker"}, [], 5),
        ({"CI": "true"}, ["--without", "trivy"], 0),
        ({"CI": "false"}, [], 0),
    ],
)
def test_under_ci_a_tool_may_be_lacking_only_where_that_is_said(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], arguments: list[str], code: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert program.main(arguments) == code


def test_a_stale_exception_fails(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (repository / "pyproject.toml").open("a") as file:
        file.write('[[tool.fairlead.security.ignore]]\nid = "B105"\nreason = "a test"\nexpires = 2020-01-01\n')
    assert program.main([]) == 1
    assert "B105 has expired on 2020-01-01" in capsys.readouterr().err


def test_one_tool_alone_says_that_it_says_nothing_of_the_rest(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (repository / "pyproject.toml").open("a") as file:
        file.write('[[tool.fairlead.security.ignore]]\nid = "B105"\nreason = "a test"\nexpires = 9999-01-01\n')
    assert program.main(["--only", "bandit"]) == 0
    assert "nothing but bandit was asked for" in capsys.readouterr().err
    assert program.main([]) == 1


def test_the_history_is_looked_at_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(kingfisher, "scan", lambda root, *, history=False: asked.append(history) or CLEAN)
    assert program.main(["--history"]) == 0
    assert asked == [True]


def test_the_baseline_is_written_and_nothing_is_judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rebaseline, "write", lambda root, *, history: 2)
    assert program.main(["--write-baseline"]) == 0
    assert "2 of its entries have to be judged" in capsys.readouterr().err


def _leave_a_report(repository: Path) -> Path:
    folder = repository / ".fairlead" / "security"
    assert program.main([]) == 0
    assert results.load(folder)["verdict"] == "clean"
    return folder


@pytest.mark.parametrize("arguments", [["--advisories", "none.json"], []], ids=["told of nothing", "broken off"])
def test_a_run_that_does_not_come_to_its_end_leaves_no_earlier_report(
    repository: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    folder = _leave_a_report(repository)

    def break_off(_order: Order) -> Scan:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "RUNNERS", {"bandit": break_off})
    assert program.main(arguments) in {10, 130}
    assert list(folder.glob("*.sarif")) == []
    with pytest.raises(InconclusiveError):
        results.load(folder)


@pytest.mark.parametrize(
    "error", [CommandError("it took too long"), OSError(28, "full"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")]
)
def test_a_runner_that_fails_is_a_gap_and_the_others_are_heard(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail(_order: Order) -> Scan:
        raise error

    monkeypatch.setattr(program, "RUNNERS", {"bandit": fail, "trivy": lambda order: ABSENT})
    assert program.main([]) == 5
    assert "bandit: could not be checked" in capsys.readouterr().err
    report = results.load(repository / ".fairlead" / "security")
    assert [tool["tool"] for tool in report["tools"]] == ["bandit", "trivy"]


def test_what_was_found_is_told_though_it_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise InconclusiveError("the disk is full")

    monkeypatch.setattr(results, "write", refuse)
    assert program.main([]) == 5
    found = Scan("bandit", "3 files", findings=(Finding("B105", "a password", "a.py", 1),))
    monkeypatch.setattr(program, "RUNNERS", {"bandit": lambda order: found})
    assert program.main([]) == 1
    told = capsys.readouterr().err
    assert "a.py:1: B105: a password" in told
    assert "the disk is full" in told


def test_two_runs_do_not_write_to_one_place(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(program, "RUNNERS", {"bandit": lambda order: codes.append(program._gate([])) or CLEAN})
    assert program.main([]) == 5
    assert codes == []
    assert "another run of the security gate is at work" in capsys.readouterr().err


def test_the_report_says_which_tools_alone_were_asked_for(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--only", "bandit", "--only", "bandit"]) == 0
    assert results.load(repository / ".fairlead" / "security")["only"] == ["bandit"]
