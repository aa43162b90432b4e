import os
import subprocess
from pathlib import Path

import pytest

from fairlead.exceptions import CommandError
from fairlead.security import tracked
from tests.git import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    for name, content in {
        "a b.py": b"x = 1\n",
        "deep/er/x.lock": b"y\n",
        "-f": b"dash\n",
        "gone.py": b"z = 1\n",
        "latin.txt": "caf\u00e9\n".encode("latin-1"),
        "picture.png": b"\x89PNG\r\n\0\0",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "link").symlink_to("a b.py")
    git(tmp_path, "add", "--all")
    (tmp_path / "gone.py").unlink()
    (tmp_path / "untracked.py").write_text("u = 1\n")
    return tmp_path


def test_texts_and_binaries_that_git_tracks_and_that_are_there_are_listed(repository: Path) -> None:
    listed = tracked.list_tracked(repository)
    assert listed.texts == ("-f", "a b.py", "deep/er/x.lock", "latin.txt", "link")
    assert listed.binaries == ("picture.png",)
    assert listed.gaps == ()


@pytest.mark.parametrize(
    "name", ["c\rr.py", "n\nl.py", 'qu"o\\te.py', "t\ta.py", "caf\u00e9 \u2028.py", "\\303.py", " a"]
)
def test_a_file_is_listed_whatever_it_is_called(repository: Path, name: str) -> None:
    (repository / name).write_text("x = 1\n")
    git(repository, "add", "--all")
    listed = tracked.list_tracked(repository)
    assert name in listed.texts
    assert listed.gaps == ()


def test_a_file_whose_name_is_no_text_is_a_gap(repository: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(repository) + b"/caf\xe9.py")).write_text("x = 1\n")
    except OSError:
        pytest.skip("this file system keeps names in UTF-8")
    git(repository, "add", "--all")
    (gap,) = tracked.list_tracked(repository).gaps
    assert gap.startswith('"caf\\351.py": its name is not UTF-8')


def test_copies_have_plain_names_and_texts_in_utf_8(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("copies")
    copies = tracked.lay_out(repository, tracked.list_tracked(repository).files, folder)
    assert copies == {
        "000000.txt": "-f",
        "000001.py": "a b.py",
        "000002.txt": "deep/er/x.lock",
        "000003.txt": "latin.txt",
        "000004.txt": "link",
        "000005.png": "picture.png",
    }
    # What git keeps of a link is where it leads, and not what lies there.
    assert (folder / "000004.txt").read_text() == "a b.py"
    assert (folder / "000003.txt").read_text("utf-8") == "caf\u00e9\n"
    assert (folder / "000005.png").read_bytes() == (repository / "picture.png").read_bytes()


def test_a_repository_that_a_commit_hook_has_named_changes_nothing(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert len(tracked.list_tracked(repository).texts) == 5


def test_outside_a_checkout_there_is_a_gap(tmp_path: Path) -> None:
    listed = tracked.list_tracked(tmp_path)
    assert not listed.files
    assert "git cannot tell which files are tracked" in listed.gaps[0]


def test_why_git_fails_is_told_and_not_the_advice_behind_it() -> None:
    output = "fatal: detected dubious ownership in repository\nTo add an exception, call:\n\n\tgit config --global\n"
    assert tracked.find_cause(CommandError("git failed", output=output)).startswith("fatal: detected dubious")
    assert tracked.find_cause(CommandError("git is not installed")) == "git is not installed"


def test_a_repository_that_tracks_nothing_is_a_gap(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert tracked.list_tracked(tmp_path).gaps == ("git tracks no file with text in it",)


def test_a_file_that_is_not_checked_out_is_a_gap(repository: Path) -> None:
    git(repository, "update-index", "--skip-worktree", "gone.py")
    assert tracked.list_tracked(repository).gaps == ("gone.py: tracked, and not checked out",)


def test_a_submodule_is_a_gap(repository: Path) -> None:
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendor")
    assert tracked.list_tracked(repository).gaps == ("vendor: a submodule, scanned by nothing",)


def test_the_history_holds_every_version_and_every_message(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    git(repository, "commit", "--quiet", "-m", "First")
    (repository / "a b.py").write_text("x = 2\n")
    git(repository, "commit", "--quiet", "--all", "-m", "Second")
    git(repository, "tag", "--annotate", "v1", "-m", "Third")
    folder = tmp_path_factory.mktemp("copies")
    copies = tracked.lay_out_history(repository, folder)
    contents = sorted((path, (folder / copy).read_bytes()) for copy, (path, _) in copies.items())
    assert [path for path, _ in contents if path in {"a b.py", "commit", "tag", "gone.py"}] == [
        *["a b.py"] * 2,
        *["commit"] * 2,
        "gone.py",
        "tag",
    ]
    assert {content for path, content in contents if path == "a b.py"} == {b"x = 1\n", b"x = 2\n"}
    assert b"Third" in dict(contents)["tag"]
    assert ("picture.png", (repository / "picture.png").read_bytes()) in contents


def test_a_graft_hides_nothing_of_the_history(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    git(repository, "commit", "--quiet", "-m", "First")
    git(repository, "commit", "--quiet", "--allow-empty", "-m", "Second")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True)
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "grafts").write_text(head.stdout)
    copies = tracked.lay_out_history(repository, tmp_path_factory.mktemp("copies"))
    assert sorted(path for path, _ in copies.values() if path == "commit") == ["commit"] * 2


def test_a_history_that_git_has_lost_a_part_of_is_refused(repository: Path, tmp_path: Path) -> None:
    git(repository, "commit", "--quiet", "-m", "First")
    for part in (repository / ".git" / "objects").glob("??"):
        for stored in part.iterdir():
            stored.unlink()
    with pytest.raises(CommandError):
        tracked.lay_out_history(repository, tmp_path / "copies")


def test_a_repository_without_a_commit_has_no_history_to_pass(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nothing was ever committed"):
        tracked.lay_out_history(repository, tmp_path / "copies")
