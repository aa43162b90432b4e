"""Runs kingfisher over every file that git tracks, or over the whole history, and reads its report.

Left to itself it honours `.gitignore` and marks of its own, tells of a secret in one of the files that hold it, tries
what it finds at the service that it is for, and asks for a newer version. Here it reads copies of the tracked files, or
of all that was ever committed, with none of that; it must say that it read them all, and find a canary among them.
"""

import json
import re
import secrets
import string
import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fairlead._process import run
from fairlead.exceptions import CommandError
from fairlead.security import baseline, madeup, tools, tracked
from fairlead.security.baseline import Found, Secret
from fairlead.security.report import Scan

TOOL: Final = "kingfisher"
HISTORY: Final = "kingfisher-history"

#: Rules of our own, for what its rules do not know.
RULES: Final = r"""rules:
  - name: Railway token
    id: fairlead.railway-token
    pattern: |
      (?xi)
      \b railway_ (?:[a-z]+_){0,3} token \b ["']? \s{0,3} [:=]{1,2} \s{0,3} ["']?
      (
        [0-9a-f]{8} - [0-9a-f]{4} - [0-9a-f]{4} - [0-9a-f]{4} - [0-9a-f]{12}
      )
      \b
    min_entropy: 2.5
    confidence: medium
  - name: Twilio auth token
    id: fairlead.twilio-auth-token
    pattern: |
      (?xi)
      \b twilio_? (?:[a-z]+_){0,3} (?:token|secret) \b ["']? \s{0,3} [:=]{1,2} \s{0,3} ["']?
      (
        [0-9a-f]{32}
      )
      \b
    min_entropy: 2.5
    confidence: medium
"""

#: The rule whose finding is a password alone, that of an address; what others find has a shape of its own.
_OF_ADDRESSES: Final = "betterleaks.generic-credential-uri"
_CANARY: Final = "canary.py"
_CANARY_KINDS: Final = frozenset({"betterleaks.github-pat", "fairlead.railway-token"})
_COPY: Final = re.compile(r"(?:^|/)(\d{6,}[^/!]*|canary\.py)(!.*)?$", re.DOTALL)
_SHOWN: Final = 300
_SECONDS: Final = 600
#: Its exit code when it found something, as it must with a canary.
_FOUND: Final = 200


@dataclass(frozen=True, slots=True)
class Copies:
    """What must be scanned: each copy's file and, of the history, its object; and how many bytes they are at least.

    The bytes are the canary's too, which is one file more.
    """

    files: Mapping[str, tuple[str, str]]
    size: int


def command(folder: Path, report: Path, *, rules: Path) -> list[str]:
    """Build the command. Nothing is tried or asked over the network, and no secret is told of once for many files.

    There are no limits: a file that is too large, or an archive that lies too deep in others, would be passed over.
    """
    look = ["--git-history", "none", "--rules-path", str(rules), "--no-ignore", "--no-dedup", "--no-limits"]
    offline = ["--no-validate", "--no-update-check"]
    return [tools.find(TOOL) or TOOL, "scan", str(folder), *look, *offline, "--format", "json", "--output", str(report)]


def read(text: str, *, expected: Copies) -> Found:
    """Read kingfisher's JSON report.

    Fewer files or bytes than `expected`, a scan that it does not call complete, and a canary not found are gaps.
    """
    try:
        report: dict[str, Any] = json.loads(text)
        summary, audit = report["metadata"]["summary"], report["audit"]["summary"]
        files, size = int(summary["blobs_scanned"]), int(summary["bytes_scanned"])
        halted = int(audit["scan_failed"]) + int(audit["scan_partial"]) + int(audit["pending"])
        found = [(*_read_place(one["finding"]), str(one["rule"]["id"]), one["finding"]) for one in report["findings"]]
        secrets_found = tuple(
            # A line of what lies in an archive is none of the archive's, and no mark stands beside it.
            Secret(
                baseline.KINGFISHER + rule,
                path,
                0 if packed else int(facts["line"]),
                baseline.digest(facts["snippet"]),
                "" if packed else copy,
                past=past,
            )
            for copy, packed, rule, facts in found
            if copy in expected.files and not (rule == _OF_ADDRESSES and madeup.is_made_up(facts["snippet"]))
            for path, past in [expected.files[copy]]
        )
        strange = {copy for copy, _, _, _ in found} - {*expected.files, _CANARY}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Found("nothing", gaps=(f"its report is not usable: {type(error).__name__}",))
    gaps = []
    everything = len(expected.files) + 1
    if files < everything or size < expected.size:
        gaps.append(f"it scanned {files} of {everything} files, {size} of {expected.size} bytes")
    if halted:
        gaps.append("it did not scan to the end")
    if strange:
        gaps.append(f"it found secrets in {len(strange)} files that it was not given: nobody can tell where they are")
    if not {rule for copy, _, rule, _ in found if copy == _CANARY} >= _CANARY_KINDS:
        gaps.append("it did not find the secrets planted to see whether it looks")
    return Found(f"{max(0, min(files, everything) - 1)} of {everything - 1} files scanned", secrets_found, tuple(gaps))


