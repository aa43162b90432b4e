"""Both command lines know the same acts, the same options and the same exit codes."""

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from invoke.collection import Collection
from invoke.program import Program

from fairlead import __version__
from fairlead.exceptions import ConfigurationError
from fairlead.tasks import Act, act, find_act, load_acts, program
from fairlead.tasks.arguments import parser_of
from fairlead.tasks.collection import as_task, namespace

ACTS = load_acts()
ROOT = Path(__file__).resolve().parents[3]


def seen_by(command_line: Callable[[Act, list[str]], int], *arguments: str) -> tuple[int, dict[str, object]]:
    """Return the exit code of an act with every kind of option, and what it was given."""
    given: dict[str, object] = {}

    @act(positional=["target"], help={"target": "where"})
    def sample(target: str, env: str = "local", entire: bool = False, steps: int = 1, wait: float = 2.0) -> None:
        given.update(target=target, env=env, entire=entire, steps=steps, wait=wait)
        if steps == 13:
            raise ConfigurationError("thirteen")

    return command_line(sample, list(arguments)), given


def by_invoke(declared: Act, arguments: list[str]) -> int:
    try:
        Program(namespace=Collection(as_task(declared))).run(["invoke", declared.name, *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def by_program(declared: Act, arguments: list[str]) -> int:
    return declared.run(vars(parser_of(declared.name, declared).parse_args(arguments)))


@pytest.mark.parametrize(
    "arguments",
    [
        ["here"],
        ["here", "--env", "staging", "--entire", "--steps", "3", "--wait", "0.5"],
        ["here", "--env=staging", "--steps=3"],
        ["here", "-e", "staging", "-n", "-s", "3"],
        ["here", "--steps", "13"],
    ],
)
def test_both_command_lines_understand_the_same(arguments: list[str]) -> None:
    assert seen_by(by_program, *arguments) == seen_by(by_invoke, *arguments)


@pytest.mark.parametrize("name", [name for name, one in ACTS.items() if not any(o.positional for o in one.options)])
def test_an_act_without_arguments_gets_what_its_parser_would_give(name: str) -> None:
    assert program._read(name, ACTS[name], []) == vars(parser_of(name, ACTS[name]).parse_args([]))


@pytest.mark.parametrize("name", list(ACTS))
def test_both_command_lines_have_the_same_options(name: str) -> None:
    parsed = parser_of(name, ACTS[name])._actions
    ours = {tuple(sorted(one.option_strings)) for one in parsed if one.option_strings and one.dest != "help"}
    arguments = [one for one in as_task(ACTS[name]).get_arguments() if not one.positional]
    theirs = {tuple(sorted(f"--{word}" if len(word) > 1 else f"-{word}" for word in one.names)) for one in arguments}
    assert ours == theirs
    assert [one.dest for one in parsed if not one.option_strings] == [
        option.name for option in ACTS[name].options if option.positional
    ]


def test_both_command_lines_have_the_same_acts() -> None:
    assert set(ACTS) == set(namespace.task_names)
    assert all(find_act(name) is one for name, one in ACTS.items())


def test_a_migration_starts_with_nothing_but_the_driver(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.fairlead]\nmigrations = { directory = "sql" }\nenvironments.local.database-url-env = "URL"\n', "utf-8"
    )
    (tmp_path / "sql").mkdir()
    code = (
        "import atexit, runpy, sys; sys.argv = ['fairlead', 'migrate'];"
        " atexit.register(lambda: print(sorted({n.partition('.')[0] for n, m in sys.modules.items() if m})));"
        " runpy.run_module('fairlead', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "URL": "postgresql://127.0.0.1:1/x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 11, done.stderr
    assert "nothing listens there" in done.stderr
    imported = set(ast.literal_eval(done.stdout.splitlines()[-1]))
    assert "psycopg" in imported
    assert {"invoke", "argparse", "rich", "httpx", "yaml", "difflib"} & imported == set()


def test_an_act_starts_without_invoke() -> None:
    code = (
        "import sys; from fairlead.tasks import program; program.main(['migrate', '--help']);"
        " print([name for name in sys.modules if name.partition('.')[0] in {'invoke', 'psycopg', 'rich', 'httpx'}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["migrat"], "there is no act 'migrat'", "did you mean migrate?"),
        (["db"], "there is no act 'db'", "--list"),
        (["nowhere.backup"], "there is no act 'nowhere.backup'", "next:"),
        (["migrate", "--too", "5"], "unrecognized arguments: --too 5", "migrate --help"),
        (["migrate", "--lock-wait", "long"], "invalid float value: 'long'", "migrate --help"),
        (["migrate", "--to"], "expected one argument", "migrate --help"),
        (["migrate", "extra"], "unrecognized arguments: extra", "migrate --help"),
        (["migrations.new"], "the following arguments are required: SLUG", "migrations.new --help"),
        (["--help", "nothing"], "there is no act 'nothing'", "--list"),
    ],
)
def test_a_command_line_that_is_not_understood_is_a_configuration_error(
    arguments: list[str], message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(arguments) == 10
    said = capsys.readouterr().err
    assert message in said
    assert hint in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "usage: python -m fairlead ACT [options]"),
        (["--help"], "--list"),
        (["--version"], f"fairlead {__version__}"),
        (["--list"], "migrations.verify "),
    ],
)
def test_the_program_explains_itself(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(arguments) == 0
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["migrate", "--help"], ["--help", "migrate"]])
def test_the_help_of_an_act_has_its_options_and_their_defaults(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(arguments) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Apply what is pending" in shown
    assert "--lock-wait LOCK-WAIT" in shown
    assert "(default: 30.0)" in shown


def test_debug_shows_where_an_error_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.fairlead]\nnam = 1\n", "utf-8")
    assert program.main(["config.show"]) == 10
    assert "Traceback" not in capsys.readouterr().err
    assert program.main(["--debug", "config.show"]) == 10
    assert "Traceback" in capsys.readouterr().err
