"""What the gate of the suites hands to its platform, and what it leaves of it."""

import os
import signal
from pathlib import Path

import pytest

from fairlead import _program, config
from fairlead.config import Config
from fairlead.exceptions import CommandError, ConfigurationError
from fairlead.gates import endtoend
from fairlead.gates.endtoend import Doubles, make_variables

PYPROJECT = """\
[tool.fairlead]
name = "notes"

[tool.fairlead.environments.local]
variables = { ENVIRONMENT = "development" }
without = ["stripe"]
"""
DOUBLES = """
import json, pathlib, sys
print(json.dumps({"release": {"STRIPE_API_BASE": "http://127.0.0.1:1"}, "suites": {"VERIFY_X": "x"}}), flush=True)
sys.stdin.read()
pathlib.Path("ended").touch()
"""


@pytest.fixture
def loaded(tmp_path: Path) -> Config:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, "utf-8")
    kept_away = {
        "FAIRLEAD_PLATFORM_PORT": "7777",
        "VERIFY_EMAIL": "somebody@notes.test",
        "DATABASE_URL": "postgresql://",
    }
    return config.load(tmp_path, environ={"PATH": os.environ["PATH"], "SMOKE_TEST": "true", **kept_away})


def test_the_platform_has_its_own_place_and_the_release_its_doubles(loaded: Config, tmp_path: Path) -> None:
    made = make_variables(loaded, tmp_path, Doubles({"STRIPE_API_BASE": "http://127.0.0.1:1"}, {"VERIFY_X": "x"}))
    assert made == {
        "PATH": os.environ["PATH"],
        "SMOKE_TEST": "true",
        "FAIRLEAD_STATE_DIRECTORY": str(tmp_path),
        "FAIRLEAD_PLATFORM_PORT": "0",
        "FAIRLEAD_VERIFY_SUITES": str(loaded.root / "backend" / "tests" / "e2e"),
        "FAIRLEAD_ENVIRONMENTS_LOCAL_VARIABLES": "ENVIRONMENT=development,STRIPE_API_BASE=http://127.0.0.1:1",
        "FAIRLEAD_ENVIRONMENTS_LOCAL_WITHOUT": "",
        "VERIFY_X": "x",
    }
    again = config.load(loaded.root, environ=made)
    assert (again.environment("local").without, again.platform.port) == ((), 0)
    assert again.environment("local").variables["STRIPE_API_BASE"] == "http://127.0.0.1:1"


def test_without_doubles_what_is_declared_stays_declared(loaded: Config, tmp_path: Path) -> None:
    made = make_variables(loaded, tmp_path, Doubles())
    assert config.load(loaded.root, environ=made).environment("local").without == ("stripe",)


def test_a_variable_that_cannot_be_handed_over_is_refused_by_name(loaded: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SECRETS") as caught:
        make_variables(loaded, tmp_path, Doubles({"SECRETS": "one,two"}))
    assert "one,two" not in str(caught.value)


def test_doubles_serve_until_they_are_not_needed(loaded: Config) -> None:
    (loaded.root / "stand_ins.py").write_text(DOUBLES, "utf-8")
    with endtoend._start_doubles(loaded, "stand_ins") as doubles:
        assert doubles == Doubles({"STRIPE_API_BASE": "http://127.0.0.1:1"}, {"VERIFY_X": "x"})
        assert not (loaded.root / "ended").exists()
    assert (loaded.root / "ended").exists()


@pytest.mark.parametrize("text", ["", "print('hello')", "print('[]')", "print('{}')", "raise SystemExit(1)"])
def test_doubles_that_say_nothing_are_an_error(text: str, loaded: Config, capfd: pytest.CaptureFixture[str]) -> None:
    (loaded.root / "stand_ins.py").write_text(text, "utf-8")
    with pytest.raises(CommandError, match="did not print the variables"), endtoend._start_doubles(loaded, "stand_ins"):
        pytest.fail("it went on")


def test_of_a_run_the_environments_and_the_logs_stay(loaded: Config) -> None:
    with endtoend._make_state(loaded) as state:
        for name in ("platform/environments/one/bin", "platform/releases/one", "verify/run"):
            (state / name).mkdir(parents=True)
        for name in ("history.jsonl", "platform/state.db", "verify/run/notes.log", "verify/account.json"):
            (state / name).write_text(name, "utf-8")
        (state / "platform" / "link").symlink_to("/")
    left = {str(path.relative_to(loaded.state_dir / "e2e")) for path in (loaded.state_dir / "e2e").rglob("*")}
    folders = {"state", "state/platform", "state/platform/environments", "state/platform/environments/one"}
    assert left == folders | {"lock", "state/platform/environments/one/bin", "logs", "logs/run", "logs/run/notes.log"}


def test_it_ends_with_the_code_of_the_act_that_failed_and_takes_the_platform_down(
    loaded: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run(_loaded: Config, _variables: object, *arguments: str) -> int:
        ran.append(arguments[0])
        return {"deploy": 0, "verify": 3}.get(arguments[0], 0)

    monkeypatch.setattr(endtoend, "_run", run)
    monkeypatch.setattr(endtoend.config, "load", lambda: loaded)
    assert endtoend.main(["--smoke"]) == 3
    assert ran == ["deploy", "verify", "platform.down"]


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("down", "says"), [(0, "error: interrupted\n"), (12, "could not be taken down (exit code 12)")]
)
def test_broken_off_twice_it_takes_the_platform_down_and_says_where_it_could_not(
    down: int,
    says: str,
    first: signal.Signals,
    loaded: Config,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran: list[str] = []

    def run(_loaded: Config, _variables: object, *arguments: str) -> int:
        if arguments[0] == "verify":
            signal.raise_signal(first)
        if arguments[0] == "platform.down":
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
        ran.append(arguments[0])
        return down if arguments[0] == "platform.down" else 0

    monkeypatch.setattr(endtoend, "_run", run)
    monkeypatch.setattr(endtoend.config, "load", lambda: loaded)
    assert _program.run(endtoend.main, []) == 130
    assert ran == ["deploy", "platform.down"]
    shown = capsys.readouterr().err
    assert shown.endswith("error: interrupted\n")
    assert says in shown
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_act_is_run_by_this_python(loaded: Config) -> None:
    root = str(Path(__file__).resolve().parents[3])
    variables = {"PYTHONPATH": root, "PATH": os.environ["PATH"]}
    assert endtoend._run(loaded, variables, "config.show", "--no-such-option") == 10
