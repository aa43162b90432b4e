"""The rows of the security gate's table: what is planted for each, all of it in one copy, and how it must be found."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead.security import advisories
from fairlead.security.locked import read_locked
from tests.integration.security.secret_files import BENIGN, SECRETS, SHOWN_NOWHERE
from tests.integration.security.workflow_defects import DEFECTS as WORKFLOW_DEFECTS

_ADVISORIES = Path(__file__).resolve().parents[1] / "advisories" / "advisories.json"
_SCANNERS = ("detect-secrets", "kingfisher")
_AUDITS = ("pip-audit", "safety")
_ENOUGH = 13
_HASH = "0123456789abcdef" * 4
_PIN = "python-jose==3.3.0"
_FOLDER = "planted"
_CODE_FILE = "backend/app/planted.py"
_CODE = '''\
"""Does three things as they must not be done."""

import subprocess

import yaml


def find(connection, name):
    return connection.execute(f"SELECT * FROM users WHERE name = '{name}'")


def load(text):
    return yaml.load(text)


def reach(host):
    return subprocess.run("ping -c 1 " + host, shell=True)
'''
#: By package: the id of an advisory that was taken back. The first package is in a lock of the clean tree as well.
_WITHDRAWN = {"h11": "PLANTED-2026-0001", "python-jose": "PLANTED-2026-0002"}
_ENDED = re.compile(r"failed with exit code (\d+)$", re.MULTILINE)
_STALE = """
[[tool.fairlead.security.ignore]]
id = "B105"
reason = "planted"
expires = 2020-01-01

