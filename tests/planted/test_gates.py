"""Plants one defect for each gate in a copy of the repository, and expects that gate to fail and to name it.

The same gate passes on a copy without the defect, so that it is the defect that fails. What the security gate finds,
all in one run, is in `test_security.py`; what it ends with for one defect is here.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.planted.copies import run_gate
from tests.table import Note, note_row

pytestmark = pytest.mark.planted

_UNIT = "tests/unit/gates/test_annotations.py"
_COVERAGE_TESTS = "tests/unit/gates/test_coverage.py"
_TABLE = "the planted defects: one for each run of a gate"


@dataclass(frozen=True)
class Defect:
    """One defect: how it is planted, the gate that must fail, what that gate must say, and how it passes without."""

    name: str
    gate: tuple[str, ...]
    plant: Callable[[Path], object]
    says: str
    clean: tuple[str, ...] | None = None


def append(file: str, text: str) -> Callable[[Path], object]:
    """Return what appends `text` to a file of the copy."""
    return lambda root: (root / file).write_text((root / file).read_text("utf-8") + text, "utf-8")


def create(file: str, text: str) -> Callable[[Path], object]:
    """Return what makes a file in the copy."""
    return lambda root: (root / file).write_text(text, "utf-8")


def plant_migration(root: Path) -> None:
    """Add a migration whose way down leaves its table behind."""
    folder = root / "backend" / "migrations"
    (folder / "900_planted.sql").write_text("CREATE TABLE planted (id integer PRIMARY KEY);\n")
    (folder / "900_planted.down.sql").write_text("SELECT 1;\n")


def plant_destruction(root: Path) -> None:
    """Add a migration that reverses well, and throws a table away without saying why."""
    folder = root / "backend" / "migrations"
    body = "(id integer PRIMARY KEY);\n"
    (folder / "900_planted.sql").write_text(f"CREATE TABLE planted {body}")
    (folder / "900_planted.down.sql").write_text("DROP TABLE planted;\n")
    (folder / "901_planted.sql").write_text("DROP TABLE planted;\n")
    (folder / "901_planted.down.sql").write_text(f"CREATE TABLE planted {body}")


def plant_client(root: Path) -> None:
    """Add to what clients know an operation that the application does not have."""
    document = json.loads((root / "backend" / "openapi.json").read_text("utf-8"))
    document["paths"]["/api/planted"] = {"get": {"responses": {"200": {"description": "Done."}}}}
    (root / "base.json").write_text(json.dumps(document), "utf-8")


def set_thresholds(root: Path, percent: float) -> None:
    """Set all four coverage thresholds, and ask nothing of single folders: the gates here run a few tests alone."""
    file = root / "pyproject.toml"
    names = "statements|branches|functions|lines"
    text, count = re.subn(rf"(?m)^({names}) = [\d.]+$", rf"\g<1> = {percent:g}", file.read_text("utf-8"))
    assert count == 4
    text, count = re.subn(r"(?m)^folders = \{.*\}\n", "", text)
    assert count == 1
    file.write_text(text, "utf-8")


_SECURITY = ("security", "--", "--advisories", "tests/advisories", "--only")
_FAILING = "def test_planted() -> None:\n    assert 1 == 2\n"
_PLANT_ROUTE = append(
    "backend/app/routers/version.py",
    '\n\n@router.get("/api/planted")\nasync def planted() -> int:\n    """Fail."""\n    return 1 // 0\n',
)
_COVERAGE = ("coverage", "--", _COVERAGE_TESTS, "-n0")

DEFECTS = (
    Defect("lint", ("lint",), append("fairlead/exceptions.py", "\nprint('planted')\n"), "T201"),
    Defect(
        "format",
        ("lint",),
        append("fairlead/exceptions.py", "\nplanted  =  1\n"),
        r"would be reformatted\s+--> fairlead/exceptions\.py",
    ),
    Defect(
        "layer breach",
        ("lint",),
        append("fairlead/_polling.py", "\nfrom fairlead import deploy as deploy  # noqa: E402\n"),
        r"fairlead\._polling -> fairlead\.deploy",
    ),
    Defect(
        "stale document",
        ("lint",),
        append("backend/ENVIRONMENT_VARIABLES.md", "\nPlanted by hand.\n"),
        r"-Planted by hand\.\n[\s\S]*1 document is not what the settings declare",
    ),
    Defect(
        "type error",
        ("typecheck",),
        append("fairlead/exceptions.py", '\n\ndef planted() -> int:\n    """Return a text."""\n    return "text"\n'),
        r"fairlead/exceptions\.py:\d+: error: Incompatible return value",
    ),
    Defect(
        "failing unit test",
        ("unit", "--", "tests/unit/test_planted.py", "-n0"),
        create("tests/unit/test_planted.py", _FAILING),
        "test_planted.py::test_planted",
        clean=("unit", "--", _UNIT, "-n0"),
    ),
    Defect(
        "failing integration test",
        ("integration", "--", "tests/integration/test_planted.py", "-n0"),
        create("tests/integration/test_planted.py", _FAILING),
        "test_planted.py::test_planted",
        clean=("integration", "--", _UNIT, "-n0"),
    ),
    Defect("down migration that does not reverse", ("migrations",), plant_migration, "planted"),
    Defect("table dropped without a reason", ("migrations",), plant_destruction, r"901_planted\.sql:1.*destructive"),
    Defect("coverage below its threshold", _COVERAGE, lambda root: set_thresholds(root, 99.9), "is below 99.9 %"),
    Defect(
        "hard-coded secret",
        (*_SECURITY, "bandit"),
        append("fairlead/exceptions.py", '\nDATABASE_PASSWORD = "correct-horse-battery"\n'),
        r"fairlead/exceptions\.py:\d+: B105[\s\S]*failed with exit code 1\b",
    ),
    Defect(
        "file that cannot be scanned",
        (*_SECURITY, "bandit"),
        append("backend/app/main.py", "\ndef (:\n"),
        r"could not be checked\n.*backend/app/main\.py: syntax error[\s\S]*failed with exit code 5\b",
    ),
    Defect("unlocked requirement", ("lock", "--", "--check"), append("backend/requirements.in", "six\n"), "six"),
    Defect(
        "requirement dropped and still locked",
        ("lock", "--", "--check"),
        lambda root: create("backend/requirements.in", _without(root, "pwdlib[argon2]"))(root),
        "pwdlib==.* nothing in backend/requirements.in asks for it",
    ),
    Defect(
        "backend that does not import",
        ("build", "--", "bundle"),
        append("backend/app/main.py", "\nimport nothing_of_this_name\n"),
        "No module named 'nothing_of_this_name'",
    ),
    Defect("route that openapi.json lacks", ("contract", "--", "document"), _PLANT_ROUTE, "openapi.json is stale"),
    Defect(
        "client broken without a word",
        ("contract", "--", "changes", "--base", "base.json"),
        plant_client,
        r"GET /api/planted: .*\[operation operation-removed",
        clean=("contract", "--", "changes", "--base", "backend/openapi.json"),
    ),
    Defect("route that fails", ("contract", "--", "requests", "--write"), _PLANT_ROUTE, "Server error"),
)


def _without(root: Path, requirement: str) -> str:
    text = (root / "backend/requirements.in").read_text("utf-8")
    assert f"\n{requirement}\n" in text
    return text.replace(f"\n{requirement}\n", "\n")


@pytest.mark.parametrize("defect", [pytest.param(defect, id=defect.name) for defect in DEFECTS])
def test_the_gate_fails_on_its_defect_and_names_it(copy: Path, defect: Defect, record_property: Note) -> None:
    defect.plant(copy)
    done = run_gate(copy, defect.gate)
    output = done.stdout + done.stderr
    named = re.search(defect.says, output)
    seen = f"exit code {done.returncode}, {'' if named else 'not '}named"
    note_row(record_property, _TABLE, f"{defect.gate[0]}: {defect.name}", seen=seen, expected="not 0, and named")
    assert done.returncode != 0, output
    assert named, output


@pytest.mark.parametrize("gate", sorted({defect.clean or defect.gate for defect in DEFECTS}), ids=lambda gate: gate[0])
def test_the_gate_passes_on_the_clean_tree(copy: Path, gate: tuple[str, ...]) -> None:
    if gate == _COVERAGE:
        set_thresholds(copy, 0.1)  # one test file does not cover the whole
    done = run_gate(copy, gate)
    assert done.returncode == 0, done.stdout + done.stderr
