import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fairlead.security import baseline, kingfisher
from fairlead.security.kingfisher import Copies

EXPECTED = Copies({"000000.py": ("a.py", ""), "000001.txt": ("b.lock", "")}, 40)


def result(rule: str, path: str, snippet: str = "s3cret", line: int = 1) -> dict[str, Any]:
    return {"rule": {"id": rule}, "finding": {"path": path, "snippet": snippet, "line": line}}


CANARY = [
    result("betterleaks.github-pat", "/scratch/copies/canary.py"),
    result("fairlead.railway-token", "/scratch/copies/canary.py", line=2),
]


def report(findings: list[dict[str, Any]] | None = None, *, files: int = 3, size: int = 140, partial: int = 0) -> str:
    audit = {"scan_failed": 0, "scan_partial": partial, "pending": 0}
    return json.dumps(
        {
            "findings": CANARY if findings is None else findings,
            "metadata": {"summary": {"blobs_scanned": files, "bytes_scanned": size}},
            "audit": {"summary": audit},
        }
    )


def test_everything_scanned_and_only_the_canary_found_is_clean() -> None:
    found = kingfisher.read(report(), expected=EXPECTED)
    assert (found.secrets, found.gaps, found.looked_at) == ((), (), "2 of 2 files scanned")


def test_a_secret_is_told_of_by_its_file_without_its_value() -> None:
    found = kingfisher.read(
        report([*CANARY, result("betterleaks.jwt", "/scratch/copies/000001.txt", "v4lue", 7)]), expected=EXPECTED
    )
    (secret,) = found.secrets
    assert (secret.path, secret.line, secret.kind) == ("b.lock", 7, "kingfisher betterleaks.jwt")
    assert "v4lue" not in repr(found)


def test_a_secret_in_an_archive_is_the_archives(tmp_path: Path) -> None:
    packed = result("betterleaks.jwt", "/scratch/co!pies/000001.txt!inner/000000.py", line=3)
    found = kingfisher.read(report([*CANARY, packed]), expected=EXPECTED)
    (secret,) = found.secrets
    assert (secret.path, secret.line, found.gaps) == ("b.lock", 0, ())
    # A mark may stand at that line of the archive, where it has nothing to say of what lies in it.
    assert baseline.excuse(tmp_path, found.secrets) == found.secrets


@pytest.mark.parametrize(
    ("text", "gap"),
    [
        (report([*CANARY, result("betterleaks.jwt", "/elsewhere/b.py")]), "1 files that it was not given"),
        (report([*CANARY, result("betterleaks.jwt", "/scratch/copies/000007.py")]), "1 files that it was not given"),
        (report(files=2), "it scanned 2 of 3 files"),
        (report(size=39), "39 of"),
        (report(partial=1), "to the end"),
        (report([]), "planted"),
        (report(CANARY[:1]), "planted"),
        ("", "not usable"),
        ("{}", "not usable"),
        ("[]", "not usable"),
        (report([{"rule": {"id": "x"}}]), "not usable"),
    ],
)
def test_what_was_not_looked_at_is_a_gap(text: str, gap: str) -> None:
    found = kingfisher.read(text, expected=EXPECTED)
    assert any(gap in line for line in found.gaps)


def test_the_command_asks_nothing_over_the_network_and_hides_nothing() -> None:
    command = kingfisher.command(Path("copies"), Path("report.json"), rules=Path("rules.yml"))
    assert {"--no-validate", "--no-update-check", "--no-ignore", "--no-dedup"} <= set(command)


@pytest.mark.parametrize("history", [False, True])
def test_outside_a_checkout_nothing_passes(tmp_path: Path, *, history: bool) -> None:
    scan = kingfisher.scan(tmp_path, history=history)
    assert not scan.passed
    assert scan.gaps


@pytest.mark.parametrize("stub", [["true"], ["false"], ["no-such-scanner"], ["sh", "-c", "exit 200"]])
def test_a_scanner_that_writes_no_report_is_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stub: list[str]
) -> None:
    monkeypatch.setattr(kingfisher, "command", lambda *_, **__: stub)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "a.py").write_text("x = 1\n")
    subprocess.run(["git", "add", "--all"], cwd=tmp_path, check=True)
    scan = kingfisher.scan(tmp_path)
    assert not scan.passed
    assert len(scan.gaps) == 1
