"""The tools themselves, on defects that are planted in a small repository, and on this one, which has none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead.security import actionlint, schemas, tools, zizmor
from tests.integration.security.workflow_defects import CLEAN, DEFECTS, WorkflowDefect, swap

ROOT = Path(__file__).resolve().parents[3]
WORKFLOW, DEPENDABOT = ".github/workflows/ci.yml", ".github/dependabot.yml"

BOT = """\
version: 2
updates:
  - package-ecosystem: pip
    directory: /
    schedule:
      interval: weekly
    cooldown:
      default-days: 7
"""

needs_zizmor = pytest.mark.skipif(
    tools.find("zizmor") is None, reason="zizmor is in the environments of the gates, and not in this one"
)
needs_schemas = pytest.mark.skipif(
    not schemas.is_installed(), reason="check-jsonschema is in the environments of the gates, and not in this one"
)


def make(root: Path, *, workflow: str = CLEAN, dependabot: str = BOT) -> Path:
    (root / ".github" / "workflows").mkdir(parents=True, exist_ok=True)
    (root / WORKFLOW).write_text(workflow)
    (root / DEPENDABOT).write_text(dependabot)
    return root


@needs_zizmor
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_planted_defect_is_found(tmp_path: Path, defect: WorkflowDefect) -> None:
    scan = zizmor.scan(make(tmp_path, workflow=defect.workflow))
    assert not scan.gaps
    lines = {finding.line for finding in scan.findings if (finding.rule, finding.path) == (defect.rule, WORKFLOW)}
    assert defect.on in {defect.workflow.splitlines()[line - 1].strip() for line in lines if line is not None}


@needs_zizmor
def test_the_same_without_a_defect_passes(tmp_path: Path) -> None:
    scan = zizmor.scan(make(tmp_path))
    assert (scan.findings, scan.gaps) == ((), ())
    assert scan.looked_at == "2 of 2 files audited"


@needs_zizmor
def test_an_action_of_the_repository_is_audited_too_and_colours_hide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "GITHUB_ACTIONS", "CI"):
        monkeypatch.setenv(name, "1")
    action = make(tmp_path) / ".github" / "actions" / "greet" / "action.yml"
    action.parent.mkdir(parents=True)
    greet = '- {run: "echo ${{ github.event.issue.title }}", shell: bash}'
    action.write_text(f"name: greet\ndescription: greets\nruns:\n  using: composite\n  steps:\n    {greet}\n")
    scan = zizmor.scan(tmp_path)
    assert [(one.rule, one.line) for one in scan.findings if one.level == "error"] == [("template-injection", 6)]
    assert (scan.looked_at, scan.gaps) == ("3 of 3 files audited", ())


@needs_zizmor
def test_updates_that_come_at_once_are_found(tmp_path: Path) -> None:
    hasty = swap("    cooldown:\n      default-days: 7\n", "", BOT)
    assert "dependabot-cooldown" in {one.rule for one in zizmor.scan(make(tmp_path, dependabot=hasty)).findings}


@needs_zizmor
def test_a_configuration_of_its_own_silences_nothing(tmp_path: Path) -> None:
    make(tmp_path, workflow=DEFECTS[0].workflow)
    (tmp_path / "zizmor.yml").write_text("rules:\n  unpinned-uses:\n    disable: true\n")
    assert "unpinned-uses" in {finding.rule for finding in zizmor.scan(tmp_path).findings}


BROKEN: list[tuple[str, Callable[[Path], object]]] = [
    ("no YAML", lambda root: make(root, workflow="name: ci\n  on: [push\n")),
    ("an empty file", lambda root: make(root, workflow="")),
    ("no workflow", lambda root: make(root, workflow="just: this\n")),
]


@needs_zizmor
@pytest.mark.parametrize("break_", [pytest.param(one[1], id=one[0]) for one in BROKEN])
def test_a_workflow_that_zizmor_cannot_read_is_a_gap(tmp_path: Path, break_: Callable[[Path], object]) -> None:
    break_(tmp_path)
    assert zizmor.scan(tmp_path).gaps


@needs_schemas
def test_keys_that_no_schema_knows_are_found_in_each_kind_of_file(tmp_path: Path) -> None:
    make(
        tmp_path,
        workflow=swap("    runs-on:", "    timeout: 5\n    runs-on:"),
        dependabot=swap("interval: weekly", "interval: hourly", BOT),
    )
    (tmp_path / "docker-compose.yml").write_text("services:\n  web:\n    imagine: true\n")
    (tmp_path / ".github" / "workflows" / "broken.yml").write_text("name: [ci\n")
    scan = schemas.scan(tmp_path)
    assert {(one.rule, one.path) for one in scan.findings} == {
        ("github-workflows", WORKFLOW),
        ("dependabot", DEPENDABOT),
        ("compose-spec", "docker-compose.yml"),
    }
    assert [gap.partition(": ")[0] for gap in scan.gaps] == [".github/workflows/broken.yml"]
    assert scan.looked_at == "3 of 4 files checked"


@needs_zizmor
def test_zizmor_finds_nothing_in_this_repository() -> None:
    scan = zizmor.scan(ROOT)
    assert ([str(one) for one in scan.findings], scan.gaps) == ([], ())


@needs_schemas
def test_the_files_of_this_repository_are_what_their_schemas_say() -> None:
    scan = schemas.scan(ROOT)
    assert ([str(one) for one in scan.findings], scan.gaps) == ([], ())


@pytest.mark.skipif(tools.find("actionlint") is None, reason="actionlint is not on this machine")
def test_actionlint_finds_nothing_in_this_repository() -> None:
    scan = actionlint.scan(ROOT)
    assert ([str(one) for one in scan.findings], scan.gaps) == ([], ())
