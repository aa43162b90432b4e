"""A deploy against a platform that keeps to a script, over real sockets: its exit code, and what still serves."""

import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fairlead import bundle, config, deploy
from fairlead.approval import Approval
from fairlead.config import Config
from fairlead.deploy import following
from fairlead.exceptions import (
    ApprovalError,
    AuthenticationError,
    CommandError,
    DeployError,
    Error,
    LockedError,
    PlatformError,
    PreflightError,
    UnsafeDeployError,
)
from fairlead.history import History
from fairlead.localplatform.api import make_api
from fairlead.localplatform.records import Deployment
from fairlead.railway import RailwayClient
from tests.platform_double import ENVIRONMENT, PROJECT, SERVICE, TOKEN, PlatformDouble

OLD = "sha256:" + "0" * 64
STRANGE = "sha256:" + "f" * 64
PYPROJECT = """\
[tool.fairlead]
name = "shop"
backend = "shop"
migrations = { directory = "shop/migrations" }
bundle = { include = ["app/*.py", "migrations/*.sql"] }
deploy = { timeout = 5.0, confirmations = 2 }
environments.local = {}
environments.guarded = { platform = "local", approval = true }
environments.branched = { platform = "railway", branch = "release" }
"""


class ScriptedPlatform(PlatformDouble):
    """Takes an upload through the statuses of `script`, one each time that it is asked; `serve` then names a digest."""

    def __init__(self, incoming: Path) -> None:
        super().__init__(incoming)
        self.script: tuple[str, ...] = ("BUILDING", "DEPLOYING", "SUCCESS")
        self.serve: Callable[[str], str | None] = lambda built: built
        self.diagnosis: str | None = None
        self.serving: str | None = None
        self.healthy = True
        self._steps: Iterator[str] = iter(())

    async def receive(
        self, archive: Path, *, service_id: str, message: str | None, canary: float | None = None
    ) -> Deployment:
        self._steps = iter(self.script)
        return await super().receive(archive, service_id=service_id, message=message, canary=canary)

    def deployment(self, deployment_id: str, /) -> Deployment | None:
        found = super().deployment(deployment_id)
        if found is None or found is not self.known[-1]:
            return found
        status = next(self._steps, found.status)
        changed = replace(found, status=status, stopped=status != "SUCCESS", diagnosis=self.diagnosis)
        if status != found.status and status == self.script[-1]:
            self._end(changed)
        self.known[-1] = changed
        return changed

    def _end(self, ended: Deployment) -> None:
        self.serving = self.serve((ended.message or "").split("digest=")[1].split()[0])
        if ended.status == "SUCCESS":
            self.known = [replace(one, status="REMOVED") if one.status == "SUCCESS" else one for one in self.known]

    def public(self) -> Starlette:
        async def health(request: Request) -> Response:
            if self.serving is None:
                return JSONResponse({"status": "fail"}, 503)
            return JSONResponse({"status": "pass" if self.healthy else "fail"}, 200 if self.healthy else 503)

        async def version(request: Request) -> Response:
            return JSONResponse({"digest": self.serving}, 200 if self.serving else 503)

        return Starlette(routes=[Route("/api/health", health), Route("/api/v1/version", version)])


class SilentReporter:
    def __init__(self) -> None:
        self.steps: list[str] = []
        self.lines: list[str] = []
        self.notes: list[str] = []

    def step(self, name: str) -> None: ...

    def done(self, name: str, seconds: float, detail: str) -> None:
        self.steps.append(name)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def log(self, line: str) -> None:
        self.lines.append(line)

    def uploaded(self, sent: int, total: int) -> None: ...


@contextlib.contextmanager
def running(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive(), "the test's server did not start"
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = tmp_path / "a shop"
    (root / "shop" / "app").mkdir(parents=True)
    (root / "shop" / "migrations").mkdir()
    (root / "pyproject.toml").write_text(PYPROJECT, "utf-8")
    (root / "shop" / "app" / "main.py").write_text("app = None\n", "utf-8")
    (root / "shop" / "migrations" / "001_start.sql").write_text("CREATE TABLE one (id int);\n", "utf-8")
    (root / "shop" / "migrations" / "001_start.down.sql").write_text("DROP TABLE one;\n", "utf-8")
    return root


@pytest.fixture
def platform(tmp_path: Path) -> ScriptedPlatform:
    return ScriptedPlatform(tmp_path / "incoming")


@pytest.fixture
def urls(platform: ScriptedPlatform) -> Iterator[tuple[str, str]]:
    with running(make_api(platform)) as api, running(platform.public()) as public:
        yield api, public


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "REPLACED_IN", 0.3)


