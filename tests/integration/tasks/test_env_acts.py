"""`env.*`: the documents of an application's variables, and environments that have them as they should or have not."""

import contextlib
import itertools
import json
import shutil
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from app import describe_settings
from fairlead import _output, localplatform
from fairlead.localplatform.answers import Answers
from fairlead.localplatform.api import make_api
from tests.integration.arguments import Watch
from tests.integration.tasks.test_acts import Done, run_act
from tests.integration.tasks.test_railway_acts import WORKER, Railway
from tests.platform_double import SERVICE, TOKEN
from tests.unit.environment.described import document
from tests.unit.environment.test_checking import PROGRAM

ROOT = Path(__file__).resolve().parents[3]
GENEROUS = 20.0
PYPROJECT = """\
[tool.fairlead]
name = "shop"
backend = "backend"

[tool.fairlead.env]
describe = {describe}

[tool.fairlead.environments.production]
platform = "railway"
url = "https://example.com"
api-url = "{url}"
railway-environment = "staging"
services = {services}
token-env = "SHOP_TOKEN"
"""
TINY = '["python", "tell.py"]'
REAL = '["python", "-m", "app.describe_settings"]'
BOTH = '{ web = "shop-web", worker = "shop-jobs" }'
GOOD: dict[str, str | None] = {"DATABASE_URL": "an address", "SIGNING_KEY": "a key", "RAILWAY_SERVICE_NAME": "shop-web"}


def write_configuration(
    root: Path, *, describe: str = TINY, url: str = "http://127.0.0.1:9", services: str = BOTH
) -> None:
    (root / "pyproject.toml").write_text(PYPROJECT.format(describe=describe, url=url, services=services), "utf-8")


@pytest.fixture
def live() -> dict[str, Mapping[str, Any]]:
    """The variables that the platform has, by service; a test changes them."""
    return {SERVICE: dict(GOOD), WORKER: dict(GOOD)}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository whose application is a program of a few lines."""
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend" / "tell.py").write_text(PROGRAM.format(document=document()), "utf-8")
    write_configuration(tmp_path)
    return tmp_path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a copy of this one's backend."""
    shutil.copytree(ROOT / "backend" / "app", tmp_path / "backend" / "app")
    for name in ("ENVIRONMENT_VARIABLES.md", ".env.example"):
        shutil.copy(ROOT / "backend" / name, tmp_path / "backend" / name)
    write_configuration(tmp_path, describe=REAL)
    return tmp_path


