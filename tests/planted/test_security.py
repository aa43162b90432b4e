"""Plants every kind of security defect in one copy of the repository, and looks at what one run of the gate finds.

The same gate, on a copy without, finds none of it and nothing else.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.planted.copies import commit, make_copy, run_gate
from tests.planted.security_rows import ROWS, Outcome, Row, make_advisories, plant
from tests.table import Note, note_row

pytestmark = pytest.mark.planted

_TABLE = "the planted defects of the security gate: what one run of it finds"


def _run(root: Path, *, environments: str = "") -> Outcome:
    """Run the whole gate in a copy, offline, against advisories of which some were taken back."""
    commit(root)
    served = root.parent / "advisories.json"
    served.write_text(json.dumps(make_advisories()), "utf-8")
    done = run_gate(root, ("security", "--", "--advisories", str(served)), environments=environments)
    return Outcome.read(root, done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def planted(memory_base: Path) -> Iterator[Outcome]:
    """What the gate comes to where everything is planted."""
    root = make_copy(memory_base / "planted" / "a copy")
    plant(root)
    # A lock with another pin asks for an environment that was made from it, and is not to replace the others'.
    yield _run(root, environments="vulnerable")
    shutil.rmtree(root.parent)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_security_gate_fails_on_its_defect_and_names_it(planted: Outcome, row: Row, record_property: Note) -> None:
    look = row.look(planted)
    note_row(record_property, _TABLE, row.name, seen=look.seen, expected=look.expected)
    assert look.well, planted.output


def test_the_security_gate_passes_on_the_clean_tree(copy: Path) -> None:
    outcome = _run(copy)
    assert (outcome.code, outcome.report["verdict"]) == (0, "clean"), outcome.output
    assert ([*outcome.of()], outcome.gaps, outcome.report["stale"]) == ([], [], [])
    assert [row.name for row in ROWS if row.look(outcome).found] == []
    # No row is well by itself, but for those on what must not be told.
    silent = {"withdrawn advisory", "false alarms of the same shape", "secrets are not shown"}
    assert {row.name for row in ROWS if row.look(outcome).well} == silent
