"""The documentation names what there is: every key, act, option and gate; and its links lead somewhere."""

import re
import textwrap
from pathlib import Path

import pytest

from fairlead import config
from fairlead.tasks import load_acts
from tests.docs.tables import read_table

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text("utf-8")


ACTS = load_acts()
#: The acts of this repository alone, with their options.
OWN = {"create-user": ("email", "business")}
TOLD_IN_FULL = ("approve", "deploy", "promote", "railway.config", "railway.settings", "rollback")
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def name_page(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _read_settings(page: Path) -> list[str]:
    blocks = re.findall(r"^ *```toml\n(.*?)^ *```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for block in blocks if "[tool.fairlead" in block]


def _keys() -> list[str]:
    return sorted(config.load(ROOT, environ={}).sources)


def test_every_key_stands_in_the_reference_with_nothing_beside_it() -> None:
    documented = set(re.findall(r"^\| `([a-z0-9.-]+)` \|", REFERENCE, re.MULTILINE))
    known = {re.sub(r"^environments\.[^.]+\.", "", key) for key in _keys()}
    assert documented == known


@pytest.mark.parametrize("act", sorted(ACTS))
def test_every_act_stands_in_the_readme(act: str) -> None:
    group, _, name = act.rpartition(".")
    told = f"invoke {act}" in README or (f"invoke {group}." in README and f"`.{name}" in README)
    assert told, f"README.md does not name `invoke {act}`"


def test_every_gate_stands_in_the_readme() -> None:
    source = (ROOT / "noxfile.py").read_text("utf-8")
    gates = re.findall(r"^@nox\.session\(.*?\)\ndef (\w+)\(", source, re.MULTILINE | re.DOTALL)
    assert gates
    assert [gate for gate in gates if f"nox -s {gate}" not in README and f"`{gate}`" not in README] == []


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_link_to_a_heading_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text("utf-8"))
    assert [link for link in links if link[1] not in _headings((page.parent / link[0]) if link[0] else page)] == []


@pytest.mark.parametrize("act", TOLD_IN_FULL)
def test_every_option_of_what_changes_a_release_stands_in_the_reference(act: str) -> None:
    rows, told = read_table(REFERENCE, after="## Deploys")[1:], ""
    name = ""
    for row in rows:
        name = row[0].removeprefix("`invoke ").removesuffix("`") or name
        told += row[1] if name == act else ""
    options = [one for one in ACTS[act].options if one.name != "json"]
    typed = [one.flag.upper() if one.positional else f"--{one.flag}" for one in options]
    assert [one for one in typed if not re.search(rf"`{re.escape(one)}[ `]", told)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_command_that_a_page_shows_is_one_with_such_options(page: Path) -> None:
    wrong = []
    for name, rest in re.findall(r"(?:`|\$ |&& )invoke ([a-z][a-z.-]*)([^`\n&]*)", page.read_text("utf-8")):
        act = ACTS.get(name.rstrip("."))
        flags = re.findall(r"(?<![\w-])--([a-z][a-z-]*)", rest)
        known = {option.flag for option in act.options} if act is not None else set(OWN.get(name, ()))
        if act is None and name not in OWN and not name.endswith("."):
            wrong.append(name)
        wrong += [f"{name} --{flag}" for flag in flags if flag not in known]
    assert wrong == []


@pytest.mark.parametrize("page", [page for page in PAGES if _read_settings(page)], ids=name_page)
def test_the_settings_that_a_page_shows_are_taken(page: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("\n".join(_read_settings(page)), "utf-8")
    loaded = config.load(tmp_path, environ={})
    assert "pyproject.toml" in loaded.sources.values()


def _headings(page: Path) -> set[str]:
    """Return what the headings of a page are linked by, as code hosts make it."""
    found = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}
