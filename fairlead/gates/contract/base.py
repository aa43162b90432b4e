"""What to compare with: the document as it was at another revision, or in a file.

Without a revision given: where this branch left the one it will be merged into; on that branch itself the last
release's tag, and without one the commit before. What cannot be found is an error, never nothing to say.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from fairlead.config import Config
from fairlead.exceptions import ConfigurationError, InconclusiveError
from fairlead.gates._history import History, merged_into
from fairlead.gates.contract.documents import Document, read_document

_TAGS: Final = "v[0-9]*"
_SHORT: Final = 12


@dataclass(frozen=True, slots=True)
class Base:
    """The document to compare with, None where there has never been one; `name` says which revision it is of."""

    name: str
    document: Document | None


def find_base(loaded: Config, file: Path, *, given: str | None = None) -> Base:
    """Find what `file`, the committed document, is compared with.

    `given` names a revision or a file. Raises `ConfigurationError` when it is neither, and `InconclusiveError` when no
    base can be found, as in a checkout without history.
    """
    if given is not None and (loaded.root / given).is_file():
        return Base(given, read_document((loaded.root / given).read_text("utf-8"), name=given))
    git = History(loaded.root)
    if given is not None:
        revision = git.commit(given)
        if revision is None:
            raise ConfigurationError(
                f"{given!r} is neither a revision nor a file",
                hint="git fetch, or name another one: nox -s contract -- --base REVISION",
            )
        return _document_at(git, revision, f"{given} ({revision[:_SHORT]})", file)
    head = git.commit("HEAD")
    if head is None:
        raise InconclusiveError(
            "the contract could not be compared: there is no commit here to compare with",
            hint="name a revision or a file: nox -s contract -- --base REVISION",
        )
    revision, name = _choose(git, head, merged_into(loaded))
    return _document_at(git, revision, f"{name} ({revision[:_SHORT]})", file)


def _choose(git: History, head: str, branches: tuple[str, ...]) -> tuple[str, str]:
    # A commit that such a branch has already is compared with what was before it, not with its own copy elsewhere.
    if fork := git.find_fork(branches):
        return fork[0], f"where this branch left {fork[1]}"
    parent = git.commit("HEAD^")
    describe = ("describe", "--tags", "--abbrev=0", "--match", _TAGS)
    # Clients are on the last release: a pre-release counts only where there has been none.
    for only_releases in (("--exclude", "*-*"), ()) if parent else ():
        if (tag := git.ask(*describe, *only_releases, "HEAD^")) and (tagged := git.commit(tag)):
            return tagged, tag
    if parent:
        return parent, "the commit before"
    if git.is_cut_off:
        raise InconclusiveError(
            "the contract could not be compared: this checkout has no history",
            hint="fetch it (git fetch --unshallow; fetch-depth: 0 in a workflow), or name a file with --base",
        )
    return head, "the first commit"


def _document_at(git: History, revision: str, name: str, file: Path) -> Base:
    here = file.relative_to(git.root).as_posix()
    text = None
    for path in dict.fromkeys((_path_at(git, revision, file.name), here)):
        if text := git.show(revision, path):
            break
        # It may have been taken away on the way: then what clients know is what was there before.
        last = git.ask("rev-list", "-1", revision, "--", path)
        if last and (text := git.show(f"{last}^", path)):
            name = f"{name}, as it was before {last[:_SHORT]} removed it"
            break
    if text is None and git.is_cut_off:
        raise InconclusiveError(
            f"the contract could not be compared: {path} is not at {name}, and the history is cut off there",
            hint="git fetch --unshallow; in a workflow: fetch-depth: 0",
        )
    return Base(name, None if text is None else read_document(text, name=f"{path} at {name}"))


def _path_at(git: History, revision: str, name: str) -> str:
    """Return where the document stood at a revision, as the configuration of that time says."""
    try:
        table = tomllib.loads(git.show(revision, "pyproject.toml") or "")["tool"]["fairlead"]
        return (PurePosixPath(table["backend"]) / name).as_posix()
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        return f"backend/{name}"  # which it is where nothing is said