[[tool.fairlead.security.ignore]]
id = "B999"
reason = "planted"
expires = 9999-12-31
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of the gate came to: its output, its report, and each tool's SARIF; `root` is the copy."""

    root: Path
    code: int
    output: str
    report: Mapping[str, Any]
    sarif: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, root: Path, code: int, output: str) -> "Outcome":
        """Read what the gate left in a copy."""
        folder = root / ".fairlead" / "security"
        assert (folder / "report.json").is_file(), output
        sarif = {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("*.sarif")}
        return cls(root, code, output, json.loads((folder / "report.json").read_text("utf-8")), sarif)

    def of(self, *tools: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the findings of some tools, or of all, each with its tool."""
        for tool in self.report["tools"]:
            if not tools or tool["tool"] in tools:
                yield from ((tool["tool"], finding) for finding in tool["findings"])

    @property
    def gaps(self) -> list[str]:
        """What could not be checked."""
        return [f"{tool['tool']}: {gap}" for tool in self.report["tools"] for gap in tool["gaps"]]

    def find_line(self, path: str, text: str) -> int | None:
        """Return the number of the first line of a file that holds `text`; None where there is none."""
        lines = (self.root / path).read_text("utf-8").splitlines() if (self.root / path).is_file() else []
        return next((number for number, line in enumerate(lines, 1) if text in line), None)

    def in_sarif(self, tool: str, finding: Mapping[str, Any]) -> bool:
        """Tell whether a tool's SARIF has a finding, by its rule and at its place."""
        places = [
            (result["ruleId"], place["physicalLocation"])
            for result in self.sarif[tool]["runs"][0]["results"]
            for place in result["locations"]
        ]
        return any(
            (rule, place["artifactLocation"]["uri"], place.get("region", {}).get("startLine"))
            == (finding["rule"], finding["path"], finding["line"])
            for rule, place in places
        )


@dataclass(frozen=True, slots=True)
class Look:
    """What an outcome shows of a row, what it should, and whether that is well; `found` is none on the clean tree."""

    seen: str
    expected: str
    well: bool
    found: int


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    name: str
    look: Callable[[Outcome], Look]


# --- Kinds of rows ---


def _finding(name: str, tool: str, rule: str, path: str, on: str | None) -> Row:
    """A finding of one tool, by its rule or an alias of it, on the line that holds `on`; without, in the file."""

    def look(outcome: Outcome) -> Look:
        line = outcome.find_line(path, on) if on is not None else None
        found = [one for _, one in outcome.of(tool) if one["path"] == path and rule in (one["rule"], *one["aliases"])]
        there = [one for one in found if one["line"] == line]
        shown = [f"{tool}: {rule} at {_place(path, one['line'])}" for one in (there or found)[:1]]
        well = bool(there) and outcome.in_sarif(tool, there[0])
        if there and not well:
            shown.append("and not in its SARIF")
        return Look(", ".join(shown) or "nothing", f"{tool}: {rule} at {_place(path, line)}", well, len(found))

    return Row(name, look)


def _place(path: str, line: int | None) -> str:
    return path if line is None else f"{path}:{line}"


def _stale(name: str, says: str) -> Row:
    def look(outcome: Outcome) -> Look:
        found = [line for line in outcome.report["stale"] if says in line]
        return Look(f"stale: {says}" if found else "nothing", f"stale: {says}", len(found) == 1, len(found))

    return Row(name, look)


def _withdrawn(name: str, package: str) -> Row:
    """An advisory that was taken back: the gate was given it, and it is about the very version that is locked."""

    def look(outcome: Outcome) -> Look:
        identifier, given = _WITHDRAWN[package], make_advisories()
        # As if it had not been taken back: then it would have to be flagged.
        live = advisories.Database([{**one, "withdrawn": None} for one in given if one["id"] == identifier])
        locked = read_locked(outcome.root).get(package)
        meant = locked is not None and bool(live.affecting(package, locked.version))
        read = f"auditing against the {len(given)} advisories" in outcome.output
        found = [tool for tool, one in outcome.of(*_AUDITS) if identifier in (one["rule"], *one["aliases"])]
        about = f"of {locked}" if meant and read else "not put to the test"
        seen = f"{identifier} {about}: {f'flagged by {found}' if found else 'not flagged'}"
        return Look(seen, f"{identifier} of {locked}: not flagged", meant and read and not found, len(found))

    return Row(name, look)


def _look_for_secrets(outcome: Outcome) -> Look:
    by_tool = {tool: {_name(one) for _, one in outcome.of(tool)} & set(SECRETS) for tool in _SCANNERS}
    found = set().union(*by_tool.values())
    counts = ", ".join(f"{tool} {len(names)}" for tool, names in by_tool.items())
    expected = f"at least {_ENOUGH} of {len(SECRETS)}"
    return Look(f"{len(found)} of {len(SECRETS)} ({counts})", expected, len(found) >= _ENOUGH, len(found))


def _look_for_alarms(outcome: Outcome) -> Look:
    found = [f"{tool} at {_name(one)}" for tool, one in outcome.of(*_SCANNERS) if _name(one) in BENIGN]
    told = f" ({', '.join(found)})" if found else ""
    return Look(f"{len(found)} in {len(BENIGN)} files{told}", "at most 1", len(found) <= 1, len(found))


def _look_for_what_is_shown(outcome: Outcome) -> Look:
    shown = "".join([outcome.output, json.dumps(outcome.report), *map(json.dumps, outcome.sarif.values())])
    found = [part for part in SHOWN_NOWHERE if part in shown]
    seen = f"{len(found)} of {len(SHOWN_NOWHERE)} parts of them in output and reports"
    return Look(seen, f"0 of {len(SHOWN_NOWHERE)}", not found, len(found))


def _look_at_the_end(outcome: Outcome) -> Look:
    """The gate's own exit code: nox ends with 1 whatever a gate ends with."""
    ended = _ENDED.search(outcome.output)
    code = int(ended[1]) if ended else outcome.code
    seen = f"exit code {code}, {outcome.report['verdict']}, {len(outcome.gaps)} not checked"
    expected = "exit code 1, vulnerable, 0 not checked"
    return Look(seen, expected, seen == expected, code)


def _name(finding: Mapping[str, Any]) -> str:
    folder, _, name = str(finding["path"]).rpartition("/")
    return name if folder == _FOLDER else ""


def _workflow(place: int) -> str:
    return f".github/workflows/planted-{place:02}.yml"


ROWS = (
    _finding("vulnerable pin, by pip-audit", "pip-audit", "CVE-2024-33663", "requirements-gates.txt", _PIN),
    _finding("vulnerable pin, by safety", "safety", "CVE-2024-33663", "requirements-gates.txt", _PIN),
    _withdrawn("withdrawn advisory", "h11"),
    _withdrawn("withdrawn advisory beside one that is not", "python-jose"),
    Row("secrets of 14 kinds", _look_for_secrets),
    Row("false alarms of the same shape", _look_for_alarms),
    Row("secrets are not shown", _look_for_what_is_shown),
    _finding("SQL built by string", "bandit", "B608", _CODE_FILE, "SELECT *"),
    _finding("unsafe YAML", "bandit", "B506", _CODE_FILE, "yaml.load("),
    _finding("shell injection", "bandit", "B602", _CODE_FILE, "shell=True"),
    *(
        _finding(f"workflow: {one.name}", "zizmor", one.rule, _workflow(place), one.on)
        for place, one in enumerate(WORKFLOW_DEFECTS)
    ),
    _finding("key that no schema knows", "check-jsonschema", "compose-spec", "docker-compose.yml", None),
    _finding("image by tag", "hadolint", "image-by-tag", "backend/Dockerfile", "FROM ${PYTHON_IMAGE} AS build"),
    _finding("image by tag, in a compose file", "hadolint", "image-by-tag", "docker-compose.yml", "image: redis:"),
    _finding("root user", "hadolint", "root-user", "backend/Dockerfile", "USER root"),
    _finding("disallowed licence", "licences", "disallowed-licence", "backend/requirements.txt", "certifi=="),
    _stale("exception that has expired", "B105 has expired on 2020-01-01"),
    _stale("exception that nothing needs", "B999 is needed by nothing"),
    Row("the gate's end", _look_at_the_end),
)


# --- What is planted ---


def make_advisories() -> list[dict[str, Any]]:
    """Return the advisories that the gate is given: the repository's own, and those that were taken back."""
    known: list[dict[str, Any]] = json.loads(_ADVISORIES.read_text("utf-8"))
    return [*known, *(_make_withdrawn(identifier, package) for package, identifier in _WITHDRAWN.items())]


def _make_withdrawn(identifier: str, package: str) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]
    return {
        "id": identifier,
        "summary": "It was thought to be bad, and is not.",
        "withdrawn": "2026-02-01T00:00:00Z",
        "affected": [{"package": {"name": package, "ecosystem": "PyPI"}, "ranges": ranges}],
    }


