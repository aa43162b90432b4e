"""Schemathesis tries every operation of openapi.json: no server error, and no answer outside the document."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.settings import ROOT

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
DOCUMENT = ROOT / "openapi.json"
#: Operations whose success is not in the log, or out of reach, and why.
NOT_SEEN = {
    "GET /api/live": "probes that succeed are not logged",
    "GET /api/health": "probes that succeed are not logged",
    "GET /api/v1/health": "probes that succeed are not logged",
    "POST /api/auth/login": "nobody guesses a password",
    "POST /api/webhooks/stripe": "nobody guesses a signature",
    "GET /oauth/google/callback": "nobody guesses a state",
}
_SECONDS = 300
_LONGEST = 600
_FAILED = 400


def _command(url: str, seed: int) -> list[str]:
    options = ["--url", url, "--seed", str(seed), "--no-color", "--warnings", "off"]
    program = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"]
    return [*program, "--config-file", str(CONFIGURATION), "run", str(DOCUMENT), *options]


def test_every_operation_answers_as_the_document_says(service, seed: int, tmp_path: Path) -> None:
    known = {"CONTRACT_TOKEN": service.token, "CONTRACT_BOOKING": service.booking, "CONTRACT_PAYMENT": service.payment}
    done = subprocess.run(
        _command(service.url, seed),
        cwd=tmp_path,
        env=os.environ | known,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    logged = _read(service.log)
    entries = [entry for entry in logged if entry.get("request_id") != service.preparing]
    if done.returncode != 0:
        errors = [entry.get("exception", entry["message"]) for entry in entries if entry["level"] == "error"]
        told = "\n".join([f"seed {seed}", done.stdout, done.stderr, *errors])
        pytest.fail("\n".join(map(_shorten, told.splitlines())), pytrace=False)
    sys.stdout.write(done.stdout)
    assert len(entries) < len(logged), "the requests that prepare the service cannot be told from those that try it"
    assert _never_succeeded(entries) == set(), "what was tried says little of operations that refused everything"


def _read(log: Path) -> list[dict[str, Any]]:
    lines = log.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def _never_succeeded(entries: list[dict[str, Any]]) -> set[str]:
    """Return the operations of which no request was answered well, so far as that can be known."""
    paths = json.loads(DOCUMENT.read_text("utf-8"))["paths"]
    operations = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
    succeeded = set()
    for entry in entries:
        if entry["message"] == "request" and entry["status"] < _FAILED:
            fitting = [path for path in paths if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), entry["path"])]
            succeeded |= {f"{entry['method']} {path}" for path in fitting}
    return operations - succeeded - set(NOT_SEEN)


def _shorten(line: str) -> str:
    """Cut a line that nobody reads to its end: the request with an address of 20000 characters."""
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} … ({len(line)} characters)"
