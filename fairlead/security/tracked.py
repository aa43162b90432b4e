"""Lists what git tracks, and lays copies of it out for scanners, so that no scanner chooses for itself what to read.

Scanners leave files out by name, by folder, by what `.gitignore` says. The copies have names that nothing is against,
`000012.py`, and are counted: what a scanner did not read is known by its name.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fairlead._process import Completed, run, spawn, terminate
from fairlead.exceptions import CommandError

_SECONDS: Final = 300
#: Files, and links: what git keeps of one is where it leads, as a text.
_READ: Final = frozenset({"100644", "100755", "120000"})
_MODULE: Final = "160000"

#: How git writes a byte of a name that is more than a letter: `\\303`, `\\n`.
_ESCAPE: Final = re.compile(rb"\\(?:([0-7]{3})|(.))")
_ESCAPED: Final = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}

#: What scanners read differently by its ending; any other text is laid out as `.txt`.
# fmt: off
_TELLING: Final = frozenset({
    ".c", ".cfg", ".conf", ".cpp", ".cs", ".go", ".html", ".ini", ".java", ".js", ".json", ".jsx", ".md", ".php",
    ".properties", ".py", ".pyi", ".rb", ".sh", ".sql", ".swift", ".tf", ".toml", ".ts", ".tsx", ".xml", ".yaml",
    ".yml",
})
# fmt: on


@dataclass(frozen=True, slots=True)
class Tracked:
    """The files that git tracks, relative to `root`: texts in whatever encoding, and what is binary.

    `gaps` are those that should be there and cannot be read. Files removed from the working tree are left out.
    """

    root: Path
    texts: tuple[str, ...]
    binaries: tuple[str, ...]
    gaps: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Every file, texts first."""
        return (*self.texts, *self.binaries)


def git(root: Path, *arguments: str, stdin: str | None = None) -> Completed:
    """Run git in `root`, whatever repository a commit hook may have named; raise `CommandError` when it fails."""
    return run(["git", *arguments], cwd=root, env=environment(), timeout=120, stdin=stdin)


def environment() -> dict[str, str]:
    """Return the process's variables without those that lead git, or a scanner, elsewhere; git shows what is there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "KF_", "KINGFISHER_"))}
    return {**kept, "GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": os.devnull}


def list_tracked(root: Path) -> Tracked:
    """List what git tracks below `root`; outside a checkout, or with nothing tracked, that is a gap."""
    try:
        listing = git(root, "-c", "core.quotePath=true", "ls-files", "--stage", "-t").stdout
    except CommandError as error:
        return Tracked(root, (), (), (f"git cannot tell which files are tracked: {find_cause(error)}",))
    texts, binaries, gaps = set[str](), set[str](), list[str]()
    for line in listing.splitlines():
        facts, _, quoted = line.partition("\t")
        tag, mode = facts.split(" ")[:2]
        try:
            name = read_name(quoted)
        except UnicodeDecodeError:
            gaps.append(f"{quoted}: its name is not UTF-8, so that it cannot be told of: rename it (git mv)")
            continue
        if mode == _MODULE:
            gaps.append(f"{name}: a submodule, scanned by nothing")
        elif mode in _READ and not os.path.lexists(root / name):
            if tag == "S":
                gaps.append(f"{name}: tracked, and not checked out")
        elif mode in _READ:
            try:
                (binaries if is_binary(_read(root / name)) else texts).add(name)
            except OSError as error:
                gaps.append(f"{name}: cannot be read: {error.strerror}")
    if not texts and not gaps:
        gaps.append("git tracks no file with text in it")
    return Tracked(root, tuple(sorted(texts)), tuple(sorted(binaries)), tuple(gaps))


def find_cause(error: CommandError) -> str:
    """Return the line in which git says why it failed; what follows on it is advice."""
    lines = [line for line in error.output.splitlines() if line.strip()]
    return next((line for line in lines if line.startswith("fatal: ")), [error.message, *lines][-1])


def read_name(quoted: str) -> str:
    """Return a file's name from how git quotes it, every byte of it; `UnicodeDecodeError` where it is no UTF-8."""
    if not quoted.startswith('"'):
        return quoted
    return _ESCAPE.sub(_unescape, quoted[1:-1].encode()).decode("utf-8")


def _unescape(found: re.Match[bytes]) -> bytes:
    octal, letter = found.groups()
    return bytes([int(octal, 8)]) if octal else _ESCAPED.get(letter, letter)


def lay_out(root: Path, names: tuple[str, ...], folder: Path) -> dict[str, str]:
    """Copy files into `folder` under plain names, texts in UTF-8; return the file that each copy is of."""
    folder.mkdir(parents=True, exist_ok=True)
    return {_write_copy(folder, number, name, _read(root / name)): name for number, name in enumerate(names)}


def _read(file: Path) -> bytes:
    return os.fsencode(file.readlink()) if file.is_symlink() else file.read_bytes()


def lay_out_history(root: Path, folder: Path) -> dict[str, tuple[str, str]]:
    """Copy everything that was ever committed into `folder`, messages too; return each copy's path and object.

    A message's path is `commit` or `tag`. Raises `CommandError` where the history is not all there.
    """
    if git(root, "rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        message = "the clone is shallow, and most of the history is not in it: git fetch --unshallow"
        raise CommandError(message)
    folder.mkdir(parents=True, exist_ok=True)
    listing = git(root, "rev-list", "--all", "--objects").stdout
    paths = {name: path for name, _, path in (line.partition(" ") for line in listing.split("\n") if line)}
    if not paths:
        message = "nothing was ever committed to the repository"
        raise CommandError(message)
    copies: dict[str, tuple[str, str]] = {}
    for number, (name, kind, content) in enumerate(_read_objects(root, list(paths))):
        path = paths[name] if kind == "blob" else kind
        if kind != "tree":
            copies[_write_copy(folder, number, path, content)] = (path, name)
    return copies


def _read_objects(root: Path, names: list[str]) -> Iterator[tuple[str, str, bytes]]:
    """Yield the name, kind and content of every object; raise `CommandError` where git does not have one."""
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as answer:
        asked.write("".join(f"{name}\n" for name in names).encode())
        asked.seek(0)
        argv = ["git", "cat-file", "--batch", "--buffer"]
        child = spawn(argv, cwd=root, env=environment(), stdin=asked, output=answer)
        try:
            child.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            message = f"git did not hand out the history within {_SECONDS} s"
            raise CommandError(message) from None
        finally:
            terminate(child, grace=0)
        answer.seek(0)
        for name in names:
            head = answer.readline().decode(errors="replace").split()
            if len(head) != 3 or head[0] != name:
                message = f"git does not have {name}, which the history names"
                raise CommandError(message)
            yield name, head[1], answer.read(int(head[2]))
            answer.read(1)


def _write_copy(folder: Path, number: int, name: str, content: bytes) -> str:
    suffix = Path(name).suffix.lower()
    if is_binary(content):
        copy = f"{number:06}{suffix}"
    else:
        content = read_text(content).encode()
        copy = f"{number:06}{suffix if suffix in _TELLING else '.txt'}"
    (folder / copy).write_bytes(content)
    return copy


def read_text(content: bytes) -> str:
    """Decode a text: UTF-8, or else Latin-1, in which every byte stands for something."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def is_binary(content: bytes) -> bool:
    """Tell whether a file is no text, as git does: there is a NUL in it."""
    return b"\0" in content