def find(root: Path) -> Found:
    """Scan every file that git tracks below `root`, binary ones too."""
    files = tracked.list_tracked(root)
    if not files.files:
        return Found("nothing", gaps=files.gaps)

    def lay_out(folder: Path) -> dict[str, tuple[str, str]]:
        return {copy: (name, "") for copy, name in tracked.lay_out(root, files.files, folder).items()}

    found = _find(lay_out)
    return Found(f"{found.looked_at}, all tracked", found.secrets, (*files.gaps, *found.gaps))


def find_in_history(root: Path) -> Found:
    """Scan everything that was ever committed to the repository at `root`, and every message."""
    found = _find(lambda folder: tracked.lay_out_history(root, folder))
    return Found(f"{found.looked_at}, of the whole history", found.secrets, found.gaps)


def scan(root: Path, *, history: bool = False) -> Scan:
    """Scan the tree at `root`, or its history; what the baseline and the marks excuse is no finding."""
    name, look = (HISTORY, find_in_history) if history else (TOOL, find)
    return baseline.scan(
        root, name, look, own=lambda entry: entry.kind.startswith(baseline.KINGFISHER), history=history
    )


def _find(lay_out: Callable[[Path], dict[str, tuple[str, str]]]) -> Found:
    # The report holds what was found, word for word: it lies in a folder of ours alone, and goes with it.
    with tempfile.TemporaryDirectory(prefix="fairlead-secrets-") as scratch:
        folder, rules, report = (Path(scratch) / name for name in ("copies", "rules.yml", "report.json"))
        try:
            files = lay_out(folder)
            (folder / _CANARY).write_text(_make_canary(), "utf-8")
            rules.write_text(RULES, "utf-8")
            size = sum(_size(folder / copy) for copy in (*files, _CANARY))
            arguments = command(folder, report, rules=rules)
            done = run(arguments, cwd=folder, env=tracked.environment(), check=False, timeout=_SECONDS)
        except (CommandError, OSError) as error:
            return Found("nothing", gaps=(str(error)[:_SHOWN],))
        if done.returncode != _FOUND or not report.is_file():
            return Found("nothing", gaps=(f"it ended with exit code {done.returncode}, and has no report to be read",))
        found = read(report.read_text("utf-8"), expected=Copies(files, size))
        return Found(found.looked_at, baseline.excuse(folder, found.secrets), found.gaps)


def _read_place(facts: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the copy that a finding is in, and whether it lies in an archive there: `copies/000001.zip!inner/a.py`."""
    place = _COPY.search(str(facts["path"]))
    return (place[1], bool(place[2])) if place is not None else (str(facts["path"]), False)


def _size(copy: Path) -> int:
    """Return how many bytes of a copy must be scanned: an archive's are not, but what lies in it, which may be less."""
    content = copy.read_bytes()
    return 0 if tracked.is_binary(content) else len(content)


def _make_canary() -> str:
    letters = string.ascii_letters + string.digits
    token = "gh" + "p_" + "".join(secrets.choice(letters) for _ in range(36))
    return f'TOKEN = "{token}"\nRAILWAY_TOKEN={uuid.uuid4()}\n'
