"""Where each statement of an SQL text begins and ends, by PostgreSQL's lexical rules.

Files are sent whole and never split by this. It says which statement of a file failed, whether there is any, and which
ones would end the transaction that a migration runs in.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

#: One token: the order matters, the first that matches wins. Nested block comments are skipped apart.
_TOKEN = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*)
    | (?P<block>/\*)
    | (?P<escaped>[eE]'[^'\\]*(?:(?:''|\\.)[^'\\]*)*(?:'|\Z))
    | (?P<string>(?:[uU]&|[bBxXnN])?'[^']*(?:''[^']*)*(?:'|\Z))
    | (?P<quoted>(?:[uU]&)?"[^"]*(?:""[^"]*)*(?:"|\Z))
    | (?P<dollar>\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$)
    | (?P<word>[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*)
    | (?P<number>\d[\w.]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")
_TRANSACTION_ENDS = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"}
_ROUTINES = {"FUNCTION", "PROCEDURE"}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: its offset in the text, the text itself, and its first words in capitals."""

    start: int
    text: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a text as editors count it, from 1."""

    line: int
    column: int


def has_statement(text: str) -> bool:
    """Tell whether `text` holds anything but white space, comments and semicolons."""
    return next(split_statements(text), None) is not None


def find_transaction_control(text: str) -> tuple[Statement, ...]:
    """Return the statements in `text` that begin or end a transaction.

    `ROLLBACK TO SAVEPOINT` is none of them, nor is `START` of anything but a transaction.
    """
    return tuple(statement for statement in split_statements(text) if _controls_transaction(statement.words))


def find_client_copies(text: str) -> tuple[Statement, ...]:
    """Return the statements in `text` that copy from or to the client's own streams."""
    return tuple(statement for statement in split_statements(text) if _copies_streams(statement.words))


def split_statements(text: str) -> Iterator[Statement]:
    """Yield the statements of `text` in order, without the semicolons between them."""
    start: int | None = None
    end = 0
    parentheses = 0
    depth = 0
    words: list[str] = []
    for kind, piece, at, after in _tokens(text):
        if kind == "other" and piece == ";" and parentheses <= 0 and depth == 0:
            if start is not None:
                yield Statement(start, text[start:end], tuple(words))
            start, words, parentheses = None, [], 0
            continue
        if start is None:
            start = at
        end = after
        if kind == "other":
            parentheses += {"(": 1, ")": -1}.get(piece, 0)
        elif kind == "word":
            words.append(piece.upper())
            depth = _body_depth(words, depth)
    if start is not None:
        yield Statement(start, text[start:end], tuple(words))


def locate(text: str, offset: int) -> Position:
    """Return line and column of the character at `offset`."""
    before = text[:offset]
    return Position(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def _controls_transaction(words: tuple[str, ...]) -> bool:
    if not words or words[0] not in _TRANSACTION_ENDS:
        return words[:2] == ("PREPARE", "TRANSACTION")
    if words[0] == "START":
        return words[1:2] == ("TRANSACTION",)
    return not (words[0] == "ROLLBACK" and "TO" in words[1:3])


def _copies_streams(words: tuple[str, ...]) -> bool:
    return words[:1] == ("COPY",) and any(
        pair in {("FROM", "STDIN"), ("FROM", "STDOUT"), ("TO", "STDOUT"), ("TO", "STDIN")}
        for pair in itertools.pairwise(words)
    )


def _body_depth(words: list[str], depth: int) -> int:
    """Follow the body of a routine in standard SQL: BEGIN ATOMIC … END, in which CASE … END may stand."""
    if words[0] != "CREATE" or not _ROUTINES & set(words[1:4]):
        return 0
    if depth == 0:
        return 1 if words[-2:] == ["BEGIN", "ATOMIC"] else 0
    return depth + {"CASE": 1, "BEGIN": 1, "END": -1}.get(words[-1], 0)


def _tokens(text: str) -> Iterator[tuple[str, str, int, int]]:
    """Yield what is not space or comment: its kind, the token, where it begins and ends."""
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None  # noqa: S101 - the last alternative matches any character
        kind = match.lastgroup or "other"
        after = match.end()
        if kind == "block":
            at = _end_of_comment(text, after)
            continue
        if kind == "dollar":
            closing = text.find(match[0], after)
            after = len(text) if closing < 0 else closing + len(match[0])
        if kind != "space":
            yield kind, match[0], at, after
        at = after


def _end_of_comment(text: str, at: int) -> int:
    depth = 1
    while depth:
        edge = _BLOCK_EDGE.search(text, at)
        if edge is None:
            return len(text)
        depth += 1 if edge[0] == "/*" else -1
        at = edge.end()
    return at
