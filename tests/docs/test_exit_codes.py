"""The page on exit codes has every code, every act, and whatever an act can end with; its script does what it says."""

import ast
import inspect
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead import deploy, exceptions
from fairlead.exceptions import Error
from fairlead.tasks import _act, load_acts
from tests.docs.tables import read_table

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "exit-codes.md").read_text("utf-8")
ERRORS = {name: one for name, one in vars(exceptions).items() if isinstance(one, type) and issubclass(one, Error)}
MEANINGS = {int(row[0]): row for row in read_table(PAGE, after="## What each code means")[1:]}
#: What the second table does not repeat for each act.
ALWAYS = {0, 1, 10, 130, 143}


def _read_acts() -> dict[str, set[int]]:
    rows = read_table(PAGE, after="## Which act ends with which")[1:]
    return {act: {int(code) for code in row[1].split()} for row in rows for act in re.findall(r"`([^`]+)`", row[0])}


BY_ACT = _read_acts()


def test_every_code_of_an_error_or_an_interruption_is_explained_and_no_other() -> None:
    ends = {one.exit_code for one in ERRORS.values()} | {0, _act._INTERRUPTED, _act._TERMINATED}
    assert set(MEANINGS) == ends


def test_every_act_stands_in_the_table_of_acts() -> None:
    assert set(BY_ACT) == set(load_acts())


def test_every_code_is_one_of_some_act() -> None:
    assert set().union(*BY_ACT.values()) | ALWAYS == set(MEANINGS)


@pytest.mark.parametrize(
    ("act", "function"),
    [
        ("deploy", deploy.deploy),
        ("promote", deploy.deploy),
        ("promote", deploy.promote),
        ("rollback", deploy.roll_back),
    ],
)
def test_an_act_has_the_code_of_each_error_that_its_function_says_it_raises(
    act: str, function: Callable[..., object]
) -> None:
    raised = {ERRORS[name].exit_code for name in re.findall(r"`(\w+Error)`", inspect.getdoc(function) or "")}
    assert raised
    assert raised <= BY_ACT[act]


def test_every_error_that_a_deploy_makes_has_a_code_of_deploy_promote_or_rollback() -> None:
    made: set[str] = set()
    for file in (ROOT / "fairlead" / "deploy").glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)]
        made |= {call.func.id for call in calls if isinstance(call.func, ast.Name) and call.func.id in ERRORS}
    assert {"DeployError", "UnsafeDeployError", "LockedError", "InconclusiveError"} <= made
    codes = {ERRORS[name].exit_code for name in made}
    assert codes - ALWAYS <= BY_ACT["deploy"] | BY_ACT["promote"] | BY_ACT["rollback"]


def test_only_what_is_transient_is_said_to_be_worth_another_try() -> None:
    advice = {code: row[3] for code, row in MEANINGS.items()}
    assert {code for code, said in advice.items() if said.startswith("yes")} == {2, 3, 4, 12, 15, 130}
    assert "never" in advice[14]
    assert advice[13].startswith("no")


@pytest.mark.parametrize(
    ("codes", "ends", "tried"),
    [
        ("0", 0, 1),
        ("15 0", 0, 2),
        ("12 12 0", 0, 3),
        ("12 12 12", 12, 3),
        ("15 13", 13, 2),
        ("13 0", 13, 1),
        ("14 0", 14, 1),
        ("5 0", 5, 1),
    ],
)
def test_the_script_for_ci_tries_again_at_12_and_15_only(codes: str, ends: int, tried: int, tmp_path: Path) -> None:
    found = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    (tmp_path / "codes").write_text("\n".join(codes.split()) + "\n", "utf-8")
    fakes = """\
invoke() { echo "$*" >> asked; code=$(head -n 1 codes); tail -n +2 codes > rest; mv rest codes; return "$code"; }
sleep() { :; }
"""
    done = subprocess.run(["sh", "-c", fakes + found[1]], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, timeout=30)
    assert done.returncode == ends
    assert len((tmp_path / "asked").read_text("utf-8").splitlines()) == tried
