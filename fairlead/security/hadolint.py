"""Runs hadolint over every Dockerfile of the repository, and looks at what it leaves out.

Its report names only files with findings. That it read them all, a file with a known fault behind the last one tells.
"""

import json
import os
import re
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from fairlead._process import run
from fairlead.exceptions import CommandError
from fairlead.security import dockerfiles, tools, tracked
from fairlead.security.report import Finding, Level, Scan

NAME: Final = "hadolint"
_SECONDS: Final = 60.0
_DOCKERFILE: Final = re.compile(
    r"(?:Dockerfile|Containerfile)(?:[._-].+)?(?<!\.dockerignore)|.+\.(?:Dockerfile|Containerfile)", re.IGNORECASE
)
_COMPOSE: Final = re.compile(r"(?:docker-)?compose(?:[.-].+)?\.ya?ml", re.IGNORECASE)
#: An image without a tag: DL3006.
_CANARY: Final = "FROM debian\n"
_CANARY_RULE: Final = "DL3006"
_UNREADABLE: Final = "DL1000"
_LEVELS: Final[dict[str, Level]] = {"error": "error", "warning": "warning", "info": "note", "style": "note"}


def command(program: str, files: Sequence[str], *, settings: Path, canary: Path) -> list[str]:
    """Build the command. No settings of the repository or of the user count, nor do remarks in a Dockerfile."""
    options = ["--format", "json", "--no-fail", "--no-color", "--disable-ignore-pragma", "--config", str(settings)]
    return [program, *options, *files, str(canary)]


def read(text: str, *, expected: Collection[str], canary: str) -> Scan:
    """Read hadolint's JSON on the files `expected`.

    A file that it could not parse is a gap, and so is everything where the fault in `canary` was not reported.
    """
    try:
        entries: list[dict[str, Any]] = json.loads(text)
        seen = any(one["file"] == canary and one["code"] == _CANARY_RULE for one in entries)
        about = [one for one in entries if one["file"] != canary]
        findings = tuple(
            Finding(
                one["code"], one["message"], one["file"], int(one["line"]), level=_LEVELS.get(one["level"], "error")
            )
            for one in about
            if one["code"] != _UNREADABLE
        )
        unread = {str(one["file"]): " ".join(one["message"].split()) for one in about if one["code"] == _UNREADABLE}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Scan(NAME, "nothing", gaps=(f"its report is not usable: {type(error).__name__} {error}",))
    if not seen:
        return Scan(NAME, "nothing", gaps=("it did not report a fault that was planted behind the last file",))
    gaps = [f"{name}: cannot be parsed: {why}" for name, why in sorted(unread.items())]
    if not expected:
        gaps.append("there is no Dockerfile to look at")
    return Scan(NAME, f"{len(set(expected) - set(unread))} of {len(expected)} Dockerfiles read", findings, tuple(gaps))


def scan(root: Path, *, program: str | None = None) -> Scan:
    """Scan every Dockerfile that git knows or would add below `root`, and the images of its compose files."""
    found = program or tools.find(NAME)
    if found is None:
        return Scan(NAME, "nothing", gaps=("it is not installed: nox -s security installs it from the gates' lock",))
    try:
        names = list_files(root)
        dockers = [name for name in names if _kind(name) is _DOCKERFILE]
        composed = [name for name in names if _kind(name) is _COMPOSE]
        scanned = _run(found, root, dockers)
        own = [one for name in dockers for one in dockerfiles.check_dockerfile(_load(root, name), name)]
        own += [one for name in composed for one in dockerfiles.check_compose(_load(root, name), name)]
    except CommandError as error:
        return Scan(NAME, "nothing", gaps=(tracked.find_cause(error),))
    except (OSError, UnicodeDecodeError) as error:
        return Scan(NAME, "nothing", gaps=(f"a file cannot be read: {error}",))
    compose = f"{len(composed)} compose file{'' if len(composed) == 1 else 's'}"
    return replace(scanned, looked_at=f"{scanned.looked_at}, {compose}", findings=(*scanned.findings, *own))


def list_files(root: Path) -> list[str]:
    """Return the files below `root` that git knows, or would add; raise `CommandError` outside a checkout."""
    choice = ("--cached", "--others", "--exclude-standard")
    listing = tracked.git(root, "-c", "core.quotePath=true", "ls-files", *choice).stdout
    return sorted(name for name in set(map(_read_name, listing.splitlines())) if (root / name).is_file())


def _read_name(quoted: str) -> str:
    try:
        return tracked.read_name(quoted)
    except UnicodeDecodeError:
        # A file that is not called as one of ours may be called as it likes: it does not concern this tool.
        if _kind(quoted.strip('"')) is None:
            return "."
        raise CommandError(f"{quoted}: its name is not UTF-8, so that it cannot be told of: rename it") from None


def _kind(name: str) -> re.Pattern[str] | None:
    return next((kind for kind in (_COMPOSE, _DOCKERFILE) if kind.fullmatch(name.rpartition("/")[2])), None)


def _run(program: str, root: Path, files: Sequence[str]) -> Scan:
    with tempfile.TemporaryDirectory(prefix="fairlead-hadolint-") as scratch:
        settings, canary = Path(scratch) / "hadolint.yaml", Path(scratch) / "canary.Dockerfile"
        settings.write_text("failure-threshold: none\n", "utf-8")
        canary.write_text(_CANARY, "utf-8")
        arguments = command(program, files, settings=settings, canary=canary)
        # Its variables say what to leave out, as its settings do.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HADOLINT_")}
        done = run(arguments, cwd=root, env=environment, check=False, timeout=_SECONDS)
        if done.returncode != 0:
            why = (done.output.strip().splitlines() or ["it said nothing"])[0]
            return Scan(NAME, "nothing", gaps=(f"it ended with exit code {done.returncode}: {why}",))
        return read(done.stdout, expected=files, canary=str(canary))


def _load(root: Path, name: str) -> str:
    return (root / name).read_text("utf-8")
