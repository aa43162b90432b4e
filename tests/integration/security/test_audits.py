"""Both audits, run for real: what each finds, and the ways of not looking, none of which may pass for good news."""

import contextlib
import json
import sys
import threading
import venv
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fairlead.security import advisories, audit, safety, safetydatabase
from fairlead.security.judge import judge
from fairlead.security.locked import Locked, read_locked
from fairlead.security.report import Scan

pytest.importorskip("pip_audit", reason="the audits are installed for the security gate")
pytest.importorskip("safety", reason="the audits are installed for the security gate")

HASH = "--hash=sha256:" + "0" * 64
LOCKS = ("requirements.txt", "gates.txt")
#: A vulnerable pin, a pre-release, one that only a withdrawn advisory is about, and one that two locks hold.
PINS = ("python-jose==3.3.0", "demo==1.0rc1", "ecdsa==0.19.0", "six==1.16.0")
MARKED = 'six==1.16.0 ; sys_platform != "win32"'
#: What safety would obey if it were run in the repository.
POLICY = "security:\n  ignore-vulnerabilities:\n    GHSA-jose:\n      reason: none\n"


def _advisory(identifier: str, name: str, *, fixed: str, **more: Any) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]
    affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges}]
    return {"id": identifier, "aliases": [f"CVE-of-{name}"], "summary": "bad", "affected": affected, **more}


KNOWN = advisories.Database(
    [
        _advisory("GHSA-jose", "python-jose", fixed="3.4.0"),
        _advisory("GHSA-demo", "demo", fixed="1.0"),
        _advisory("GHSA-ecdsa", "ecdsa", fixed="9", withdrawn="2024-01-01T00:00:00Z"),
        _advisory("GHSA-six", "six", fixed="1.16.0"),
    ]
)
VULNERABLE_AT = {("demo 1.0rc1", "requirements.txt:2"), ("python-jose 3.3.0", "requirements.txt:1")}

Audit = Callable[[str], Scan]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / LOCKS[0]).write_text("".join(f"{pin} {HASH}\n" for pin in PINS))
    (tmp_path / LOCKS[1]).write_text(f"# made by hand\n{MARKED} \\\n    {HASH}\n    # via nothing\n")
    (tmp_path / ".safety-policy.yml").write_text(POLICY)
    return tmp_path


@pytest.fixture
def audits(root: Path) -> dict[str, Audit]:
    """Both audits of the locks, each against the OSV service at an address."""
    expected = read_locked(root, LOCKS)
    return {
        "pip-audit": lambda url: audit.scan(root, LOCKS, expected=expected, url=url),
        "safety": lambda url: safety.scan(root, LOCKS, expected=expected, url=url, database=None),
    }


def _assert_not_checked(scan: Scan, gap: str) -> None:
    assert any(gap in line for line in scan.gaps), scan.gaps
    assert not scan.findings
    judgement = judge([scan], today=date(2026, 1, 1))
    assert (judgement.verdict, judgement.exit_code) == ("not checked", 5)


