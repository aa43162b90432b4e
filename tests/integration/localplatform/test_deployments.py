"""Deployments on a running platform: what takes over, and what leaves the earlier release alone."""

import contextlib
import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from fairlead.localplatform import Endpoint
from fairlead.localplatform.store import Store
from tests.integration.localplatform.tiny import (
    PATIENCE,
    Project,
    list_processes,
    make_bundle,
    make_digest,
    make_project,
    wait_for,
)


def make_archive(*members: tuple[str, bytes, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return buffer.getvalue()


@dataclass(frozen=True)
class Fault:
    name: str
    says: str
    archive: bytes = field(repr=False)


MISSING_HASH = "certifi==2024.2.2\n"
FAULTS = [
    Fault("crash at import", "No module named 'missing_library'", make_bundle("bad", fault="crash")),
    Fault(
        "never healthy",
        "not healthy within 1 s: /api/health gave 503",
        make_bundle("bad", fault="unhealthy", deploy={"startCommand": "python app.py", "healthcheckTimeout": 1}),
    ),
    Fault("wrong digest", "instead of sha256:", make_bundle("bad", fault="digest")),
    Fault(
        "failing pre-deploy",
        "`echo column is missing; exit 11` ended with exit code 11; the last it said: column is missing",
        make_bundle("bad", deploy={"preDeployCommand": "echo column is missing; exit 11"}),
    ),
    Fault("command not there", "no-such-program", make_bundle("bad", deploy={"startCommand": "no-such-program"})),
    Fault("no start command", "does not say how to start", make_bundle("bad", files={"Procfile": ""})),
    Fault("broken railway.json", "railway.json is not valid JSON", make_bundle("bad", files={"railway.json": "{"})),
    Fault(
        "unlocked requirement", "could not be installed", make_bundle("bad", files={"requirements.txt": MISSING_HASH})
    ),
    Fault("path that climbs out", "leads out", make_archive(("../../escaped", tarfile.REGTYPE, ""))),
    Fault("link", "neither a plain file nor a folder", make_archive(("./link", tarfile.SYMTYPE, "/etc/passwd"))),
    Fault("damaged archive", "damaged", make_bundle("bad")[:-200]),
    Fault("empty bundle", "holds no file", make_archive()),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_failed_deployment_says_why_and_leaves_the_earlier_release_serving(
    serving: tuple[Project, Endpoint], fault: Fault
) -> None:
    project, endpoint = serving
    deployment = project.deploy(fault.archive, endpoint=endpoint)
    assert deployment["status"] == "FAILED"
    assert deployment["deploymentStopped"]
    assert fault.says in deployment["diagnosis"]
    assert project.serving_digest(endpoint) == make_digest("base")
    assert not (project.directory / "releases" / deployment["id"]).exists()


def test_release_gets_its_variables_and_nothing_of_the_callers(serving: tuple[Project, Endpoint]) -> None:
    project, endpoint = serving
    variables = httpx.get(f"{endpoint.public_url}/variables", timeout=PATIENCE).json()
    assert variables["GREETING"] == "hello"
    assert variables["DATABASE_URL"] == endpoint.database_url
    assert variables["RAILWAY_PUBLIC_DOMAIN"] == endpoint.public_url.removeprefix("http://")
    assert variables["RAILWAY_SERVICE_NAME"] == "tiny-backend"
    assert len(variables["JWT_SECRET_KEY"]) == 44
    assert variables["JWT_SECRET_KEY"] != variables["ENCRYPTION_KEY"]
    assert variables["PATH"].startswith(str(project.directory / "environments"))
    assert "canary" not in str(variables)
    assert endpoint.token not in variables.values()


def test_second_release_replaces_the_first(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings="port = 0\nkeep-warm = 0")
    with contextlib.ExitStack() as stack:
        stack.callback(project.remove)
        replace_the_first_release(project)


def replace_the_first_release(project: Project) -> None:
    endpoint = project.start()
    first = project.deploy(make_bundle("one"), endpoint=endpoint)
    pid = httpx.get(f"{endpoint.public_url}/pid", timeout=PATIENCE).json()
    second = project.deploy(make_bundle("two"), endpoint=endpoint)
    assert (first["status"], second["status"]) == ("SUCCESS", "SUCCESS")
    assert project.serving_digest(endpoint) == make_digest("two")
    wait_for(lambda: project.ask(first["id"], endpoint)["status"] == "REMOVED")
    assert pid not in list_processes(endpoint)
    assert project.ask(first["id"], endpoint)["canRollback"]
    store = Store(project.directory)
    statuses = [status for status, _ in store.statuses(first["id"])]
    store.close()
    assert statuses == ["INITIALIZING", "BUILDING", "DEPLOYING", "SUCCESS", "REMOVING", "REMOVED"]


def test_deployments_are_worked_in_the_order_received(project: Project) -> None:
    endpoint = project.start()
    ids = [project.upload(make_bundle(label), endpoint) for label in ("one", "two", "three")]
    found = [project.follow(deployment_id, endpoint)["status"] for deployment_id in ids]
    assert found[-1] == "SUCCESS"
    assert set(found) <= {"SUCCESS", "REMOVING", "REMOVED"}
    assert project.serving_digest(endpoint) == make_digest("three")


def test_release_output_and_build_output_are_kept_apart(serving: tuple[Project, Endpoint]) -> None:
    project, endpoint = serving
    document = """query($id: String!) {
        deploymentLogs(deploymentId: $id, limit: 50) { message timestamp severity }
        buildLogs(deploymentId: $id, limit: 50) { message }
    }"""
    store = Store(project.directory)
    active = store.active
    store.close()
    logs: dict[str, Any] = project.query(document, {"id": active}, endpoint)
    assert "listening, said the release" in [line["message"] for line in logs["deploymentLogs"]]
    assert "fairlead: unpacking the bundle" in [line["message"] for line in logs["buildLogs"]]
    assert "listening, said the release" not in [line["message"] for line in logs["buildLogs"]]


def test_pre_deploy_commands_run_in_the_release_with_its_database(project: Project) -> None:
    endpoint = project.start()
    commands = ["test -f app.py", 'echo "$DATABASE_URL" > "$GATES/url"']
    assert project.deploy(make_bundle(deploy={"preDeployCommand": commands}), endpoint=endpoint)["status"] == "SUCCESS"
    assert (project.gates / "url").read_text().strip() == endpoint.database_url


def test_secrets_are_masked_in_the_logs(project: Project) -> None:
    endpoint = project.start()
    leak = {"preDeployCommand": 'echo "$JWT_SECRET_KEY and $DATABASE_URL"'}
    deployment = project.deploy(make_bundle(deploy=leak), endpoint=endpoint)
    secret = httpx.get(f"{endpoint.public_url}/variables", timeout=PATIENCE).json()["JWT_SECRET_KEY"]
    written = b"".join(file.read_bytes() for file in (project.directory / "logs").iterdir())
    assert deployment["id"].encode() in b"".join(
        bytes(file.name, "utf-8") for file in (project.directory / "logs").iterdir()
    )
    assert b" and postgresql://" in written
    assert secret.encode() not in written
    assert endpoint.database_url.encode() not in written


def test_release_that_crashes_is_started_again(project: Project) -> None:
    endpoint = project.start()
    deployment = project.deploy(make_bundle("one"), endpoint=endpoint)
    before = httpx.get(f"{endpoint.public_url}/pid", timeout=PATIENCE).json()
    httpx.get(f"{endpoint.public_url}/exit", timeout=PATIENCE)
    after = httpx.get(f"{endpoint.public_url}/pid", timeout=PATIENCE).json()
    assert after != before
    assert project.serving_digest(endpoint) == make_digest("one")
    assert project.ask(deployment["id"], endpoint)["status"] == "SUCCESS"


def test_release_that_cannot_be_started_again_is_crashed_after_its_retries(project: Project) -> None:
    endpoint = project.start()
    policy = {"startCommand": "python app.py", "restartPolicyMaxRetries": 1}
    deployment = project.deploy(make_bundle(fault="once", deploy=policy), endpoint=endpoint)
    assert deployment["status"] == "SUCCESS"
    httpx.get(f"{endpoint.public_url}/exit", timeout=PATIENCE)
    wait_for(lambda: project.ask(deployment["id"], endpoint)["status"] == "CRASHED")
    crashed = project.ask(deployment["id"], endpoint)
    assert "cannot be started again" in crashed["diagnosis"]
    assert crashed["deploymentStopped"]


def test_release_that_may_not_be_started_again_is_crashed(project: Project) -> None:
    endpoint = project.start()
    deployment = project.deploy(make_bundle(deploy={"restartPolicyType": "NEVER"}), endpoint=endpoint)
    httpx.get(f"{endpoint.public_url}/exit", timeout=PATIENCE)
    wait_for(lambda: project.ask(deployment["id"], endpoint)["status"] == "CRASHED")
    answer = httpx.get(f"{endpoint.public_url}/pid", timeout=PATIENCE)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert project.deploy(make_bundle("two"), endpoint=endpoint)["status"] == "SUCCESS"
    assert project.serving_digest(endpoint) == make_digest("two")
