import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from fairlead.exceptions import CommandError, ConfigurationError
from fairlead.image import images
from fairlead.image.engines import Engine, Name

ROOT = Path(__file__).parents[3]
FACTS = {"User": "10001:10001", "Entrypoint": None, "Cmd": ["serve"], "Labels": {"title": "shop"}}


@pytest.mark.parametrize(
    "document",
    [[{"Id": "sha256:1", "Config": FACTS}], {"FromImageID": "sha256:1", "Docker": {"config": FACTS}}],
)
def test_an_image_is_described_alike_by_every_engine(document: object) -> None:
    found = images.read_description(json.dumps(document))
    assert found == images.Image("sha256:1", "10001:10001", ("serve",), {"title": "shop"})


def make_engine(folder: Path, script: str, name: Name = "docker") -> Engine:
    program = folder / name
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/called\n{script}\n')
    program.chmod(0o755)
    return Engine(name, str(program))


def make_bundle(folder: Path) -> Path:
    (folder / "Dockerfile").write_text("FROM scratch\n")
    with tarfile.open(folder / "bundle.tar.gz", "w:gz") as archive:
        archive.add(folder / "Dockerfile", "./Dockerfile")
    return folder / "bundle.tar.gz"


def test_an_image_is_built_of_the_bundle_alone(tmp_path: Path) -> None:
    writes_id = 'for word; do [ "$before" = --iidfile ] && printf sha256:1 > "$word"; before=$word; done'
    script = f'{writes_id}; ls "$word" > {tmp_path}/seen'
    engine = make_engine(tmp_path, script)
    assert images.build_image(engine, make_bundle(tmp_path), tag="shop:1", labels={}) == "sha256:1"
    assert (tmp_path / "seen").read_text().split() == ["Dockerfile"]


def test_a_build_that_fails_is_told_with_what_the_engine_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = make_engine(tmp_path, "echo no such base >&2; exit 125")
    with pytest.raises(CommandError, match="exit code 125"):
        images.build_image(engine, make_bundle(tmp_path), tag="shop:1", labels={})
    out, err = capfd.readouterr()
    assert (out, err) == ("", "no such base\n")


def test_a_bundle_without_the_dockerfile_is_refused_before_the_engine_is_asked(tmp_path: Path) -> None:
    engine = make_engine(tmp_path, "")
    with pytest.raises(ConfigurationError, match=r"no Dockerfile\.web"):
        images.build_image(engine, make_bundle(tmp_path), tag="shop:1", file="Dockerfile.web", labels={})
    assert not (tmp_path / "called").exists()


def test_an_image_that_there_is_not_names_the_act_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="has no image shop") as caught:
        images.describe(make_engine(tmp_path, "exit 1"), "shop")
    assert caught.value.hint == "invoke image.build"


@pytest.mark.parametrize("answer", ["", "{}", "[]", "[1]"])
def test_an_answer_without_sense_is_an_error(tmp_path: Path, answer: str) -> None:
    with pytest.raises(CommandError, match="not understood"):
        images.describe(make_engine(tmp_path, f"echo '{answer}'"), "shop")


@pytest.mark.parametrize(("name", "before"), [("docker", "shop"), ("podman", "shop"), ("buildah", "--")])
def test_a_value_reaches_the_container_and_never_the_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Name, before: str
) -> None:
    # The stand-in does what stands behind the image or the dashes, as the engine does inside the container.
    script = f'[ "$1" = run ] && {{ while [ "$1" != {before} ]; do shift; done; shift; exec "$@"; }}; exit 0'
    value = "not-for-everybody"
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    engine = make_engine(tmp_path, script, name)
    command = ["sh", "-c", f'echo "$KEY" > {tmp_path}/value; exit 3']
    assert images.run_image(engine, "shop", variables={"KEY": value}, command=command) == 3
    assert (tmp_path / "value").read_text() == f"{value}\n"
    assert value not in (tmp_path / "called").read_text()


@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_a_container_is_removed_whatever_happened(tmp_path: Path, name: Name) -> None:
    engine = make_engine(tmp_path, '[ "$1" = run ] && exit 1; exit 0', name)
    images.run_image(engine, "shop", variables={}, command=["serve"])
    called = (tmp_path / "called").read_text().splitlines()
    assert called[-1].startswith("rm ")
    assert called[-1].split()[-1] in called[-2].split()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_container_and_removes_it(tmp_path: Path, number: signal.Signals) -> None:
    waits = "echo ready; while :; do sleep 0.05; done"
    script = f"[ $1 = rm ] && exit 0; trap 'echo ended >> {tmp_path}/called; exit 0' TERM; {waits}"
    engine = make_engine(tmp_path, script)
    program = f"""
from fairlead.image.engines import Engine
from fairlead.image.images import run_image
from fairlead.tasks._act import act
@act()
def go() -> None:
    run_image(Engine("docker", {engine.program!r}), "shop", variables={{}}, command=["serve"])
raise SystemExit(go.run({{}}))
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert child.stderr is not None
    assert child.stderr.readline() == "ready\n"
    child.send_signal(number)
    _, told = child.communicate(timeout=30)
    assert child.returncode == 128 + number
    assert told == "error: interrupted\n"
    called = (tmp_path / "called").read_text().splitlines()
    assert called[-2] == "ended"
    assert called[-1].startswith("rm --force fairlead-")
