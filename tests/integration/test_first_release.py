"""The main job, whole: a copy of this repository, one command, and a service that a newcomer can log in to."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fairlead import postgres

ROOT = Path(__file__).resolve().parents[2]
TAKEN = ("backend", "fairlead", "pyproject.toml", "tasks.py")


@pytest.fixture
def clone(memory_path: Path) -> Iterator[Path]:
    """A copy of what a deploy needs, in a folder with a space in its name; its platform is stopped afterwards."""
    root = memory_path / "my clone"
    for name in TAKEN:
        source, target = ROOT / name, root / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "tests"))
        else:
            shutil.copy2(source, target)
    yield root
    invoke(root, "platform.down")
    postgres.remove_data(root / ".fairlead" / "platform" / "postgres")


def invoke(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FAIRLEAD_")}
    return subprocess.run(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=root,
        env={**kept, "FAIRLEAD_PLATFORM_PORT": "0", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_one_command_leads_to_a_service_that_a_newcomer_can_log_in_to(clone: Path) -> None:
    deployed = invoke(clone, "deploy", "--env", "local", "--json")
    assert deployed.returncode == 0, deployed.stderr
    outcome = json.loads(deployed.stdout)
    with httpx.Client(base_url=outcome["url"], timeout=30) as client:
        health = client.get("/api/health")
        assert (health.status_code, health.json()["status"]) == (200, "pass")
        assert client.get("/api/v1/version").json()["digest"] == outcome["release"]["digest"]
        password = "canary correct horse"
        account = ("create-user", "--email", "ann@example.com", "--business", "Ann's")
        created = invoke(clone, *account, MAYA_PASSWORD=password)
        assert created.returncode == 0, created.stderr
        login = client.post("/api/auth/login", json={"email": "ann@example.com", "password": password})
        headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
        client.put("/api/business/me", json={"greeting": "Hello!"}, headers=headers).raise_for_status()
        assert client.get("/api/business/me", headers=headers).json()["greeting"] == "Hello!"
    again = invoke(clone, *account, MAYA_PASSWORD=password)
    assert (again.returncode, "exists already" in again.stderr) == (18, True), again.stderr
    assert [file for file in written_files(clone) if password.encode() in file.read_bytes()] == []


def written_files(root: Path) -> list[Path]:
    """What the acts and the platform wrote, but for the packages that were installed."""
    state = root / ".fairlead"
    files = [file for file in state.rglob("*") if file.is_file() and "environments" not in file.parts]
    assert {"history.jsonl", "daemon.log"} <= {file.name for file in files}
    return files
