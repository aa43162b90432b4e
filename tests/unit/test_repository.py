"""What stands beside the workflows: hooks, owners, updates, and the checks that a branch requires."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import nox.registry
import pytest
import yaml

import noxfile
from fairlead._locks import LOCKS, parse
from fairlead.exceptions import ConfigurationError
from fairlead.gates import protection

ROOT = Path(noxfile.__file__).parent
HOOKS: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
DEPENDABOT: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text("utf-8"))
OWNERS = [
    line.split()
    for line in (ROOT / ".github" / "CODEOWNERS").read_text("utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]


def test_what_is_locked_is_compared_and_audited() -> None:
    # A lock that stands in no list of these is one that nobody looks at.
    found = [*ROOT.glob("*requirements*.txt"), *ROOT.glob("[!.]*/*requirements*.txt")]
    assert {path.relative_to(ROOT).as_posix() for path in found} == set(LOCKS)


# --- Hooks ---


def hooks() -> list[Any]:
    return [pytest.param(repo, hook, id=hook["id"]) for repo in HOOKS["repos"] for hook in repo["hooks"]]


@pytest.mark.parametrize(("repo", "hook"), hooks())
def test_a_hook_is_a_gate_so_that_it_has_the_tools_and_the_pins_of_the_gates(
    repo: dict[str, Any], hook: dict[str, Any]
) -> None:
    assert repo["repo"] == "local"
    assert (hook["language"], "additional_dependencies" in hook) == ("system", False)
    match = re.fullmatch(r"env (?:-u \w+ )+nox -s ([\w-]+)", hook["entry"])
    assert match
    assert match[1] in nox.registry.get()
    assert hook["stages"]


@pytest.mark.parametrize(("repo", "hook"), hooks())
def test_a_gate_that_a_hook_runs_is_not_told_which_repository_it_is_in(
    tmp_path: Path, repo: dict[str, Any], hook: dict[str, Any]
) -> None:
    # In a second work tree git tells its hooks, and every git below them then works on that repository: tests that make
    # one of their own would commit to the developer's.
    program = tmp_path / "nox"
    program.write_text("#!/bin/sh\nenv\n")
    program.chmod(0o755)
    told = {"GIT_DIR": "/a/.git/worktrees/b", "GIT_INDEX_FILE": "/a/.git/worktrees/b/index", "GIT_WORK_TREE": "/b"}
    variables = {**told, "PATH": f"{tmp_path}:{os.environ['PATH']}", "LEFT": "1"}
    done = subprocess.run(
        shlex.split(hook["entry"]), env=variables, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    left = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert "LEFT" in left
    assert not left & set(told)


def test_what_hooks_and_gates_share_is_locked_with_hashes() -> None:
    pins, problems = parse((ROOT / "requirements-gates.txt").read_text("utf-8"))
    assert not problems
    assert {"ruff", "mypy", "bandit", "pip-audit"} <= set(pins)
    # A version in the hooks would be a second pin, which nothing would keep in step with the lock.
    written = (ROOT / ".pre-commit-config.yaml").read_text("utf-8").replace(HOOKS["minimum_pre_commit_version"], "")
    assert not re.search(r"\d+\.\d+", written)
    assert not re.search(r"^\s*rev:", written, re.MULTILINE)


def test_both_kinds_of_hooks_are_installed_at_once() -> None:
    stages = {stage for repo in HOOKS["repos"] for hook in repo["hooks"] for stage in hook["stages"]}
    assert stages == set(HOOKS["default_install_hook_types"]) == {"pre-commit", "pre-push"}


# --- Owners ---


def test_everything_has_an_owner_and_what_guards_it_has_two() -> None:
    assert OWNERS[0][0] == "*"
    assert all(re.fullmatch(r"@[\w-]+/[\w-]+", owner) for _, *owners in OWNERS for owner in owners)
    guarded = {pattern for pattern, *owners in OWNERS if len(owners) > 1}
    assert {"/.github/", "/fairlead/security/", "/requirements*", "/backend/migrations/"} <= guarded
    # What is taken for no secret, and what says which checks a branch requires.
    assert {"/.secrets.baseline", "/fairlead/gates/", "/docs/BRANCH_PROTECTION.md"} <= guarded


@pytest.mark.parametrize("pattern", [pattern for pattern, *_ in OWNERS if pattern != "*"])
def test_an_owned_place_exists(pattern: str) -> None:
    assert pattern.startswith("/")
    assert list(ROOT.glob(pattern.strip("/")))


# --- Updates ---


@pytest.mark.parametrize("update", DEPENDABOT["updates"], ids=lambda update: update["package-ecosystem"])
def test_updates_come_weekly_in_one_and_not_before_they_are_a_week_old(update: dict[str, Any]) -> None:
    assert update["schedule"]["interval"] == "weekly"
    assert update["cooldown"]["default-days"] >= 7
    assert [group["patterns"] for group in update["groups"].values()] == [["*"]]
    for folder in update.get("directories", [update.get("directory")]):
        assert (ROOT / folder.strip("/")).is_dir()


def test_actions_locks_and_images_are_kept_up_to_date() -> None:
    kinds = {update["package-ecosystem"]: update for update in DEPENDABOT["updates"]}
    assert {"github-actions", "pip", "docker-compose"} <= set(kinds)
    locks = {f"/{Path(lock).parent}".rstrip(".").rstrip("/") or "/" for lock in ("requirements.txt", "backend/x.txt")}
    assert set(kinds["pip"]["directories"]) == locks


def test_dependabot_is_asked_for_a_base_only_where_it_can_read_it() -> None:
    # It passes over a FROM with a variable in it, so that an entry for such a file would do nothing, and look as if.
    bases = re.findall(r"^FROM (\S+)", (ROOT / "backend" / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    readable = not any("$" in base for base in bases)
    assert ("docker" in {update["package-ecosystem"] for update in DEPENDABOT["updates"]}) is readable
    assert readable or "Dependabot" in (ROOT / "docs" / "image.md").read_text("utf-8")


# --- Required checks ---


def test_the_page_on_branches_says_what_the_workflows_do() -> None:
    page = (ROOT / protection.DOCUMENT).read_text("utf-8")
    assert protection.renew(page, protection.render(protection.collect(ROOT / ".github" / "workflows"))) == page


def test_every_gate_but_those_that_measure_is_required() -> None:
    checks = protection.collect(ROOT / ".github" / "workflows")
    required = " ".join(one.runs for one in checks if one.required == protection.BRANCHES)
    for gate in ("lint", "typecheck", "tests", "migrations", "build", "security", "contract", "e2e", "lock", "planted"):
        assert re.search(rf"\b{gate}\b", required), gate
    assert "performance" not in required


def test_the_page_asks_for_what_no_status_check_tells() -> None:
    # CodeQL's jobs are green whatever they find; that its findings block is a rule of its own.
    page = (ROOT / protection.DOCUMENT).read_text("utf-8")
    assert re.search(r"^\| code scanning results of CodeQL\b.*\| yes \| yes \|$", page, re.MULTILINE)


JOB = {"steps": [{"run": "nox -s lint"}]}


@pytest.mark.parametrize(
    ("triggers", "job", "required"),
    [
        ("pull_request", JOB, ("main", "develop")),
        (["push", "pull_request"], JOB, ("main", "develop")),
        ({"pull_request": None}, JOB, ("main", "develop")),
        ({"pull_request": {"branches": ["main"]}}, JOB, ("main",)),
        ({"pull_request": {"branches": ["other"]}}, JOB, ()),
        ({"pull_request": {"paths": ["a"]}}, JOB, ()),
        ({"pull_request": {"paths-ignore": ["a"]}}, JOB, ()),
        ({"pull_request": None}, {**JOB, "if": "always()"}, ()),
    ],
)
def test_a_check_is_required_where_it_comes_with_every_pull_request(
    triggers: object, job: dict[str, Any], required: tuple[str, ...]
) -> None:
    (check,) = protection.read_checks("ci.yml", {"on": triggers, "jobs": {"a": job}})
    assert check.required == required


@pytest.mark.parametrize("triggers", ["push", ["push"], {"push": {"branches": ["main"]}}, {"schedule": []}])
def test_what_a_pull_request_does_not_get_is_no_check(triggers: object) -> None:
    assert not list(protection.read_checks("ci.yml", {True: triggers, "jobs": {"a": JOB}}))


def test_a_matrix_gives_a_check_for_each_of_its_entries() -> None:
    steps = [{"run": 'nox -s "unit-$PYTHON"', "env": {"PYTHON": "${{ matrix.python }}"}}]
    job = {"name": "on ${{ matrix.python }}", "strategy": {"matrix": {"python": ["3.11", "3.14"]}}, "steps": steps}
    checks = list(protection.read_checks("ci.yml", {"on": "pull_request", "jobs": {"a": job}}))
    assert [(one.name, one.runs) for one in checks] == [
        ("on 3.11", "`nox -s unit-3.11`"),
        ("on 3.14", "`nox -s unit-3.14`"),
    ]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no workflow"),
        ({"a.yml": "on: push\njobs: {}\n"}, "no workflow"),
        ({"a.yml": "on: [\n"}, "a.yml is not a workflow"),
        ({"a.yml": "name: a\n"}, "a.yml is not a workflow"),
        ({f"{name}.yml": "on: pull_request\njobs: {x: {steps: [{run: a}]}}\n" for name in "ab"}, "called x"),
    ],
)
def test_workflows_that_say_nothing_certain_are_refused(tmp_path: Path, files: dict[str, str], says: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        protection.collect(tmp_path)


def test_a_page_without_a_place_for_the_tables_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not mark"):
        protection.renew("# Branch protection\n", "tables")


def test_the_program_tells_a_stale_page_and_renews_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead]\nname = "x"\n')
    (folder / "ci.yml").write_text("on: pull_request\njobs: {lint: {steps: [{run: nox -s lint}]}}\n")
    page = tmp_path / protection.DOCUMENT
    page.write_text((ROOT / protection.DOCUMENT).read_text("utf-8"))
    monkeypatch.chdir(tmp_path)
    assert protection.main([]) == 1
    assert "is not what the workflows say" in capsys.readouterr().err
    assert protection.main(["--write"]) == 0
    assert "| `lint` | `ci.yml` | `nox -s lint` | `main`, `develop` |" in page.read_text()
    assert protection.main([]) == 0
    page.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        protection.main([])
