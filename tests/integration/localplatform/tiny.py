"""A repository of one's own with a local platform in it, and tiny bundles that need no packages."""

import contextlib
import io
import json
import os
import signal
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from fairlead import _process, config, localplatform, postgres
from fairlead.config import Config
from fairlead.localplatform import Endpoint
from fairlead.localplatform.processes import fetch_start_time, is_running

PATIENCE = 60.0

#: A backend of the standard library alone. What it does wrong is chosen by FAULT.
APPLICATION = """
import http.server, json, os, pathlib, sys, time
FAULT = {fault!r}
DIGEST = json.loads(pathlib.Path("build-info.json").read_text())["digest"]
if FAULT == "crash":
    raise ModuleNotFoundError("No module named 'missing_library'")

if FAULT == "once":
    started = pathlib.Path(os.environ["GATES"]) / "started"
    if started.exists():
        raise SystemExit("cannot start twice")
    started.touch()

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/api/health":
            self.answer({{"status": "pass"}}, 503 if FAULT == "unhealthy" else 200)
        elif path == "/api/v1/version":
            self.answer({{"digest": "sha256:" + "0" * 64 if FAULT == "digest" else DIGEST}})
        elif path == "/variables":
            self.answer(dict(os.environ))
        elif path == "/pid":
            self.answer(os.getpid())
        elif path == "/headers":
            self.answer(list(self.headers.items()))
        elif path == "/target":
            self.answer(self.path)
        elif path == "/exit":
            self.answer("bye")
            os._exit(3)
        elif path == "/cut":
            self.close_connection = True
        elif path == "/drip":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(3):
                self.chunk(b"part %d\\n" % number)
                if number < 2:
                    gate = pathlib.Path(os.environ["GATES"]) / str(number)
                    while not gate.exists():
                        time.sleep(0.01)
            self.wfile.write(b"0\\r\\n\\r\\n")
        elif path == "/stuck":
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
            gates = pathlib.Path(os.environ["GATES"])
            (gates / "begun").touch()
            try:
                while True:
                    self.chunk(b"x" * 65536)
                    time.sleep(0.01)
            except OSError:
                (gates / "noticed").touch()
                raise
        else:
            self.answer("nothing here", 404)

    def do_POST(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({{"size": len(body), "sum": sum(body) % 65521}}, 201)

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def chunk(self, data):
        self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, *arguments):
        pass

print("listening, said the release", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def make_digest(label: str) -> str:
    """Make a digest that can be told apart by its label."""
    return "sha256:" + label.encode().hex().ljust(64, "0")


def make_bundle(
    label: str = "one",
    *,
    fault: str = "",
    deploy: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
) -> bytes:
    """Make the archive of a tiny bundle; `deploy` goes into its railway.json, `files` replace or add files."""
    contents = {
        "app.py": APPLICATION.format(fault=fault),
        "requirements.txt": "",
        "Procfile": "web: python app.py\n",
        "build-info.json": json.dumps({"name": "tiny", "version": "1.0.0", "digest": make_digest(label)}),
        **({"railway.json": json.dumps({"deploy": dict(deploy)})} if deploy is not None else {}),
        **(files or {}),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in contents.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(text.encode())
            info.mode = 0o644
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@dataclass
class Project:
    """A repository with a local platform, as the acts see it; coverage measures the platform where `measured`."""

    root: Path
    measured: bool = False

    @property
    def gates(self) -> Path:
        """The folder in which tests and the tiny backend leave signs for each other."""
        return self.root.parent / "gates"

    @property
    def config(self) -> Config:
        return config.load(self.root, environ=self.environ)

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FAIRLEAD_")}
        if self.measured:
            kept |= {
                name.removeprefix("MEASURED_"): text for name, text in kept.items() if name.startswith("MEASURED_")
            }
        return {**kept, "RAILWAY_TOKEN": "canary-of-the-caller", "SECRET_OF_THE_CALLER": "canary"}

    @property
    def directory(self) -> Path:
        return self.root / ".fairlead" / "platform"

    def start(self) -> Endpoint:
        return localplatform.start(self.config)

    def remove(self) -> None:
        """Stop the platform and remove its database, wherever it lies."""
        localplatform.stop(self.config)
        postgres.remove_data(self.directory / "postgres")

    def deploy(self, archive: bytes, *, endpoint: Endpoint | None = None) -> dict[str, Any]:
        """Upload an archive and follow it to its end; return the deployment as the API gives it."""
        where = endpoint or self.start()
        return self.follow(self.upload(archive, where), where)

    def upload(self, archive: bytes, endpoint: Endpoint, **parameters: str) -> str:
        place = f"/project/{endpoint.project_id}/environment/{endpoint.environment_id}/up"
        answer = httpx.post(
            endpoint.api_url + place,
            params={"serviceId": endpoint.service_id, "message": "a test", **parameters},
            content=archive,
            headers={"Project-Access-Token": endpoint.token, "Content-Type": "application/gzip"},
            timeout=PATIENCE,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["deploymentId"])

    def follow(self, deployment_id: str, endpoint: Endpoint) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def ended() -> bool:
            found.update(self.ask(deployment_id, endpoint))
            return found["status"] not in {"INITIALIZING", "QUEUED", "BUILDING", "DEPLOYING"}

        wait_for(ended)
        return found

    def roll_back(self, deployment_id: str, endpoint: Endpoint) -> str:
        """Ask for a rollback; return the id of the deployment that it began."""
        asked = "mutation($id: String!) { deploymentRollback(id: $id) }"
        assert self.query(asked, {"id": deployment_id}, endpoint) == {"deploymentRollback": True}
        newest = "{ deployments(input: {}, first: 1) { edges { node { id } } } }"
        return str(self.query(newest, {}, endpoint)["deployments"]["edges"][0]["node"]["id"])

    def ask(self, deployment_id: str, endpoint: Endpoint) -> dict[str, Any]:
        document = "query($id: String!) { deployment(id: $id) { id status diagnosis deploymentStopped canRollback } }"
        data = self.query(document, {"id": deployment_id}, endpoint)
        deployment = data["deployment"]
        assert isinstance(deployment, dict)
        return deployment

    def query(self, document: str, variables: Mapping[str, Any], endpoint: Endpoint) -> dict[str, Any]:
        answer = httpx.post(
            f"{endpoint.api_url}/graphql/v2",
            json={"query": document, "variables": dict(variables)},
            headers={"Project-Access-Token": endpoint.token},
            timeout=PATIENCE,
        )
        body = answer.json()
        assert "errors" not in body, body
        data = body["data"]
        assert isinstance(data, dict)
        return data

    def serving_digest(self, endpoint: Endpoint) -> str:
        return str(httpx.get(f"{endpoint.public_url}/api/v1/version", timeout=PATIENCE).json()["digest"])

    def kill_daemon(self, endpoint: Endpoint) -> None:
        started = fetch_start_time(endpoint.pid) or ""
        os.kill(endpoint.pid, signal.SIGKILL)
        wait_for(lambda: not is_running(endpoint.pid, started))


def list_processes(endpoint: Endpoint) -> dict[int, str]:
    """Return the platform's process and every process below it with the time it began."""
    parents = dict(_read_parents())
    found = {endpoint.pid}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    started = {pid: fetch_start_time(pid) for pid in found}
    return {pid: time for pid, time in started.items() if time is not None}


