"""What the tree says against a deploy."""

from pathlib import Path

import httpx
import pytest

from fairlead import config
from fairlead.deploy import Target, TargetService, plan, suites
from fairlead.deploy.preflight import name_missing_variables
from fairlead.railway import RailwayClient


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository with one suite, and an environment on a platform."""
    staging = '[tool.fairlead.environments.staging]\nplatform = "railway"\n'
    text = f'[tool.fairlead]\nname = "shop"\nverify = {{ suites = "checks" }}\n{staging}'
    (tmp_path / "pyproject.toml").write_text(text, "utf-8")
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "test_orders.py").write_text("def test_orders(api): ...\n", "utf-8")
    return tmp_path


def test_procfile_that_cannot_be_read_is_told_and_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead]\nname = "shop"\n', "utf-8")
    (tmp_path / "backend" / "Procfile").mkdir(parents=True)
    loaded = config.load(tmp_path, environ={})
    _, problems = plan(loaded, loaded.environment("local"))
    assert [one for one in problems if "Procfile cannot be read" in one], problems


@pytest.mark.parametrize(
    ("suites", "environ", "missing"),
    [
        ("off", {}, []),
        ("smoke", {"VERIFY_EMAIL": "ann@shop.test", "VERIFY_PASSWORD": "secret"}, []),
        ("full", {"VERIFY_EMAIL": "ann@shop.test"}, ["VERIFY_PASSWORD"]),
        ("smoke", {"VERIFY_PASSWORD": "secret"}, ["VERIFY_EMAIL"]),
        ("smoke", {}, ["VERIFY_EMAIL", "VERIFY_PASSWORD"]),
    ],
)
def test_account_of_the_suites_is_named_where_they_are_to_run(
    suites: str, environ: dict[str, str], missing: list[str], shop: Path
) -> None:
    loaded = config.load(shop, environ=environ | {"FAIRLEAD_ENVIRONMENTS_STAGING_SUITES": suites})
    _, problems = plan(loaded, loaded.environment("staging"))
    assert [one.partition(" ")[0] for one in problems if "suites log in" in one] == missing, problems


def test_local_release_makes_its_own_account_of_the_suites(shop: Path) -> None:
    given = {"FAIRLEAD_ENVIRONMENTS_LOCAL_SUITES": "smoke", "FAIRLEAD_VERIFY_ACCOUNT_COMMAND": "make,{email}"}
    loaded = config.load(shop, environ=given)
    _, problems = plan(loaded, loaded.environment("local"))
    assert [one for one in problems if "suites" in one] == [], problems


def test_everything_that_keeps_the_suites_from_running_is_told_at_once(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suites, "is_pytest_installed", lambda: False)
    given = {"FAIRLEAD_VERIFY_SUITES": "nowhere", "FAIRLEAD_ENVIRONMENTS_STAGING_SUITES": "smoke"}
    loaded = config.load(shop, environ=given)
    _, problems = plan(loaded, loaded.environment("staging"))
    said = "\n".join(problems)
    for reason in ("there is no folder", "has no pytest", "VERIFY_EMAIL", "VERIFY_PASSWORD"):
        assert reason in said, problems


def test_folder_without_a_suite_is_told(shop: Path) -> None:
    (shop / "checks" / "test_orders.py").unlink()
    loaded = config.load(shop, environ={"FAIRLEAD_ENVIRONMENTS_STAGING_SUITES": "smoke"})
    _, problems = plan(loaded, loaded.environment("staging"))
    assert [one for one in problems if "checks holds no suite" in one], problems


@pytest.mark.parametrize("local", [True, False])
def test_variable_that_a_running_local_platform_was_not_started_with_is_told_apart(local: bool, shop: Path) -> None:
    given = {
        "FAIRLEAD_ENVIRONMENTS_LOCAL_VARIABLES": "STAGE=development,RATE=off",
        "FAIRLEAD_DEPLOY_REQUIRED_VARIABLES": "STAGE,DATABASE_URL,OTHER",
    }
    loaded = config.load(shop, environ=given)
    web = TargetService("web", "shop", "1")
    with RailwayClient("token", transport=httpx.MockTransport(_tell_variables)) as client:
        target = Target(client, "project", "environment", (web,), "http://127.0.0.1:1", local=local)
        problems = name_missing_variables(loaded, target, web)
    assert [one.partition(": ")[2] for one in problems] == (["invoke platform.down", ""] if local else ["", ""])
    assert [name in one for one, name in zip(problems, ("STAGE", "OTHER"), strict=True)] == [True, True]


def _tell_variables(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"data": {"variables": {"DATABASE_URL": "hidden"}}})