Deploy = Callable[..., deploy.Outcome]


@pytest.fixture
def run(shop: Path, urls: tuple[str, str]) -> Deploy:
    api, public = urls

    def deploy_shop(
        environment: str = "local", *, token: str = TOKEN, reporter: Any = None, **options: Any
    ) -> deploy.Outcome:
        @contextlib.contextmanager
        def target() -> Iterator[deploy.Target]:
            with RailwayClient(token, url=api) as client:
                web = deploy.TargetService("web", "shop", SERVICE)
                yield deploy.Target(client, PROJECT, ENVIRONMENT, (web,), public, local=True)

        loaded = _load(shop)
        return deploy.deploy(
            loaded,
            loaded.environment(environment),
            open_target=target,
            reporter=reporter or SilentReporter(),
            options=deploy.Options(**options),
        )

    return deploy_shop


def _load(shop: Path) -> Config:
    return config.load(shop, environ={})


def _serve_an_earlier_release(platform: ScriptedPlatform) -> None:
    platform.known.append(
        Deployment(
            "deployment-1",
            "SUCCESS",
            "2026-01-01T00:00:01Z",
            "2026-01-01T00:00:01Z",
            f"fairlead release=4 digest={OLD} version=1 revision=abc",
            OLD,
            stopped=False,
        )
    )
    platform.serving = OLD


def test_first_deploy_is_release_1_and_second_does_nothing(run: Deploy, platform: ScriptedPlatform, shop: Path) -> None:
    reporter = SilentReporter()
    first = run(reporter=reporter)
    assert (first.changed, first.release.number, first.release.digest) == (True, 1, platform.serving)
    assert reporter.steps == ["preflight", "platform", "upload", "follow", "verify"]
    again = run()
    assert (again.changed, again.release.number) == (False, 1)
    assert len(platform.received) == 1
    assert [event.verdict for event in History(shop / ".fairlead").load()] == ["healthy", "unchanged"]


def test_a_change_makes_release_2(run: Deploy, platform: ScriptedPlatform, shop: Path) -> None:
    run()
    (shop / "shop" / "app" / "main.py").write_text("app = 1\n", "utf-8")
    second = run()
    assert (second.changed, second.release.number) == (True, 2)
    assert second.release.digest == platform.serving


def test_the_archive_that_arrives_is_the_bundle_that_was_named(
    run: Deploy, platform: ScriptedPlatform, tmp_path: Path
) -> None:
    outcome = run()
    content, message = platform.received[0]
    archive = tmp_path / "received.tar.gz"
    archive.write_bytes(content)
    assert bundle.compute_digest(bundle.read_entries(archive)) == outcome.release.digest
    assert message == outcome.release.to_message()


def test_nothing_changed_is_not_said_of_a_release_that_is_not_healthy(run: Deploy, platform: ScriptedPlatform) -> None:
    run()
    platform.healthy = False
    with pytest.raises(Error):
        run()
    assert len(platform.received) == 2


@pytest.mark.parametrize("status", ["FAILED", "CRASHED", "SKIPPED", "REMOVED", "SLEEPING", "NEEDS_APPROVAL"])
def test_a_deployment_that_does_not_succeed_ends_with_13_while_the_earlier_release_serves(
    status: str, run: Deploy, platform: ScriptedPlatform
) -> None:
    _serve_an_earlier_release(platform)
    platform.script, platform.serve = ("BUILDING", status), lambda built: OLD
    platform.diagnosis = "the start command ended with exit code 3"
    with pytest.raises(DeployError) as failed:
        run()
    assert failed.value.exit_code == 13
    assert status in failed.value.message
    assert "exit code 3" in failed.value.message
    assert "the earlier release still serves" in failed.value.message


def test_a_deployment_that_never_ends_is_given_up_at_the_deadline(
    run: Deploy, platform: ScriptedPlatform, shop: Path
) -> None:
    (shop / "pyproject.toml").write_text(PYPROJECT.replace("timeout = 5.0", "timeout = 0.5"), "utf-8")
    _serve_an_earlier_release(platform)
    platform.script = ("BUILDING",)
    platform.serve = lambda built: OLD
    with pytest.raises(DeployError, match="in vain; the earlier release still serves"):
        run()


def test_a_first_deployment_that_fails_says_that_nothing_served_before(run: Deploy, platform: ScriptedPlatform) -> None:
    platform.script, platform.serve = ("FAILED",), lambda built: None
    with pytest.raises(DeployError, match="there is no earlier release"):
        run()


