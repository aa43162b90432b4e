"""The acts as a person runs them: an exit code, and what stands on the two streams."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import httpx
import pytest

from fairlead import postgres
from fairlead.tasks import program
from tests.integration.localplatform.tiny import APPLICATION

ROOT = Path(__file__).resolve().parents[3]
PYPROJECT = """\
[tool.fairlead]
name = "shop"
backend = "shop"
migrations = { directory = "shop/migrations" }
bundle = { include = ["app.py", "migrations/*.sql", "requirements.txt", "Procfile"] }
platform = { port = %d, health-timeout = 2.0, stop-timeout = 2.0 }

[tool.fairlead.environments.staging]
platform = "railway"
url = "https://staging.example.com"

[tool.fairlead.environments.production]
platform = "railway"
url = "https://example.com"
approval = true
"""

Act = Callable[..., "Done"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def make_shop(root: Path, *, port: int) -> Path:
    backend = root / "shop"
    (backend / "migrations").mkdir(parents=True)
    (root / "pyproject.toml").write_text(PYPROJECT % port, "utf-8")
    (backend / "app.py").write_text(APPLICATION.format(fault=""), "utf-8")
    (backend / "requirements.txt").write_text("", "utf-8")
    (backend / "Procfile").write_text("web: python app.py\n", "utf-8")
    (backend / "migrations" / "001_start.sql").write_text("CREATE TABLE one (id int);\n", "utf-8")
    (backend / "migrations" / "001_start.down.sql").write_text("DROP TABLE one;\n", "utf-8")
    return root


@dataclass(frozen=True)
class Done:
    """What an act left: its exit code and the two streams."""

    returncode: int
    stdout: str
    stderr: str


def run_act(root: Path, *arguments: str, **environ: str) -> Done:
    """Run an act as `python -m fairlead` does, in this process, with these variables besides."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("FAIRLEAD_", "RAILWAY_"))}
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, {**variables, **environ}, clear=True),
        contextlib.chdir(root),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = program.main(arguments)
    return Done(code, out.getvalue(), err.getvalue())


