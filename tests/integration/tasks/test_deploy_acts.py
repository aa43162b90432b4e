"""Going back, watching, canaries and promotion, as a person runs them: a real platform, and a Railway double."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from fairlead import approval
from fairlead.deploy import watch
from tests.integration.deploy.railway_double import TOKEN, RailwayDouble
from tests.integration.tasks.test_acts import Act, break_app, remove_platform, run_act

PYPROJECT = """\
[tool.fairlead]
name = "shop"
version = "1.0.0"
backend = "shop"
migrations = { directory = "shop/migrations" }
bundle = { include = ["app.py", "worker.py", "migrations/*.sql", "requirements.txt", "Procfile"] }
platform = { port = 0, health-timeout = 5.0, stop-timeout = 2.0 }

[tool.fairlead.environments.local]
services = { web = "shop", worker = "shop-worker" }

[tool.fairlead.environments.staging]
platform = "railway"
url = "%(url)s"
api-url = "%(api)s"
services = { web = "shop" }
promote-from = "local"
approval = true
"""
APPLICATION = """\
import http.server, itertools, json, os, pathlib
DIGEST = json.loads(pathlib.Path("build-info.json").read_text())["digest"]
BAD = {bad!r}  # every so many requests one fails; 0: none
asked = itertools.count(1)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one packet

    def do_GET(self):
        if self.path == "/api/v1/version":
            self.answer({{"digest": DIGEST}})
        elif self.path == "/api/health":
            self.answer({{"status": "pass"}})
        else:
            self.answer({{}}, 500 if BAD and next(asked) % BAD == 0 else 200)

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
WORKER = "import time\nif {bad!r}:\n    raise SystemExit('this worker cannot work')\nwhile True:\n    time.sleep(1)\n"


def write_app(shop: Path, *, bad: int = 0, label: str = "") -> None:
    (shop / "shop" / "app.py").write_text(APPLICATION.format(bad=bad) + f"# {label}\n", "utf-8")


def write_worker(shop: Path, *, bad: bool = False, label: str = "") -> None:
    (shop / "shop" / "worker.py").write_text(WORKER.format(bad=bad) + f"# {label}\n", "utf-8")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "a shop"
    (root / "shop" / "migrations").mkdir(parents=True)
    (root / "pyproject.toml").write_text(
        PYPROJECT % {"url": "http://127.0.0.1:9", "api": "http://127.0.0.1:9"}, "utf-8"
    )
    (root / "shop" / "requirements.txt").write_text("", "utf-8")
    (root / "shop" / "Procfile").write_text("web: python app.py\nworker: python worker.py\n", "utf-8")
    (root / "shop" / "migrations" / "001_start.sql").write_text("CREATE TABLE one (id int);\n", "utf-8")
    (root / "shop" / "migrations" / "001_start.down.sql").write_text("DROP TABLE one;\n", "utf-8")
    write_app(root)
    write_worker(root)
    yield root
    remove_platform(root)


@pytest.fixture
def act(shop: Path) -> Act:
    return lambda *arguments: run_act(shop, *arguments)


def deploy(act: Act, *arguments: str) -> tuple[str, str]:
    """Deploy and return the digest and the public URL."""
    done = act("deploy", "--json", "--quiet", *arguments)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    return outcome["release"]["digest"], outcome["url"]


def served(url: str) -> str:
    return str(httpx.get(f"{url}/api/v1/version", trust_env=False).json()["digest"])


