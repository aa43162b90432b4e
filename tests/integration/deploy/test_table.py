"""The printed table: a row that is wrong stands in it as wrong, and so does one that broke before it could say so."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TESTS = """\
import pytest

@pytest.fixture
def broken():
    raise RuntimeError("no platform today")

def test_well(record_property):
    note(record_property, "all is well", "0, new", "0, new")

def test_badly(record_property):
    note(record_property, "somebody lies", "0, new", "13, earlier")

def test_never(broken): ...

def test_without_a_row(): ...

def note(record_property, fault, seen, expected):
    for name, value in (("fault", fault), ("seen", seen), ("expected", expected)):
        record_property(name, value)
    assert seen == expected
"""


def test_table_names_every_fault_and_the_wrong_ones_last(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(TESTS, "utf-8")
    plugins = ["-p", "tests.integration.deploy.table", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(tmp_path), *plugins]
    ended = subprocess.run(
        [*command, str(tmp_path)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    lines = ended.stdout.splitlines()
    first = next(number for number, line in enumerate(lines) if "the fault table" in line) + 1
    rows = [line.split("  ") for line in lines[first : first + 4]]
    assert ended.returncode == 1
    assert [(row[0].strip(), row[-1].strip()) for row in rows[:3]] == [
        ("all is well", "as it should"),
        ("somebody lies", "WRONG, expected 13, earlier"),
        ("test_never", "WRONG, expected"),
    ], ended.stdout
    assert lines[first + 3] == "3 rows, 2 of them wrong"