def run_process(root: Path, *arguments: str) -> Done:
    """Run an act in a process of its own."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("FAIRLEAD_", "RAILWAY_"))}
    done = subprocess.run(
        [sys.executable, "-m", "fairlead", *arguments],
        cwd=root,
        env={**variables, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    # What a release printed is shown indented; a line of its own would be ours.
    assert "\nTraceback" not in f"\n{done.stderr}", done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def remove_platform(root: Path) -> None:
    (root / "pyproject.toml").write_text(PYPROJECT % 0, "utf-8")
    assert run_act(root, "platform.down").returncode == 0
    postgres.remove_data(root / ".fairlead" / "platform" / "postgres")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    root = make_shop(tmp_path / "a shop", port=free_port())
    yield root
    remove_platform(root)


@pytest.fixture
def act(shop: Path) -> Act:
    return lambda *arguments: run_act(shop, *arguments)


def break_app(shop: Path, fault: str) -> None:
    (shop / "shop" / "app.py").write_text(APPLICATION.format(fault=fault), "utf-8")


def test_from_nothing_to_a_second_release_and_down_again(act: Act, shop: Path) -> None:
    first = run_process(shop, "deploy")
    assert first.returncode == 0, first.stderr
    for expected in ("release 1 serves at http://127.0.0.1:", "preflight", "total", "next:"):
        assert expected in first.stdout
    unchanged = act("deploy", "--env", "local")
    assert unchanged.stdout.startswith("nothing changed: release 1 already serves sha256:")
    break_app(shop, "none that matters")
    assert "then: backup, upload" in act("deploy", "--dry", "--backup").stdout
    (shop / ".fairlead" / "backups").write_text("a file in the way", "utf-8")
    refused = act("deploy", "--backup")
    assert (refused.returncode, "nothing was sent" in refused.stderr) == (17, True), refused.stderr
    assert len(json.loads(act("releases", "--json").stdout)) == 1
    (shop / ".fairlead" / "backups").unlink()
    second = act("deploy", "--json", "--backup")
    backups = [file.name for file in (shop / ".fairlead" / "backups").iterdir() if file.suffix == ".dump"]
    assert [name.startswith("shop-local-") for name in backups] == [True], second.stderr
    outcome = json.loads(second.stdout)
    assert (outcome["release"]["number"], outcome["changed"]) == (2, True)
    assert outcome["backup"]["file"].endswith(backups[0])
    assert httpx.get(f"{outcome['url']}/api/v1/version").json()["digest"] == outcome["release"]["digest"]
    listed = json.loads(act("releases", "--json").stdout)
    assert [(release["number"], release["status"]) for release in listed] == [(2, "SUCCESS"), (1, "REMOVED")]
    status = json.loads(act("platform.status", "--json").stdout)
    assert (status["running"], status["release"]) == (True, 2)
    assert "listening, said the release" in act("platform.logs").stdout
    assert act("verify").returncode == 0
    assert act("platform.down").returncode == 0
    assert json.loads(act("platform.status", "--json").stdout) == {"running": False}
    with pytest.raises(httpx.ConnectError):
        httpx.get(outcome["url"])
    assert act("verify").returncode == 5


@pytest.mark.parametrize(
    ("fault", "says"),
    [("crash", "missing_library"), ("unhealthy", "health"), ("digest", "digest")],
)
def test_a_release_that_is_no_good_leaves_the_earlier_one_serving(fault: str, says: str, act: Act, shop: Path) -> None:
    first = json.loads(act("deploy", "--json").stdout)
    break_app(shop, fault)
    failed = act("deploy")
    assert failed.returncode == 13, failed.stderr
    assert says in failed.stderr
    assert "the earlier release still serves" in failed.stderr
    assert "next:" in failed.stderr
    assert httpx.get(f"{first['url']}/api/v1/version").json()["digest"] == first["release"]["digest"]


def test_a_port_in_use_is_told_and_the_next_free_one_taken(tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        root = make_shop(tmp_path / "taken", port=port)
        try:
            done = run_act(root, "deploy")
            assert done.returncode == 0, done.stderr
            assert f"port {port} is taken by another program" in done.stderr
            assert f":{port}\n" not in done.stdout.split("\n", 1)[0] + "\n"
        finally:
            remove_platform(root)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("deploy", "--env", "stagign"), 10, "did you mean staging?"),
        (("deploy", "--env", "staging"), 17, "RAILWAY_TOKEN is not set"),
        (("releases", "--env", "staging"), 10, "RAILWAY_TOKEN is not set"),
        (("deploy", "--env", "production"), 17, "Nobody can be asked here"),
        (("releases",), 12, "the local platform is not running"),
        (("platform.logs",), 12, "the local platform is not running"),
        (("verify", "--url", "http://127.0.0.1:9"), 5, "could not be checked"),
        (("migrate", "--env", "production"), 10, "database-url-env is missing"),
        (("migrations.new", "!!!"), 11, "!!!"),
    ],
)
def test_bad_input_gets_one_clear_message_and_its_exit_code(
    arguments: Sequence[str], code: int, says: str, tmp_path: Path
) -> None:
    root = make_shop(tmp_path / "bad", port=0)
    done = run_act(root, *arguments)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert done.stderr.count("error:") == 1


@pytest.mark.parametrize(
    ("change", "arguments", "code", "says"),
    [
        (("[tool.fairlead]", "[tool.fairlead"), ("config.show",), 10, "not valid TOML"),
        (('name = "shop"', 'nmae = "shop"'), ("deploy",), 10, "did you mean name?"),
        (("health-timeout = 2.0", 'health-timeout = "soon"'), ("deploy",), 10, "platform.health-timeout"),
        (('"shop/migrations"', '"shop/migration"'), ("deploy",), 17, "shop/migration"),
        (('"app.py", ', '"application.py", '), ("build",), 17, "'application.py' matches no file"),
    ],
)
def test_a_broken_configuration_is_told_before_anything_is_done(
    change: tuple[str, str], arguments: Sequence[str], code: int, says: str, tmp_path: Path
) -> None:
    root = make_shop(tmp_path / "broken", port=0)
    (root / "pyproject.toml").write_text((PYPROJECT % 0).replace(*change), "utf-8")
    done = run_act(root, *arguments)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert not (root / ".fairlead").exists()


def test_build_writes_the_bundle_that_it_names(tmp_path: Path) -> None:
    root = make_shop(tmp_path / "build", port=0)
    facts = json.loads(run_act(root, "build", "--output", str(root / "out.tar.gz"), "--json").stdout)
    assert (root / "out.tar.gz").stat().st_size == facts["bytes"]
    assert "./app.py".removeprefix("./") in facts["files"]
    assert facts["digest"] == run_act(root, "build").stdout.strip()


def test_dry_deploy_starts_nothing(tmp_path: Path) -> None:
    root = make_shop(tmp_path / "dry", port=0)
    done = run_act(root, "deploy", "--dry")
    assert (done.returncode, "would deploy" in done.stdout) == (0, True)
    assert not (root / ".fairlead").exists()


def test_migrations_live_and_die(act: Act, shop: Path) -> None:
    assert "would apply 001_start" in act("migrate", "--dry").stdout
    assert "applied 1 migration to local" in act("migrate").stdout
    assert "nothing to apply" in act("migrate").stdout
    assert act("migrations.new", "add two").returncode == 0
    up, down = (shop / "shop" / "migrations" / f"002_add_two{end}" for end in (".sql", ".down.sql"))
    up.write_text("CREATE TABLE two (id int);\n", "utf-8")
    down.write_text("DROP TABLE two;\n", "utf-8")
    states = [row["state"] for row in json.loads(act("migrations.status", "--json").stdout)]
    assert states == ["applied", "pending"]
    assert "applied 1 migration" in act("migrate").stdout
    assert "undid 2 migrations" in act("migrations.down", "--steps", "2").stdout
    assert "leave the schema as it should be" in act("migrations.verify").stdout
    down.write_text("SELECT 1;\n", "utf-8")
    irreversible = act("migrations.verify")
    assert (irreversible.returncode, "002_add_two" in irreversible.stderr) == (11, True), irreversible.stderr


def test_the_database_address_shows_its_password_only_when_asked_for(act: Act) -> None:
    masked = act("db.url").stdout.strip()
    whole = act("db.url", "--show-password").stdout.strip()
    assert masked != whole
    assert "••" in masked
    password = whole.split(":")[2].split("@")[0]
    assert password not in masked
