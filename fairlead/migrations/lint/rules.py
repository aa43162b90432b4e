"""What a step of a trial, or a change of the schema, is called, and what to do instead."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fairlead.migrations.lint.squawk import SUPPOSED, Remark
from fairlead.migrations.lint.surface import Change, Surface, find_changes
from fairlead.migrations.lint.trial import BLOCKING, Step
from fairlead.migrations.statements import Statement

#: What to do instead, or what to write in the file.
HINTS: Final[Mapping[str, str]] = {
    "missing-down": "write the down, or list the version in baseline-irreversible with a reason",
    "needs-no-transaction": "give it a file of its own, with the line -- fairlead: no-transaction",
    "several-statements": "give each a file of its own: one that fails half way is then one statement to look at",
    "transaction-control": "take it out: each file runs in one transaction already",
    "destructive": "take the data away in a later release, or write in the file: -- fairlead: destructive because …",
    "contract": "release code that does without it first, then write in the file: -- fairlead: contract because …",
    "still-used": "release code that does without it first, or: -- fairlead: accept still-used because …",
    "use-unknown": "look before it goes out: invoke migrations.lint --env ENVIRONMENT",
    "table-rewrite": "add a new column, fill it in batches, and take the old one away in a later release",
    "scan-under-lock": "build an index CONCURRENTLY in a file of its own with -- fairlead: no-transaction; add a"
    " constraint as NOT VALID, and VALIDATE it in the next migration",
    "work-under-lock": "put what follows the lock into a migration of its own",
    "lock-table": "let each statement take the lock that it needs",
    "mass-change": "change the rows in batches, or say in the file why there are few of them:"
    " -- fairlead: accept mass-change because …",
    "needless-mark": "take it out, or give the reason",
}


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that something in a text matches, at an offset, with what is said of it."""

    rule: str
    offset: int
    message: str
    hint: str = ""
    #: By what names the release that serves knows what is taken away.
    names: tuple[str, ...] = ()


def judge_step(step: Step, remarks: Sequence[Remark]) -> Iterator[Match]:
    """Say what one step does that an application would feel; `remarks` are squawk's on the same statement."""
    found: list[tuple[str, str]] = []
    found += [
        ("table-rewrite", f"writes {table} anew, which nobody can read or write meanwhile") for table in step.rewritten
    ]
    found += [("destructive", f"empties {table}") for table in step.emptied]
    slow = [table for table in step.scanned if table in step.locked and table not in step.rewritten]
    found += [("scan-under-lock", f"reads {t} from end to end, {_shut_out(step.locked[t])} meanwhile") for t in slow]
    changed = [table for table in step.changed if table not in slow]
    if step.statement.first_word == "DELETE" and "WHERE" not in step.statement.words:
        found += [("destructive", f"deletes every row of {table}") for table in changed]
    else:
        found += [("mass-change", f"may change every row of {table} in one transaction") for table in changed]
    if step.statement.first_word == "LOCK" and step.locked:
        found += [("lock-table", f"locks {t} until the file ends, {_shut_out(m)}") for t, m in step.locked.items()]
    held = [f"{table} stays locked since an earlier statement, {_shut_out(mode)}" for table, mode in step.held.items()]
    if held and not found and step.scanned:
        found = [("work-under-lock", f"reads {', '.join(step.scanned)} from end to end")]
    for rule, message in found:
        told = message if rule == "lock-table" else "; ".join([message, *held])
        yield Match(rule, step.statement.start, told, _helped(rule, remarks))


def judge_changes(base: Surface, steps: Sequence[Step], end: Surface, begun: Surface) -> Iterator[Match]:
    """Say what of `base` is gone at the `end` of a file that was still there when it had `begun`, and at which step."""
    earlier = set(find_changes(base, begun))
    lasting = [change for change in find_changes(base, end) if change not in earlier]
    if not lasting:
        return
    seen: dict[Change, int] = {}
    for step in steps:
        for change in find_changes(base, step.after) if step.after is not step.before else ():
            seen.setdefault(change, step.statement.start)
    for change in lasting:
        yield Match(change.effect, seen.get(change, 0), change.message, names=change.names)


def judge_remarks(
    statements: Mapping[Remark, Statement | None], steps: Mapping[int, Step], text: str
) -> Iterator[Match]:
    """Give squawk the word where the trial could not look, and on what only squawk can tell."""
    for remark, statement in statements.items():
        step = steps.get(statement.start) if statement else None
        if remark.rule in SUPPOSED and (
            step is not None or SUPPOSED[remark.rule] not in {"table-rewrite", "scan-under-lock"}
        ):
            continue
        if step is not None and remark.rule.startswith("require-concurrent") and not step.locked:
            continue
        yield Match(f"squawk/{remark.rule}", offset_of(text, remark.line, remark.column), remark.message, remark.help)


def offset_of(text: str, line: int, column: int) -> int:
    """Return the offset of a place that is counted from 1."""
    at = 0
    for _ in range(line - 1):
        end = text.find("\n", at)
        if end < 0:
            break
        at = end + 1
    return min(at + column - 1, len(text))


def _shut_out(mode: str) -> str:
    return "shutting readers and writers out" if mode == BLOCKING[-1] else "shutting writers out"


def _helped(rule: str, remarks: Sequence[Remark]) -> str:
    """Prefer squawk's advice on this very statement to the general one."""
    return next((r.help for r in remarks if SUPPOSED.get(r.rule) == rule and r.help), HINTS[rule])
