"""The facts of a build, from real git repositories."""

import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fairlead import build
from fairlead._process import Completed
from fairlead.build import BuildInfo
from fairlead.exceptions import CommandError, ConfigurationError

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(autouse=True)
def _own_git(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the machine's git settings out, and give commits a name."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    for name, value in {
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CEILING_DIRECTORIES": str(home.parent),
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.com",
    }.items():
        monkeypatch.setenv(name, value)


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", root, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "a repository"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch", "develop")
    (root / "file.txt").write_text("one\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "first")
    return root


def collect(root: Path, environ: dict[str, str] | None = None, **more: Any) -> BuildInfo:
    return build.collect(root, name="maya", version="0.1.0", environ=environ or {}, now=NOW, **more)


INFO = BuildInfo(
    name="maya",
    version="1.2.3",
    revision="0123456789abcdef",
    branch="main",
    build_number="7",
    build_time="2024-05-06T07:08:09Z",
    digest="sha256:00",
    actor="Zoë",
    dirty=False,
)


# --- from git ---


@needs_git
def test_clean_checkout_gives_revision_branch_and_time(repository: Path) -> None:
    info = collect(repository)
    assert info.revision == git(repository, "rev-parse", "HEAD")
    assert (info.name, info.version, info.branch) == ("maya", "0.1.0", "develop")
    assert (info.build_number, info.build_time) == ("local", "2024-05-06T07:08:09Z")
    assert (info.digest, info.dirty) == ("", False)
    assert info.actor


@needs_git
@pytest.mark.parametrize(
    ("tags", "version"),
    [
        (["v1.2.3"], "1.2.3"),
        (["v1.9.0", "v1.10.0"], "1.10.0"),
        (["v2.0.0-rc1", "v2.0.0"], "2.0.0"),
        (["release-9", "version"], "0.1.0"),
        (["1.2.3"], "0.1.0"),
    ],
)
def test_version_is_the_highest_tag_of_the_commit(repository: Path, tags: list[str], version: str) -> None:
    for tag in tags:
        git(repository, "tag", tag)
    assert collect(repository).version == version


@needs_git
def test_tag_of_an_earlier_commit_is_not_the_version(repository: Path) -> None:
    git(repository, "tag", "v1.2.3")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "second")
    assert collect(repository).version == "0.1.0"


def _change(root: Path) -> None:
    (root / "file.txt").write_text("two\n")


def _add(root: Path) -> None:
    (root / "new.txt").write_text("new\n")


def _stage(root: Path) -> None:
    _add(root)
    git(root, "add", ".")


def _remove(root: Path) -> None:
    (root / "file.txt").unlink()


@needs_git
@pytest.mark.parametrize("change", [_change, _add, _stage, _remove])
def test_any_uncommitted_change_makes_it_dirty(repository: Path, change: Callable[[Path], None]) -> None:
    change(repository)
    assert collect(repository).dirty is True


@needs_git
def test_ignored_file_does_not_make_it_dirty(repository: Path) -> None:
    (repository / ".git/info/exclude").write_text("*.log\n")
    (repository / "x.log").write_text("")
    assert collect(repository).dirty is False


@needs_git
def test_detached_head_has_a_revision_and_no_branch(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "--detach")
    info = collect(repository)
    assert (info.branch, info.dirty) == ("unknown", False)
    assert info.revision == git(repository, "rev-parse", "HEAD")


