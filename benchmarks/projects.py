"""The projects that benchmarks deploy: a tiny shop of the standard library, and a copy of this repository's backend."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.open_load import PLANTED, RELEASE
from fairlead import postgres

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = """\
[tool.fairlead]
name = "shop"
version = "1.0.0"
backend = "shop"
migrations = {{ directory = "shop/migrations" }}
bundle = {{ include = ["app.py", "migrations/*.sql", "requirements.txt", "Procfile"] }}
platform = {{ port = 0, stop-timeout = 2.0 }}

[tool.fairlead.environments.local]
variables = {{ LISTENING = {listening} }}
"""
APPLICATION = """\
import http.server, json, os, pathlib, random, time
LABEL, BAD = {label!r}, {bad!r}
DIGEST = json.loads(pathlib.Path("build-info.json").read_text())["digest"]

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one packet

    def do_GET(self):
        if self.path == "/api/v1/version":
            self.answer({{"digest": DIGEST}})
        elif self.path == "/api/health":
            self.answer({{"status": "pass"}})
        else:
            self.answer({{}}, planted=random.random() < BAD)

    def answer(self, value, planted=False):
        body = json.dumps(value).encode()
        self.send_response(500 if planted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("{release}", LABEL)
        if planted:
            self.send_header("{planted}", "yes")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512

server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
with open(os.environ["LISTENING"], "a") as file:
    print(LABEL, time.time(), file=file)
server.serve_forever()
"""


@dataclass(frozen=True, slots=True)
class Done:
    """An act that has ended: its exit code, streams and seconds, and when it said its first word of result."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    said_at: float

    @property
    def error(self) -> str:
        """The line that says why it failed, empty where it did not."""
        return next((line for line in self.stderr.splitlines() if line.startswith("error:")), "")

    def expect(self, *codes: int) -> "Done":
        """Return this, or end the program where the exit code is another."""
        if self.code not in codes:
            raise SystemExit(f"an act ended with {self.code} instead of {codes}\n{self.stdout}{self.stderr}")
        return self


@dataclass
class Project:
    """A folder with a backend of which one release after another is made."""

    root: Path
    changed: Path
    template: str
    made: int = 0

    def change(self, *, bad: float = 0.0) -> str:
        """Change the backend, so that this share of its answers is an error; return the label of the change."""
        self.made += 1
        label = f"change-{self.made}"
        text = self.template.format(label=label, bad=bad, release=RELEASE, planted=PLANTED)
        self.changed.write_text(text, "utf-8")
        return label

    def act(self, *arguments: str) -> Done:
        """Run an act in a process of its own."""
        return run([sys.executable, "-m", "fairlead", *arguments], self.root)

    def deploy(self, *arguments: str) -> Done:
        """Deploy what there is, and give the outcome as JSON."""
        return self.act("deploy", "--quiet", "--json", *arguments)

    def listening_since(self, label: str) -> float | None:
        """Return the unix time since which the release of a change listens, where it says so."""
        file = self.root / "listening"
        lines = [line.split() for line in file.read_text("utf-8").splitlines()] if file.exists() else []
        return next((float(since) for name, since in reversed(lines) if name == label), None)

    def logged_since(self) -> float:
        """Return the unix time at which the newest release logged that it listens, as uvicorn does."""
        lines = json.loads(self.act("platform.logs", "--json").expect(0).stdout)
        stamps = [line["timestamp"] for line in lines if "Uvicorn running on" in line["message"]]
        return datetime.fromisoformat(stamps[-1]).timestamp()


def run(command: Sequence[str], folder: Path) -> Done:
    """Run a command in a folder, noting when it wrote to its standard output first."""
    variables = {name: text for name, text in os.environ.items() if not name.startswith(("FAIRLEAD_", "RAILWAY_"))}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    variables |= {"PYTHONPATH": str(ROOT), "FAIRLEAD_PLATFORM_PORT": "0"}
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        stream = child.stdout
        first = os.read(stream.fileno(), 1) if stream is not None else b""
        said_at = time.time()
        rest = child.communicate()[0]
        seconds = time.perf_counter() - began
        errors.seek(0)
        return Done(child.returncode, (first + rest).decode(), errors.read(), seconds, said_at)


@contextlib.contextmanager
def make_shop() -> Iterator[Project]:
    """Give the tiny shop, and remove its platform afterwards."""
    with _scratch() as root:
        (root / "shop" / "migrations").mkdir(parents=True)
        (root / "pyproject.toml").write_text(PYPROJECT.format(listening=json.dumps(str(root / "listening"))), "utf-8")
        (root / "shop" / "requirements.txt").touch()
        (root / "shop" / "Procfile").write_text("web: python app.py\n", "utf-8")
        (root / "shop" / "migrations" / "001_start.sql").write_text("CREATE TABLE one (id int);\n", "utf-8")
        (root / "shop" / "migrations" / "001_start.down.sql").write_text("DROP TABLE one;\n", "utf-8")
        _commit(root)
        yield Project(root, root / "shop" / "app.py", APPLICATION)


@contextlib.contextmanager
def copy_backend() -> Iterator[Project]:
    """Give a copy of this repository's backend, and remove its platform afterwards."""
    with _scratch() as root:
        skipped = shutil.ignore_patterns("__pycache__", ".*_cache", ".venv")
        shutil.copytree(ROOT / "backend", root / "backend", ignore=skipped)
        shutil.copy(ROOT / "pyproject.toml", root)
        _commit(root)
        changed = root / "backend" / "app" / "main.py"
        text = changed.read_text("utf-8").replace("{", "{{").replace("}", "}}")
        yield Project(root, changed, f"{text}\n# {{label}}\n")


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        root.chmod(0o711)  # PostgreSQL runs as another account where this one is root's
        try:
            yield root
        finally:
            run([sys.executable, "-m", "fairlead", "platform.down"], root)
            postgres.remove_data(root / ".fairlead" / "platform" / "postgres")


def _commit(root: Path) -> None:
    """Have git know the files, as it does a team's: migrations that the serving revision has are not linted again."""
    (root / ".gitignore").write_text(".fairlead/\n__pycache__/\n", "utf-8")
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.com")
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "Begin"]):
        subprocess.run(["git", *command], cwd=root, check=True)
