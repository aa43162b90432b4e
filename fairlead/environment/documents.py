"""Renders the two documents of an application's variables, the page and the example, and writes them."""

import contextlib
import difflib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from fairlead.environment.description import Description, Variable
from fairlead.exceptions import ConfigurationError, Error

_MADE_BY: Final = "invoke env.docs"
_HEAD: Final = f"""\
# Written by `{_MADE_BY}`: copy it to .env and fill in what is needed.
# A line that begins with `# NAME=` shows a default, or what a value may look like."""
_EVERYWHERE: Final = {"always": "everywhere", "deployed": "wherever it is deployed"}
_MODE: Final = 0o644


def render_page(described: Description) -> str:
    """Render the page in Markdown: what is required, then every subject, then what else there is to say."""
    parts = [
        f"# {described.title}",
        f"<!-- Written by `{_MADE_BY}`. Change the declarations of the settings, then run it again. -->",
        described.introduction,
    ]
    required = [one for one in described.variables if one.required != "never"]
    if required:
        rows = [(_name(one), _EVERYWHERE[one.required], one.expected, one.purpose) for one in required]
        parts += [
            "## Required",
            _render_table(("variable", "required", "what it should look like", "what it does"), rows),
        ]
    for name, title in described.groups.items():
        members = [one for one in described.variables if one.group == name and one.required == "never"]
        if members:
            parts += [f"## {title}", _render_group(members)]
    parts += [f"## {section.title}\n\n{section.text}" for section in described.closing]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def render_example(described: Description) -> str:
    """Render an .env file in which everything but what is required everywhere is commented out."""
    parts = [_HEAD]
    for name, title in described.groups.items():
        members = [one for one in described.variables if one.group == name and one.read_by is None]
        if members:
            heading = f"# --- {title} ---"
            parts.append("\n\n".join([heading, *(_render_line(one) for one in members)]))
    return "\n\n".join(parts) + "\n"


def find_stale(documents: Mapping[Path, str]) -> tuple[str, ...]:
    """Return a unified diff for each document that is not what stands there; empty where all of them are."""
    return tuple(diff for file, text in documents.items() if (diff := _compare(file, text)))


def write(documents: Mapping[Path, str]) -> tuple[Path, ...]:
    """Write each document that is not what stands there, whole or not at all; return those that were written.

    Raises `Error` where one cannot be.
    """
    stale = [(file, text) for file, text in documents.items() if _read(file) != text]
    for file, text in stale:
        try:
            with _replacing(file) as draft:
                draft.write_text(text, "utf-8", newline="\n")
        except OSError as error:
            raise Error(f"{file} cannot be written: {error.strerror}") from None
    return tuple(file for file, _ in stale)


def _render_group(members: list[Variable]) -> str:
    if any(one.read_by for one in members):
        rows = [(_name(one), one.read_by or "", one.expected, one.purpose) for one in members]
        return _render_table(("variable", "read by", "what it should look like", "what it does"), rows)
    rows = [(_name(one), _quote(one.default), one.expected, one.purpose) for one in members]
    return _render_table(("variable", "default", "what it should look like", "what it does"), rows)


def _name(one: Variable) -> str:
    return f"`{one.name}` (secret)" if one.secret else f"`{one.name}`"


def _quote(default: str | None) -> str:
    return "" if default is None else f"`{default}`"


def _render_table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" if line[0] != "---" else f"|{'|'.join(line)}|" for line in lines)


def _render_line(one: Variable) -> str:
    value = one.example if one.example is not None else one.default or ""
    mark = "" if one.required == "always" else "# "
    lines = (one.purpose.replace("`", ""), f"expected{' (secret)' if one.secret else ''}: {one.expected}")
    return "\n".join([*(f"# {line}" for line in lines), f"{mark}{one.name}={value}"])


def _compare(file: Path, text: str) -> str:
    there = _read(file)
    if there == text:
        return ""
    old, new = (there or "").splitlines(keepends=True), text.splitlines(keepends=True)
    diff = difflib.unified_diff(old, new, str(file), f"{file} as {_MADE_BY} writes it")
    # A last line without its end would run into the next one.
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in diff)


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from None


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Give a new file beside `target` that takes its place when the block ends well."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    draft = Path(name)
    try:
        draft.chmod(_MODE)
        yield draft
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
