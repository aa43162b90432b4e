"""Which file name means what: the conventions of the common tools, none of which a file needs renaming for.

```
015_x.sql                015_x.down.sql              Fairlead; dbmate, whose two sections lie in one file
1_x.up.sql               1_x.down.sql                golang-migrate; also with a timestamp
V0001__x.sql             U0001__x.sql                Flyway
V0001.Name.up.sql        V0001.Name.down.sql         dotted
2024-01-02-030405_x/up.sql   …/down.sql              diesel; also with a number
```
"""

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from fairlead.migrations.statements import find_comments, has_statement

#: What messages say of the names that are understood.
SPELLING: Final = "files are named 015_new_feature.sql, with 015_new_feature.down.sql beside it"
Style = Literal["plain", "updown", "flyway", "dotted", "diesel"]

_NAME: Final = r"(?P<name>[A-Za-z0-9][A-Za-z0-9_-]*)"
#: Patterns as texts: each is compiled when a name comes that those before it do not fit, and kept by `re`.
_STYLES: Final[tuple[tuple[Style, str], ...]] = (
    ("plain", rf"(?P<version>\d+)_{_NAME}(?P<down>\.down)?\.sql"),
    ("updown", rf"(?P<version>\d+)_{_NAME}\.up\.sql"),
    ("flyway", rf"(?:V|(?P<down>U))(?P<version>\d+(?:[._]\d+)*)__{_NAME}\.sql"),
    ("dotted", rf"V(?P<version>\d+(?:\.\d+)*)\.{_NAME}\.(?:up|(?P<down>down))\.sql"),
    ("diesel", rf"(?P<version>\d{{4}}-\d\d-\d\d-\d{{6}}|\d+)_{_NAME}/(?:up|(?P<down>down))\.sql"),
)
_IGNORED: Final = r"\..*|README.*|.*\.md|__pycache__|metadata\.toml"
_REPEATABLE: Final = r"R__.*\.sql"
_SECTION: Final = r"(?s)--\s*migrate:(?P<kind>up|down)(?P<options>(?:\s.*)?)"
_NO_TRANSACTION: Final = r"\btransaction:\s*false\b"


@dataclass(frozen=True, slots=True)
class Role:
    """What a file is by its name: a version's up or its down, in which convention."""

    style: Style
    version: str
    name: str
    down: bool

    @property
    def pair(self) -> tuple[str, str, str]:
        """What an up and its down share; Flyway's share the version alone."""
        family = "plain" if self.style == "updown" else self.style
        return family, self.version, "" if family == "flyway" else self.name

    @property
    def up_name(self) -> str:
        """The name of the up that belongs to a down of this role."""
        return {
            "flyway": f"V{self.version}__{self.name}.sql",
            "dotted": f"V{self.version}.{self.name}.up.sql",
            "diesel": f"{self.version}_{self.name}/up.sql",
        }.get(self.style, f"{self.version}_{self.name}.sql")


@dataclass(frozen=True, slots=True)
class Section:
    """One half of a file that holds both: its text, on its own lines, and whether it runs in a transaction."""

    text: str
    transactional: bool


def read_role(path: str) -> Role | None:
    """Tell what the file at `path` is, which is relative to the folder of migrations; None when it fits nothing."""
    for style, pattern in _STYLES:
        if match := re.fullmatch(pattern, path):
            # Flyway records 1_2 as 1.2, and diesel 2024-01-02-030405 without its dashes.
            version = match["version"].replace("_", ".").replace("-", "")
            return Role(style, version, match["name"], bool(match.groupdict().get("down")))
    return None


def explain_misfit(path: str) -> str:
    """Return why the file at `path`, which has no role, is refused."""
    if re.fullmatch(_REPEATABLE, path):
        return "is one of Flyway's repeatable migrations, which run whenever they change; give it a version"
    return f"does not fit the convention ({SPELLING})"


