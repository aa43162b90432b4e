"""The gate's program on a repository of its own, whose application is a script that prints a document."""

import json
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.tests.contract import test_every_operation
from fairlead import config
from fairlead.exceptions import CommandError, ConfigurationError
from fairlead.gates.contract import __main__ as program
from fairlead.gates.contract import exercise
from tests.git import git

Run = Callable[..., int]

EXPORT = """
    import json, pathlib, sys
    document = json.loads(pathlib.Path("surface.json").read_text())
    document["info"]["version"] = sys.argv[sys.argv.index("--version") + 1]
    print(json.dumps(document, indent=2, sort_keys=True))
"""
SUITE = """
    import os
    def test_every_seed():
        with open("seeds.txt", "w") as file:
            file.write(os.environ["CONTRACT_SEEDS"])
        assert "13" not in os.environ["CONTRACT_SEEDS"].split(",")
"""
SURFACE: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "T"},
    "paths": {"/a": {"get": {"responses": {"200": {"description": "Done."}}}}},
}
TWO: dict[str, Any] = {**SURFACE, "paths": {**SURFACE["paths"], "/b": SURFACE["paths"]["/a"]}}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two operations, committed; the second is gone in the tree."""
    package, suite = tmp_path / "backend" / "app", tmp_path / "backend" / "tests" / "contract"
    for folder in (package, suite):
        folder.mkdir(parents=True)
    (package / "export_openapi.py").write_text(textwrap.dedent(EXPORT))
    (suite / "test_suite.py").write_text(textwrap.dedent(SUITE))
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead]\nname = "x"\nversion = "1.0.0"\n')
    monkeypatch.delenv("GITHUB_BASE_REF", raising=False)  # of the pull request that these tests run for
    monkeypatch.chdir(tmp_path)
    surface(tmp_path, TWO)
    assert program.check(["--write", "document"]) == 0
    for command in (["init", "-q"], ["add", "--all"], ["commit", "-q", "-m", "one"]):
        git(tmp_path, *command)
    return tmp_path


def surface(root: Path, content: dict[str, Any]) -> None:
    (root / "backend" / "surface.json").write_text(json.dumps(content))


def set_version(root: Path, version: str) -> None:
    (root / "pyproject.toml").write_text(f'[tool.fairlead]\nname = "x"\nversion = "{version}"\n')


def test_a_document_that_is_the_applications_own_passes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.check(["document", "changes", "--base", "HEAD"]) == 0
    told = capsys.readouterr().err
    assert "backend/openapi.json is the application's own: 2 operations, version 1.0.0" in told
    assert "nothing that clients of HEAD" in told


def test_a_stale_document_fails_and_shows_what_differs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    surface(root, SURFACE)
    assert program.check(["document"]) == 1
    told = capsys.readouterr().err
    assert "backend/openapi.json is stale" in told
    assert '|    "/b": {' in told or '-    "/b": {' in told
    assert "next: nox -s contract -- --write" in told
    assert program.check(["document", "--write"]) == 0


def test_a_missing_document_fails(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "backend" / "openapi.json").unlink()
    assert program.check(["document"]) == 1
    assert "backend/openapi.json is missing" in capsys.readouterr().err


def test_a_breaking_change_fails_and_says_how_to_go_on(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    surface(root, SURFACE)
    assert program.check(["changes", "--base", "HEAD"]) == 1
    told = capsys.readouterr().err
    assert "break in 1 ways, and version 1.0.0 does not say so" in told
    assert "GET /b: operation: removed, and never deprecated: every client that calls it fails" in told
    assert "expand, then contract" in told
    assert "to 2.0.0 or above" in told


def test_a_breaking_change_passes_where_the_version_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    surface(root, SURFACE)
    set_version(root, "2.0.0")
    assert program.check(["--write", "--base", "HEAD"]) == 0
    told = capsys.readouterr().err
    assert "breaking, and announced: GET /b" in told
    assert "1.0.0 → 2.0.0" in told


def test_the_changes_are_told_to_a_program(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    surface(root, SURFACE)
    assert program.check(["changes", "--base", "HEAD", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] is False
    (change,) = told["changes"]["changes"]
    assert (change["level"], change["rule"], change["gone"]) == ("breaking", "operation-removed", True)
    assert change["pointer"] == "/paths/~1b/get"


@pytest.mark.parametrize(("version", "level"), [("1.0.0", "error"), ("2.0.0", "warning")])
def test_what_breaks_shows_beside_its_line(
    root: Path, capsys: pytest.CaptureFixture[str], version: str, level: str
) -> None:
    narrower = {"parameters": [{"in": "query", "name": "q", "required": True}], **SURFACE["paths"]["/a"]["get"]}
    surface(root, {**TWO, "paths": {**TWO["paths"], "/a": {"get": narrower}}})
    set_version(root, version)
    program.check(["changes", "--base", "HEAD", "--annotations"])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"::{level} file=backend/openapi.json,line=11,title=contract parameter-required::GET /a")


def test_without_anything_to_compare_with_it_fails(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / ".git").rename(root / "no-git")
    assert program.check(["changes"]) == 1
    told = capsys.readouterr().err
    assert "could not be compared" in told


def test_the_first_document_passes_and_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["rm", "-q", "--cached", "backend/openapi.json"],
        ["commit", "-q", "--amend", "-m", "one"],
    ):
        git(root, *command)
    assert program.check(["changes", "--json"]) == 0
    told = capsys.readouterr()
    assert "has no openapi.json, this one is the first" in told.err
    assert json.loads(told.out)["changes"]["first"] is True


@pytest.mark.parametrize(
    ("arguments", "seeds"),
    [([], (1,)), (["--seed", "7"], (7,)), (["--seed", "0"], (0,)), (["--seeds", "3"], (1, 2, 3))],
)
def test_the_seeds_that_were_asked_for_are_tried(
    root: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], seeds: tuple[int, ...]
) -> None:
    monkeypatch.setattr(program, "exercise", lambda _config, given, **_: given == seeds)
    assert program.check(["requests", *arguments]) == 0
    monkeypatch.setattr(program, "exercise", lambda *_, **__: False)
    assert program.check(["requests", *arguments]) == 1


@pytest.mark.parametrize(("seeds", "passed"), [((1, 2), True), ((13,), False)])
def test_the_suite_gets_its_seeds_and_decides(root: Path, seeds: tuple[int, ...], passed: bool) -> None:
    assert exercise.exercise(config.load(root, environ={}), seeds, quietly=True) is passed
    assert (root / "seeds.txt").read_text() == ",".join(map(str, seeds))


def test_a_suite_that_tries_nothing_is_an_error(root: Path) -> None:
    (root / "backend" / "tests" / "contract" / "test_suite.py").unlink()
    with pytest.raises(CommandError, match="pytest ended with exit code 5"):
        exercise.exercise(config.load(root, environ={}), (1,), quietly=True)


def test_a_suite_that_takes_too_long_is_ended_with_all_that_it_started(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = root / "pipe"
    os.mkfifo(pipe)
    server = f"import time; file = open({str(pipe)!r}, 'w'); print('up', file=file, flush=True); time.sleep(600)"
    suite = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {server!r}]); time.sleep(600)"
    spawn = exercise._process.spawn
    readers = []

    def spawn_and_wait(*arguments: Any, **options: Any) -> Any:
        child = spawn(*arguments, **options)
        readers.append(pipe.open())
        assert readers[0].readline() == "up\n"
        return child

    monkeypatch.setattr(exercise._process, "spawn", spawn_and_wait)
    monkeypatch.setattr(exercise, "command", lambda _: [sys.executable, "-c", suite])
    for name in ("_SECONDS_A_SEED", "_RESERVE", "_GRACE"):
        monkeypatch.setattr(exercise, name, 0)
    with pytest.raises(CommandError, match="did not end within 0 s"):
        exercise.exercise(config.load(root, environ={}), (1,))
    with readers[0] as reader:
        assert reader.read() == ""  # which it is once nobody has the other end


def test_the_gate_gives_a_seed_more_time_than_the_suite_does() -> None:
    assert exercise._SECONDS_A_SEED > test_every_operation._SECONDS


def test_a_suite_that_is_missing_is_an_error(root: Path) -> None:
    loaded = config.load(root, environ={})
    (root / "backend" / "tests").rename(root / "backend" / "elsewhere")
    with pytest.raises(CommandError, match="there is no suite in backend/tests/contract"):
        exercise.exercise(loaded, (1,))


@pytest.mark.parametrize(
    ("arguments", "said"), [(["nothing"], "there is no part nothing"), (["--seeds", "0"], "would send nothing")]
)
def test_arguments_that_make_no_sense_are_refused(root: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        program.check(arguments)
