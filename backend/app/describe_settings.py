"""`python -m app.describe_settings`: tells other programs, as JSON, which variables the backend reads.

With `--check` it holds the variables that it was started with against the rules instead. It names what is wrong and
never tells a value: a reason that repeats a part of one is replaced. What it prints is fairlead-settings/1, which
Fairlead's docs/reference.md describes.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from app.settings import ROOT, Settings
from app.settings.declared import DeclaredSettings
from app.settings.reference import CLOSING, EXAMPLES, INTRODUCTION, OTHERS, OTHERS_TITLE, SHARED, TITLE, TOGETHER

FORMAT = "fairlead-settings/1"

#: So many characters in a row that a reason and a value have in common count as telling the value.
_TELLING = 8

#: What is said instead of a reason that tells too much.
_PLAINLY = {
    "missing": "is missing",
    "partial": "is not complete",
    "placeholder": "is a default or a placeholder",
    "malformed": "is malformed",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what `arguments` ask for; return the exit code, which is 0 also where problems were found."""
    options = _parser().parse_args(arguments)
    told = check(os.environ, deployed=options.deployed) if options.check else describe()
    sys.stdout.write(json.dumps({"format": FORMAT, **told}, indent=1) + "\n")
    return 0


def describe() -> dict[str, Any]:
    """Return the description of every variable, which is the same in every process."""
    groups = [
        {"name": _group_name(group), "title": (group.__doc__ or "").partition(".")[0]} for group in _declaring_classes()
    ]
    variables = [
        _describe(name, _group_name(group)) for group in _declaring_classes() for name in group.__annotations__
    ]
    others = [
        {"name": name, "group": "others", "read_by": reader, "expected": expected, "purpose": purpose, "secret": secret}
        for name, reader, expected, purpose, secret in OTHERS
    ]
    return {
        "title": TITLE,
        "introduction": INTRODUCTION,
        "groups": [*groups, {"name": "others", "title": OTHERS_TITLE}],
        "variables": [*variables, *others],
        "together": [list(names) for names in TOGETHER],
        "closing": [{"title": title, "text": text} for title, text in CLOSING],
    }


def check(environ: Mapping[str, str], *, deployed: bool) -> dict[str, Any]:
    """Return the problems that `Settings` has with the process's environment, which `environ` is.

    With `deployed` the rules of production hold, and an ENVIRONMENT of development is a problem itself: such a release
    would make up its secrets.
    """
    values = {name.upper(): value.strip() for name, value in environ.items()}
    environment = values.get("ENVIRONMENT", "").lower()
    lenient = deployed and environment in {"", "development"}
    try:
        Settings.model_validate({"environment": "production"} if lenient else {})
        problems = []
    except ValidationError as error:
        problems = list(_read_problems(error, values))
    if lenient and environment:
        reason = "says development, where defaults are accepted and secrets are made up"
        problems.insert(0, {"variable": "ENVIRONMENT", "kind": "malformed", "reason": reason})
    return {"problems": problems}


def _read_problems(error: ValidationError, values: Mapping[str, str]) -> Iterator[dict[str, str]]:
    seen = set()
    for item in error.errors(include_url=False, include_input=False):
        name = str(item["loc"][0]).upper()
        if name not in seen:
            seen.add(name)
            cause = item.get("ctx", {}).get("error")
            reason = str(cause) if isinstance(cause, ValueError) else ""
            kind = _classify(reason)
            safe = bool(reason) and not tells(reason, values.get(name, ""))
            yield {"variable": name, "kind": kind, "reason": reason if safe else _PLAINLY[kind]}


def _classify(reason: str) -> str:
    if reason.endswith("needs it") or reason.startswith("is given without"):
        return "partial"
    if reason.startswith("is missing"):
        return "missing"
    return "placeholder" if "placeholder" in reason else "malformed"


def tells(reason: str, value: str) -> bool:
    """Say whether `reason` repeats a part of `value`: one piece of a list, or so much in a row that it is no chance."""
    text, value = reason.lower(), value.lower()
    pieces = {piece.strip("/'\"") for piece in re.split(r"[,\s]+", value)} - {""}
    runs = (value[start : start + _TELLING] for start in range(len(value) - _TELLING + 1))
    return any(piece in text for piece in pieces) or any(run in text for run in runs)


def _declaring_classes() -> tuple[type[BaseSettings], ...]:
    return tuple(base for base in reversed(Settings.__bases__) if issubclass(base, BaseSettings))


def _group_name(group: type[BaseSettings]) -> str:
    return group.__name__.removesuffix("Settings").lower()


def _describe(name: str, group: str) -> dict[str, Any]:
    field = Settings.model_fields[name]
    extra = field.json_schema_extra
    variable = name.upper()
    return {
        "name": variable,
        "group": group,
        "expected": field.description or "",
        "purpose": str(extra.get("purpose", "")) if isinstance(extra, dict) else "",
        "default": _render_default(field),
        "secret": field.annotation is SecretStr,
        "required": _find_required().get(variable, "never"),
        "example": EXAMPLES.get(variable),
        "shared": variable in SHARED,
    }


def _render_default(field: FieldInfo) -> str | None:
    default = field.default
    if isinstance(default, SecretStr) or default in ("", ()):
        return None
    if isinstance(default, Path):
        return default.relative_to(ROOT).as_posix()
    return f"{default:g}" if isinstance(default, float) else str(default)


def _find_required() -> Mapping[str, str]:
    """Return which variables must be given, and whether everywhere or where it is deployed, by trying without them."""
    deployed, everywhere = _missing_in("production"), _missing_in("development")
    # Without ENVIRONMENT a release would start, as in development, and make up its secrets.
    return {"ENVIRONMENT": "deployed"} | dict.fromkeys(deployed, "deployed") | dict.fromkeys(everywhere, "always")


def _missing_in(environment: str) -> tuple[str, ...]:
    try:
        DeclaredSettings.model_validate({"environment": environment})
    except ValidationError as error:
        return tuple(str(item["loc"][0]).upper() for item in error.errors(include_url=False))
    return ()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.describe_settings", description="Describe the variables.")
    parser.add_argument("--check", action="store_true", help="check the variables of this process instead")
    parser.add_argument("--deployed", action="store_true", help="with --check: refuse what only development may have")
    return parser


if __name__ == "__main__":
    sys.exit(main())
