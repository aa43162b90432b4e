import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairlead.security import hadolint, tools

ROOT = Path(__file__).parents[3]
CANARY = "/scratch/canary.Dockerfile"
SEEN: dict[str, Any] = {"file": CANARY, "code": "DL3006", "line": 1, "level": "warning", "message": "tag it"}
FOUND = {"file": "Dockerfile", "code": "DL3002", "line": 4, "level": "warning", "message": "Last USER is root"}
BROKEN = {"file": "Dockerfile", "code": "DL1000", "line": 1, "level": "error", "message": "unexpected 'F'\nexpecting"}
GOOD = f"FROM debian:12@sha256:{'0' * 64}\nCOPY a /a\nUSER 10001:10001\n"
Tree = Callable[[dict[str, str]], Path]


def test_every_file_read_and_nothing_found_passes() -> None:
    scan = hadolint.read(json.dumps([SEEN]), expected=["Dockerfile"], canary=CANARY)
    assert scan.passed
    assert scan.looked_at == "1 of 1 Dockerfiles read"


def test_an_entry_is_a_finding_with_its_place_and_weight() -> None:
    (finding,) = hadolint.read(json.dumps([FOUND, SEEN]), expected=["Dockerfile"], canary=CANARY).findings
    assert str(finding) == "Dockerfile:4: DL3002: Last USER is root"
    assert finding.level == "warning"


@pytest.mark.parametrize(
    ("report", "expected", "gap"),
    [
        ("", ["Dockerfile"], "not usable"),
        ("{}", ["Dockerfile"], "fault that was planted"),
        ("[1]", ["Dockerfile"], "not usable"),
        ("[]", ["Dockerfile"], "fault that was planted"),
        (json.dumps([FOUND]), ["Dockerfile"], "fault that was planted"),
        (json.dumps([BROKEN, SEEN]), ["Dockerfile"], "Dockerfile: cannot be parsed: unexpected 'F' expecting"),
        (json.dumps([SEEN]), [], "no Dockerfile"),
    ],
)
def test_what_was_not_looked_at_is_a_gap(report: str, expected: list[str], gap: str) -> None:
    scan = hadolint.read(report, expected=expected, canary=CANARY)
    assert not scan.passed
    assert any(gap in line for line in scan.gaps)


def test_the_command_lets_nothing_be_left_out(tmp_path: Path) -> None:
    made = hadolint.command("hadolint", ["a", "b"], settings=tmp_path / "s", canary=tmp_path / "c")
    assert made[-3:] == ["a", "b", str(tmp_path / "c")]
    assert "--disable-ignore-pragma" in made
    assert made[made.index("--config") + 1] == str(tmp_path / "s")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def plant(files: dict[str, str]) -> Path:
        subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return plant


def test_without_the_tool_nothing_was_checked(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairlead.security.tools.find", lambda _name: None)
    scan = hadolint.scan(tree({"Dockerfile": GOOD}))
    assert scan.gaps
    assert not scan.passed


@pytest.mark.parametrize("script", ["exit 3", "exit 0", "echo '[]'", "echo '{'"])
def test_a_tool_that_does_not_look_is_a_gap(tree: Tree, script: str) -> None:
    root = tree({"Dockerfile": GOOD})
    program = root / ".git" / "hadolint"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    scan = hadolint.scan(root, program=str(program))
    assert scan.gaps
    assert not scan.passed


def test_outside_a_checkout_nothing_was_checked(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(GOOD)
    scan = hadolint.scan(tmp_path, program="true")
    assert any("not a git repository" in gap for gap in scan.gaps)


@pytest.fixture
def tool() -> str:
    found = tools.find("hadolint")
    if found is None:
        pytest.skip("hadolint is installed for the security gate only")
    return found


@pytest.mark.parametrize(
    ("name", "text", "rules"),
    [
        ("Dockerfile", GOOD, []),
        ("Dockerfile", GOOD.replace("10001:10001", "root"), ["DL3002", "root-user"]),
        ("Dockerfile", "FROM python:3.14-slim\nUSER 10001\n", ["image-by-tag"]),
        ("deep/Dockerfile.web", "FROM python\nUSER 10001\n", ["DL3006", "image-by-tag"]),
        ("web.Dockerfile", f"# hadolint ignore=DL3020\n{GOOD.replace('COPY', 'ADD')}", ["DL3020"]),
        ("web/Dockerfile-dev", "FROM python\nUSER 10001\n", ["DL3006", "image-by-tag"]),
        ("dockerfile", "FROM python\nUSER 10001\n", ["DL3006", "image-by-tag"]),
        ("Containerfile", GOOD.replace("USER 10001:10001\n", ""), ["root-user"]),
    ],
)
def test_a_planted_defect_is_caught(tree: Tree, tool: str, name: str, text: str, rules: list[str]) -> None:
    scan = hadolint.scan(tree({name: text, "docs.md": "FROM what is told"}), program=tool)
    found = {finding.rule for finding in scan.findings if finding.path == name}
    assert found >= set(rules)
    assert bool(found) == bool(rules)


def test_settings_that_lie_about_leave_nothing_out(tree: Tree, tool: str) -> None:
    root = tree({"Dockerfile": GOOD.replace("COPY", "ADD"), ".hadolint.yaml": "ignored: [DL3020]\n"})
    assert [finding.rule for finding in hadolint.scan(root, program=tool).findings] == ["DL3020"]


def test_variables_leave_nothing_out(tree: Tree, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HADOLINT_IGNORE", "DL3020")
    root = tree({"Dockerfile": GOOD.replace("COPY", "ADD")})
    assert [finding.rule for finding in hadolint.scan(root, program=tool).findings] == ["DL3020"]


def test_what_says_which_files_a_build_ignores_is_no_dockerfile(tree: Tree, tool: str) -> None:
    scan = hadolint.scan(tree({"Dockerfile": GOOD, "Dockerfile.dockerignore": "*.md\n"}), program=tool)
    assert (scan.passed, scan.looked_at) == (True, "1 of 1 Dockerfiles read, 0 compose files")


@pytest.mark.parametrize(("name", "passed"), [(b"Dockerfile", False), (b"notes", True)])
def test_a_dockerfile_whose_name_is_no_text_is_a_gap(tree: Tree, tool: str, name: bytes, passed: bool) -> None:
    root = tree({"Dockerfile": GOOD})
    folder = os.fsencode(root) + b"/caf\xe9"
    try:
        os.mkdir(folder)  # noqa: PTH102 - its name is bytes
    except OSError:
        pytest.skip("this file system keeps names in UTF-8")
    Path(os.fsdecode(folder + b"/" + name)).write_text("FROM python\n")
    scan = hadolint.scan(root, program=tool)
    assert scan.passed is passed
    assert all("its name is not UTF-8" in gap for gap in scan.gaps)


def test_a_file_that_cannot_be_parsed_is_a_gap_and_the_others_are_read(tree: Tree, tool: str) -> None:
    root = tree({"a/Dockerfile": "FRM debian\n", "b/Dockerfile": "FROM debian:12\nUSER 9\n"})
    scan = hadolint.scan(root, program=tool)
    assert [gap.partition(":")[0] for gap in scan.gaps] == ["a/Dockerfile"]
    assert ("image-by-tag", "b/Dockerfile") in [(one.rule, one.path) for one in scan.findings]


def test_this_repository_has_no_finding(tool: str) -> None:
    scan = hadolint.scan(ROOT, program=tool)
    assert (scan.findings, scan.gaps) == ((), ())
    assert scan.looked_at == "1 of 1 Dockerfiles read, 1 compose file"
