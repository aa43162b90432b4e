"""Approvals in earnest: the act as a process and on a terminal, and GitHub played by a server on loopback."""

import contextlib
import json
import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fairlead import approval
from fairlead.approval import NotApprovedError
from fairlead.history import History

ROOT = Path(__file__).resolve().parents[2]
KEY = "canary-key-0123456789abcdef0123456789abcdef"
OLD_KEY = "canary-old-0123456789abcdef0123456789abcdef"
TOKEN = "ghs_canaryOfTheJobsToken0123456789"
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
#: Far beyond what any of these takes on a busy machine, in seconds.
GENEROUS = 60.0
PYPROJECT = """\
[tool.fairlead]
name = "shop"

[tool.fairlead.environments.staging]
platform = "railway"

[tool.fairlead.environments.production]
platform = "railway"
approval = true
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, "utf-8")
    return tmp_path


def make_environ(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FAIRLEAD_", "GITHUB_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **variables}


def approve(shop: Path, *arguments: str, keys: str = KEY, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the act in a process of its own, in whose output no key may stand."""
    done = subprocess.run(
        [sys.executable, "-m", "fairlead", "approve", *arguments],
        cwd=shop,
        env=make_environ(FAIRLEAD_APPROVAL_KEY=keys, GITHUB_ACTOR="ada", **variables),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=GENEROUS,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert_nothing_written(shop, done.stdout, done.stderr)
    return done


def assert_nothing_written(shop: Path, *outputs: str) -> None:
    written = [file.read_text("utf-8") for file in shop.rglob("*") if file.is_file()]
    assert [secret for secret in (KEY, OLD_KEY) if any(secret in text for text in (*written, *outputs))] == []


def check(token: str, environment: str = "production") -> approval.Approval:
    environ = {"FAIRLEAD_APPROVAL_KEY": KEY, "FAIRLEAD_APPROVAL": token}
    return approval.check(environment, DIGEST, environ=environ)


def test_act_prints_one_line_that_approves_this_deploy_and_no_other(shop: Path) -> None:
    done = approve(shop, DIGEST, "--auto-confirm", "--reason", "release 7")
    assert done.returncode == 0, done.stderr
    token = done.stdout.removesuffix("\n")
    assert "\n" not in token
    found = check(token)
    assert (found.approver, found.reason, found.how) == ("ada", "release 7", "signed")
    assert (found.expires_at or 0) - (found.issued_at or 0) == 3600
    with pytest.raises(NotApprovedError):
        check(token, "staging")
    for told in ("FAIRLEAD_APPROVAL", "invoke deploy --env production --auto-confirm", "until 20"):
        assert told in done.stderr


def test_approval_is_on_record_and_its_line_is_not(shop: Path) -> None:
    done = approve(shop, DIGEST, "--auto-confirm", "--reason", "release 7", "--json")
    told = json.loads(done.stdout)
    assert check(told["token"]).nonce == told["nonce"]
    assert told["variable"] == "FAIRLEAD_APPROVAL"
    (event,) = History(shop / ".fairlead").load()
    assert (event.name, event.verdict, event.environment, event.digest) == ("approve", "approved", "production", DIGEST)
    assert event.actor == "ada"
    assert "release 7" in (event.detail or "")
    assert told["token"] not in (shop / ".fairlead" / "history.jsonl").read_text("utf-8")


def test_environment_that_asks_for_none_is_approved_with_a_note(shop: Path) -> None:
    done = approve(shop, DIGEST, "--env", "staging", "--valid", "60", "--auto-confirm", keys=f"{KEY},{OLD_KEY}")
    assert done.returncode == 0, done.stderr
    assert "staging deploys without approval" in done.stderr
    found = check(done.stdout.strip(), "staging")
    assert (found.expires_at or 0) - (found.issued_at or 0) == 60


@pytest.mark.parametrize(
    ("arguments", "keys", "code", "told"),
    [
        ((DIGEST,), KEY, 16, "--auto-confirm"),
        (("-", "--auto-confirm"), KEY, 10, "stands where the digest"),
        ((DIGEST[:20], "--auto-confirm"), KEY, 10, "invoke build prints the digest"),
        ((DIGEST, "--auto-confirm"), "", 10, "FAIRLEAD_APPROVAL_KEY is not set"),
        ((DIGEST, "--auto-confirm"), "canary-short", 10, "too short"),
        ((DIGEST, "--auto-confirm", "--valid", "86401"), KEY, 10, "1 to 86400 seconds"),
        ((DIGEST, "--auto-confirm", "--env", "prod"), KEY, 10, "there is no environment 'prod'"),
        (("--auto-confirm",), KEY, 10, "required: DIGEST"),
    ],
)
def test_act_that_cannot_approve_prints_and_records_nothing(
    shop: Path, arguments: tuple[str, ...], keys: str, code: int, told: str
) -> None:
    done = approve(shop, *arguments, keys=keys)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert "canary-short" not in done.stderr
    assert not (shop / ".fairlead").exists()


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("yes", 0), ("n", 16), ("", 16), (DIGEST, 16)])
def test_act_asks_on_a_terminal_and_the_key_is_no_argument_of_the_process(shop: Path, answer: str, code: int) -> None:
    ours, theirs = pty.openpty()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ours)
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "fairlead", "approve", DIGEST],
                cwd=shop,
                env=make_environ(FAIRLEAD_APPROVAL_KEY=KEY, GITHUB_ACTOR="ada"),
                stdin=theirs,
                stdout=subprocess.PIPE,
                stderr=theirs,
                text=True,
            )
        )
        stack.callback(process.kill)
        os.close(theirs)
        asked = ""
        while "[y/N]" not in asked:
            asked += os.read(ours, 4096).decode()
        listed = subprocess.run(
            ["ps", "-ww", "-o", "args=", "-p", str(process.pid)], capture_output=True, text=True, check=True
        )
        assert DIGEST in listed.stdout
        assert KEY not in listed.stdout
        os.write(ours, f"{answer}\n".encode())
        printed, _ = process.communicate(timeout=GENEROUS)
        with contextlib.suppress(OSError):  # Linux tells the end of a terminal so.
            while part := os.read(ours, 4096):
                asked += part.decode()
    assert process.returncode == code, asked
    assert f"Approve the deploy of {DIGEST} to production, for 60 min 00 s from now?" in asked
    assert (shop / ".fairlead").exists() == (code == 0)
    assert_nothing_written(shop, asked, printed)
    if code == 0:
        assert check(printed.strip()).approver == "ada"
    else:
        assert printed == ""