@needs_git
def test_repository_without_a_commit_has_a_branch_and_no_revision(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    info = collect(tmp_path)
    assert (info.revision, info.branch) == ("unknown", "main")


@needs_git
def test_folder_outside_git_counts_as_dirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    info = collect(tmp_path)
    assert (info.revision, info.branch, info.version, info.dirty) == ("unknown", "unknown", "0.1.0", True)


def test_machine_without_git_counts_as_dirty(tmp_path: Path) -> None:
    def missing(argv: Any, **options: Any) -> Completed:
        raise CommandError("git is not installed or not on PATH")

    info = collect(tmp_path, runner=missing)
    assert (info.revision, info.branch, info.version, info.dirty) == ("unknown", "unknown", "0.1.0", True)


def test_tree_whose_state_cannot_be_read_counts_as_dirty(tmp_path: Path) -> None:
    def broken_status(argv: Any, **options: Any) -> Completed:
        return Completed(tuple(map(str, argv)), 128 if "status" in argv else 0, "", "")

    assert collect(tmp_path, runner=broken_status).dirty is True


# --- from the environment ---


@needs_git
def test_variables_of_github_beat_git(repository: Path) -> None:
    info = collect(
        repository,
        {"GITHUB_SHA": "f" * 40, "GITHUB_REF_NAME": "main", "GITHUB_RUN_NUMBER": "42", "GITHUB_ACTOR": "octocat"},
    )
    assert (info.revision, info.branch, info.build_number, info.actor) == ("f" * 40, "main", "42", "octocat")


@pytest.mark.parametrize(
    ("environ", "branch"),
    [
        ({"GITHUB_REF_NAME": "12/merge", "GITHUB_HEAD_REF": "feature"}, "feature"),
        ({"GITHUB_REF_NAME": "main", "GITHUB_HEAD_REF": ""}, "main"),
    ],
)
def test_branch_of_a_pull_request_is_its_source(tmp_path: Path, environ: dict[str, str], branch: str) -> None:
    assert collect(tmp_path, environ).branch == branch


@pytest.mark.parametrize(
    ("environ", "number"),
    [
        ({}, "local"),
        ({"GITHUB_RUN_NUMBER": "42"}, "42"),
        ({"GITHUB_RUN_NUMBER": "42", "FAIRLEAD_BUILD_NUMBER": "7"}, "7"),
        ({"GITHUB_RUN_NUMBER": "42", "FAIRLEAD_BUILD_NUMBER": ""}, "42"),
    ],
)
def test_build_number_is_ours_then_githubs_then_local(tmp_path: Path, environ: dict[str, str], number: str) -> None:
    assert collect(tmp_path, environ).build_number == number


@pytest.mark.parametrize(("epoch", "time"), [("0", "1970-01-01T00:00:00Z"), ("1715000000", "2024-05-06T12:53:20Z")])
def test_source_date_epoch_is_the_build_time(tmp_path: Path, epoch: str, time: str) -> None:
    assert collect(tmp_path, {"SOURCE_DATE_EPOCH": epoch}).build_time == time


@pytest.mark.parametrize("epoch", ["", "yesterday", "1.5", "9" * 30])
def test_source_date_epoch_that_is_no_time_is_refused(tmp_path: Path, epoch: str) -> None:
    with pytest.raises(ConfigurationError, match="SOURCE_DATE_EPOCH must be whole seconds"):
        collect(tmp_path, {"SOURCE_DATE_EPOCH": epoch})


def test_time_is_written_in_utc_whatever_the_zone_of_now(tmp_path: Path) -> None:
    now = datetime.fromisoformat("2024-05-06T07:08:09+02:00")
    info = build.collect(tmp_path, name="maya", version="1", environ={}, now=now)
    assert info.build_time == "2024-05-06T05:08:09Z"


@pytest.mark.parametrize("error", [KeyError("no such uid"), OSError("no name")])
def test_user_without_a_name_is_unknown(tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise error

    monkeypatch.setattr("getpass.getuser", nameless)
    assert collect(tmp_path).actor == "unknown"


# --- build-info.json ---


def test_facts_survive_the_round_trip() -> None:
    assert build.parse(INFO.to_json()) == INFO


def test_json_is_the_same_text_each_time_and_ends_with_a_newline() -> None:
    text = INFO.to_json()
    assert text == build.parse(text).to_json()
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert text.endswith("}\n")


def test_unknown_facts_of_a_later_version_are_passed_over() -> None:
    assert build.parse(json.dumps({**json.loads(INFO.to_json()), "colour": "red"})) == INFO


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", "{}", json.dumps({"name": "maya"})]
    + [
        json.dumps({**json.loads(INFO.to_json()), name: value})
        for name, value in (("version", None), ("digest", 3), ("dirty", "no"), ("dirty", 0), ("revision", []))
    ],
)
def test_malformed_build_info_is_an_expected_error(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"build-info\.json is not what a build writes") as caught:
        build.parse(text)
    assert caught.value.hint


def test_digest_is_filled_into_a_copy() -> None:
    assert INFO.with_digest("sha256:ff").digest == "sha256:ff"
    assert INFO.digest == "sha256:00"


@pytest.mark.parametrize(
    ("dirty", "title"), [(False, "1.2.3 (0123456789)"), (True, "1.2.3 (0123456789, with uncommitted changes)")]
)
def test_title_names_version_revision_and_state(dirty: bool, title: str) -> None:
    facts = {**json.loads(INFO.to_json()), "dirty": dirty}
    assert BuildInfo(**facts).title == title


# --- the labels of an image ---


def labels(info: BuildInfo = INFO, **more: Any) -> dict[str, str]:
    found = build.image_labels(info, **{"environ": {}, **more})
    prefix = "org.opencontainers.image."
    assert all(name.startswith(prefix) for name in found)
    return {name.removeprefix(prefix): fact for name, fact in found.items()}


def test_labels_are_the_facts_of_the_build() -> None:
    assert labels(description="Sells things", source="https://example.com/maya") == {
        "created": "2024-05-06T07:08:09Z",
        "description": "Sells things",
        "revision": "0123456789abcdef",
        "source": "https://example.com/maya",
        "title": "maya",
        "version": "1.2.3",
    }


def test_what_is_not_known_has_no_label() -> None:
    unknown = dataclasses.replace(INFO, revision=build.UNKNOWN, dirty=True)
    assert labels(unknown).keys() == {"created", "title", "version"}


def test_revision_of_uncommitted_changes_says_so() -> None:
    assert labels(dataclasses.replace(INFO, dirty=True))["revision"] == "0123456789abcdef-dirty"


@pytest.mark.parametrize(
    ("environ", "source"),
    [
        ({"GITHUB_REPOSITORY": "acme/maya"}, "https://github.com/acme/maya"),
        (
            {"GITHUB_REPOSITORY": "acme/maya", "GITHUB_SERVER_URL": "https://git.acme.com"},
            "https://git.acme.com/acme/maya",
        ),
        ({"GITHUB_SERVER_URL": "https://github.com"}, None),
        ({"GITHUB_REPOSITORY": ""}, None),
    ],
)
def test_source_is_the_repository_that_github_names(environ: dict[str, str], source: str | None) -> None:
    assert labels(environ=environ).get("source") == source
    assert labels(environ=environ, source="https://example.com")["source"] == "https://example.com"


def test_each_label_is_one_line() -> None:
    assert labels(description=" Sells\n  things\t ")["description"] == "Sells things"