@pytest.fixture
def railway(tmp_path: Path, live: Mapping[str, Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a platform that has the live variables."""
    monkeypatch.setattr(Answers, "_variables", lambda _self, _info, **asked: live[asked["serviceId"]])
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        application = make_api(Railway(tmp_path / "incoming"))
        server = uvicorn.Server(uvicorn.Config(application, lifespan="off", ws="none", log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            end = time.monotonic() + GENEROUS
            while not server.started:
                assert time.monotonic() < end
                time.sleep(0.005)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(GENEROUS)
    assert not thread.is_alive()


@pytest.fixture
def on_railway(shop: Path, railway: str) -> Path:
    """The first repository, whose production is on that platform."""
    write_configuration(shop, url=railway)
    return shop


def run(root: Path, name: str, *options: str) -> Done:
    return run_act(root, name, "--python", sys.executable, *options)


# --- env.docs ---


def test_the_documents_of_this_repository_are_what_its_settings_declare() -> None:
    done = run(ROOT, "env.docs", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_changed_declaration_is_stale_until_it_is_written(repository: Path) -> None:
    settings, example = repository / "backend/app/settings/variables.py", repository / "backend/.env.example"
    text, before = settings.read_text("utf-8"), example.read_text("utf-8")
    settings.write_text(text.replace('{"purpose": purpose}', '{"purpose": purpose + " (planted)"}'), "utf-8")

    stale = run(repository, "env.docs", "--check")
    assert stale.returncode == 10
    assert "2 documents are not what the settings declare" in stale.stderr
    assert "next: invoke env.docs" in stale.stderr
    assert "\n+# how long an access token lives (planted)\n" in stale.stdout
    assert example.read_text("utf-8") == before

    assert run(repository, "env.docs").returncode == 0
    assert "(planted)" in (repository / "backend" / "ENVIRONMENT_VARIABLES.md").read_text("utf-8")
    assert "(planted)" in example.read_text("utf-8")


def test_documents_may_lie_elsewhere_and_only_what_is_stale_is_written(shop: Path) -> None:
    text = (shop / "pyproject.toml").read_text("utf-8")
    moved = text.replace("[tool.fairlead.env]\n", '[tool.fairlead.env]\npage = "page.md"\n')
    (shop / "pyproject.toml").write_text(moved, "utf-8")
    assert run(shop, "env.docs").stderr.count(" written\n") == 2
    assert run(shop, "env.docs", "--check").returncode == 0
    (shop / "page.md").unlink()
    assert "1 document is not what the settings declare" in run(shop, "env.docs", "--check").stderr
    assert run(shop, "env.docs").stderr.count(" written\n") == 1
    assert (shop / "page.md").read_text("utf-8").startswith("# Variables of the shop\n")
    assert (shop / "backend" / ".env.example").is_file()


def test_an_application_that_does_not_start_is_no_success(shop: Path) -> None:
    (shop / "backend" / "tell.py").write_text("import no_such_package\n", "utf-8")
    for act in ("env.docs", "env.check"):
        done = run(shop, act)
        assert done.returncode == 18
        assert "no_such_package" in done.stderr


def test_without_a_command_it_is_said_what_to_declare(shop: Path) -> None:
    (shop / "pyproject.toml").write_text("[tool.fairlead]\n", "utf-8")
    done = run(shop, "env.docs")
    assert done.returncode == 10
    assert "tool.fairlead.env.describe is missing" in done.stderr


# --- env.check ---


def test_a_whole_environment_on_railway_is_fine(on_railway: Path) -> None:
    done = run(on_railway, "env.check", "--env", "production")
    assert done.returncode == 0, done.stderr
    assert "shop-web: 2 of 6 variables are set, and the application takes their values" in done.stderr
    assert "shop-jobs: 2 of 6 variables are set" in done.stderr


def test_what_is_wrong_is_told_for_each_service(on_railway: Path, live: dict[str, Any]) -> None:
    live[SERVICE] = {**GOOD, "PAY_KEY": "canary", "LOG_LEVEL": "", "PORT": "canary"}
    live[WORKER] = {"SIGNING_KEY": "another key", "DATABSE_URL": "an address"}
    done = run(on_railway, "env.check", "--env", "production", "--json")
    assert done.returncode == 10
    found = {
        (service["service"], problem["variable"], problem["kind"])
        for service in json.loads(done.stdout)["services"]
        for problem in service["problems"]
    }
    assert found == {
        ("shop-web", "PAY_SECRET", "partial"),
        ("shop-web", "PAY_KEY", "malformed"),
        ("shop-web", "PORT", "malformed"),
        ("shop-jobs", "SIGNING_KEY", "different"),
        ("shop-jobs", "DATABASE_URL", "missing"),
        ("shop-jobs", "DATABSE_URL", "misspelt"),
    }
    assert "6 variables are not as they have to be" in done.stderr
    assert "shop-web: PAY_KEY is malformed. Expected: what PAY_KEY expects" in done.stderr
    assert "shop-jobs: DATABSE_URL is read by nothing; is DATABASE_URL meant?" in done.stderr
    assert "shop-web: LOG_LEVEL is empty, which counts as absent" in done.stderr
    assert "backend/ENVIRONMENT_VARIABLES.md explains each one" in done.stderr


def test_a_sealed_variable_is_not_missing_and_not_called_good(on_railway: Path, live: dict[str, Any]) -> None:
    live[SERVICE] = {**GOOD, "SIGNING_KEY": None}
    done = run(on_railway, "env.check", "--env", "production")
    assert done.returncode == 0, done.stderr
    assert "shop-web: sealed, so not looked at: SIGNING_KEY" in done.stderr


def test_by_names_alone_a_bad_value_is_not_seen_and_that_is_said(on_railway: Path, live: dict[str, Any]) -> None:
    live[SERVICE] = {**GOOD, "LOG_LEVEL": "canary"}
    done = run(on_railway, "env.check", "--env", "production", "--names-only", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["values_checked"] is False
    assert answer["services"][0]["not_looked_at"] == ["DATABASE_URL", "LOG_LEVEL", "SIGNING_KEY"]
    assert "no value was looked at" in done.stderr
    live[WORKER] = {"DATABASE_URL": "an address"}
    assert run(on_railway, "env.check", "--env", "production", "--names-only").returncode == 10


def test_a_platform_that_cannot_be_asked_is_no_success(on_railway: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "another-canary-token")
    done = run(on_railway, "env.check", "--env", "production")
    assert done.returncode == 12
    assert "another-canary-token" not in done.stderr
    monkeypatch.delenv("SHOP_TOKEN")
    assert run(on_railway, "env.check", "--env", "production").returncode == 10


def test_the_local_platform_is_asked_when_it_runs(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run(shop, "env.check")
    assert refused.returncode == 12
    assert "the local platform is not running" in refused.stderr
    variables = {"DATABASE_URL": "an address", "PORT": "8000", "SIGNING_KEY": "made up"}
    monkeypatch.setattr(localplatform, "release_environment", lambda _config: variables, raising=False)
    done = run(shop, "env.check")
    assert done.returncode == 0, done.stderr
    assert "shop: 3 of 6 variables are set" in done.stderr


@pytest.mark.parametrize(
    ("env", "says"), [("local", "DATABASE_URL is malformed"), ("production", "SIGNING_KEY is missing")]
)
def test_a_file_is_held_to_the_rules_of_its_environment(env: str, says: str, shop: Path) -> None:
    (shop / ".env").write_text('export DATABASE_URL="canary"  # mine\nSIGNING_KEY=\n', "utf-8")
    done = run(shop, "env.check", "--env", env, "--file", ".env")
    assert done.returncode == 10
    assert f".env: {says.replace('is missing', 'is empty, which counts as missing')}" in done.stderr


def test_this_process_can_be_looked_at(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING_KEY", "a key")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert "this process: DATABASE_URL is missing" in run(shop, "env.check", "--process").stderr
    monkeypatch.setenv("DATABASE_URL", "an address")
    assert run(shop, "env.check", "--process").returncode == 0


def test_two_places_to_look_at_are_refused(shop: Path) -> None:
    done = run(shop, "env.check", "--process", "--file", ".env")
    assert done.returncode == 10
    assert "--file and --process exclude each other" in done.stderr


# --- Secrets ---


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="only Linux shows the arguments of processes there")
def test_no_value_shows_anywhere_even_without_the_redactor(
    repository: Path, railway: str, live: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_configuration(repository, describe=REAL, url=railway, services='{ web = "shop-web" }')
    secret = f"canary{uuid.uuid4().hex}"
    names = [*(one["name"] for one in describe_settings.describe()["variables"]), "DATABSE_URL", "SOMETHING_ELSE"]
    shapes = itertools.cycle(("{}/", "https://ok.example,{}", "postgresql://u:{}@h"))
    live[SERVICE] = {name: shape.format(secret) for name, shape in zip(names, shapes, strict=False)}
    monkeypatch.setattr(_output, "redact", lambda text: text)
    with Watch() as watch:
        done = run_act(repository, "--debug", "env.check", "--python", sys.executable, "--env", "production", "--json")
    assert done.returncode == 10
    assert len(json.loads(done.stdout)["services"][0]["problems"]) > 30
    assert any(b"app.describe_settings" in command and b"--check" in command for command in watch.seen)
    assert [command for command in watch.seen if secret.encode() in command] == []
    assert secret[:12] not in done.stdout + done.stderr
    kept = [file for file in repository.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]
    assert kept == []
