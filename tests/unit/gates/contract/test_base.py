"""Which revision the document is compared with, in repositories made for it."""

import json
import subprocess
from pathlib import Path

import pytest

from fairlead import config
from fairlead.exceptions import ConfigurationError, InconclusiveError
from fairlead.gates.contract.base import Base, find_base

CONFIGURATION = (
    '[tool.fairlead]\nname = "x"\n\n[tool.fairlead.environments.staging]\nplatform = "local"\nbranch = "trunk"\n'
)
FILE = "backend/openapi.json"


class Repository:
    """A repository whose commits each have a document of their own version."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "--quiet", "--initial-branch", "trunk")
        self.git("config", "user.email", "a@example.org")
        self.git("config", "user.name", "A")
        (root / "backend").mkdir()
        (root / "pyproject.toml").write_text(CONFIGURATION)

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "commit.gpgsign=false", "-C", str(self.root), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, version: str | None) -> str:
        file = self.root / FILE
        if version is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text(json.dumps({"openapi": "3.1.0", "info": {"version": version}, "paths": {}}))
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", f"{version}")
        return self.git("rev-parse", "HEAD")

    def branch(self, name: str) -> None:
        self.git("checkout", "--quiet", "-B", name)

    def base(self, given: str | None = None, **environ: str) -> Base:
        return find_base(config.load(self.root, environ=environ), self.root / FILE, given=given)

    def version(self, given: str | None = None, **environ: str) -> str:
        document = self.base(given, **environ).document
        assert document is not None
        return document.version


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_a_branch_is_compared_with_where_it_left_the_one_it_goes_to(repository: Repository) -> None:
    repository.commit("1.0.0")
    repository.branch("mine")
    repository.commit("1.1.0")
    repository.git("checkout", "--quiet", "trunk")
    repository.commit("9.0.0")
    repository.git("checkout", "--quiet", "mine")
    assert repository.version() == "1.0.0"
    assert "where this branch left trunk" in repository.base().name


def test_of_several_branches_the_nearest_counts(repository: Repository) -> None:
    repository.commit("1.0.0")
    repository.branch("main")
    repository.commit("1.1.0")
    repository.branch("mine")
    repository.commit("1.2.0")
    assert repository.version() == "1.1.0"
    assert repository.version(GITHUB_BASE_REF="trunk") == "1.0.0"


def test_on_the_branch_itself_the_last_release_counts(repository: Repository) -> None:
    repository.commit("1.0.0")
    repository.git("tag", "v1.0.0")
    repository.commit("1.1.0")
    repository.commit("1.2.0")
    repository.git("tag", "v1.2.0")
    assert repository.base().name.startswith("v1.0.0 (")
    assert repository.version() == "1.0.0"


def test_a_pre_release_counts_only_where_nothing_was_released(repository: Repository) -> None:
    repository.commit("1.4.0-rc.1")
    repository.git("tag", "v1.4.0-rc.1")
    repository.commit("1.4.0")
    assert repository.version() == "1.4.0-rc.1"
    repository.git("tag", "v1.4.0")
    repository.commit("1.5.0-rc.1")
    repository.git("tag", "v1.5.0-rc.1")
    repository.commit("1.5.0")
    assert repository.version() == "1.4.0"


def test_a_branch_that_was_asked_for_and_is_not_here_is_an_error(repository: Repository) -> None:
    repository.commit("1.0.0")
    repository.branch("topic")
    repository.commit("1.1.0")
    with pytest.raises(InconclusiveError, match="no commit here is common with main"):
        repository.base(GITHUB_BASE_REF="main")
    repository.git("branch", "--quiet", "--delete", "--force", "trunk")
    with pytest.raises(InconclusiveError, match="no commit here is common with main"):
        repository.base(GITHUB_BASE_REF="main")


def test_a_branch_whose_goal_is_not_known_is_an_error(repository: Repository, tmp_path: Path) -> None:
    repository.git("checkout", "--quiet", "--orphan", "line")
    repository.commit("1.0.0")
    repository.commit("1.1.0")
    assert repository.base().name.startswith("the commit before")  # the only branch: what else should it go into?
    repository.branch("topic")
    repository.commit("1.2.0")
    with pytest.raises(InconclusiveError, match="no commit here is common with trunk or develop"):
        repository.base()
    repository.git("checkout", "--quiet", "line")
    whole, part = tmp_path / "whole", tmp_path / "part"
    repository.git("clone", "--quiet", str(tmp_path), str(whole))
    for command in (["checkout", "--quiet", "topic"], ["branch", "--quiet", "--delete", "line"]):
        subprocess.run(["git", "-C", str(whole), *command], check=True)
    assert find_base(config.load(whole, environ={}), whole / FILE).name.startswith("where this branch left origin/HEAD")
    repository.git("clone", "--quiet", "--single-branch", "--branch", "topic", str(tmp_path), str(part))
    with pytest.raises(InconclusiveError, match="no commit here is common with"):
        find_base(config.load(part, environ={}), part / FILE)


def test_a_document_that_moved_is_compared_with_where_it_was(repository: Repository) -> None:
    repository.commit("1.0.0")
    (repository.root / "services").mkdir()
    repository.git("mv", "backend", "services/api")
    file = repository.root / "services" / "api" / "openapi.json"
    (repository.root / "pyproject.toml").write_text(
        CONFIGURATION.replace('"x"\n', '"x"\nbackend = "services/api"\n', 1)
    )
    repository.git("commit", "--quiet", "--all", "--message", "moved")
    for expected in ("1.0.0", "1.0.0", "1.0.0"):
        document = find_base(config.load(repository.root, environ={}), file).document
        assert document is not None
        assert document.version == expected
        repository.git("commit", "--quiet", "--allow-empty", "--message", "further")


def test_without_a_release_the_commit_before_counts(repository: Repository) -> None:
    repository.commit("1.0.0")
    repository.commit("1.1.0")
    repository.commit("1.2.0")
    assert repository.version() == "1.1.0"


def test_a_merge_is_not_compared_with_what_it_merged(repository: Repository) -> None:
    repository.commit("1.0.0")
    repository.branch("develop")
    repository.commit("2.0.0")
    repository.git("checkout", "--quiet", "trunk")
    repository.git("merge", "--quiet", "--no-ff", "--message", "merge", "develop")
    assert repository.version() == "1.0.0"


def test_a_revision_or_a_file_that_is_named_counts(repository: Repository, tmp_path: Path) -> None:
    first = repository.commit("1.0.0")
    repository.commit("1.1.0")
    (tmp_path / "other.json").write_text('{"openapi": "3.1.0", "info": {"version": "7.0.0"}, "paths": {}}')
    assert repository.version(first) == "1.0.0"
    assert repository.version("HEAD") == "1.1.0"
    assert repository.version("other.json") == "7.0.0"
    with pytest.raises(ConfigurationError, match="neither a revision nor a file"):
        repository.base("nowhere")
    with pytest.raises(ConfigurationError, match="neither a revision nor a file"):
        repository.base("--output=x")


@pytest.mark.parametrize("commits", [1, 2])
def test_the_first_document_has_nothing_to_be_compared_with(repository: Repository, commits: int) -> None:
    for _ in range(commits):
        repository.commit(None)
    assert repository.base().document is None
    repository.commit("1.0.0")
    assert repository.base().document is None


def test_a_document_that_was_taken_away_in_between_still_counts(repository: Repository) -> None:
    repository.commit("1.0.0")
    gone = repository.commit(None)
    repository.commit("1.1.0")
    assert repository.version() == "1.0.0"
    assert f"before {gone[:12]} removed it" in repository.base().name


def test_without_history_nothing_can_be_compared(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(InconclusiveError, match="no commit here"):
        repository.base()
    repository.commit("1.0.0")
    repository.commit("1.1.0")
    shallow = tmp_path / "shallow"
    repository.git("clone", "--quiet", "--depth", "1", f"file://{tmp_path}", str(shallow))
    with pytest.raises(InconclusiveError, match="no history"):
        find_base(config.load(shallow, environ={}), shallow / FILE)


def test_outside_a_repository_nothing_can_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "pyproject.toml").write_text(CONFIGURATION)
    with pytest.raises(InconclusiveError, match="no commit here"):
        find_base(config.load(tmp_path, environ={}), tmp_path / FILE)


def test_a_document_of_the_base_that_cannot_be_read_is_an_error(repository: Repository) -> None:
    repository.commit("1.0.0")
    (repository.root / FILE).write_text("{")
    repository.git("commit", "--quiet", "--all", "--message", "broken")
    with pytest.raises(ConfigurationError, match="it is not JSON"):
        repository.base("HEAD")