# GitHub on loopback ---------------------------------------------------------------------------------------------------

RUN = {"id": 42, "status": "in_progress", "run_attempt": 1, "head_sha": "5f0c" * 10}
REVIEW = {
    "state": "approved",
    "comment": "go",
    "environments": [{"id": 1, "name": "Production"}],
    "user": {"login": "ada", "id": 1, "type": "User"},
}

Behaviour = Callable[[socket.socket, str, threading.Event], None]
Play = Callable[[Behaviour], "Played"]


class Played:
    """A server on loopback whose connections a behaviour answers; `requests` are the heads that came."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.requests: list[str] = []
        self._behaviour = behaviour
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join(GENEROUS)
        self._listener.close()
        assert not self._thread.is_alive()

    def _accept(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(GENEROUS)
                    while head := self._read_head(connection):
                        self.requests.append(head)
                        self._behaviour(connection, head, self._over)

    @staticmethod
    def _read_head(connection: socket.socket) -> str:
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            part = connection.recv(1)
            if not part:
                return ""
            data += part
        return data.decode()


@pytest.fixture
def play() -> Iterator[Play]:
    with contextlib.ExitStack() as stack:

        def start(behaviour: Behaviour) -> Played:
            played = Played(behaviour)
            stack.callback(played.close)
            return played

        yield start


def response(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def answering(run: bytes, reviews: bytes) -> Behaviour:
    def answer(connection: socket.socket, head: str, _: threading.Event) -> None:
        connection.sendall(reviews if "/approvals " in head else run)

    return answer


def ask(url: str, *, timeout: float = GENEROUS) -> approval.Approval:
    environ = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": url,
        "GITHUB_REPOSITORY": "acme/shop",
        "GITHUB_RUN_ID": "42",
        "GITHUB_TOKEN": TOKEN,
    }
    return approval.check_github("production", environ=environ, timeout=timeout)


def refusal(url: str, *, timeout: float = GENEROUS) -> str:
    with pytest.raises(NotApprovedError) as caught:
        ask(url, timeout=timeout)
    (problem,) = caught.value.problems
    assert TOKEN not in f"{caught.value.message} {caught.value.hint} {problem}"
    return problem


GOOD_RUN = response(json.dumps(RUN).encode())


def test_review_is_looked_up_on_one_connection_with_the_jobs_token(play: Play) -> None:
    github = play(answering(GOOD_RUN, response(json.dumps([REVIEW]).encode())))
    found = ask(github.url)
    assert (found.approver, found.how, found.reason) == ("ada", "github", "go")
    assert [head.split("\r\n")[0] for head in github.requests] == [
        "GET /repos/acme/shop/actions/runs/42 HTTP/1.1",
        "GET /repos/acme/shop/actions/runs/42/approvals HTTP/1.1",
    ]
    assert all(f"Authorization: Bearer {TOKEN}\r\n" in head for head in github.requests)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (response(b"[]"), "nobody approved this run for production"),
        (response(json.dumps([{**REVIEW, "state": "rejected"}]).encode()), "ada rejected this run"),
        (response(json.dumps([{**REVIEW, "state": "pending"}]).encode()), "nobody approved"),
        (response(json.dumps([{**REVIEW, "environments": [{"name": "staging"}]}]).encode()), "nobody approved"),
        (response(b'{"message": "Bad credentials"}', status="401 Unauthorized"), "does not accept the token"),
        (response(b'{"message": "Resource not accessible"}', status="403 Forbidden"), "actions: read"),
        (response(b'{"message": "Not Found"}', status="404 Not Found"), "no such run"),
        (response(b"oops", status="500 Internal Server Error"), "status 500"),
        (response(b"<html>down</html>", status="503 Service Unavailable"), "status 503"),
        (response(b"<html>a captive portal</html>"), "not JSON"),
        (response(b"not gzip", headers="Content-Encoding: gzip\r\n"), "could not be asked"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n[", "no complete answer within"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "could not be asked"),
    ],
)
def test_answer_that_is_no_approval_is_refused_with_the_reason(play: Play, answer: bytes, problem: str) -> None:
    github = play(answering(GOOD_RUN, answer))
    # Only the body that never ends has to wait for its deadline.
    assert problem in refusal(github.url, timeout=0.3 if "within" in problem else GENEROUS)


def test_redirect_takes_the_token_nowhere(play: Play) -> None:
    elsewhere = play(answering(GOOD_RUN, response(json.dumps([REVIEW]).encode())))
    location = f"Location: {elsewhere.url}/repos/acme/shop/actions/runs/42\r\n"
    github = play(answering(response(b"", status="307 Temporary Redirect", headers=location), b""))
    assert "status 307" in refusal(github.url)
    assert elsewhere.requests == []


def drip(data: bytes) -> Behaviour:
    def send(connection: socket.socket, _: str, over: threading.Event) -> None:
        for one in data:
            connection.sendall(bytes([one]))
            over.wait(0.02)

    return send


def hang(_: socket.socket, __: str, over: threading.Event) -> None:
    over.wait(GENEROUS)


def cut(connection: socket.socket, _: str, __: threading.Event) -> None:
    connection.sendall(GOOD_RUN[:60])
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        (hang, "no complete answer within 0.3 s"),
        (drip(b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 10_000), "no complete answer within 0.3 s"),
        (drip(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + b" " * 10_000), "no complete answer within 0.3 s"),
    ],
    ids=["hang", "head in drips", "body in drips"],
)
def test_slow_answer_is_no_approval_when_the_time_for_all_of_it_is_over(
    play: Play, behaviour: Behaviour, problem: str
) -> None:
    assert refusal(play(behaviour).url, timeout=0.3) == f"GitHub gave {problem}"


def test_connection_that_is_cut_is_no_approval(play: Play) -> None:
    assert "could not be asked" in refusal(play(cut).url)


def test_address_that_no_host_can_have_is_no_approval() -> None:
    assert "could not be asked" in refusal("https://github..example.com")


def test_server_that_is_not_there_is_no_approval() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "could not be asked" in refusal(f"http://127.0.0.1:{taken.getsockname()[1]}")
