"""Squawk's findings on one file: its parser knows PostgreSQL's grammar, and nothing of the database.

A rule of taste, and one that Fairlead itself sees to (time-outs, transactions), is not asked. What squawk only supposes
of a table, such as that it will be scanned, counts where the trial could not look.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fairlead import _process
from fairlead.exceptions import MigrationError

#: What the trial sees for itself: these are squawk's words for it, and all there is where nothing could be tried.
SUPPOSED: Final[Mapping[str, str]] = {
    "adding-field-with-default": "table-rewrite",
    "adding-serial-primary-key-field": "table-rewrite",
    "changing-column-type": "table-rewrite",
    "adding-foreign-key-constraint": "scan-under-lock",
    "adding-not-nullable-field": "scan-under-lock",
    "constraint-missing-not-valid": "scan-under-lock",
    "adding-primary-key-constraint": "scan-under-lock",
    "disallowed-unique-constraint": "scan-under-lock",
    "require-concurrent-index-creation": "scan-under-lock",
    "require-concurrent-reindex": "scan-under-lock",
    "ban-drop-column": "contract",
    "ban-drop-table": "contract",
    "renaming-column": "contract",
    "renaming-table": "contract",
    "adding-required-field": "contract",
    "ban-truncate-cascade": "destructive",
    "syntax-error": "trial-failed",
}
#: What squawk alone can tell, each in any file.
KNOWN: Final = {
    "ban-alter-domain-with-add-constraint",
    "ban-drop-database",
    "identifier-too-long",
    "require-concurrent-index-deletion",
    "require-concurrent-partition-detach",
}
_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Remark:
    """One finding of squawk's; `line` and `column` count from 1."""

    rule: str
    line: int
    column: int
    message: str
    help: str


def find_remarks(text: str, *, transactional: bool) -> tuple[Remark, ...]:
    """Return what squawk has to say of one file's text, by the rules above and whatever the project configured.

    Raises `MigrationError` where squawk is not installed, or cannot be understood.
    """
    argv = [str(_program()), "--reporter", "json", *(["--assume-in-transaction"] if transactional else [])]
    done = _process.run(argv, stdin=text, timeout=_TIMEOUT, check=False)
    try:
        found = json.loads(done.stdout)
        remarks = [_read(item) for item in found]
    except (ValueError, KeyError, TypeError):
        said = done.output.strip().splitlines()
        raise MigrationError(
            f"squawk could not look at the migrations: {said[-1] if said else f'it ended with {done.returncode}'}",
            hint="try it by hand: squawk FILE",
        ) from None
    return tuple(remark for remark in remarks if remark.rule in SUPPOSED or remark.rule in KNOWN)


def _read(item: dict[str, object]) -> Remark:
    # Its JSON counts lines and columns from 0, unlike its other reporters.
    return Remark(
        rule=str(item["rule_name"]),
        line=int(str(item["line"])) + 1,
        column=int(str(item["column"])) + 1,
        message=str(item["message"]),
        help=str(item["help"] or ""),
    )


def _program() -> Path:
    """Return squawk's program, which pip puts beside the interpreter."""
    program = Path(sys.executable).parent / "squawk"
    if not program.exists():
        raise MigrationError(
            "squawk is not installed beside this Python",
            hint="pip install -r requirements.txt, or pip install squawk-cli",
        )
    return program
