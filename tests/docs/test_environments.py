"""The table of environments says what pyproject.toml says."""

import re
from pathlib import Path

import pytest

from fairlead import config
from fairlead.config import Config, EnvironmentConfig
from tests.docs.tables import read_table

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "environments.md").read_text("utf-8")
TABLE = read_table(PAGE, after="# Environments")
CONFIG: Config = config.load(ROOT, environ={})


def _say(environment: EnvironmentConfig) -> dict[str, str]:
    """Say what must stand in an environment's column, by row."""
    here = environment.platform == "local"
    return {
        "branch": f"`{environment.branch}`" if environment.branch else "any",
        "URL": f"`http://127.0.0.1:{CONFIG.platform.port}`, or the next free port" if here else f"<{environment.url}>",
        "platform": f"`{environment.platform}`",
        "services": ", ".join(f"`{name}`" for name in {"web": CONFIG.name, **environment.services}.values()),
        "approval": "yes" if environment.approval else "no",
        "backup first": "yes" if environment.backup else "no",
        "watch": f"{environment.watch:g} s" if environment.watch else "none",
        "suites": environment.suites if environment.suites != "off" else "none",
        "promoted from": environment.promote_from or "",
        "database for backups and migrations": f"`{environment.database_url_env}`"
        if environment.database_url_env
        else "the embedded one",
    }


def test_every_environment_has_a_column() -> None:
    assert set(TABLE[0][1:]) == set(CONFIG.environments)


@pytest.mark.parametrize("name", sorted(CONFIG.environments))
def test_its_column_says_what_is_configured(name: str) -> None:
    column = TABLE[0].index(name)
    written = {row[0]: row[column] for row in TABLE[1:]}
    expected = _say(CONFIG.environments[name])
    assert {row: written.get(row) for row in expected} == expected


@pytest.mark.parametrize("name", [name for name, one in CONFIG.environments.items() if one.platform != "local"])
def test_it_names_the_variable_of_the_token(name: str) -> None:
    row = next(row for row in TABLE if row[0] == "who may deploy")
    assert f"`{CONFIG.environments[name].token_env or 'RAILWAY_TOKEN'}`" in row[TABLE[0].index(name)]


def test_it_names_every_variable_that_a_deploy_requires() -> None:
    sentence = re.search(r"must have the variables (.*?), by name", PAGE, re.DOTALL)
    assert sentence is not None
    assert sorted(re.findall(r"`(\w+)`", sentence[1])) == sorted(CONFIG.deploy.required_variables)
