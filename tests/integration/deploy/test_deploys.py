"""What a deploy does and leaves behind: release numbers, its archive, a backup, an approval, the history, the log."""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fairlead import bundle, config, deploy
from fairlead.approval import Approval
from fairlead.exceptions import ApprovalError, CommandError, DeployError, Error, PlatformError, PreflightError
from fairlead.history import History
from tests.git import git
from tests.integration.deploy.railway_double import RailwayDouble
from tests.integration.deploy.rows import STAGING, plans
from tests.integration.deploy.script import Served
from tests.integration.deploy.shop import Shop

Deploy = Callable[..., deploy.Outcome]

pytestmark = pytest.mark.usefixtures("impatient")


@dataclass
class SilentReporter:
    """Keeps what it is told; `interrupted` is a step at whose begin somebody presses Ctrl-C."""

    interrupted: str = ""
    steps: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        if name == self.interrupted:
            raise KeyboardInterrupt

    def done(self, name: str, seconds: float, detail: str) -> None:
        self.steps.append(name)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def log(self, line: str) -> None:
        self.lines.append(line)

    def uploaded(self, sent: int, total: int) -> None: ...


@pytest.fixture
def run(shop: Shop) -> Deploy:
    def deploy_shop(*, reporter: Any = None, environ: dict[str, str] | None = None, **options: Any) -> deploy.Outcome:
        loaded = config.load(shop.root, environ=shop.environ | (environ or {}))
        environment = loaded.environment("staging")
        return deploy.deploy(
            loaded,
            environment,
            open_target=lambda: deploy.open_railway(loaded, environment),
            reporter=reporter or SilentReporter(),
            options=deploy.Options(**options),
        )

    return deploy_shop


@pytest.fixture
def tree(shop: Shop, tmp_path: Path) -> Path:
    """The repository's own copy for a test that changes it."""
    shop.root = shutil.copytree(shop.root, tmp_path / "a shop")
    return shop.root


def _nothing_before(double: RailwayDouble) -> None:
    double.records.clear()
    double.served = Served(None)


def _verdicts(shop: Shop) -> list[str]:
    return [event.verdict for event in History(shop.state).load()]


def test_first_deploy_is_release_1_and_the_second_does_nothing(run: Deploy, shop: Shop) -> None:
    _nothing_before(shop.double)
    reporter = SilentReporter()
    first = run(reporter=reporter)
    assert (first.changed, first.release.number, first.release.digest) == (True, 1, shop.double.served.digest)
    assert reporter.steps == ["preflight", "platform", "upload", "follow", "verify"]
    again = run()
    assert (again.changed, again.release.number) == (False, 1)
    assert len(shop.double.received) == 1
    assert _verdicts(shop) == ["healthy", "unchanged"]


def test_a_change_makes_the_next_release(run: Deploy, shop: Shop, tree: Path) -> None:
    first = run()
    (tree / "shop" / "app" / "main.py").write_text("app = 1\n", "utf-8")
    git(tree, "commit", "--all", "--message", "Change the shop")
    second = run()
    assert (first.release.number, second.changed, second.release.number) == (5, True, 6)
    assert first.release.digest != second.release.digest == shop.double.served.digest


def test_the_archive_that_arrives_is_the_bundle_that_was_named(run: Deploy, shop: Shop, tmp_path: Path) -> None:
    outcome = run()
    archive = tmp_path / "received.tar.gz"
    archive.write_bytes(shop.double.received[0])
    assert bundle.compute_digest(bundle.read_entries(archive)) == outcome.release.digest
    assert shop.double.records[-1].message == outcome.release.to_message()


def test_an_earlier_release_that_could_not_be_seen_before_either_is_not_taken_for_none(run: Deploy, shop: Shop) -> None:
    shop.double.served = Served(None)
    plans("FAILED")(shop.double)
    with pytest.raises(Error, match="the earlier release could not be verified") as failed:
        run()
    assert failed.value.exit_code == 14


def test_a_deployment_that_failed_uses_up_no_number(run: Deploy, shop: Shop) -> None:
    plans("FAILED")(shop.double)
    with pytest.raises(DeployError):
        run()
    shop.double.mend()
    assert run().release.number == 5


def test_a_failure_is_in_the_history(run: Deploy, shop: Shop) -> None:
    plans("FAILED", diagnosis="the start command ended with exit code 3; next: mend it")(shop.double)
    with pytest.raises(DeployError) as failed:
        run()
    event = History(shop.state).load()[-1]
    assert (event.name, event.verdict, event.environment, event.release) == ("deploy", "failed", "staging", None)
    assert "FAILED: the start command ended with exit code 3" in (event.detail or "")
    assert failed.value.hint == "mend it"


def test_every_reason_of_the_preflight_is_told_at_once(run: Deploy, shop: Shop, tree: Path) -> None:
    (tree / "shop" / "app" / "main.py").unlink()
    (tree / "shop" / "migrations" / "001_start.sql").write_text("", "utf-8")
    shop.double.variables.clear()
    with pytest.raises(PreflightError) as refused:
        run(environ={f"{STAGING}BRANCH": "release"})
    told = "\n".join(refused.value.problems)
    for expected in (
        "'app/*.py' matches no file",
        "001_start.sql",
        "from branch release",
        "uncommitted",
        "DATABASE_URL",
    ):
        assert expected in told
    assert (refused.value.exit_code, shop.double.received) == (17, [])


