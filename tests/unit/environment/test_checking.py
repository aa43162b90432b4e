"""The application is asked in a process of its own, which gets the variables that it describes and nothing else."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from fairlead import config
from fairlead.environment.application import Application, find_application
from fairlead.environment.checking import Service, compare, judge
from fairlead.exceptions import CommandError, ConfigurationError
from tests.unit.environment.described import description, document

#: Prints the description, or with --check a problem for each variable that holds a canary and what it was handed.
PROGRAM = """\
import json, os, pathlib, sys
if "--check" not in sys.argv:
    print(json.dumps({document!r}))
else:
    pathlib.Path("handed.json").write_text(json.dumps({{"environ": dict(os.environ), "argv": sys.argv}}))
    bad = [name for name, value in sorted(os.environ.items()) if "canary" in value]
    missing = [] if "SIGNING_KEY" in os.environ else ["SIGNING_KEY"]
    problems = [{{"variable": name, "kind": "malformed", "reason": "is malformed"}} for name in bad]
    problems += [{{"variable": name, "kind": "missing", "reason": "is missing there"}} for name in missing]
    print(json.dumps({{"format": "fairlead-settings/1", "problems": problems}}))
"""


def application(folder: Path, program: str, environ: Mapping[str, str] | None = None) -> Application:
    (folder / "tell.py").write_text(program, "utf-8")
    return Application((sys.executable, "tell.py"), folder, environ or {})


@pytest.fixture
def asked(tmp_path: Path) -> Application:
    return application(tmp_path, PROGRAM.format(document=document()), {"HOME": "/nowhere"})


def handed(asked: Application) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((asked.folder / "handed.json").read_text("utf-8"))
    return found


def test_it_is_asked_for_its_description(asked: Application) -> None:
    assert asked.describe() == description()


def test_it_is_handed_what_it_describes_and_nothing_else_and_no_argument_holds_a_value(asked: Application) -> None:
    given = {"DATABASE_URL": "url-canary", "log_level": "low-canary", "LD_PRELOAD": "/x", "PATH": "/x", "PAY_KEYS": "y"}
    found = asked.check(given, described=description(), deployed=True)
    environ = {name: value for name, value in handed(asked)["environ"].items() if name != "LC_CTYPE"}
    assert environ == {"HOME": "/nowhere", "DATABASE_URL": "url-canary", "log_level": "low-canary"}
    assert handed(asked)["argv"] == ["tell.py", "--check", "--deployed"]
    assert {one.variable for one in found} == {"DATABASE_URL", "log_level", "SIGNING_KEY"}


def test_its_environment_does_not_show_in_its_repr(tmp_path: Path) -> None:
    assert "canary" not in repr(Application(("x",), tmp_path, {"A": "canary"}))


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import sys; print('canary'); sys.exit(3)", "ended with exit code 3"),
        ("raise SystemError('canary')", "ended with exit code 1"),
        ("print('canary')", "it is not JSON"),
        ("", "it is not JSON"),
        ("import os; os.kill(os.getpid(), 9)", "ended with exit code -9"),
    ],
)
def test_a_check_that_fails_shows_nothing_of_what_it_printed(program: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=says) as caught:
        application(tmp_path, program).check({}, described=description(), deployed=False)
    assert "canary" not in f"{caught.value.message}{caught.value.output}{caught.value.hint}"


def test_a_description_that_fails_shows_what_was_printed(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="ended with exit code 1") as caught:
        application(tmp_path, "import no_such_package").describe()
    assert "no_such_package" in caught.value.output


def test_the_word_python_stands_for_the_interpreter_that_has_the_packages(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.fairlead]\nbackend = "."\n[tool.fairlead.env]\ndescribe = ["python", "-m", "shop.told"]\n', "utf-8"
    )
    environ = {"PATH": "/bin", "HOME": "/root", "TOKEN": "canary", "PYTHONPATH": "/x"}
    found = find_application(config.load(tmp_path, environ=environ), python=Path("/env/bin/python"))
    assert found.argv == ("/env/bin/python", "-m", "shop.told")
    assert found.folder == tmp_path
    assert found.environ == {"PATH": "/bin", "HOME": "/root"}


def test_a_command_of_another_kind_is_run_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead.env]\ndescribe = ["./tell"]\n', "utf-8")
    assert find_application(config.load(tmp_path, environ={}), python=Path("p")).argv == ("./tell",)


def test_without_a_command_it_is_said_what_to_declare(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.fairlead]\n", "utf-8")
    with pytest.raises(ConfigurationError, match=r"tool\.fairlead\.env\.describe is missing"):
        find_application(config.load(tmp_path, environ={}), python=Path("p"))


# --- A service ---


def test_names_and_values_are_judged_together_and_each_variable_is_told_once(asked: Application) -> None:
    service = Service("web", {"DATABSE_URL": "x", "LOG_LEVEL": "canary", "PAY_KEY": "k", "PAY_SECRET": "s"})
    verdict = judge(service, described=description(), application=asked, deployed=True)
    assert [(one.variable, one.kind) for one in verdict.problems] == [
        ("DATABASE_URL", "missing"),
        ("SIGNING_KEY", "missing"),
        ("DATABSE_URL", "misspelt"),
        ("LOG_LEVEL", "malformed"),
    ]
    assert verdict.present == ("LOG_LEVEL", "PAY_KEY", "PAY_SECRET")
    assert verdict.unread == ()


def test_a_sealed_variable_is_there_and_is_said_not_to_have_been_looked_at(asked: Application) -> None:
    service = Service("web", {"DATABASE_URL": "x", "SIGNING_KEY": None})
    verdict = judge(service, described=description(), application=asked, deployed=True)
    assert verdict.problems == ()
    assert verdict.unread == ("SIGNING_KEY",)


@pytest.mark.parametrize("sealed", ["PAY_KEY", "PAY_SECRET"])
def test_a_sealed_half_of_a_pair_is_no_missing_half(sealed: str, tmp_path: Path) -> None:
    halved = [
        {"variable": name, "kind": "partial", "reason": "is missing; its other half needs it"}
        for name in ("PAY_KEY", "PAY_SECRET")
    ]
    told = json.dumps({"format": "fairlead-settings/1", "problems": halved})
    service = Service("web", {"DATABASE_URL": "x", "SIGNING_KEY": "s", "PAY_KEY": "k", "PAY_SECRET": "s", sealed: None})
    asked = application(tmp_path, f"print({told!r})")
    assert judge(service, described=description(), application=asked, deployed=True).problems == ()

    alone = Service("web", {"DATABASE_URL": "x", "SIGNING_KEY": "s", sealed: None})
    problems = judge(alone, described=description(), application=asked, deployed=True).problems
    other = {"PAY_KEY": "PAY_SECRET", "PAY_SECRET": "PAY_KEY"}[sealed]
    assert [(one.variable, one.kind) for one in problems] == [(other, "partial")]


def test_by_names_alone_no_value_is_handed_over(tmp_path: Path) -> None:
    service = Service("web", {"DATABASE_URL": "canary", "SIGNING_KEY": "canary"})
    verdict = judge(service, described=description(), application=None, deployed=True)
    assert verdict.problems == ()
    assert verdict.unread == ("DATABASE_URL", "SIGNING_KEY")


def test_a_shared_key_that_differs_is_told_of_the_service_that_has_another() -> None:
    services = (
        Service("web", {"SIGNING_KEY": "one canary", "PAY_KEY": "a"}),
        Service("worker", {"signing_key": "another canary", "PAY_KEY": "b"}),
        Service("mailer", {"SIGNING_KEY": None}),
        Service("clock", {"SIGNING_KEY": "one canary"}),
        Service("idle", {}),
    )
    found = compare(services, description())
    assert {name: [(one.variable, one.kind) for one in problems] for name, problems in found.items()} == {
        "worker": [("SIGNING_KEY", "different")]
    }
    assert found["worker"][0].reason == "is not the same as web has"
