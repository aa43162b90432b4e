"""A small repository that is deployed to a Railway of the test's own: in this process, or by one that can be killed."""

import os
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from fairlead.exceptions import Error
from fairlead.railway import RailwayClient
from fairlead.tasks import program
from tests.integration.deploy.railway_double import OLD, OLDER, RailwayDouble
from tests.table import Note, note_row

DEPLOY = ("deploy", "--env", "staging", "--auto-confirm")
PATIENCE = 60.0
_TABLE = "the fault table: exit code and what serves afterwards"
PYPROJECT = """\
[tool.fairlead]
name = "shop"
backend = "shop"
migrations = { directory = "shop/migrations" }
bundle = { include = ["app/*.py", "app/*.bin", "migrations/*.sql", "Procfile"] }
verify = { suites = "checks" }
deploy = { timeout = 5.0, confirmations = 3, smoke = ["/api/smoke"], required-variables = ["DATABASE_URL"] }

[tool.fairlead.environments.staging]
platform = "railway"
branch = "main"
services = { web = "shop" }

[tool.fairlead.environments.production]
platform = "railway"
promote-from = "staging"
railway-environment = "staging"
services = { web = "shop" }
"""
#: A suite that asks the public URL; the second check is none of the smoke ones.
SUITE = """\
import pytest

SUITE_ORDER = 1


@pytest.mark.smoke
@pytest.mark.phase("fetch")
def test_orders_are_listed(api, not_checked):
    reply = api.get("/api/orders")
    if reply.status == 501:
        not_checked("nobody can order here")
    assert reply.status == 200, f"the orders answer {reply.status}"


@pytest.mark.phase("persistence")
def test_orders_are_kept(api):
    assert api.get("/api/orders/kept").status == 200
"""
FILES = {
    "pyproject.toml": PYPROJECT,
    "checks/test_orders.py": SUITE,
    ".gitignore": ".fairlead/\n",
    "shop/Procfile": "web: python -m app.main\nworker: python -m app.main --work\n",
    "shop/app/main.py": "app = None\n",
    "shop/migrations/001_start.sql": "CREATE TABLE one (id int);\n",
    "shop/migrations/001_start.down.sql": "DROP TABLE one;\n",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code, and what it printed on both streams."""

    code: int
    said: str


@dataclass(slots=True)
class Shop:
    """The repository, the platform it goes to, and the environment of every command.

    `state` is where it keeps its notes.
    """

    root: Path
    state: Path
    double: RailwayDouble
    environ: dict[str, str]
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    head: str
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, *arguments: str, **environ: str) -> Ended:
        """Run an act in this process, as `python -m fairlead` does."""
        with self.patch.context() as patch:
            patch.chdir(self.root)
            for name, value in (self.environ | environ).items():
                patch.setenv(name, value)
            patch.setattr(tempfile, "tempdir", self.environ.get("TMPDIR"))
            self.capture.readouterr()
            try:
                code = program.main(arguments or DEPLOY)
            except Error:
                traceback.print_exc()
                code = 1
        return Ended(code, "".join(self.capture.readouterr()))

    def start(self, *arguments: str, before: Any = None, **environ: str) -> "subprocess.Popen[str]":
        """Start an act as a process of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", "fairlead", *(arguments or DEPLOY)],
            cwd=self.root,
            env={**os.environ, **self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=before,  # noqa: PLW1509 - no thread of this process holds what the child needs before its exec
        )
        self.started.append(process)
        return process

    def finish(self, process: "subprocess.Popen[str]") -> Ended:
        """Wait for a process to end."""
        said, _ = process.communicate(timeout=PATIENCE)
        return Ended(process.returncode, said)

    def seen(self) -> str:
        """Ask the public URL what it serves: "earlier", "new", "release 3", "nothing" or "something else"."""
        answer = httpx.get(self.double.public_url + "/api/v1/version", trust_env=False)
        if answer.status_code != 200:
            return "nothing"
        digest = answer.json()["digest"]
        known = {OLD: "earlier", OLDER: "release 3"}
        sent = any(f"digest={digest}" in record.message for record in self.double.records)
        return known.get(digest) or ("new" if sent else "something else")


class ImpatientClient(RailwayClient):
    """A client that gives up soon, so that a socket that hangs does not take a test's minute."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"timeout": 2.0, **options})

    def upload(self, *arguments: Any, **options: Any) -> Any:
        """Upload, and give up soon."""
        return super().upload(*arguments, **{"timeout": 3.0, **options})


def tell(note: Note, fault: str, ended: Ended, seen: str, *, expected: str) -> None:
    """Note a row of the table for whoever prints it."""
    note_row(note, _TABLE, fault, seen=f"{ended.code}, {seen}", expected=expected)