def plant(root: Path) -> None:
    """Plant every defect of the rows in a copy."""
    for name, text in {**SECRETS, **BENIGN}.items():
        _write(root / _FOLDER / name, text)
    for place, one in enumerate(WORKFLOW_DEFECTS):
        _write(root / _workflow(place), one.workflow)
    _write(root / _CODE_FILE, _CODE)
    _append(
        root / "requirements-gates.txt", f"{_PIN} \\\n    --hash=sha256:{_HASH}\n    # via -r requirements-gates.in\n"
    )
    _append(root / "pyproject.toml", _STALE)
    # What a package under another licence is, while nobody has agreed to it.
    _cut(root / "pyproject.toml", r'certifi = "MPL-2.0: passed on unchanged, with its source in the package"')
    _cut(root / "backend" / "Dockerfile", r"@sha256:[0-9a-f]{64}(?=\n\nFROM)")
    _cut(root / "backend" / "Dockerfile", r"(?<=\nUSER )10001:10001", "root")
    _cut(root / "docker-compose.yml", r"(?<=image: redis)(.*)@sha256:[0-9a-f]{64}", r"\1\n    imagine: true")


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    assert not file.exists()
    file.write_text(text, "utf-8")


def _append(file: Path, text: str) -> None:
    file.write_text(file.read_text("utf-8") + text, "utf-8")


def _cut(file: Path, pattern: str, put: str = "") -> None:
    text, count = re.subn(pattern, put, file.read_text("utf-8"))
    assert count == 1, f"{file.name} holds {pattern} {count} times"
    file.write_text(text, "utf-8")
