"""What hadolint does not look at: images that are named by a tag, and containers that run as root.

A tag is moved to other bytes at its owner's will; a digest is those bytes. hadolint complains only of no tag at all,
and of a root user only where one is named, though root is what a Dockerfile without any gets.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fairlead.security.report import Finding

BY_TAG: Final = "image-by-tag"
ROOT_USER: Final = "root-user"

_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}$")
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")
_COMPOSE_IMAGE: Final = re.compile(
    r"""^(?:(?:[^#"']*[\s{,])?image|[^#]*["']image["']\s*):\s*(?:&\w+\s+)?["']?(?P<image>[^\s"'#,}]*)"""
)
#: The image, or the stage, that files are copied from or that is mounted.
_FROM: Final = re.compile(r"""--(?:mount=(?:[^\s,]+,)*)?from=["']?([^\s,"']+)""")
_HERE_DOCUMENT: Final = re.compile(r"""(?:^|\s)\d*<<(-?)(["']?)(\w+)\2(?=\s|$)""")
#: Built on this machine, and in no registry where somebody could move it.
_LOCAL: Final = "localhost/"


@dataclass(frozen=True, slots=True)
class _Instruction:
    word: str
    rest: str
    line: int


def check_dockerfile(text: str, path: str) -> tuple[Finding, ...]:
    """Find every image that is taken by a tag, and a last stage whose user is, or may be, root."""
    found: list[Finding] = []
    arguments: dict[str, str] = {}
    stages: dict[str, str] = {}
    user, current, last = "", "", 1
    for one in _instructions(text):
        if one.word == "ARG":
            name, _, default = one.rest.partition("=")
            arguments.setdefault(name.strip(), default.strip().strip("\"'"))
        elif one.word == "FROM":
            words = [word for word in one.rest.split() if not word.startswith("--")]
            image = _fill(words[0], arguments) if words else ""
            # A stage goes on with the user of the stage that it is made from; a base's is not known.
            user, last = stages.get(image.lower(), ""), one.line
            if image.lower() not in stages:
                found += _check_image(image, path, one.line)
            if len(words) == 3 and words[1].upper() == "AS":
                stages[words[2].lower()] = user
                current = words[2].lower()
            else:
                current = ""
        elif one.word == "USER":
            user, last = one.rest.strip(), one.line
            if current:
                stages[current] = user
        elif one.word in {"COPY", "RUN"}:
            sources = [_fill(source, arguments) for source in _FROM.findall(one.rest)]
            for image in (one for one in sources if one.lower() not in stages and not one.isdecimal()):
                found += _check_image(image, path, one.line)
    return (*found, *_check_user(user, path, last))


def check_compose(text: str, path: str) -> tuple[Finding, ...]:
    """Find every image that a compose file takes by a tag; one that was built on this machine has no other name."""
    found: list[Finding] = []
    for number, line in enumerate(text.splitlines(), 1):
        match = _COMPOSE_IMAGE.match(line)
        # Where nothing stands behind the name, the image is on a line of its own: it is not seen, and not let pass.
        if match and not match["image"].startswith((_LOCAL, "*")):
            found += _check_image(match["image"], path, number)
    return tuple(found)


def _check_image(image: str, path: str, line: int) -> list[Finding]:
    if image == "scratch" or _DIGEST.search(image):
        return []
    return [Finding(BY_TAG, "takes an image by a name that can be moved; pin it: NAME@sha256:…", path, line, image)]


def _check_user(user: str, path: str, line: int) -> list[Finding]:
    number = user.partition(":")[0]
    if number.isdecimal() and int(number) > 0:
        return []
    why = f"runs as {user}, which a cluster cannot tell from root" if user else "runs as root: no USER says otherwise"
    if number in {"root", "0"}:
        why = "runs as root"
    return [Finding(ROOT_USER, f"{why}; name a user by a number: USER 10001:10001", path, line)]


def _fill(word: str, arguments: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: arguments.get(match[1] or match[3], "") or match[2] or "", word)


def _instructions(text: str) -> Iterator[_Instruction]:
    """Yield the instructions, each with the number of its first line, continued lines joined, without documents."""
    lines = text.splitlines()
    pending, start, skipped = "", 0, 0
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if number <= skipped or stripped.startswith("#") or (not stripped and not pending):
            continue
        start = start or number
        pending += stripped.removesuffix("\\") + " "
        if not stripped.endswith("\\"):
            word, _, rest = pending.strip().partition(" ")
            yield _Instruction(word.upper(), rest.strip(), start)
            pending, start, skipped = "", 0, _find_end(rest, lines, number)


def _find_end(rest: str, lines: Sequence[str], number: int) -> int:
    """Return the number of the last line of the documents that an instruction, which ends at `number`, is given."""
    for tabs, _, word in _HERE_DOCUMENT.findall(rest):
        body = enumerate(lines[number:], number + 1)
        ends = (at for at, line in body if (line.lstrip("\t") if tabs else line) == word)
        # Without its end it is no document, and what follows is what it seems to be.
        number = next(ends, number)
    return number
