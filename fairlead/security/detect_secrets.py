"""Runs detect-secrets over every text that git tracks, and reads what its hook printed.

Left to itself it scans nothing outside a repository or given a baseline, skips files by their names, and ends well.
Here the hook, the same that runs at a commit, reads copies of the tracked files; its log says which ones it opened,
and among them lies a canary that it must find.

It tells GitHub tokens in one file apart by nothing but their first letters, and so does the baseline: kingfisher looks
at the whole of each.
"""

import concurrent.futures
import importlib.metadata
import json
import re
import secrets
import string
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fairlead._process import run
from fairlead.exceptions import CommandError
from fairlead.security import baseline, madeup, tracked
from fairlead.security.baseline import Found, Secret
from fairlead.security.report import Scan

TOOL: Final = "detect-secrets"

#: The kinds that it looks for: what kingfisher does not know, and what is worth two looks. Those that take any
#: random-looking text for a secret are left out, since each hash in a test is one.
PLUGINS: Final = (
    "AWSKeyDetector",
    "BasicAuthDetector",
    "GitHubTokenDetector",
    "GitLabTokenDetector",
    "JwtTokenDetector",
    "KeywordDetector",
    "NpmDetector",
    "PrivateKeyDetector",
    "PypiTokenDetector",
    "SendGridDetector",
    "SlackDetector",
    "StripeDetector",
)

#: What makes a finding none. No file and no line is left out, and nothing is asked over the network. Its own filter for
#: `password = ask()` passes over every line with a call in it, whatever stands in the brackets: it is left out too.
FILTERS: Final = (
    {"path": "detect_secrets.filters.heuristic.is_not_alphanumeric_string"},
    {"path": "detect_secrets.filters.heuristic.is_templated_secret"},
    {"path": "detect_secrets.filters.regex.should_exclude_secret", "pattern": list(madeup.PATTERNS)},
)

_MARKS: Final = {"path": "detect_secrets.filters.allowlist.is_line_allowlisted"}
_CANARY: Final = "canary.py"
_CANARY_KINDS: Final = frozenset({"GitHub Token", "Secret Keyword"})
_SHOWN: Final = 300
_PARTS: Final = 2
_SECONDS: Final = 240


def settings(*, marks: bool = True) -> dict[str, Any]:
    """Return the settings that the baseline carries; without `marks`, marked lines are findings too.

    Raises `PackageNotFoundError` when detect-secrets is not installed.
    """
    return {
        "version": importlib.metadata.version(TOOL),
        "plugins_used": [{"name": name} for name in PLUGINS],
        "filters_used": [*([_MARKS] if marks else []), *FILTERS],
    }


def command(copies: Sequence[str], *, settings: Path) -> list[str]:
    """Build the command: the hook over files in its working folder, saying which ones it opens."""
    hook = [sys.executable, "-m", "detect_secrets.pre_commit_hook"]
    return [*hook, "--verbose", "--json", "--baseline", str(settings), *copies]


def read(report: str, log: str, *, expected: Mapping[str, str]) -> Found:
    """Read the hook's JSON and its log; `expected` names each copy's file.

    A file that the log does not name as opened, and a canary that was not found, are gaps.
    """
    try:
        results: dict[str, list[dict[str, Any]]] = json.loads(report)["results"]
        found = [
            (str(name), str(one["type"]), int(one["line_number"]), str(one["hashed_secret"]))
            for name, entries in results.items()
            for one in entries
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Found("nothing", gaps=(f"its report is not usable: {type(error).__name__}",))
    opened = set(re.findall(r"Checking file: (\S+)$", log, re.MULTILINE))
    gaps = [f"{name}: was not scanned" for copy, name in expected.items() if copy not in opened]
    if not {kind for name, kind, _, _ in found if name == _CANARY} >= _CANARY_KINDS:
        gaps.append("it did not find the secrets planted to see whether it looks")
    scanned = len(opened & set(expected))
    kept = [Secret(kind, expected[name], line, known, name) for name, kind, line, known in found if name in expected]
    return Found(f"{scanned} of {len(expected)} tracked texts scanned", tuple(kept), tuple(gaps), scanned)


def find(root: Path) -> Found:
    """Scan every text that git tracks below `root`, each secret with the reason that its line is marked with."""
    files = tracked.list_tracked(root)
    if not files.texts:
        return Found("nothing", gaps=files.gaps)
    try:
        chosen = settings(marks=False)
        with tempfile.TemporaryDirectory(prefix="fairlead-secrets-") as scratch:
            folder = Path(scratch)
            copies = tracked.lay_out(root, files.texts, folder / "copies")
            outcome = _read_parts(folder, copies, chosen)
            marked = baseline.excuse(folder / "copies", outcome.secrets)
    except importlib.metadata.PackageNotFoundError:
        return Found("nothing", gaps=("detect-secrets is not installed",))
    except (CommandError, OSError) as error:
        # Not its output: the log holds what it found.
        return Found("nothing", gaps=(str(error)[:_SHOWN],))
    binaries = f", {len(files.binaries)} binary left to kingfisher: {', '.join(files.binaries)}"
    looked_at = outcome.looked_at + (binaries if files.binaries else "")
    return Found(looked_at, marked, (*files.gaps, *outcome.gaps))


def scan(root: Path) -> Scan:
    """Scan every text that git tracks below `root`; what the baseline and the marks excuse is no finding."""
    return baseline.scan(root, TOOL, find, own=lambda entry: not entry.kind.startswith(baseline.KINGFISHER))


def _read_parts(folder: Path, copies: Mapping[str, str], chosen: Mapping[str, Any]) -> Found:
    """Scan the copies in parts side by side, each with the canary: of all tools this one takes the longest."""
    (folder / "settings").write_text(json.dumps({**chosen, "results": {}}), "utf-8")
    (folder / "copies" / _CANARY).write_text(_make_canary(), "utf-8")
    # The hook asks git whether its baseline has changes, and says nothing at all where there is no repository.
    tracked.git(folder / "copies", "init", "--quiet", "--template=")
    parts = [dict(list(copies.items())[start::_PARTS]) for start in range(min(_PARTS, len(copies)))]
    with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
        outcomes = list(pool.map(lambda part: _run(folder, part), parts))
    scanned = sum(outcome.count for outcome in outcomes)
    return Found(
        f"{scanned} of {len(copies)} tracked texts scanned",
        tuple(secret for outcome in outcomes for secret in outcome.secrets),
        tuple(gap for outcome in outcomes for gap in outcome.gaps),
        scanned,
    )


def _run(folder: Path, copies: Mapping[str, str]) -> Found:
    arguments = command([*copies, _CANARY], settings=folder / "settings")
    variables = {**tracked.environment(), "PYTHONUTF8": "1"}
    done = run(arguments, cwd=folder / "copies", env=variables, check=False, timeout=_SECONDS)
    return read(done.stdout, done.stderr, expected=copies)


def _make_canary() -> str:
    def draw(length: int) -> str:
        return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))

    return f'TOKEN = "{"gh" + "p_" + draw(36)}"\nPASSWORD = "{draw(24)}"\n'
