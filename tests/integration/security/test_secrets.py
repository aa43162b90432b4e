"""Plants every kind of secret, and benign files of the same shape, in a repository; lets both scanners look at it."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead.security import baseline, detect_secrets, kingfisher, rebaseline
from fairlead.security.report import Scan
from tests.git import git
from tests.integration.security.secret_files import BENIGN, SECRETS, SHOWN_NOWHERE, draw

pytest.importorskip("detect_secrets", reason="the scanner is installed for the security gate only")
if not (Path(sys.executable).parent / "kingfisher").is_file() and shutil.which("kingfisher") is None:
    pytest.skip("the scanner is installed for the security gate only", allow_module_level=True)


def make_repository(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for name, content in files.items():
        (folder / name).write_text(content)
    git(folder, "add", "--all", "--force")
    return folder


def scan_both(repository: Path) -> tuple[Scan, Scan]:
    return detect_secrets.scan(repository), kingfisher.scan(repository)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scan, Scan]:
    # Names that scanners pass over by themselves: an ignored file, and a suffix that stands for a picture.
    ignored = {".gitignore": "*.env\n", ".ignore": "*.py\n"}
    files = {**SECRETS, **BENIGN, **ignored}
    return scan_both(make_repository(tmp_path_factory.mktemp("planted") / "repository", files))


def test_both_scanners_say_that_they_scanned_every_file(planted: tuple[Scan, Scan]) -> None:
    count = len(SECRETS) + len(BENIGN) + 2
    assert [(scan.gaps, scan.looked_at) for scan in planted] == [
        ((), f"{count} of {count} tracked texts scanned"),
        ((), f"{count} of {count} files scanned, all tracked"),
    ]


def test_the_planted_secrets_are_found(planted: tuple[Scan, Scan]) -> None:
    assert len(SECRETS) == 14
    found = {finding.path for scan in planted for finding in scan.findings}
    assert set(SECRETS) - found == set()


def test_benign_files_of_the_same_shape_give_one_alarm_at_most(planted: tuple[Scan, Scan]) -> None:
    assert len(BENIGN) == 11
    alarms = [(scan.tool, one.path) for scan in planted for one in scan.findings if one.path in BENIGN]
    # detect-secrets hands over the first letters of a GitHub token only: no filter can see that the rest is a filler.
    assert alarms == [("detect-secrets", "placeholders.md")]


def test_no_finding_shows_the_secret_that_it_is_about(planted: tuple[Scan, Scan]) -> None:
    shown = repr(planted)
    assert all(any(part in content for part in SHOWN_NOWHERE) for content in SECRETS.values())
    assert not [part for part in SHOWN_NOWHERE if part in shown]


def test_a_mark_excuses_a_line_when_it_says_why(tmp_path: Path) -> None:
    secret = SECRETS["github.yml"].rstrip()
    files = {
        "reason.yml": f"{secret} # pragma: allowlist secret - of a project that is gone\n",
        "none.yml": f"{secret} # pragma: allowlist secret\n",
    }
    for scan in scan_both(make_repository(tmp_path / "repository", files)):
        assert scan.ran
        assert {finding.path for finding in scan.findings} == {"none.yml"}


def test_the_baseline_excuses_what_a_person_has_judged_and_nothing_new(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", {"database.env": SECRETS["database.env"]})
    assert rebaseline.write(repository) == 2  # each scanner's own
    edit_entries(repository, lambda entry: {**entry, "is_secret": False, "reason": "revoked in May"})
    assert all(scan.passed for scan in scan_both(repository))
    (repository / "database.env").write_text(f"OTHER=https://u:{draw(18)}@h.acme-corp.io\n{SECRETS['database.env']}")
    assert [[(one.rule, one.line) for one in scan.findings] for scan in scan_both(repository)] == [
        [("basic-auth-credentials", 1)],
        [("betterleaks.generic-credential-uri", 1)],
    ]
    (repository / "database.env").write_text("GONE=true\n")
    assert [{one.rule for one in scan.findings} for scan in scan_both(repository)] == [{"stale-baseline-entry"}] * 2


def edit_entries(repository: Path, change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    path = repository / baseline.FILE
    content = json.loads(path.read_text())
    content["results"] = {name: [change(one) for one in entries] for name, entries in content["results"].items()}
    path.write_text(json.dumps(content))


def test_what_was_taken_out_again_is_found_in_the_history(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", {"railway.sh": SECRETS["railway.sh"], "a.txt": "a\n"})
    git(repository, "commit", "--quiet", "-m", "Add")
    git(repository, "rm", "--quiet", "railway.sh")
    git(repository, "commit", "--quiet", "-m", f"Remove {SECRETS['github.yml']}")
    scan = kingfisher.scan(repository, history=True)
    assert scan.gaps == ()
    assert scan.looked_at == "4 of 4 files scanned, of the whole history"  # two files, two messages
    assert {finding.path for finding in scan.findings} == {"railway.sh", "commit"}
    rebaseline.write(repository, history=True)
    edit_entries(repository, lambda entry: {**entry, "is_secret": False, "reason": "revoked in May"})
    assert kingfisher.scan(repository, history=True).passed
    assert kingfisher.scan(repository).passed


def test_a_shallow_clone_is_a_gap(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", {"a.txt": "a\n"})
    git(repository, "commit", "--quiet", "-m", "One")
    git(repository, "commit", "--quiet", "--allow-empty", "-m", "Two")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", "shallow")
    scan = kingfisher.scan(tmp_path / "shallow", history=True)
    assert not scan.passed
    assert "shallow" in scan.gaps[0]