@pytest.mark.parametrize(
    ("served", "error", "says"),
    [
        (OLD, DeployError, "does not confirm it.*the earlier release still serves"),
        (STRANGE, UnsafeDeployError, "the earlier release could not be verified"),
        (None, UnsafeDeployError, "the earlier release could not be verified"),
    ],
)
def test_the_platforms_word_alone_is_not_success(
    served: str | None, error: type[Error], says: str, run: Deploy, platform: ScriptedPlatform
) -> None:
    _serve_an_earlier_release(platform)
    platform.serve = lambda built: served
    with pytest.raises(error, match=says) as failed:
        run()
    assert type(failed.value) is error


def test_an_earlier_release_that_could_not_be_seen_before_either_is_not_taken_for_none(
    run: Deploy, platform: ScriptedPlatform
) -> None:
    _serve_an_earlier_release(platform)
    platform.serving = None
    platform.script, platform.serve = ("FAILED",), lambda built: None
    with pytest.raises(UnsafeDeployError, match="the earlier release could not be verified"):
        run()


def test_a_deployment_that_failed_uses_up_no_number(run: Deploy, platform: ScriptedPlatform) -> None:
    _serve_an_earlier_release(platform)
    platform.script, platform.serve = ("FAILED",), lambda built: OLD
    with pytest.raises(DeployError):
        run()
    platform.script, platform.serve = ("SUCCESS",), lambda built: built
    assert run().release.number == 5


def test_a_failure_is_in_the_history(run: Deploy, platform: ScriptedPlatform, shop: Path) -> None:
    platform.script, platform.serve = ("FAILED",), lambda built: None
    with pytest.raises(DeployError):
        run()
    event = History(shop / ".fairlead").load()[-1]
    assert (event.name, event.verdict, event.environment, event.release) == ("deploy", "failed", "local", None)
    assert "FAILED" in (event.detail or "")


def test_a_wrong_token_changes_nothing(run: Deploy, platform: ScriptedPlatform) -> None:
    with pytest.raises(AuthenticationError):
        run(token="a-token-of-somebody-else")
    assert platform.received == []


def test_every_reason_of_the_preflight_is_told_at_once(run: Deploy, platform: ScriptedPlatform, shop: Path) -> None:
    (shop / "shop" / "app" / "main.py").unlink()
    (shop / "shop" / "migrations" / "001_start.sql").write_text("", "utf-8")
    with pytest.raises(PreflightError) as refused:
        run("branched")
    told = "\n".join(refused.value.problems)
    assert refused.value.exit_code == 17
    for expected in ("'app/*.py' matches no file", "001_start.sql", "from branch release", "uncommitted changes"):
        assert expected in told
    assert platform.received == []


def test_a_missing_migration_folder_is_refused(run: Deploy, platform: ScriptedPlatform, shop: Path) -> None:
    for file in (shop / "shop" / "migrations").iterdir():
        file.unlink()
    (shop / "shop" / "migrations").rmdir()
    with pytest.raises(PreflightError) as refused:
        run()
    assert any("migrations" in problem for problem in refused.value.problems)
    assert platform.received == []


def test_a_backup_is_made_before_anything_is_sent_and_is_in_the_history(
    run: Deploy, platform: ScriptedPlatform, shop: Path
) -> None:
    reporter, sent_before = SilentReporter(), []

    def back_up() -> deploy.Backup:
        sent_before.append(len(platform.received))
        return deploy.Backup(str(shop / "one.dump"), 1234, "003")

    outcome = run(reporter=reporter, back_up=back_up)
    assert (reporter.steps[:4], sent_before) == (["preflight", "platform", "backup", "upload"], [0])
    assert outcome.backup == deploy.Backup(str(shop / "one.dump"), 1234, "003")
    assert History(shop / ".fairlead").load()[-1].backup == dataclasses.asdict(outcome.backup)
    assert not run(back_up=back_up).changed
    assert sent_before == [0], "where nothing is deployed, nothing is backed up"


def test_without_the_backup_that_was_asked_for_nothing_is_sent(
    run: Deploy, platform: ScriptedPlatform, shop: Path
) -> None:
    def back_up() -> deploy.Backup:
        raise PlatformError("the disk is full", hint="free some space")

    with pytest.raises(PreflightError, match="nothing was sent: the disk is full") as refused:
        run(back_up=back_up)
    assert (refused.value.exit_code, refused.value.hint, platform.received) == (17, "free some space", [])
    event = History(shop / ".fairlead").load()[-1]
    assert (event.verdict, event.backup) == ("failed", None)


