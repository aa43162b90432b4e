"""The parts of the performance gate on real servers, processes and repositories, and the whole gate once."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest

from backend.tests.performance import world
from fairlead.exceptions import CommandError, ConfigurationError, InconclusiveError
from fairlead.gates.performance import base, processes
from fairlead.gates.performance.load import Generator, Target, load_closed, load_steadily
from fairlead.gates.performance.serving import Application, serve

ROOT = Path(__file__).resolve().parents[3]
GENERATORS = [
    "own",
    pytest.param("wrk", marks=pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed here")),
]


class Handler(BaseHTTPRequestHandler):
    """Answers by its path: well, with an error, without a length, or not at all."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    tokens: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        self.tokens.add(self.headers.get("Authorization", ""))
        if self.path == "/cut":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = b"x" * 70_000 if self.path == "/large" else b"{}"
        self.send_response(503 if self.path == "/error" else 200)
        if self.path == "/endless":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    Handler.tokens.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("path", ["/", "/large"])
def test_a_closed_loop_counts_answers_and_their_times(address: str, generator: Generator, path: str) -> None:
    target = Target(address + path, {"Authorization": "Bearer of-this-test"})
    found = load_closed(target, generator=generator, connections=4, seconds=0.3)
    assert found.requests > 4
    assert found.failures == 0
    assert 0 < found.p50 <= found.p95
    assert found.rate == pytest.approx(found.requests / found.seconds)
    assert Handler.tokens == {"Bearer of-this-test"}


@pytest.mark.parametrize("generator", GENERATORS)
def test_errors_count_as_answers_that_failed(address: str, generator: Generator) -> None:
    found = load_closed(Target(f"{address}/error"), generator=generator, connections=2, seconds=0.2)
    assert found.failures == found.requests > 0


@pytest.mark.parametrize("path", ["/cut", "/endless"])
def test_a_load_that_nobody_answers_is_an_error(address: str, path: str) -> None:
    with pytest.raises(CommandError, match="answered under load"):
        load_closed(Target(address + path), generator="own", connections=2, seconds=0.2)


def test_a_steady_rate_asks_as_often_as_it_should_and_no_more(address: str) -> None:
    found = load_steadily(Target(address), connections=4, seconds=0.5, rate=100)
    assert (found.requests, found.failures) == (50, 0)


def test_at_a_steady_rate_what_was_not_answered_counts_as_failed(address: str) -> None:
    with pytest.raises(CommandError, match="answered under load"):
        load_steadily(Target(f"{address}/cut"), connections=4, seconds=0.2, rate=20)
    found = load_steadily(Target(f"{address}/error"), connections=4, seconds=0.2, rate=20)
    assert (found.requests, found.failures) == (4, 4)


