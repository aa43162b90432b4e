"""Says which checks a branch requires, from the workflows: `python -m fairlead.gates.protection [--write]`.

A check is required when it comes with every pull request to the branch. GitHub waits without end for a required check
that a filter on paths left out, and takes a job that its condition left out as passed: neither is required.
"""

import argparse
import itertools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fairlead import _output, _program, config
from fairlead.exceptions import ConfigurationError

DOCUMENT: Final = "docs/BRANCH_PROTECTION.md"
BRANCHES: Final = ("main", "develop")
_BEGIN: Final = "<!-- made by `python -m fairlead.gates.protection --write` from .github/workflows: edit those -->"
_END: Final = "<!-- end -->"
_FILTERS: Final = frozenset({"paths", "paths-ignore", "branches-ignore"})
_HINT: Final = "in an environment that has PyYAML: .nox/unit/bin/python -m fairlead.gates.protection --write"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a pull request: what GitHub calls it, its workflow, its call, and which branches require it."""

    name: str
    file: str
    runs: str
    required: tuple[str, ...]
    why_not: str = ""


def read_checks(file: str, workflow: Mapping[str, Any]) -> Iterator[Check]:
    """Yield the checks that a workflow gives a pull request, those of a matrix one by one."""
    triggers = _triggers(workflow)
    if "pull_request" not in triggers:
        return
    asked = triggers["pull_request"] or {}
    filtered = sorted(_FILTERS & set(asked))
    for key, job in workflow["jobs"].items():
        why_not = f"filtered by `{filtered[0]}`" if filtered else ("conditional" if "if" in job else "")
        branches = tuple(name for name in BRANCHES if name in asked.get("branches", BRANCHES))
        for combination in _combinations(job.get("strategy", {}).get("matrix", {})):
            name = _fill(str(job.get("name", key)), combination)
            yield Check(name, file, _fill(_call(job), combination), () if why_not else branches, why_not)


def collect(folder: Path) -> list[Check]:
    """Return the checks of every workflow in `folder`, by file; raise `ConfigurationError` where one cannot be read."""
    import yaml

    found: list[Check] = []
    for path in sorted(folder.glob("*.y*ml")):
        try:
            found += read_checks(path.name, yaml.safe_load(path.read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise ConfigurationError(f"{path.name} is not a workflow that can be read: {reason}") from None
    names = [one.name for one in found if one.required]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(
            f"several jobs are called {', '.join(twice)}, and a check is required by its name alone"
        )
    if not names:
        raise ConfigurationError(f"no workflow in {folder} gives every pull request a check")
    return found


def render(checks: Sequence[Check]) -> str:
    """Return the tables: what is required, and what is shown only."""
    lines = [_BEGIN, "", "| required check | of | runs | on |", "|---|---|---|---|"]
    lines += [
        f"| `{one.name}` | `{one.file}` | {one.runs} | {', '.join(f'`{name}`' for name in one.required)} |"
        for one in checks
        if one.required
    ]
    if shown := [one for one in checks if not one.required]:
        lines += ["", "Shown where they run, and not required:", "", "| check | of | why not |", "|---|---|---|"]
        lines += [f"| `{one.name}` | `{one.file}` | {one.why_not} |" for one in shown]
    return "\n".join([*lines, "", _END])


def renew(document: str, tables: str) -> str:
    """Return the document with its tables replaced; raise `ConfigurationError` where their place is not marked."""
    before, begin, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ConfigurationError(f"{DOCUMENT} does not mark where its tables go", hint=f"put in: {_BEGIN} {_END}")
    return before + tables + after


def main(arguments: Sequence[str]) -> int:
    """Compare the document with the workflows, or with `--write` make it say what they do."""
    parser = argparse.ArgumentParser(prog="python -m fairlead.gates.protection", description="Required checks.")
    parser.add_argument("--write", action="store_true", help=f"renew the tables of {DOCUMENT}")
    flags = parser.parse_args(arguments)
    root = config.load().root
    checks = collect(root / ".github" / "workflows")
    file = root / DOCUMENT
    try:
        old = file.read_text("utf-8")
    except OSError as error:
        raise ConfigurationError(f"{DOCUMENT} cannot be read: {error.strerror}") from None
    new = renew(old, render(checks))
    if new != old and not flags.write:
        _output.error(f"{DOCUMENT} is not what the workflows say", hint=_HINT)
        return 1
    if new != old:
        file.write_text(new, "utf-8")
    _output.status("ok", f"{DOCUMENT}: {sum(bool(one.required) for one in checks)} required checks")
    return 0


def _triggers(workflow: Mapping[Any, Any]) -> Mapping[str, Any]:
    # YAML 1.1 takes the key `on` for the boolean.
    asked = workflow["on"] if "on" in workflow else workflow[True]
    if isinstance(asked, str):
        return {asked: None}
    return asked if isinstance(asked, Mapping) else dict.fromkeys(asked)


def _combinations(matrix: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, str]]:
    for values in itertools.product(*matrix.values()):
        yield {name: str(value) for name, value in zip(matrix, values, strict=True)}


def _fill(text: str, combination: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{\s*matrix\.([\w-]+)\s*\}\}", lambda match: combination[match[1]], text)


def _call(job: Mapping[str, Any]) -> str:
    """Return what a job is about: its call, its variables filled in, or else the action that it ends in."""
    last = [step for step in job["steps"] if "run" in step] or job["steps"]
    call = str(last[-1].get("run") or last[-1]["uses"].partition("@")[0]).strip()
    for name, value in last[-1].get("env", {}).items():
        call = call.replace(f'"${name}"', str(value)).replace(f"${name}", str(value))
    return f"`{call}`".replace('"', "")


if __name__ == "__main__":
    sys.exit(_program.run(main, sys.argv[1:]))
