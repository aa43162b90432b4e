"""Where each statement of an SQL text begins and ends, by PostgreSQL's lexical rules, and what its comments ask for.

Files are sent whole and never split by this. It says which statement of a file failed, whether there is any, which
ones would end the transaction that a migration runs in, and which cannot run within one. Strings are read as
PostgreSQL does by default, with `standard_conforming_strings` on. Texts of 20 MB are ordinary: what stands between
the first words of a statement and its end is passed over in one step.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

_SPACE: Final = " \t\n\r\f\v"
# Letters are told by the ASCII characters that are none: a class up to the end of Unicode takes long to compile.
_LETTER: Final = r"[^\x00-@\[-\^`{-\x7f]"
_IDENTIFIER: Final = _LETTER + r"[^\x00-#%-/:-@\[-\^`{-\x7f]*+"
_TAG: Final = _LETTER + r"[^\x00-/:-@\[-\^`{-\x7f]*+"
#: An E-string goes on, by the same rules, in a string that follows on another line.
_CONTINUED: Final = r"(?:(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*+'"
_BODY: Final = r"(?:[^'\\]++|''|\\.)*+(?:'|\Z)"
_ESCAPED: Final = rf"[eE]'{_BODY}{_CONTINUED}{_BODY})*+"
_STRING: Final = r"'(?:[^']++|'')*+(?:'|\Z)"
_QUOTED: Final = r'"[^"]*+(?:"|\Z)'
#: One token: the order matters, the first that matches wins. The rest of a block or of a dollar quote is found apart.
_TOKEN: Final = re.compile(
    rf"""
      (?P<space>[ \t\n\r\f\v]++)
    | (?P<comment>--[^\n\r]*+)
    | (?P<block>/\*)
    | (?P<escaped>{_ESCAPED})
    | (?P<string>(?:[uU]&|[bBxXnN])?{_STRING})
    | (?P<quoted>(?:[uU]&)?{_QUOTED})
    | (?P<dollar>\$(?:{_TAG})?\$)
    | (?P<word>{_IDENTIFIER})
    | (?P<number>\d[\w.]*+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
#: Everything up to a semicolon, a comment, a dollar or a backslash: what needs a closer look.
_RUN: Final = re.compile(
    rf"(?:[\x00-!#%&(-,.0-:<-@\[\]\^`{{-\x7f]++|{_ESCAPED}|{_IDENTIFIER}|{_STRING}|{_QUOTED}|-(?!-)|/(?!\*))*+",
    re.DOTALL,
)
_GAP: Final = re.compile(r"[ \t\n\r\f\v;]++|--[^\n\r]*+|(?P<block>/\*)")
_WORD: Final = re.compile(_IDENTIFIER)
_BLOCK_EDGE: Final = re.compile(r"/\*|\*/")
_SILENT: Final = {"space", "comment", "block"}
_MARK: Final = re.compile(
    r"--\s*fairlead:\s*(?P<name>[A-Za-z0-9_-]*)[:,]?(?:\s+(?:because\s+)?(?P<reason>.*))?", re.DOTALL
)
_TRANSACTION_ENDS: Final = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"}
_NEVER_IN_TRANSACTION: Final = {
    ("VACUUM",),
    ("ALTER", "SYSTEM"),
    ("CREATE", "DATABASE"),
    ("DROP", "DATABASE"),
    ("CREATE", "TABLESPACE"),
    ("DROP", "TABLESPACE"),
    ("DISCARD", "ALL"),
}
_NONTRANSACTIONAL_FIRST: Final = {"ALTER", "CLUSTER", "CREATE", "DISCARD", "DROP", "REINDEX", "VACUUM"}
_NONTRANSACTIONAL_SIGNS: Final = {
    *("CLUSTER", "CONCURRENTLY", "DATABASE", "DISCARD", "REINDEX", "SUBSCRIPTION", "SYSTEM", "TABLESPACE", "VACUUM")
}
_NO_SLOT: Final = set(itertools.product(("CREATE_SLOT", "CONNECT"), ("FALSE", "OFF")))


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: its offset in the text, and the text itself, which begins with its first token."""

    start: int
    text: str

    @property
    def first_word(self) -> str:
        """The first word in capitals, or nothing where it begins with something else."""
        match = _WORD.match(self.text)
        return match[0].upper() if match else ""

    @property
    def words(self) -> tuple[str, ...]:
        """Every word in capitals and every quoted name as written, without strings, dollar quotes and comments."""
        words = []
        at = 0
        while at < len(self.text):
            kind, after = _read_token(self.text, at)
            if kind in {"word", "quoted"}:
                word = self.text[at:after]
                words.append(word.upper() if kind == "word" else word)
            at = after
        return tuple(words)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a comment asks of Fairlead: `-- fairlead: NAME because REASON`; its line is counted from 1."""

    name: str
    reason: str
    line: int


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a text as editors count it, from 1."""

    line: int
    column: int


def has_statement(text: str) -> bool:
    """Tell whether `text` holds anything but white space, comments and semicolons."""
    return _end_of_gap(text, 0) < len(text)


def find_marks(text: str) -> tuple[Mark, ...]:
    """Return what the comments of `text` ask of Fairlead; what looks like it within a string or a quote is none."""
    if "fairlead:" not in text:
        return ()
    marks = []
    for at, comment in find_comments(text):
        if match := _MARK.fullmatch(comment.rstrip()):
            marks.append(Mark(match["name"].lower(), (match["reason"] or "").strip(), locate(text, at).line))
    return tuple(marks)


def find_comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield the comments that begin with two dashes, each with its offset."""
    at = 0
    while at < len(text):
        at = _end_of_run(text, at)
        if at < len(text):
            kind, after = _read_token(text, at)
            if kind == "comment":
                yield at, text[at:after]
            at = after


def find_transaction_control(text: str) -> tuple[Statement, ...]:
    """Return the statements in `text` that begin or end a transaction.

    `ROLLBACK TO SAVEPOINT` is none of them, nor is `START` of anything but a transaction.
    """
    return _find(text, {*_TRANSACTION_ENDS, "PREPARE"}, {*_TRANSACTION_ENDS, "PREPARE"}, _controls_transaction)


def find_client_copies(text: str) -> tuple[Statement, ...]:
    """Return the statements in `text` that copy from or to the client's own streams."""
    return _find(text, {"COPY"}, {"COPY"}, _copies_streams)


def find_nontransactional(text: str) -> tuple[Statement, ...]:
    """Return the statements in `text` that PostgreSQL refuses within a transaction.

    What only the server can know is not found: an index on a partitioned table, a procedure that commits.
    """
    return _find(text, _NONTRANSACTIONAL_FIRST, _NONTRANSACTIONAL_SIGNS, _needs_no_transaction)


def find_meta_commands(text: str) -> tuple[Statement, ...]:
    r"""Return the commands in `text` that are psql's and not SQL, such as `\connect`, each to the end of its line."""
    if "\\" not in text:
        return ()
    found = []
    at = 0
    while at < len(text):
        at = _end_of_run(text, at)
        if at >= len(text):
            break
        if text[at] != "\\":
            at = _read_token(text, at)[1]
            continue
        start, at = at, _end_of_line(text, at)
        found.append(Statement(start, text[start:at].rstrip()))
    return tuple(found)


def split_statements(text: str) -> Iterator[Statement]:
    """Yield the statements of `text` in order, without the semicolons between them."""
    at = _end_of_gap(text, 0)
    while at < len(text):
        statement = _read_statement(text, at)
        yield statement
        at = _end_of_gap(text, at + len(statement.text))


def locate(text: str, offset: int) -> Position:
    """Return line and column of the character at `offset`."""
    return Position(text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1)


def _find(
    text: str, first: set[str], signs: set[str], wanted: Callable[[tuple[str, ...]], bool]
) -> tuple[Statement, ...]:
    """Return the statements that are `wanted` by their words, among them one of `first` and one of `signs`.

    Most texts and statements hold no sign at all, and their words need not be read.
    """

    def may_hold(part: str) -> bool:
        capitals = part.upper()
        return any(sign in capitals for sign in signs)

    if not may_hold(text):
        return ()
    return tuple(
        statement
        for statement in split_statements(text)
        if statement.first_word in first and may_hold(statement.text) and wanted(statement.words)
    )


def _controls_transaction(words: tuple[str, ...]) -> bool:
    if words[0] in {"PREPARE", "START"}:
        return words[1:2] == ("TRANSACTION",)
    return not (words[0] == "ROLLBACK" and "TO" in words[1:3])


def _copies_streams(words: tuple[str, ...]) -> bool:
    return any(
        pair in {("FROM", "STDIN"), ("FROM", "STDOUT"), ("TO", "STDOUT"), ("TO", "STDIN")}
        for pair in itertools.pairwise(words)
    )


def _needs_no_transaction(words: tuple[str, ...]) -> bool:
    if words[:1] in _NEVER_IN_TRANSACTION or words[:2] in _NEVER_IN_TRANSACTION:
        return True
    pairs = set(itertools.pairwise(words))
    match words:
        case ("CREATE" | "DROP", *_) if ("INDEX", "CONCURRENTLY") in pairs:
            return True
        case ("REINDEX", *rest):
            return "CONCURRENTLY" in rest or not {"DATABASE", "SYSTEM", "SCHEMA"}.isdisjoint(rest[:3])
        case ("CLUSTER", *rest):
            return set(rest) <= {"VERBOSE"}
        case ("ALTER", "TABLE", *rest) if "DETACH" in rest:
            return rest[-1] == "CONCURRENTLY"
        case ("ALTER", "DATABASE", *_):
            return ("SET", "TABLESPACE") in pairs
        case ("CREATE", "SUBSCRIPTION", *_):
            return pairs.isdisjoint(_NO_SLOT)
        case ("ALTER", "SUBSCRIPTION", *_):
            return ("REFRESH", "PUBLICATION") in pairs
    return False


def _read_statement(text: str, start: int) -> Statement:
    """Read the statement that begins at `start`, up to its semicolon or the end of the text."""
    statement = Statement(start, text[start : _end_of_statement(text, start)])
    if statement.first_word != "CREATE":
        return statement
    # Only in the bodies of standard SQL and in rules do semicolons stand within a statement, and always after the word.
    capitals = statement.text.upper()
    if "ATOMIC" in capitals or "RULE" in capitals:
        return Statement(start, text[start : _end_of_body(text, start)])
    return statement


def _end_of_statement(text: str, at: int) -> int:
    """Pass over a statement in which no semicolon stands but in quotes; return where its last token ends."""
    end = at
    while at < len(text):
        after = _end_of_run(text, at)
        if piece := text[at:after].rstrip(_SPACE):
            end = at + len(piece)
        at = after
        if at >= len(text) or text[at] == ";":
            break
        kind, at = _read_token(text, at)
        if kind not in _SILENT:
            end = at
    return end


def _end_of_body(text: str, at: int) -> int:
    """Pass over a CREATE statement in which semicolons may stand; return where its last token ends."""
    words: list[str] = []
    end = at
    parentheses = depth = 0
    while at < len(text):
        kind, after = _read_token(text, at)
        if kind == "other":
            if text[at] == ";" and parentheses <= 0 and depth == 0:
                break
            parentheses += {"(": 1, ")": -1}.get(text[at], 0)
        elif kind == "word":
            words.append(text[at:after].upper())
            depth = _body_depth(words, depth)
        if kind not in _SILENT:
            end = after
        at = after
    return end


def _body_depth(words: list[str], depth: int) -> int:
    """Follow the body of a routine in standard SQL: BEGIN ATOMIC … END, in which CASE … END may stand."""
    if words[0] != "CREATE" or not {"FUNCTION", "PROCEDURE"} & set(words[1:4]):
        return 0
    if depth == 0:
        return 1 if words[-2:] == ["BEGIN", "ATOMIC"] else 0
    return depth + {"CASE": 1, "BEGIN": 1, "END": -1}.get(words[-1], 0)


def _read_token(text: str, at: int) -> tuple[str, int]:
    """Return the kind of the token that begins at `at`, and where it ends."""
    match = _TOKEN.match(text, at)
    assert match is not None  # noqa: S101 - the last alternative matches any character
    kind, after = match.lastgroup or "other", match.end()
    if kind == "block":
        after = _end_of_comment(text, after)
    elif kind == "dollar":
        closing = text.find(match[0], after)
        after = len(text) if closing < 0 else closing + len(match[0])
    return kind, after


def _end_of_gap(text: str, at: int) -> int:
    """Pass over white space, semicolons and comments; return where the next statement begins."""
    while match := _GAP.match(text, at):
        at = _end_of_comment(text, match.end()) if match.lastgroup == "block" else match.end()
    return at


def _end_of_run(text: str, at: int) -> int:
    match = _RUN.match(text, at)
    return match.end() if match else at


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _end_of_comment(text: str, at: int) -> int:
    depth = 1
    while depth:
        edge = _BLOCK_EDGE.search(text, at)
        if edge is None:
            return len(text)
        depth += 1 if edge[0] == "/*" else -1
        at = edge.end()
    return at
