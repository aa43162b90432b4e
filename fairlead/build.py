"""Collects what is known of a build: version, revision, branch, build number, time, actor; and labels an image with it.

None of it enters the digest: two builds of one tree are the same bundle, whoever makes them and whenever.
"""

import dataclasses
import getpass
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fairlead._process import Completed, run
from fairlead.exceptions import CommandError, ConfigurationError

#: The file's name inside a bundle and inside the release made from it.
FILE = "build-info.json"
UNKNOWN = "unknown"

# By version, not by letter, and a pre-release (v2.0.0-rc1) before its release.
_TAGS = ("-c", "versionsort.suffix=-", "tag", "--points-at", "HEAD", "--sort=version:refname", "--list", "v[0-9]*")

Runner = Callable[..., Completed]


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """The facts of one build. `digest` is the bundle's identity; the other facts may differ from build to build."""

    name: str
    version: str
    revision: str
    branch: str
    build_number: str
    build_time: str
    digest: str
    actor: str
    dirty: bool

    def with_digest(self, digest: str) -> "BuildInfo":
        """Return the same facts with the digest filled in."""
        return dataclasses.replace(self, digest=digest)

    def to_json(self) -> str:
        """Render the content of build-info.json."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @property
    def title(self) -> str:
        """Name the build in a few words: version, revision, and whether the tree was clean."""
        return f"{self.version} ({self.revision[:10]}{', with uncommitted changes' if self.dirty else ''})"


def parse(text: str) -> BuildInfo:
    """Read the content of build-info.json; raise `ConfigurationError` when it is not one."""
    try:
        facts = json.loads(text)
        return BuildInfo(**{field.name: _fact(facts, field.name) for field in dataclasses.fields(BuildInfo)})
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{FILE} is not what a build writes: {error}", hint="build the bundle again: invoke build"
        ) from None


def image_labels(
    info: BuildInfo, *, description: str | None = None, source: str | None = None, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the labels of an image that is built from the bundle of `info`, sorted; what is not known has none.

    The revision of a tree with uncommitted changes ends in `-dirty`, as `git describe` has it. Without `source`, the
    repository is the one that GitHub says it runs for. Source: OCI image specification, annotations.md.
    """
    repository = environ.get("GITHUB_REPOSITORY")
    if source is None and repository:
        source = f"{environ.get('GITHUB_SERVER_URL') or 'https://github.com'}/{repository}"
    facts = {
        "created": info.build_time,
        "description": description,
        "revision": f"{info.revision}-dirty" if info.dirty and info.revision != UNKNOWN else info.revision,
        "source": source,
        "title": info.name,
        "version": info.version,
    }
    # A label is one line wherever it is shown.
    words = {name: " ".join(fact.split()) for name, fact in facts.items() if fact and fact != UNKNOWN}
    return {f"org.opencontainers.image.{name}": fact for name, fact in words.items()}


def _fact(facts: Any, name: str) -> Any:
    expected = bool if name == "dirty" else str
    if not isinstance(facts, dict) or not isinstance(facts.get(name), expected):
        raise ValueError(f"{name} is missing or of the wrong type")
    return facts[name]


def collect(
    root: Path,
    *,
    name: str,
    version: str,
    environ: Mapping[str, str],
    now: datetime | None = None,
    runner: Runner = run,
) -> BuildInfo:
    """Collect the facts of a build of the repository at `root`.

    The highest tag `v1.2.3` on the commit gives the version, else `version` does. The time is `SOURCE_DATE_EPOCH` when
    that is set, else `now`. Outside a git checkout revision and branch are "unknown". A tree whose state cannot be read
    counts as dirty.
    """
    inside = _git(root, runner, "rev-parse", "--show-toplevel") is not None
    tags = (_git(root, runner, *_TAGS) or "").split()
    changes = _git(root, runner, "status", "--porcelain", "--untracked-files=normal") if inside else None
    return BuildInfo(
        name=name,
        version=tags[-1].removeprefix("v") if tags else version,
        revision=environ.get("GITHUB_SHA") or _git(root, runner, "rev-parse", "HEAD") or UNKNOWN,
        branch=environ.get("GITHUB_HEAD_REF")
        or environ.get("GITHUB_REF_NAME")
        or _git(root, runner, "branch", "--show-current")
        or UNKNOWN,
        build_number=environ.get("FAIRLEAD_BUILD_NUMBER") or environ.get("GITHUB_RUN_NUMBER") or "local",
        build_time=_time(environ, now).strftime("%Y-%m-%dT%H:%M:%SZ"),
        digest="",
        actor=environ.get("GITHUB_ACTOR") or user(),
        dirty=changes is None or bool(changes),
    )


def _time(environ: Mapping[str, str], now: datetime | None) -> datetime:
    epoch = environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return (now or datetime.now(UTC)).astimezone(UTC)
    try:
        return datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError):
        message = f"SOURCE_DATE_EPOCH must be whole seconds since 1970, not {epoch!r}"
        raise ConfigurationError(message, hint="unset it, or set it to: git log -1 --format=%ct") from None


def _git(root: Path, runner: Runner, *arguments: str) -> str | None:
    try:
        done = runner(["git", "-C", root, *arguments], check=False, timeout=30)
    except CommandError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def user() -> str:
    """Return who runs this, as the machine knows them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return UNKNOWN