def still_running(processes: Mapping[int, str]) -> list[int]:
    """Return those of the processes that have not ended."""
    return [pid for pid, started in processes.items() if is_running(pid, started)]


def _read_parents() -> Iterator[tuple[int, int]]:
    if not Path("/proc/self").exists():
        for line in _process.run(["ps", "-axo", "pid=,ppid="]).stdout.splitlines():
            pid, parent = line.split()
            yield int(pid), int(parent)
        return
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield int(entry.name), int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])


def wait_for(condition: Any, *, patience: float = PATIENCE) -> None:
    """Wait until a condition holds; fail the test when it does not in time."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience} s in vain for {condition}"
        time.sleep(0.02)


def make_project(folder: Path, *, settings: str = "port = 0", services: str = "") -> Project:
    """Make a repository in a path with spaces; `settings` are lines of its platform table."""
    root = folder / "a folder with spaces"
    root.mkdir()
    gates = folder / "gates"
    gates.mkdir()
    (root / "pyproject.toml").write_text(
        f"""
[tool.fairlead]
name = "tiny-backend"

[tool.fairlead.platform]
{settings}
health-timeout = 20
stop-timeout = 5

[tool.fairlead.environments.local]
platform = "local"
variables = {{ GREETING = "hello", GATES = "{gates}" }}
generated-secrets = ["JWT_SECRET_KEY", "ENCRYPTION_KEY"]
{services}
"""
    )
    return Project(root)
