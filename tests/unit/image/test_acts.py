"""`image.build`, `image.run` and `image.scan`, with a stand-in for the engine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairlead.security import hadolint, trivy
from fairlead.security.report import Finding, Scan
from fairlead.tasks import find_act

PROJECT = """
[tool.fairlead]
name = "shop"
[tool.fairlead.bundle]
include = ["Dockerfile"]
[tool.fairlead.deploy]
required-variables = ["API_KEY", "PLACE"]
"""
INSPECTED = {"Id": "sha256:1", "Config": {"User": "1", "Cmd": ["serve"]}}
CLEAN = Scan("hadolint", "all")
Engine = Callable[[str], None]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend" / "Dockerfile").write_text("FROM scratch\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def engine(project: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Put a docker first on PATH that works, and does what the script says."""

    def install(script: str) -> None:
        known = f'[ $1 = version ] && {{ echo 28; exit 0; }}; [ $1 = rm ] && exit 0\necho "$@" >> {project}/called\n'
        inspects = f"[ $1 = image ] && {{ echo '{json.dumps([INSPECTED])}'; exit 0; }}\n"
        (project / "docker").write_text(f"#!/bin/sh\n{known}{inspects}{script}\n")
        (project / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", str(project), prepend=":")

    return install


def call(name: str, **options: Any) -> int:
    found = find_act(name)
    assert found is not None
    return found.run({option.name: option.default for option in found.options} | options)


@pytest.mark.parametrize("name", ["image.build", "image.scan"])
def test_a_machine_without_an_engine_ends_with_18(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv("PATH", str(project / "empty"))
    assert call(name) == 18
    told = capsys.readouterr().err
    assert "  | buildah: is not installed" in told
    assert "next: install docker, podman or buildah" in told


def test_a_build_prints_the_name_that_the_others_take_by_themselves(
    project: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine("echo building; exit 0")
    assert call("image.build") == 0
    out, err = capsys.readouterr()
    assert out.startswith("localhost/shop:")
    assert "building\n" in err
    assert call("image.run", env_file=str(variables(project))) == 0
    assert out.strip() in (project / "called").read_text().splitlines()[-1].split()


def test_a_build_tells_programs_everything(project: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    engine("exit 0")
    assert call("image.build", tag="shop:1", base="own@sha256:0", json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["image"], told["engine"]) == ("shop:1", "docker")
    assert told["digest"].startswith("sha256:")
    assert "PYTHON_IMAGE=own@sha256:0" in (project / "called").read_text()


def variables(project: Path) -> Path:
    (project / "variables").write_text("API_KEY=as-good-as-secret\nPLACE=here\n")
    return project / "variables"


def test_what_the_image_would_not_start_without_is_named(
    project: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine("exit 0")
    assert call("image.run") == 10
    told = capsys.readouterr().err
    assert "  - API_KEY is not set\n  - PLACE is not set\n" in told
    assert not (project / "called").exists()


def test_an_image_that_fails_ends_with_18_and_shows_no_secret(
    project: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine('echo "the key $API_KEY of $PLACE is wrong"; exit 3')
    assert call("image.run", env_file=str(variables(project)), port=81) == 18
    told = capsys.readouterr().err
    assert "as-good-as-secret" not in told + (project / "called").read_text()
    assert "of here is wrong" in told
    assert "ended with exit code 3" in told


@pytest.mark.parametrize(
    ("files", "image", "code"),
    [
        (CLEAN, Scan("trivy-image", "all"), 0),
        (CLEAN, Scan("trivy-image", "all", (Finding("CVE-1", "is bad", "ours"),)), 1),
        (Scan("hadolint", "all", (Finding("DL1", "is bad", "ours"),)), Scan("trivy-image", "", not_run="absent"), 1),
        (CLEAN, Scan("trivy-image", "nothing", not_run="it is not on this machine"), 5),
        (CLEAN, Scan("trivy-image", "nothing", gaps=("no database",)), 5),
        (Scan("hadolint", "nothing", gaps=("absent",)), Scan("trivy-image", "all"), 5),
    ],
)
def test_a_scan_is_well_only_where_everything_was_looked_at(
    project: Path,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    files: Scan,
    image: Scan,
    code: int,
) -> None:
    engine("exit 0")
    monkeypatch.setattr(hadolint, "scan", lambda _root: files)
    monkeypatch.setattr(trivy, "find", lambda: "trivy")
    monkeypatch.setattr(trivy, "scan_image", lambda _archive, *, name: image)
    assert call("image.scan", json=True) == code
    told = json.loads(capsys.readouterr().out)
    assert [one["tool"] for one in told["tools"]] == ["hadolint", "trivy-image"]
    written = project / ".fairlead" / "image"
    assert json.loads((written / "report.json").read_text())["verdict"] == told["verdict"]
    assert sorted(file.name for file in written.glob("*.sarif")) == ["hadolint.sarif", "trivy-image.sarif"]


def test_a_scan_that_does_not_come_to_its_end_leaves_no_report(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = project / ".fairlead" / "image"
    written.mkdir(parents=True)
    (written / "report.json").write_text('{"verdict": "clean"}')
    monkeypatch.setenv("PATH", str(project / "empty"))
    assert call("image.scan") == 18
    assert not (written / "report.json").exists()


@pytest.mark.parametrize(("expires", "code"), [("2999-01-01", 0), ("2020-01-01", 1)])
def test_an_exception_holds_for_an_image_too_through_its_day(
    project: Path,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    expires: str,
    code: int,
) -> None:
    engine("exit 0")
    with (project / "pyproject.toml").open("a") as file:
        file.write(f'[[tool.fairlead.security.ignore]]\nid = "CVE-1"\nreason = "judged"\nexpires = {expires}\n')
    found = Scan("trivy-image", "all", (Finding("CVE-1", "is bad", "ours"),))
    monkeypatch.setattr(hadolint, "scan", lambda _root: CLEAN)
    monkeypatch.setattr(trivy, "find", lambda: "trivy")
    monkeypatch.setattr(trivy, "scan_image", lambda _archive, *, name: found)
    assert call("image.scan") == code
    assert ("excepted until 2999-01-01" if code == 0 else "CVE-1 has expired") in capsys.readouterr().err


def test_a_named_image_is_scanned_whatever_the_tree_holds(
    project: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine("exit 0")
    (project / "backend" / "Dockerfile").unlink()
    monkeypatch.setattr(hadolint, "scan", lambda _root: CLEAN)
    monkeypatch.setattr(trivy, "find", lambda: "trivy")
    monkeypatch.setattr(trivy, "scan_image", lambda _archive, *, name: Scan("trivy-image", name))
    assert call("image.scan") == 17
    assert call("image.scan", image="shop:1") == 0