def read_sections(text: str) -> tuple[dict[str, Section], str | None]:
    """Split a text with `-- migrate:up` and `-- migrate:down` lines into both; and say what is wrong with it, if so.

    A text without such lines gives nothing. Lines of the other section are left blank, so that line numbers hold.
    """
    if "migrate:" not in text:
        return {}, None
    starts = []
    for at, comment in find_comments(text):
        match = re.fullmatch(_SECTION, comment.rstrip())
        if match and (at == 0 or text[at - 1] == "\n"):
            starts.append((at, match["kind"], not re.search(_NO_TRANSACTION, match["options"])))
    if not starts:
        return {}, None
    kinds = [kind for _, kind, _ in starts]
    if kinds not in (["up"], ["up", "down"]):
        return {}, "needs one -- migrate:up, and at most one -- migrate:down after it"
    head = text[: starts[0][0]]
    if has_statement(head):
        return {}, "has statements above -- migrate:up, which belong to neither section"
    ends = [at for at, _, _ in starts[1:]] + [len(text)]
    sections = {}
    for (at, kind, transactional), end in zip(starts, ends, strict=True):
        blank = "\n" * text.count("\n", len(head), at)
        sections[kind] = Section(head + blank + text[at:end], transactional)
    return sections, None


def list_paths(directory: Path) -> list[tuple[str, bool]]:
    """Return what lies in a folder of migrations, and in the folders within it that are diesel's.

    Each is relative to the folder, and comes with whether it is a file.
    """
    found: list[tuple[str, bool]] = []
    for entry in _entries(directory):
        if _is_folder(entry) and any(Path(entry.path, name).is_file() for name in ("up.sql", "down.sql")):
            found += [(f"{entry.name}/{file.name}", _is_file(file)) for file in _entries(entry.path)]
        else:
            found.append((entry.name, _is_file(entry)))
    return found


def next_role(roles: Sequence[Role], name: str, *, now: datetime) -> Role:
    """Return the role after the newest of `roles`, in the same convention: the next number, or `now` as a timestamp."""
    if not roles:
        return Role("plain", "001", name, False)
    newest = max(roles, key=lambda role: order_of(role.version))
    # A plain down beside an .up.sql is one of its own convention, and both files follow it.
    style: Style = "updown" if any(r.style == "updown" and r.pair == newest.pair for r in roles) else newest.style
    first, *_ = newest.version.split(".")
    number = order_of(newest.version)[0] + 1
    if _is_timestamp(first):
        return Role(style, str(max(number, int(now.strftime("%Y%m%d%H%M%S")))), name, False)
    width = max(len(role.version.split(".")[0]) for role in roles)
    return Role(style, f"{number:0{width}d}", name, False)


def file_names(role: Role) -> tuple[str, str]:
    """Return the names of the up and the down of a role, relative to the folder of migrations."""
    version, name = role.version, role.name
    match role.style:
        case "updown":
            return f"{version}_{name}.up.sql", f"{version}_{name}.down.sql"
        case "flyway":
            return role.up_name, f"U{version}__{name}.sql"
        case "dotted":
            return role.up_name, f"V{version}.{name}.down.sql"
        case "diesel":
            if _is_timestamp(version):
                version = f"{version[:4]}-{version[4:6]}-{version[6:8]}-{version[8:]}"
            return f"{version}_{name}/up.sql", f"{version}_{name}/down.sql"
        case "plain":
            return role.up_name, f"{version}_{name}.down.sql"


@functools.cache
def order_of(version: str) -> tuple[int, ...]:
    """Return what a version is ordered by: its numbers, so that 2 comes before 10, 015 is 15 and 1.0 is 1."""
    numbers = [int(part) for part in re.findall(r"\d+", version)]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    # What the folder itself tells of its files spares asking for each: there may be thousands.
    with os.scandir(folder) as entries:
        return sorted(
            (entry for entry in entries if not re.fullmatch(_IGNORED, entry.name)), key=lambda entry: entry.name
        )


def _is_file(entry: os.DirEntry[str]) -> bool:
    return Path(entry.path).is_file() if entry.is_symlink() else entry.is_file()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


def _is_timestamp(version: str) -> bool:
    return re.fullmatch(r"(19|20)\d{2}(0[1-9]|1[0-2])\d{8}", version) is not None
