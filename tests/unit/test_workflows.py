"""The rule for workflows. A job is, in this order and with nothing between:

1. `actions/checkout`, which keeps no credentials
2. `actions/setup-python`
3. `python -m pip install --require-hashes --requirement requirements.txt`: the runners, from the lock
4. one call of nox or invoke

Every gate is called by some job, and no tool is run but by a gate.
"""

import re
from pathlib import Path
from typing import Any

import nox.registry
import pytest
import yaml

import noxfile
from backend.tests.performance.world import SERVED

ROOT = Path(noxfile.__file__).parent
WORKFLOWS = {path.name: path for path in sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))}
INSTALL = "python -m pip install --require-hashes --requirement requirements.txt"
CALL = re.compile(r"(?:nox -s|invoke) [\w ${}.-]+(?: -- [\w ./=-]+)?")


def load(path: Path) -> dict[str, Any]:
    """Read a workflow. YAML 1.1 takes its key `on` for the boolean."""
    content = yaml.safe_load(path.read_text("utf-8"))
    content["on"] = content.pop(True)
    return dict(content)


def jobs() -> list[Any]:
    return [
        pytest.param(job, id=f"{file}-{name}")
        for file, path in WORKFLOWS.items()
        for name, job in load(path)["jobs"].items()
    ]


def problems_of(job: dict[str, Any]) -> list[str]:
    """Say in what a job departs from the rule."""
    steps = job.get("steps", [])
    shape = [step.get("uses", "").partition("@")[0] or step.get("run", "").strip() for step in steps]
    if len(shape) != 4:
        return [f"it has {len(shape)} steps and not four"]
    wanted = ("actions/checkout", "actions/setup-python", INSTALL)
    found = [
        f"{is_!r} stands where {should!r} belongs" for is_, should in zip(shape, wanted, strict=False) if is_ != should
    ]
    if not CALL.fullmatch(shape[3]):
        found.append(f"{shape[3]!r} is not one call of nox or invoke")
    if steps[0].get("with", {}).get("persist-credentials") is not False:
        found.append("its checkout keeps credentials")
    return found


def gates_called(call: str, matrix: dict[str, list[str]]) -> set[str]:
    """Return the sessions that a job's call runs, for each entry of its matrix."""
    words = call.partition(" -- ")[0].removeprefix("nox -s ")
    variants = [words]
    for name, values in matrix.items():
        variants = [text.replace(f"${{{{ matrix.{name} }}}}", value) for text in variants for value in values]
    return {word for text in variants for word in text.split()}


def with_required(names: set[str]) -> set[str]:
    """Add to sessions those that they require."""
    gates = nox.registry.get()
    found: set[str] = set()
    queue = sorted(names)
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += gates[name].requires
    return found


def test_there_are_workflows() -> None:
    assert "backend-ci.yml" in WORKFLOWS


@pytest.mark.parametrize("job", jobs())
def test_a_job_is_checkout_python_the_lock_and_one_call(job: dict[str, Any]) -> None:
    assert problems_of(job) == []


@pytest.mark.parametrize("job", jobs())
def test_actions_are_pinned_by_commit(job: dict[str, Any]) -> None:
    for step in job["steps"]:
        assert "uses" not in step or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"])


def test_every_gate_is_called_by_a_job() -> None:
    called: set[str] = set()
    for path in WORKFLOWS.values():
        for job in load(path)["jobs"].values():
            call = job["steps"][-1].get("run", "").strip()
            if call.startswith("nox"):
                called |= gates_called(call, job.get("strategy", {}).get("matrix", {}))
    gates = set(nox.registry.get())
    assert called <= gates
    assert gates - with_required(called) == set()


@pytest.mark.parametrize("file", sorted(WORKFLOWS))
def test_a_workflow_may_read_only_and_ends_what_it_replaces(file: str) -> None:
    workflow = load(WORKFLOWS[file])
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]


def test_the_backends_workflow_runs_on_both_branches_by_hand_and_for_what_it_concerns() -> None:
    triggers = load(WORKFLOWS["backend-ci.yml"])["on"]
    assert set(triggers) == {"push", "pull_request", "workflow_dispatch"}
    for name in ("push", "pull_request"):
        assert triggers[name]["branches"] == ["main", "develop"]
        assert {"backend/**", "fairlead/**", "pyproject.toml", "requirements*.txt"} <= set(triggers[name]["paths"])
    assert triggers["push"] == triggers["pull_request"]


def test_performance_is_measured_where_what_is_served_or_how_it_is_measured_changed() -> None:
    paths = set(load(WORKFLOWS["performance.yml"])["on"]["pull_request"]["paths"])
    assert "backend/Procfile" in SERVED
    assert {path if (ROOT / path).is_file() else f"{path}/**" for path in SERVED} <= paths
    assert {"pyproject.toml", "noxfile.py", "fairlead/gates/_history.py"} <= paths


def test_the_suites_run_in_full_on_main_weekly_and_by_hand_and_their_quick_part_on_pull_requests() -> None:
    workflow = load(WORKFLOWS["e2e.yml"])
    assert workflow["on"]["push"] == {"branches": ["main"]}
    assert set(workflow["on"]) == {"push", "pull_request", "schedule", "workflow_dispatch"}
    assert [len(one["cron"].split()) for one in workflow["on"]["schedule"]] == [5]
    assert workflow["jobs"]["suites"]["env"] == {"SMOKE_TEST": "${{ github.event_name == 'pull_request' }}"}


CHECKOUT = {"uses": "actions/checkout@" + "0" * 40, "with": {"persist-credentials": False}}
PYTHON = {"uses": "actions/setup-python@" + "0" * 40}
NOX = {"run": "nox -s lint"}


@pytest.mark.parametrize(
    "steps",
    [
        [CHECKOUT, PYTHON, {"run": INSTALL}],
        [CHECKOUT, PYTHON, {"run": INSTALL}, NOX, {"run": "nox -s unit"}],
        [CHECKOUT, PYTHON, {"run": INSTALL}, {"run": "nox -s lint && nox -s unit"}],
        [CHECKOUT, PYTHON, {"run": INSTALL}, {"run": "nox -s lint\ninvoke deploy"}],
        [CHECKOUT, PYTHON, {"run": INSTALL}, {"run": "ruff check ."}],
        [CHECKOUT, PYTHON, {"run": "pip install nox"}, NOX],
        [PYTHON, CHECKOUT, {"run": INSTALL}, NOX],
        [{"uses": CHECKOUT["uses"]}, PYTHON, {"run": INSTALL}, NOX],
        [CHECKOUT, PYTHON, {"run": INSTALL}, {"run": "nox -s lint; curl example.com"}],
    ],
)
def test_a_job_that_departs_from_the_rule_is_caught(steps: list[dict[str, Any]]) -> None:
    assert problems_of({"steps": steps})


def test_a_job_that_keeps_the_rule_is_not_caught() -> None:
    assert problems_of({"steps": [CHECKOUT, PYTHON, {"run": INSTALL}, NOX]}) == []


def test_a_matrix_counts_for_each_of_its_entries() -> None:
    call = "nox -s unit-${{ matrix.python }} lint"
    assert gates_called(call, {"python": ["3.11", "3.14"]}) == {"unit-3.11", "unit-3.14", "lint"}
