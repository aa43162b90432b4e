"""`railway.*` against a server that plays Railway: what is shown, what is set, and what is refused."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from fairlead.localplatform.answers import Answers
from fairlead.localplatform.api import make_api
from tests.integration.tasks.test_acts import Done, run_act
from tests.platform_double import SERVICE, TOKEN, PlatformDouble

GENEROUS = 20.0
WORKER = "service-2"
PYPROJECT = """\
[tool.fairlead]
name = "shop"

[tool.fairlead.railway]
pre-deploy-command = ["migrate"]
dockerfile-path = "Dockerfile"

[tool.fairlead.deploy]
required-variables = ["LATER"]

[tool.fairlead.environments.staging]
platform = "railway"
url = "https://staging.example.com"
api-url = "{url}"
services = {{ web = "shop-web", worker = "shop-jobs" }}
token-env = "SHOP_TOKEN"

[tool.fairlead.environments.production]
platform = "railway"
url = "https://example.com"
api-url = "{url}"
railway-environment = "staging"
services = {{ web = "shop-web" }}
token-env = "SHOP_TOKEN"
approval = true
"""
DECLARED = {
    "preDeployCommand": ["migrate"],
    "healthcheckPath": "/api/health",
    "overlapSeconds": 15,
    "drainingSeconds": 30,
    "dockerfilePath": "Dockerfile",
}


class Railway(PlatformDouble):
    """Plays Railway, which keeps the settings of each service; `deaf` takes changes and forgets them."""

    project_name, environment_name = "shop", "staging"

    def __init__(self, incoming: Path) -> None:
        super().__init__(incoming)
        self.services = {SERVICE: "shop-web", WORKER: "shop-jobs"}
        self.kept: dict[str, dict[str, Any]] = {SERVICE: {}, WORKER: {"drainingSeconds": 30}}
        self.updates: list[tuple[str, Mapping[str, Any]]] = []
        self.deaf = False

    def settings(self, service_id: str, /) -> Mapping[str, Any]:
        return {"restartPolicyMaxRetries": 10, **self.kept[service_id]}

    def update(self, _info: object, **arguments: Any) -> bool:
        service, settings = arguments["serviceId"], arguments["input"]
        self.updates.append((service, settings))
        if not self.deaf:
            self.kept[service].update(settings)
        return True


@pytest.fixture
def railway(tmp_path: Path) -> Railway:
    return Railway(tmp_path / "incoming")


@pytest.fixture
def shop(railway: Railway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(Answers, "_update_instance", staticmethod(railway.update))
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_api(railway), lifespan="off", ws="none", log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    folder = tmp_path / "shop"
    (folder / "backend").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        PYPROJECT.format(url=f"http://127.0.0.1:{listener.getsockname()[1]}"), "utf-8"
    )
    (folder / "backend" / "Procfile").write_text("web: serve\nworker: work\n", "utf-8")
    try:
        end = time.monotonic() + GENEROUS
        while not server.started:
            assert time.monotonic() < end
            time.sleep(0.005)
        yield folder
    finally:
        server.should_exit = True
        thread.join(GENEROUS)
        listener.close()
    assert not thread.is_alive()


def run(shop: Path, *arguments: str) -> Done:
    """Run an act, in whose output no token may stand."""
    done = run_act(shop, *arguments)
    assert TOKEN not in done.stdout + done.stderr
    return done


# --- railway.settings ---


def test_settings_are_shown_beside_the_live_ones_and_nothing_is_set(shop: Path, railway: Railway) -> None:
    done = run(shop, "railway.settings", "--env", "staging")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["shop-web", "overlapSeconds", "15", "0"] in rows
    assert ["shop-jobs", "drainingSeconds", "30", "the", "same"] in rows
    assert ["shop-jobs", "startCommand", "work", "not", "set"] in rows
    assert "7 settings differ; set them: invoke railway.settings --env staging --apply" in " ".join(done.stderr.split())
    assert "Procfile" not in done.stderr
    assert railway.updates == []


def test_only_what_differs_is_set_and_then_seen_to_be(shop: Path, railway: Railway) -> None:
    done = run(shop, "railway.settings", "--env", "staging", "--apply")
    assert done.returncode == 0, done.stderr
    web = {name: value for name, value in DECLARED.items() if name != "dockerfilePath"}
    assert railway.updates == [
        (SERVICE, {"startCommand": "serve", **web}),
        (WORKER, {"startCommand": "work", "overlapSeconds": 15}),
    ]
    again = run(shop, "railway.settings", "--env", "staging", "--apply", "--json")
    found = json.loads(again.stdout)
    assert [one["differences"] for one in found["services"]] == [[], []]
    assert not found["applied"]
    assert len(railway.updates) == 2


def test_differences_are_told_as_json(shop: Path) -> None:
    found = json.loads(run(shop, "railway.settings", "--env", "staging", "--json").stdout)
    web, worker = found["services"]
    assert (web["kind"], worker["service"]) == ("web", "shop-jobs")
    assert web["declared"] == {"startCommand": "serve", **DECLARED}
    assert {"name": "overlapSeconds", "declared": 15, "live": 0} in web["differences"]


def test_production_is_asked_for_and_nobody_is_there_to_say_yes(shop: Path, railway: Railway) -> None:
    done = run(shop, "railway.settings", "--env", "production", "--apply")
    assert done.returncode == 16
    assert "Change the settings of shop-web in production?" in done.stderr
    assert railway.updates == []


def test_production_is_set_when_that_was_confirmed(shop: Path, railway: Railway) -> None:
    done = run(shop, "railway.settings", "--env", "production", "--apply", "--auto-confirm")
    assert done.returncode == 0, done.stderr
    assert [service for service, _ in railway.updates] == [SERVICE]


def test_a_platform_that_says_yes_and_changes_nothing_is_not_believed(shop: Path, railway: Railway) -> None:
    railway.deaf = True
    done = run(shop, "railway.settings", "--env", "staging", "--apply")
    assert done.returncode == 12
    assert "shop-web: overlapSeconds is 0 and should be 15" in " ".join(done.stderr.split())


def test_local_platform_is_not_changed_from_here(shop: Path) -> None:
    shown, applied = (
        run(shop, "railway.settings", "--env", "local"),
        run(shop, "railway.settings", "--env", "local", "--apply"),
    )
    assert (shown.returncode, applied.returncode) == (0, 12)
    for done in (shown, applied):
        assert "the railway.json in its bundle" in done.stderr


def test_a_worker_that_nothing_says_how_to_start_is_named(shop: Path) -> None:
    (shop / "backend" / "Procfile").unlink()
    done = run(shop, "railway.settings", "--env", "staging")
    assert "no `worker:` line, so shop-jobs starts as its image or Railway says" in " ".join(done.stderr.split())
    assert "so shop-web starts" not in " ".join(done.stderr.split())


# --- railway.config ---


def test_file_is_written_and_then_found_to_be_in_step(shop: Path) -> None:
    file = shop / "backend" / "railway.json"
    missing = run(shop, "railway.config", "--check")
    assert (missing.returncode, file.exists()) == (10, False)
    assert run(shop, "railway.config").returncode == 0
    assert json.loads(file.read_text("utf-8"))["deploy"] == {
        name: value for name, value in DECLARED.items() if name != "dockerfilePath"
    }
    assert run(shop, "railway.config", "--check").returncode == 0
    kept = file.read_text("utf-8").replace("15", "0")
    file.write_text(kept, "utf-8")
    stale = run(shop, "railway.config", "--check")
    assert stale.returncode == 10
    assert "is not what [tool.fairlead.railway] says" in stale.stderr
    assert file.read_text("utf-8") == kept


def test_file_can_be_printed_or_written_elsewhere(shop: Path) -> None:
    printed = run(shop, "railway.config", "--output", "-")
    run(shop, "railway.config", "--output", "elsewhere/railway.json")
    assert printed.stdout == (shop / "elsewhere" / "railway.json").read_text("utf-8")
    assert not (shop / "backend" / "railway.json").exists()


def test_program_keeps_the_variables_that_the_environment_has(shop: Path) -> None:
    done = run(shop, "railway.config", "--format", "program", "--env", "staging")
    assert done.returncode == 0, done.stderr
    program = (shop / ".railway" / "railway.py").read_text("utf-8")
    for name in ("DATABASE_URL", "PORT", "LATER"):
        assert program.count(f'"{name}": preserve()') == 2
    assert "would delete" not in done.stderr
    assert run(shop, "railway.config", "--format", "program", "--env", "staging", "--check").returncode == 0


def test_program_that_was_not_asked_for_an_environment_warns_of_what_it_would_delete(shop: Path) -> None:
    done = run(shop, "railway.config", "--format", "program", "--output", "-")
    assert done.returncode == 0
    compile(done.stdout, "railway.py", "exec")
    assert done.stdout.count('"LATER": preserve()') == 2
    assert "would delete any other variable" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "toml"), "there is no format 'toml'"),
        (("--format", "program", "--env", "local"), "local is not on Railway"),
        (("--format", "program", "--env", "stagin"), "there is no environment 'stagin'"),
        (("--check", "--output", "backend"), "cannot be read"),
    ],
)
def test_what_cannot_be_written_is_refused(shop: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(shop, "railway.config", *arguments)
    assert done.returncode == 10
    assert message in " ".join(done.stderr.split())


def test_place_that_cannot_be_written_to_is_told(shop: Path) -> None:
    (shop / "a file").write_text("", "utf-8")
    done = run(shop, "railway.config", "--output", "a file/railway.json")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
