"""`verify` of a local release: the account of the suites is made there, kept to its owner, and made anew if it must."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.tasks.test_acts import make_shop, remove_platform, run_act

APPLICATION = """
import http.server, json, os, pathlib

ACCOUNTS = pathlib.Path("accounts.json")
DIGEST = json.loads(pathlib.Path("build-info.json").read_text())["digest"]

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, {"status": "pass", "digest": DIGEST})

    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        accounts = json.loads(ACCOUNTS.read_text()) if ACCOUNTS.exists() else {}
        if accounts.get(given["email"]) == given["password"]:
            self.answer(200, {"access_token": "token-of-the-local-release"})
        else:
            self.answer(401, {"error": "wrong", "detail": "Nobody is called so."})

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
MAKE = """
import json, os, pathlib, sys
if pathlib.Path("full").exists():
    raise SystemExit("the house is full")
print("made", sys.argv[1])
pathlib.Path("accounts.json").write_text(json.dumps({sys.argv[1]: os.environ["HOUSE_PASSWORD"]}))
"""
SETTINGS = """
[tool.fairlead.verify]
suites = "checks"
account-command = ["python", "make.py", "{email}"]
account-password-env = "HOUSE_PASSWORD"
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Path]:
    root = make_shop(tmp_path, port=0)
    (root / "pyproject.toml").write_text((root / "pyproject.toml").read_text("utf-8") + SETTINGS, "utf-8")
    text = (root / "pyproject.toml").read_text("utf-8").replace('"app.py",', '"*.py",')
    (root / "pyproject.toml").write_text(text, "utf-8")
    (root / "shop" / "app.py").write_text(APPLICATION, "utf-8")
    (root / "shop" / "make.py").write_text(MAKE, "utf-8")
    (root / "checks").mkdir()
    (root / "checks" / "test_login.py").write_text("def test_it(account):\n    account.get('/').object()\n", "utf-8")
    yield root
    remove_platform(root)


def test_the_account_is_made_once_and_again_when_it_is_not_let_in_any_more(house: Path) -> None:
    assert run_act(house, "deploy").returncode == 0
    first = run_act(house, "verify", "--json")
    assert (first.returncode, json.loads(first.stdout)["verdict"]) == (0, "healthy"), first.stderr
    file = house / ".fairlead" / "verify" / "account.json"
    kept = json.loads(file.read_text("utf-8"))
    assert kept["email"].endswith("@fairlead.test")
    assert (file.stat().st_mode & 0o777, kept["password"] in first.stdout + first.stderr) == (0o600, False)

    assert run_act(house, "verify").returncode == 0
    assert json.loads(file.read_text("utf-8")) == kept

    folder = next((house / ".fairlead" / "platform" / "releases").glob("*/accounts.json")).parent
    (folder / "accounts.json").unlink()
    again = run_act(house, "verify")
    assert (again.returncode, "made the account verify-" in again.stderr) == (0, True), again.stderr
    assert json.loads(file.read_text("utf-8"))["email"] != kept["email"]

    (folder / "accounts.json").unlink()
    (folder / "full").touch()
    full = run_act(house, "verify")
    assert (full.returncode, "the house is full" in full.stderr) == (5, True), full.stderr

    own = run_act(house, "verify", VERIFY_EMAIL="me@house.test", VERIFY_PASSWORD="not-the-password-of-the-house")
    assert own.returncode == 4, own.stderr
    assert "not-the-password-of-the-house" not in own.stderr + own.stdout
    assert os.fspath(file.parent) in own.stderr
