"""Reads an .env file as uvicorn's `--env-file` does, and refuses what it does not understand.

No message holds a value.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from fairlead.exceptions import ConfigurationError

_LINE: Final = re.compile(
    r"""\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*
    (?:(?P<equals>=\s*)
      (?: '(?P<single>(?:\\.|[^'\\])*)'\s*(?:\#.*)?
        | "(?P<double>(?:\\.|[^"\\])*)"\s*(?:\#.*)?
        | (?P<plain>(?!['"]).*)
      )
    | (?:\#.*)? )""",
    re.VERBOSE,
)
_SINGLE_ESCAPES: Final = re.compile(r"\\([\\'])")
_DOUBLE_ESCAPES: Final = re.compile(r"\\([\\'\"abfnrtv])")
_MEANINGS: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def load_variables(file: Path) -> Mapping[str, str]:
    """Load the variables of an .env file; the last line that names one wins.

    Raises `ConfigurationError` where the file cannot be read, and naming every line that is not understood: a value
    over several lines, and `${NAME}`, which is not filled in here.
    """
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"there is no file {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"{file} cannot be read: {why}") from None
    problems: list[str] = []
    found = dict(_read_lines(text, problems))
    if problems:
        raise ConfigurationError(f"{file} cannot be understood", problems=tuple(problems))
    return found


def _read_lines(text: str, problems: list[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff")), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            problems.append(f"line {number}: is not NAME=value on one line")
        elif "${" in line:
            problems.append(f"line {number}: holds ${{…}}, which is not filled in here; write the value itself")
        elif match["equals"]:
            yield match["name"], _read_value(match)


def _read_value(match: re.Match[str]) -> str:
    if match["single"] is not None:
        return _SINGLE_ESCAPES.sub(r"\1", match["single"])
    if match["double"] is not None:
        return _DOUBLE_ESCAPES.sub(lambda found: _MEANINGS.get(found[1], found[1]), match["double"])
    if match["plain"].startswith("#") and len(match["equals"]) > 1:
        return ""
    return re.sub(r"\s+#.*", "", match["plain"]).rstrip()
