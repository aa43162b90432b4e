"""The documentation names what there is: every key, every act, every gate, every exit code."""

import re
from pathlib import Path

import pytest

from fairlead import config, exceptions
from fairlead.tasks import load_acts

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text("utf-8")


def _keys() -> list[str]:
    return sorted(config.load(ROOT, environ={}).sources)


def test_every_key_stands_in_the_reference_with_nothing_beside_it() -> None:
    documented = set(re.findall(r"^\| `([a-z.-]+)` \|", REFERENCE, re.MULTILINE))
    known = {re.sub(r"^environments\.[^.]+\.", "", key) for key in _keys()}
    assert documented == known


@pytest.mark.parametrize("act", sorted(load_acts()))
def test_every_act_stands_in_the_readme(act: str) -> None:
    group, _, name = act.rpartition(".")
    told = f"invoke {act}" in README or (f"invoke {group}." in README and f"`.{name}" in README)
    assert told, f"README.md does not name `invoke {act}`"


def test_every_gate_stands_in_the_readme() -> None:
    source = (ROOT / "noxfile.py").read_text("utf-8")
    gates = re.findall(r"^@nox\.session\(.*?\)\ndef (\w+)\(", source, re.MULTILINE | re.DOTALL)
    assert gates
    assert [gate for gate in gates if f"nox -s {gate}" not in README and f"`{gate}`" not in README] == []


def test_every_exit_code_stands_in_the_reference() -> None:
    codes = {error.exit_code for error in vars(exceptions).values() if isinstance(error, type)}
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", REFERENCE, re.MULTILINE)} | set(range(1, 6))
    assert codes <= documented


@pytest.mark.parametrize("page", sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]))
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