@contextlib.contextmanager
def _answer(status: int, body: str) -> Iterator[str]:
    """Serve the same answer to whatever is asked; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("tool", ["pip-audit", "safety"])
def test_a_vulnerable_pin_is_found_and_what_was_withdrawn_is_not(audits: Mapping[str, Audit], tool: str) -> None:
    with advisories.serve(KNOWN) as url:
        scan = audits[tool](url)
    assert scan.gaps == ()
    assert scan.looked_at == "4 of 4 locked packages audited"
    assert {(finding.subject, finding.place) for finding in scan.findings} == VULNERABLE_AT
    assert {frozenset(finding.names) for finding in scan.findings} == {
        frozenset({"GHSA-jose", "CVE-of-python-jose"}),
        frozenset({"GHSA-demo", "CVE-of-demo"}),
    }
    assert judge([scan], today=date(2026, 1, 1)).verdict == "vulnerable"


# --- The service, of both: safety's database is made from it ---

_OTHER_SCHEMA = json.dumps({"vulns": [_advisory("GHSA-jose", "python-jose", fixed="3.4.0", schema_version="2.0.0")]})


@pytest.mark.parametrize(
    ("tool", "status", "body", "gap"),
    [
        ("pip-audit", 404, "", "HTTPError: 404"),
        ("pip-audit", 200, "{}", "it does not look"),
        ("pip-audit", 200, _OTHER_SCHEMA, "Unsupported OSV schema version"),
        ("safety", 404, "", "404"),
        ("safety", 200, "{}", "knows no advisory of pycrypto 2.6.1"),
        ("safety", 200, _OTHER_SCHEMA, "version 2.0.0 of OSV's schema"),
        ("safety", 200, "<html>", "failed"),
    ],
)
def test_a_service_that_knows_nothing_could_not_be_checked(
    audits: Mapping[str, Audit], tool: str, status: int, body: str, gap: str
) -> None:
    with _answer(status, body) as url:
        _assert_not_checked(audits[tool](url), gap)


@pytest.mark.parametrize("tool", ["pip-audit", "safety"])
def test_a_service_that_is_not_there_could_not_be_checked(audits: Mapping[str, Audit], tool: str) -> None:
    with _answer(200, "{}") as url:
        pass
    _assert_not_checked(audits[tool](url), url)


# --- The tools ---


@pytest.mark.parametrize("tool", ["pip-audit", "safety"])
def test_a_tool_that_is_not_installed_could_not_be_checked(
    audits: Mapping[str, Audit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    with advisories.serve(KNOWN) as url:
        monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
        _assert_not_checked(audits[tool](url), "No module named")


@pytest.mark.parametrize("tool", ["pip-audit", "safety"])
def test_an_empty_report_could_not_be_checked(
    audits: Mapping[str, Audit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    script = tmp_path / "python"
    # In a shell's words: a checkout may lie in a folder with a space, which an interpreter's line cannot name.
    script.write_text('#!/bin/sh\nfor one; do case $one in *report.json) : > "$one" ;; esac; done\n')
    script.chmod(0o755)
    with advisories.serve(KNOWN) as url:
        monkeypatch.setattr(sys, "executable", str(script))
        _assert_not_checked(audits[tool](url), "it is empty")


# --- The locks ---


def test_a_lock_without_hashes_could_not_be_checked(root: Path, audits: Mapping[str, Audit]) -> None:
    (root / LOCKS[0]).write_text("six==1.16.0\n")
    with advisories.serve(KNOWN) as url:
        scan = audits["pip-audit"](url)
    _assert_not_checked(scan, "six==1.16.0 has no hash")
    _assert_not_checked(scan, "does not contain a hash")


@pytest.mark.parametrize(
    ("tool", "text", "gap"),
    [
        (
            "pip-audit",
            f"https://127.0.0.1/six-1.16.0-py2.py3-none-any.whl {HASH}\n",
            "skipped: URL requirements cannot",
        ),
        ("safety", "# nothing\n", "six 1.16.0: was not audited"),
    ],
)
def test_packages_that_a_tool_skips_could_not_be_checked(
    root: Path, audits: Mapping[str, Audit], tool: str, text: str, gap: str
) -> None:
    for lock in LOCKS:
        (root / lock).write_text(text)
    with advisories.serve(KNOWN) as url:
        scan = audits[tool](url)
    _assert_not_checked(scan, gap)
    assert scan.looked_at == "0 of 4 locked packages audited"


# --- Safety's database ---


def _make_database(folder: Path, *, schema: str = safetydatabase.SCHEMA, packages: Mapping[str, Any]) -> None:
    meta = {"schema_version": schema, "packages": {}}
    for file in ("insecure.json", "insecure_full.json"):
        (folder / file).write_text(json.dumps({"meta": meta, "vulnerable_packages": packages}))


@pytest.mark.parametrize(
    ("made", "gap"),
    [
        (None, "there is no insecure.json"),
        ({"packages": {}}, "is empty"),
        ({"packages": {"six": []}, "schema": "1.1.0"}, "has the schema '1.1.0'"),
        ({"packages": {"other": []}}, "about none of the locked packages"),
        ({"packages": {"six": []}}, "it does not look"),
    ],
    ids=["none", "empty", "another schema", "of other packages", "without what it should know"],
)
def test_a_database_that_says_nothing_could_not_be_checked(
    root: Path, tmp_path: Path, made: dict[str, Any] | None, gap: str
) -> None:
    folder = tmp_path / "database"
    folder.mkdir()
    if made is not None:
        _make_database(folder, **made)
    expected = {"six": Locked("six", "1.16.0", LOCKS[1], 2)}
    _assert_not_checked(safety.check(root, LOCKS[1:], expected=expected, database=folder), gap)


def test_advisories_about_none_of_the_locked_packages_could_not_be_checked(root: Path) -> None:
    expected = {"six": Locked("six", "1.16.0", LOCKS[1], 2)}
    others = advisories.Database([_advisory("GHSA-other", "other", fixed="1")])
    with advisories.serve(others) as url:
        scan = audit.scan(root, LOCKS[1:], expected=expected, url=url, database=others)
    _assert_not_checked(scan, "about none of the locked packages")