def test_a_missing_migration_folder_is_refused(run: Deploy, shop: Shop, tree: Path) -> None:
    shutil.rmtree(tree / "shop" / "migrations")
    with pytest.raises(PreflightError) as refused:
        run()
    assert any("migrations" in problem for problem in refused.value.problems)
    assert shop.double.received == []


def test_a_backup_is_made_before_anything_is_sent_and_is_in_the_history(run: Deploy, shop: Shop) -> None:
    reporter, sent_before = SilentReporter(), []
    made = deploy.Backup(str(shop.state / "one.dump"), 1234, "003")

    def back_up() -> deploy.Backup:
        sent_before.append(len(shop.double.received))
        return made

    backed = {"back_up": back_up, "environ": _DATABASE}
    outcome = run(reporter=reporter, **backed)
    assert (reporter.steps[:4], sent_before) == (["preflight", "platform", "backup", "upload"], [0])
    assert outcome.backup == made
    assert History(shop.state).load()[-1].backup == dataclasses.asdict(made)
    assert not run(**backed).changed
    assert sent_before == [0], "where nothing is deployed, nothing is backed up"


_DATABASE = {f"{STAGING}DATABASE_URL_ENV": "SHOP_DATABASE_URL", "SHOP_DATABASE_URL": "postgresql://127.0.0.1/shop"}
_FAILURES = [
    (PlatformError("the disk is full", hint="free some space"), "nothing was sent: the disk is full", ()),
    (
        CommandError("pg_dump failed", output="pg_dump: error: query failed\n\npg_dump: detail: of table many\n"),
        "nothing was sent: pg_dump failed",
        ("pg_dump: error: query failed", "pg_dump: detail: of table many"),
    ),
]


@pytest.mark.parametrize(("error", "message", "problems"), _FAILURES, ids=["no space", "pg_dump"])
def test_without_the_backup_that_was_asked_for_nothing_is_sent(
    error: Error, message: str, problems: tuple[str, ...], run: Deploy, shop: Shop
) -> None:
    def back_up() -> deploy.Backup:
        raise error

    with pytest.raises(PreflightError, match=message) as refused:
        run(back_up=back_up, environ=_DATABASE)
    assert (refused.value.exit_code, refused.value.hint, refused.value.problems) == (17, error.hint, problems)
    event = History(shop.state).load()[-1]
    assert (event.verdict, event.backup, shop.double.received) == ("failed", None, [])


def test_a_backup_is_in_the_history_also_of_a_deploy_that_fails_after_it(run: Deploy, shop: Shop) -> None:
    plans("BUILDING", "FAILED")(shop.double)
    with pytest.raises(DeployError):
        run(back_up=lambda: deploy.Backup("one.dump", 1234, ""), environ=_DATABASE)
    event = History(shop.state).load()[-1]
    assert (event.verdict, event.backup) == ("failed", {"file": "one.dump", "size": 1234, "migration": ""})


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({}, "database-url-env is missing: a backup is made there"),
        ({f"{STAGING}DATABASE_URL_ENV": "SHOP_DATABASE_URL"}, "SHOP_DATABASE_URL is not set"),
    ],
)
def test_a_backup_of_nobody_knows_what_is_refused_before_anything(
    environ: dict[str, str], problem: str, run: Deploy, shop: Shop
) -> None:
    with pytest.raises(PreflightError) as refused:
        run(back_up=lambda: deploy.Backup("one.dump", 1, ""), environ=environ)
    assert any(problem in told for told in refused.value.problems), refused.value.problems
    assert shop.double.received == []


def test_an_environment_with_approval_is_refused_without_one(run: Deploy, shop: Shop) -> None:
    guarded = {f"{STAGING}APPROVAL": "true"}
    with pytest.raises(ApprovalError):
        run(environ=guarded)
    assert shop.double.received == []
    yes = Approval("staging", approver="ada", how="terminal")
    assert run(environ=guarded, approve=lambda _digest: yes).changed
    assert History(shop.state).load()[-1].approval == dataclasses.asdict(yes)


def test_an_interrupt_is_recorded_and_says_what_goes_on(run: Deploy, shop: Shop) -> None:
    reporter = SilentReporter(interrupted="follow")
    with pytest.raises(KeyboardInterrupt):
        run(reporter=reporter)
    assert reporter.notes == ["the platform goes on with deployment deployment-3; `invoke releases` shows how it ends"]
    assert _verdicts(shop) == ["interrupted"]


def test_logs_are_passed_on_once_each(run: Deploy, shop: Shop) -> None:
    lines = [f"line {number}" for number in range(3)]
    plans(build_logs=lines, logs=lines)(shop.double)
    reporter = SilentReporter()
    run(reporter=reporter)
    assert sorted(line for line in reporter.lines if line.startswith("line")) == sorted(lines * 2)