def test_what_pg_dump_said_is_told_where_a_deploy_is_refused_for_it(run: Deploy) -> None:
    def back_up() -> deploy.Backup:
        raise CommandError("pg_dump failed", output="pg_dump: error: query failed\n\npg_dump: detail: of table many\n")

    with pytest.raises(PreflightError, match="pg_dump failed") as refused:
        run(back_up=back_up)
    assert refused.value.problems == ("pg_dump: error: query failed", "pg_dump: detail: of table many")


def test_a_backup_is_in_the_history_also_of_a_deploy_that_fails_after_it(
    run: Deploy, platform: ScriptedPlatform, shop: Path
) -> None:
    platform.script = ("BUILDING", "FAILED")
    with pytest.raises(DeployError):
        run(back_up=lambda: deploy.Backup("one.dump", 1234, ""))
    event = History(shop / ".fairlead").load()[-1]
    assert (event.verdict, event.backup) == ("failed", {"file": "one.dump", "size": 1234, "migration": ""})


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ('platform = "railway"', "database-url-env is missing: a backup is made there"),
        ('database-url-env = "SHOP_DATABASE_URL"', "SHOP_DATABASE_URL is not set"),
    ],
)
def test_a_backup_of_nobody_knows_what_is_refused_before_anything(shop: Path, setting: str, problem: str) -> None:
    with (shop / "pyproject.toml").open("a") as file:
        file.write(f"\n[tool.fairlead.environments.kept]\n{setting}\nbackup = true\n")
    loaded = _load(shop)
    _, problems = deploy.plan(loaded, loaded.environment("kept"), backup=True)
    assert any(problem in told for told in problems), problems
    _, problems = deploy.plan(loaded, loaded.environment("kept"))
    assert not any("backup" in told for told in problems), problems


def test_an_environment_with_approval_is_refused_without_one(
    run: Deploy, platform: ScriptedPlatform, shop: Path
) -> None:
    with pytest.raises(ApprovalError):
        run("guarded")
    assert platform.received == []
    yes = Approval("guarded", approver="ada", how="terminal")
    assert run("guarded", approve=lambda _digest: yes).changed
    assert History(shop / ".fairlead").load()[-1].approval == dataclasses.asdict(yes)


def test_a_second_deploy_at_once_is_locked_out_and_told_by_whom(run: Deploy, platform: ScriptedPlatform) -> None:
    refused: list[LockedError] = []

    class Nosy(SilentReporter):
        def done(self, name: str, seconds: float, detail: str) -> None:
            if name == "upload":
                with pytest.raises(LockedError) as second:
                    run()
                refused.append(second.value)

    assert run(reporter=Nosy()).release.number == 1
    assert refused[0].exit_code == 15
    assert "process " in refused[0].message
    assert len(platform.received) == 1
    assert not run().changed, "the lock is free again"


def test_an_interrupt_is_recorded_and_says_what_goes_on(run: Deploy, platform: ScriptedPlatform, shop: Path) -> None:
    class Impatient(SilentReporter):
        def step(self, name: str) -> None:
            if name == "follow":
                raise KeyboardInterrupt

    reporter = Impatient()
    with pytest.raises(KeyboardInterrupt):
        run(reporter=reporter)
    assert reporter.notes == ["the platform goes on with deployment deployment-1; `invoke releases` shows how it ends"]
    assert History(shop / ".fairlead").load()[-1].verdict == "interrupted"


def test_a_platform_that_stops_answering_for_a_moment_is_asked_again(run: Deploy, platform: ScriptedPlatform) -> None:
    asked = itertools.count()
    honest = platform.deployment

    def moody(deployment_id: str, /) -> Deployment | None:
        if next(asked) == 0:
            raise RuntimeError("a moment, please")
        return honest(deployment_id)

    platform.deployment = moody  # type: ignore[method-assign]  # a double that stumbles once
    assert run().changed


def test_logs_are_passed_on_once_each(run: Deploy, platform: ScriptedPlatform) -> None:
    from fairlead.localplatform.records import LogLine

    numbers = itertools.count()
    platform.lines = [
        LogLine(f"2026-01-01T00:00:00.00000{next(numbers)}Z", f"line {number}", "info", stream)
        for stream in ("build", "deploy")
        for number in range(3)
    ]
    reporter = SilentReporter()
    run(reporter=reporter)
    assert sorted(reporter.lines) == sorted(["line 0", "line 1", "line 2"] * 2)
