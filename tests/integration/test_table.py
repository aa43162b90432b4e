"""The printed tables: a row that is wrong stands in its table as wrong, and what broke too soon stands beside them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = """\
import pytest
from tests.table import note_row

@pytest.fixture
def broken():
    raise RuntimeError("no platform today")

def test_well(record_property):
    check(record_property, "faults", "all is well", "0, new", "0, new")

def test_badly(record_property):
    check(record_property, "faults", "aliens lie", "0, new", "13, earlier")

def test_defect(record_property):
    check(record_property, "defects", "a pin", "found", "found")

def test_never(broken): ...

def test_without_a_row(): ...

def check(note, table, name, seen, expected):
    note_row(note, table, name, seen=seen, expected=expected)
    assert seen == expected
"""


def test_each_table_names_its_rows_and_the_wrong_ones_last(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(TESTS, "utf-8")
    plugins = ["-p", "tests.table", "-p", "no:cacheprovider"]
    place = ["-c", os.devnull, "--rootdir", str(tmp_path), "--confcutdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", "-q", *place, *plugins]
    ended = subprocess.run(
        [*command, str(tmp_path)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    first = next(number for number, line in enumerate(lines) if line.strip("= ") == "defects")
    last = next(number for number, line in enumerate(lines) if number > first and "short test summary" in line)
    rows = [[cell.strip() for cell in line.strip("= ").split("  ") if cell] for line in lines[first:last]]
    assert [(row[0], row[-1]) for row in rows] == [
        ("defects", "defects"),
        ("a pin", "as it should"),
        ("1 row, 0 of them wrong", "1 row, 0 of them wrong"),
        ("faults", "faults"),
        ("all is well", "as it should"),
        ("aliens lie", "WRONG, expected 13, earlier"),
        ("2 rows, 1 of them wrong", "2 rows, 1 of them wrong"),
        ("what broke before it could note its row", "what broke before it could note its row"),
        ("test_never", "WRONG"),
        ("1 row, 1 of them wrong", "1 row, 1 of them wrong"),
    ], ended.stdout