SOURCE = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})
"""


def make_application(folder: Path, source: str) -> Application:
    (folder / "served.py").write_text(source, "utf-8")
    command = "uvicorn served:app --host ${HOST:-0.0.0.0} --port ${PORT:-8000}"
    return Application("served", command, folder, {"PATH": os.environ["PATH"]})


def test_an_application_is_served_until_the_block_ends(tmp_path: Path) -> None:
    with serve(make_application(tmp_path, SOURCE), logs=tmp_path) as service:
        found = load_closed(Target(service.url), generator="own", connections=4, seconds=0.2)
        assert found.requests > 0
        assert Path(f"/proc/{service.pid}").exists()
    assert not Path(f"/proc/{service.pid}").exists()


def test_an_application_that_does_not_serve_is_told_with_what_it_said(tmp_path: Path) -> None:
    application = make_application(tmp_path, "raise SystemExit('the reason')")
    with (
        pytest.raises(CommandError, match=r"served cannot be measured.*exit code 1") as caught,
        serve(application, logs=tmp_path),
    ):
        pytest.fail("it does not serve")
    assert "the reason" in caught.value.output


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, Callable[..., str]]:
    root = tmp_path / "repository"
    root.mkdir()
    identity = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@maya.test", "GIT_CONFIG_GLOBAL": os.devnull}
    identity |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@maya.test", "GIT_CONFIG_SYSTEM": os.devnull}

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=root, env=os.environ | identity, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "--quiet", "--initial-branch", "main")
    return root, git


def commit(root: Path, git: Callable[..., str], text: str, *, file: str = "app/main.py") -> str:
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text(text)
    git("add", ".")
    git("commit", "--quiet", "--message", text)
    return git("rev-parse", "HEAD")


def choose(root: Path, *, wanted: str | None = None) -> base.Base:
    return base.choose_base(root, paths=["app"], branches=("main", "develop"), wanted=wanted)


def test_a_branch_is_compared_with_where_it_left(repository: tuple[Path, Callable[..., str]]) -> None:
    root, git = repository
    left = commit(root, git, "one")
    git("switch", "--quiet", "--create", "topic")
    commit(root, git, "two")
    commit(root, git, "three")
    git("switch", "--quiet", "main")
    commit(root, git, "elsewhere")
    git("switch", "--quiet", "topic")
    assert choose(root).commit == left


def test_the_main_branch_is_compared_with_the_commit_before(repository: tuple[Path, Callable[..., str]]) -> None:
    root, git = repository
    before = commit(root, git, "one")
    commit(root, git, "two")
    assert choose(root).commit == before


@pytest.mark.parametrize("file", ["app/main.py", "app/new.py"])
def test_what_is_not_committed_is_compared_with_the_last_commit(
    repository: tuple[Path, Callable[..., str]], file: str
) -> None:
    root, git = repository
    commit(root, git, "one")
    last = commit(root, git, "two")
    (root / file).write_text("changed")
    assert choose(root).commit == last


def test_without_a_commit_before_there_is_nothing_to_compare(repository: tuple[Path, Callable[..., str]]) -> None:
    root, git = repository
    assert choose(root) == base.Base(None, "there is no commit to compare with")
    commit(root, git, "one")
    assert choose(root) == base.Base(None, "there is no commit before this one")


def test_where_nothing_served_changed_there_is_nothing_to_compare(repository: tuple[Path, Callable[..., str]]) -> None:
    root, git = repository
    before = commit(root, git, "one")
    commit(root, git, "two", file="docs.md")
    assert choose(root) == base.Base(None, f"nothing that is served changed since {before[:10]}")
    assert choose(root, wanted="HEAD^").commit == before


def test_a_revision_that_is_not_there_is_refused(repository: tuple[Path, Callable[..., str]]) -> None:
    root, git = repository
    commit(root, git, "one")
    with pytest.raises(ConfigurationError, match="there is no revision '--nothing'"):
        choose(root, wanted="--nothing")


def test_a_history_that_was_not_fetched_is_no_reason_to_pass(
    repository: tuple[Path, Callable[..., str]], tmp_path: Path
) -> None:
    root, git = repository
    commit(root, git, "one")
    commit(root, git, "two")
    shallow = tmp_path / "shallow"
    git("clone", "--quiet", "--depth", "1", root.as_uri(), str(shallow))
    with pytest.raises(InconclusiveError, match="no history"):
        choose(shallow)


def test_a_base_is_laid_out_as_it_was(repository: tuple[Path, Callable[..., str]], tmp_path: Path) -> None:
    root, git = repository
    before = commit(root, git, "one")
    commit(root, git, "two")
    base.unpack(root, before, paths=["app"], target=tmp_path / "base")
    assert (tmp_path / "base" / "app" / "main.py").read_text() == "one"
    with pytest.raises(CommandError, match="git archive"):
        base.unpack(root, before, paths=["nothing"], target=tmp_path / "other")


def test_another_lock_gets_an_environment_of_its_own_once(tmp_path: Path) -> None:
    theirs, ours, cache = tmp_path / "theirs.txt", tmp_path / "ours.txt", tmp_path / "cache"
    theirs.write_text("")
    ours.write_text("# another\n")
    python = base.provide_python(theirs, ours=ours, cache=cache)
    assert python != Path(sys.executable)
    marker = python.parents[1] / "kept"
    marker.touch()
    assert base.provide_python(theirs, ours=ours, cache=cache) == python
    assert marker.exists()
    (python.parents[1] / "complete").unlink()
    base.provide_python(theirs, ours=ours, cache=cache)
    assert not marker.exists()


def test_the_bare_route_reads_in_one_round_trip(database_url: str, tmp_path: Path) -> None:
    statement = {"sql": "SELECT 1 AS one, %s::text AS two", "named": False, "parameters": [(0, ("str", "it"))]}
    variables = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url}
    tree = world.Tree("ours", ROOT / "backend", Path(sys.executable), variables, password="")
    application = world.bare_application(tree, statement, connections=2)
    assert "app" not in application.command.replace("bare:app", "")
    with serve(application, logs=tmp_path) as service, urllib.request.urlopen(f"{service.url}/row") as answer:
        assert json.load(answer) == {"one": 1, "two": "it"}
        with psycopg.connect(database_url) as connection:
            last = connection.execute(
                "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%AS two%'"
                " AND pid <> pg_backend_pid()"
            ).fetchall()
    # Behind a transaction it would be ROLLBACK or COMMIT.
    assert len(last) == 1


def test_the_gate_ends_what_it_started_when_it_is_told_to_end() -> None:
    command = [sys.executable, "-m", "backend.tests.performance", "--no-base", "--soak", "1"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as gate:
        assert gate.stderr is not None
        for line in gate.stderr:
            if "queries of" in line:
                break
        started = set(processes._family(gate.pid))
        gate.terminate()
        said = gate.stderr.read()
    assert gate.returncode == 130, said
    assert len(started) > 3
    for pid in started:
        with pytest.raises(CommandError, match="ended"):
            processes.memory(pid)


#: So wide that only what was not measured at all breaks one.
_WIDE = {"API_P95": "86400000", "QUERY_P95": "86400000", "MEMORY": "1000000", "CPU": "100", "SHARE": "0"}
_WIDE |= {"MEMORY_AFTER": "1000000"}


def test_the_gate_measures_the_backend() -> None:
    command = [sys.executable, "-m", "backend.tests.performance", "--no-base", "--json", "--generator", "own"]
    done = subprocess.run(
        [*command, "--rounds", "1", "--seconds", "0.5", "--soak", "0.5", "--connections", "4"],
        cwd=ROOT,
        env=os.environ
        | {f"FAIRLEAD_PERFORMANCE_{name}": value for name, value in _WIDE.items()}
        | {"FAIRLEAD_PERFORMANCE_CPU_RATE": "20"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    figures = {figure["name"]: figure for figure in found["figures"]}
    measured = [name for name in figures if name not in {"growth of memory", "CPU at 20 requests/s"}]
    assert measured == [
        "query p95",
        "/api/health p95",
        "/api/business/me p95",
        "/api/business/me against a bare route",
        "memory",
        "memory after the soak",
        "answers that were none, or errors",
    ]
    assert figures["answers that were none, or errors"]["value"] == 0
    assert all(figures[name]["value"] > 0 for name in measured if not name.startswith("answers"))
    assert all(figures[name]["verdict"] == "ok" for name in measured)