@contextlib.contextmanager
def load(url: str, *, clients: int = 3) -> Iterator[Callable[[], int]]:
    """Ask a URL some hundred times a second until the block ends; gives how many answers there were so far."""
    ending, answers = threading.Event(), [0] * clients

    def ask(number: int) -> None:
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            # As fast as it answers would take a whole processor from what is tested.
            while not ending.wait(0.003):
                with contextlib.suppress(httpx.HTTPError):
                    client.get("/")
                    answers[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: sum(answers)
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def test_rollback_lists_and_goes_back_to_each_of_its_names(act: Act, shop: Path) -> None:
    assert "no earlier release" in act("rollback").stderr or act("rollback").returncode == 12
    first, url = deploy(act)
    write_app(shop, label="two")
    second, _ = deploy(act)
    done = act("rollback", "--json")
    assert done.returncode == 0, done.stderr
    (listed,) = json.loads(done.stdout)
    assert (listed["number"], listed["digest"], listed["verdict"]) == (1, first, "healthy")
    unknown = act("rollback", "9")
    assert (unknown.returncode, "release 1: 1.0.0" in unknown.stderr) == (17, True), unknown.stderr
    back = act("rollback", "1")
    assert back.returncode == 0, back.stderr
    assert served(url) == first
    assert act("verify").returncode == 0, "what was gone back to is what should serve now"
    assert act("rollback", second[7:17]).returncode == 0
    assert served(url) == second
    again = act("rollback", "v1.0.0")
    assert again.returncode == 0, again.stderr
    assert served(url) == first
    events = [json.loads(line) for line in (shop / ".fairlead" / "history.jsonl").read_text().splitlines()]
    assert [(event["name"], event["digest"]) for event in events[-2:]] == [("rollback", second), ("rollback", first)]
    assert "rollback" in act("releases").stdout


def test_a_worker_that_cannot_start_takes_the_web_back_with_it(act: Act, shop: Path) -> None:
    first, url = deploy(act)
    write_app(shop, label="two")
    write_worker(shop, bad=True)
    failed = act("deploy", "--quiet")
    assert failed.returncode == 13, failed.stderr
    assert "this worker cannot work" in failed.stderr
    assert "it was rolled back, and the earlier release serves again" in failed.stderr
    assert served(url) == first
    write_worker(shop, label="mended")
    second, _ = deploy(act)
    assert served(url) == second


def test_a_release_that_fails_its_requests_is_watched_and_rolled_back(act: Act, shop: Path) -> None:
    first, url = deploy(act)
    write_app(shop, bad=5)
    with load(url) as answers:
        while answers() < 200:
            threading.Event().wait(0.05)
        failed = act("deploy", "--quiet", "--watch", "60")
    assert failed.returncode == 13, failed.stderr
    assert "the new release is worse than the one before" in failed.stderr
    assert served(url) == first


def test_a_release_that_nobody_asks_anything_is_neither_good_nor_bad(act: Act, shop: Path) -> None:
    deploy(act)
    write_app(shop, label="two")
    held = act("deploy", "--quiet", "--watch", "2")
    assert held.returncode == 5, held.stderr
    assert "whether it is as good is open" in held.stderr
    refused = act("promote", "--from", "local", "--to", "staging")
    assert (refused.returncode, "the last verdict on local is inconclusive" in refused.stderr) == (17, True)


def test_a_canary_takes_over_when_it_is_good_and_is_withdrawn_when_it_is_not(
    act: Act, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A slow machine answers little: longer windows hold enough to judge by all the same.
    monkeypatch.setattr(watch, "_LOCAL_STEPS", (2, 2))
    _, url = deploy(act)
    write_app(shop, label="two")
    with load(url):
        good = act("deploy", "--quiet", "--canary", "70", "--watch", "16", "--json")
        assert good.returncode == 0, good.stderr
        second = json.loads(good.stdout)["release"]["digest"]
        write_app(shop, bad=4)
        failed = act("deploy", "--quiet", "--canary", "70", "--watch", "60")
    assert failed.returncode == 13, failed.stderr
    assert "the new release is worse than the one before" in failed.stderr
    assert {served(url) for _ in range(10)} == {second}


def test_promotion_sends_the_very_archive_that_was_verified(act: Act, shop: Path) -> None:
    key = "a-key-of-this-test-alone-which-is-long-enough"
    with RailwayDouble() as double:
        (shop / "pyproject.toml").write_text(PYPROJECT % {"url": double.public_url, "api": double.api_url}, "utf-8")
        promote = ("promote", "--from", "local", "--to", "staging", "--auto-confirm", "--quiet")
        nothing = act(*promote)
        assert (nothing.returncode, "no deploy to local is on record" in nothing.stderr) == (17, True), nothing.stderr
        digest, _ = deploy(act)
        unapproved = run_act(shop, *promote, RAILWAY_TOKEN=TOKEN)
        assert (unapproved.returncode, double.received) == (16, []), unapproved.stderr
        signed = approval.sign("staging", digest, approver="ada", environ={approval.KEY_VARIABLE: key}, valid=60)
        approved = {"RAILWAY_TOKEN": TOKEN, approval.KEY_VARIABLE: key, approval.TOKEN_VARIABLE: signed.token}
        done = run_act(shop, *promote, **approved)
        assert done.returncode == 0, done.stderr
        (archive,) = (shop / ".fairlead" / "bundles").glob("*.tar.gz")
        assert double.received == [archive.read_bytes()]
        event = json.loads((shop / ".fairlead" / "history.jsonl").read_text().splitlines()[-1])
        assert (event["name"], event["verdict"], event["approval"]["approver"]) == ("promote", "healthy", "ada")
        archive.write_bytes(archive.read_bytes()[:-20])
        broken = run_act(shop, *promote, **approved)
        assert broken.returncode != 0
        assert "is not a bundle" in broken.stderr
        break_app(shop, "crash")
        assert act("deploy", "--quiet").returncode == 13
        refused = run_act(shop, *promote, **approved)
        assert (refused.returncode, "the last verdict on local is failed" in refused.stderr) == (17, True)
