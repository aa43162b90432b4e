"""The image, built and run for real: by buildah, without a daemon, on the embedded database."""

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from fairlead.image import images
from fairlead.image.engines import Engine

ROOT = Path(__file__).parents[3]
#: Names every folder that the image's user may write to, but for the kernel's own.
WRITABLE = """
import os, sys
for folder, below, _ in os.walk("/"):
    below[:] = [name for name in below if os.path.join(folder, name) not in {"/proc", "/sys", "/dev"}]
    if os.access(folder, os.W_OK): print("writable", folder)
"""


@dataclass(frozen=True, slots=True)
class Built:
    """The image that the act built, and what it told of it."""

    engine: Engine
    name: str
    told: dict[str, Any]


def act(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fairlead", *arguments]


@pytest.fixture(scope="session")
def built(buildah: str, base: str, tmp_path_factory: pytest.TempPathFactory) -> Built:
    state = tmp_path_factory.mktemp("state")
    # Always the same, and kept: without an image that has them its layers would be built anew each time.
    name = "localhost/fairlead-test:image"
    done = subprocess.run(
        act("image.build", "--engine", "buildah", "--base", base, "--tag", name, "--json"),
        cwd=ROOT,
        env={**os.environ, "FAIRLEAD_STATE_DIRECTORY": str(state)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Built(Engine("buildah", buildah), name, json.loads(done.stdout))


@pytest.fixture
def port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        number: int = bound.getsockname()[1]
        return number


def check_description(built: Built) -> None:
    found = images.describe(built.engine, built.name)
    assert found.user == "10001:10001"
    assert found.command == ("python", "-m", "fairlead.image.start", "web")
    assert found.labels["org.opencontainers.image.title"] == "maya-backend"
    assert built.told["labels"].items() <= found.labels.items()
    assert built.told["id"].removeprefix("sha256:") == found.id.removeprefix("sha256:") != ""


def test_it_serves_as_a_user_who_is_not_root_and_leaves_nothing(
    built: Built, migrated_database_url: str, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    # One test, so that one process builds the image: it is the same for all that could be asked of it.
    check_description(built)
    assert run_inside(built, port, healthcheck(built)) != 0, "nothing serves yet"
    assert run_inside(built, port, ["python", "-c", WRITABLE]) == 0
    found = {line.partition(" ")[2] for line in capfd.readouterr().err.splitlines() if line.startswith("writable ")}
    assert found <= {"/tmp", "/var/tmp", "/run/lock"}
    variables = {
        **os.environ,
        "DATABASE_URL": migrated_database_url,
        "ENVIRONMENT": "development",
        "JWT_SECRET_KEY": secrets.token_urlsafe(48),
        "ENCRYPTION_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    command = act("image.run", "--engine", "buildah", "--image", built.name, "--port", str(port))
    child = subprocess.Popen(command, cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True)
    try:
        said = read_until(child, "Uvicorn running on")
        answer = httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=20)
        assert answer.status_code == 200, said
        assert find_users(port) == {(10001, 10001)}
        assert run_inside(built, port, healthcheck(built)) == 0
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=120)
        assert child.returncode == 130
    finally:
        child.kill()
        child.communicate()
    assert find_users(port) == set()
    assert (
        subprocess.run([built.engine.program, "containers", "--quiet"], capture_output=True, check=True).stdout == b""
    )


def run_inside(built: Built, port: int, command: list[str]) -> int:
    return images.run_image(built.engine, built.name, variables={"PORT": str(port)}, command=command)


def healthcheck(built: Built) -> list[str]:
    asked = [built.engine.program, "inspect", "--type", "image", built.name]
    facts = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)
    kind, *command = facts["Docker"]["config"]["Healthcheck"]["Test"]
    assert kind == "CMD", "a shell is not needed"
    return [str(word) for word in command]


def read_until(child: "subprocess.Popen[str]", text: str) -> str:
    assert child.stderr is not None
    said = ""
    for line in child.stderr:
        said += line
        if text in line:
            return said
    raise AssertionError(f"it never said {text!r}:\n{said}")


def find_users(port: int) -> set[tuple[int, int]]:
    """Return the users and groups, by their numbers, of the processes that were told to listen on a port."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            status = (folder / "status").read_text("utf-8").splitlines()
        except OSError:
            continue
        if b"app.main:app" in words and str(port).encode() in words:
            ids = {
                line.partition(":")[0]: {int(word) for word in line.split()[1:]} for line in status if "id:\t" in line
            }
            assert len(ids["Uid"]) == len(ids["Gid"]) == 1
            found.add((ids["Uid"].pop(), ids["Gid"].pop()))
    return found
