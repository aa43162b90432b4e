"""Going back to an earlier release, a canary beside the one that serves, and services without a public port."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fairlead.localplatform import Endpoint
from tests.integration.localplatform.tiny import (
    PATIENCE,
    Project,
    list_processes,
    make_bundle,
    make_digest,
    make_project,
    wait_for,
)

NO_MIGRATION_TWICE = {"startCommand": "python app.py", "preDeployCommand": 'echo "$RANDOM" >> "$GATES/migrations"'}
WORKER = """
import os, pathlib, signal, sys, time
gates = pathlib.Path(os.environ["GATES"])
(gates / f"worker {os.getpid()}").write_text("started")
if (gates / "no workers").exists():
    raise SystemExit("this worker cannot work")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    time.sleep(0.05)
"""
TWO_SERVICES = 'services = { web = "tiny-backend", worker = "tiny-worker" }'


def get(endpoint: Endpoint, path: str, **headers: str) -> httpx.Response:
    return httpx.get(endpoint.public_url + path, headers=headers, timeout=PATIENCE)


def test_rollback_moves_the_pointer_to_the_process_that_was_kept_warm(project: Project) -> None:
    endpoint = project.start()
    first = project.deploy(make_bundle("one", deploy=NO_MIGRATION_TWICE), endpoint=endpoint)
    pid = get(endpoint, "/pid").json()
    project.deploy(make_bundle("two", deploy=NO_MIGRATION_TWICE), endpoint=endpoint)
    wait_for(lambda: project.ask(first["id"], endpoint)["canRollback"])
    back = project.follow(project.roll_back(first["id"], endpoint), endpoint)
    assert back["status"] == "SUCCESS"
    assert project.serving_digest(endpoint) == make_digest("one")
    assert get(endpoint, "/pid").json() == pid
    assert len((project.gates / "migrations").read_text().splitlines()) == 2, "a rollback runs no migration"


def test_rollback_starts_a_release_that_is_no_longer_warm(project: Project) -> None:
    endpoint = project.start()
    first = project.deploy(make_bundle("one"), endpoint=endpoint)
    for label in ("two", "three"):
        project.deploy(make_bundle(label), endpoint=endpoint)
    back = project.follow(project.roll_back(first["id"], endpoint), endpoint)
    assert back["status"] == "SUCCESS"
    assert project.serving_digest(endpoint) == make_digest("one")


def test_rollback_to_a_release_that_crashed_while_it_was_warm_starts_it_again(project: Project) -> None:
    endpoint = project.start()
    first = project.deploy(make_bundle("one"), endpoint=endpoint)
    project.deploy(make_bundle("two"), endpoint=endpoint)
    wait_for(lambda: project.ask(first["id"], endpoint)["canRollback"])
    get(endpoint, "/exit", **{"x-fairlead-deployment": first["id"]})
    wait_for(lambda: project.ask(first["id"], endpoint)["deploymentStopped"])
    assert project.serving_digest(endpoint) == make_digest("two")
    back = project.follow(project.roll_back(first["id"], endpoint), endpoint)
    assert back["status"] == "SUCCESS"
    assert project.serving_digest(endpoint) == make_digest("one")


def test_rollback_restores_the_variables_of_its_release(project: Project) -> None:
    endpoint = project.start()
    first = project.deploy(make_bundle("one"), endpoint=endpoint)
    file = project.root / "pyproject.toml"
    file.write_text(file.read_text().replace('GREETING = "hello"', 'GREETING = "good day"'))
    for label in ("two", "three"):
        project.deploy(make_bundle(label), endpoint=endpoint)
    assert get(endpoint, "/variables").json()["GREETING"] == "good day"
    project.follow(project.roll_back(first["id"], endpoint), endpoint)
    assert get(endpoint, "/variables").json()["GREETING"] == "hello"


def test_rollback_survives_a_kill_9_of_the_platform(project: Project) -> None:
    endpoint = project.start()
    first = project.deploy(make_bundle("one"), endpoint=endpoint)
    project.deploy(make_bundle("two"), endpoint=endpoint)
    wait_for(lambda: project.ask(first["id"], endpoint)["canRollback"])
    project.follow(project.roll_back(first["id"], endpoint), endpoint)
    project.kill_daemon(endpoint)
    again = project.start()
    assert project.serving_digest(again) == make_digest("one")


def test_rollback_to_a_release_that_never_served_is_refused(project: Project) -> None:
    endpoint = project.start()
    project.deploy(make_bundle("one"), endpoint=endpoint)
    bad = project.deploy(make_bundle("bad", fault="crash"), endpoint=endpoint)
    answer = httpx.post(
        f"{endpoint.api_url}/graphql/v2",
        json={"query": f'mutation {{ deploymentRollback(id: "{bad["id"]}") }}'},
        headers={"Project-Access-Token": endpoint.token},
        timeout=PATIENCE,
    )
    assert "cannot be rolled back to" in answer.json()["errors"][0]["message"]
    assert project.serving_digest(endpoint) == make_digest("one")


def test_warm_release_ends_when_its_time_is_over(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings="port = 0\nkeep-warm = 0.2")
    with contextlib.ExitStack() as stack:
        stack.callback(project.remove)
        endpoint = project.start()
        first = project.deploy(make_bundle("one"), endpoint=endpoint)
        pid = get(endpoint, "/pid").json()
        project.deploy(make_bundle("two"), endpoint=endpoint)
        wait_for(lambda: project.ask(first["id"], endpoint)["deploymentStopped"])
        assert pid not in list_processes(endpoint)


def test_deployment_tells_its_steps(project: Project) -> None:
    endpoint = project.start()
    document = """query($id: String!) { deploymentEvents(id: $id, first: 50) {
        edges { node { step completedAt payload { error } } } } }"""

    def steps(deployment_id: str) -> list[tuple[str, str | None]]:
        found = project.query(document, {"id": deployment_id}, endpoint)["deploymentEvents"]["edges"]
        assert all(edge["node"]["completedAt"] for edge in found)
        return [(edge["node"]["step"], edge["node"]["payload"]["error"]) for edge in found]

    good = project.deploy(make_bundle("one", deploy=NO_MIGRATION_TWICE), endpoint=endpoint)
    names = ["SNAPSHOT_CODE", "BUILD_IMAGE", "PRE_DEPLOY_COMMAND", "CREATE_CONTAINER", "HEALTHCHECK"]
    assert steps(good["id"]) == [(name, None) for name in names]
    bad = project.deploy(make_bundle("bad", fault="crash"), endpoint=endpoint)
    name, error = steps(bad["id"])[-1]
    assert name == "HEALTHCHECK"
    assert "missing_library" in str(error)


# --- a canary ---


@pytest.fixture
def canary(project: Project) -> tuple[Project, Endpoint, str]:
    endpoint = project.start()
    project.deploy(make_bundle("one"), endpoint=endpoint)
    deployment_id = project.upload(make_bundle("two"), endpoint, canary="25")
    assert project.follow(deployment_id, endpoint)["status"] == "SUCCESS"
    return project, endpoint, deployment_id


def settle(endpoint: Endpoint, deployment_id: str, *, take_over: bool) -> httpx.Response:
    place = f"/project/{endpoint.project_id}/environment/{endpoint.environment_id}/deployment/{deployment_id}/canary"
    return httpx.post(
        endpoint.api_url + place,
        params={"take-over": "true" if take_over else "false"},
        headers={"Project-Access-Token": endpoint.token},
        timeout=PATIENCE,
    )


def digests(endpoint: Endpoint, count: int) -> list[str]:
    with httpx.Client(base_url=endpoint.public_url, timeout=PATIENCE) as client:
        return [str(client.get("/api/v1/version").json()["digest"]) for _ in range(count)]


def test_canary_gets_its_share_and_then_takes_over(canary: tuple[Project, Endpoint, str]) -> None:
    project, endpoint, deployment_id = canary
    assert digests(endpoint, 40).count(make_digest("two")) == 10
    named = get(endpoint, "/api/v1/version", **{"x-fairlead-deployment": deployment_id})
    assert named.json()["digest"] == make_digest("two")
    assert settle(endpoint, deployment_id, take_over=True).status_code == 200
    assert set(digests(endpoint, 10)) == {make_digest("two")}
    assert project.ask(deployment_id, endpoint)["status"] == "SUCCESS"
    project.kill_daemon(endpoint)
    assert project.serving_digest(project.start()) == make_digest("two")


def test_canary_is_withdrawn(canary: tuple[Project, Endpoint, str]) -> None:
    project, endpoint, deployment_id = canary
    assert settle(endpoint, deployment_id, take_over=False).status_code == 200
    assert set(digests(endpoint, 10)) == {make_digest("one")}
    wait_for(lambda: project.ask(deployment_id, endpoint)["status"] == "REMOVED")
    assert settle(endpoint, deployment_id, take_over=True).status_code == 409


def test_canary_that_crashes_is_withdrawn(canary: tuple[Project, Endpoint, str]) -> None:
    project, endpoint, deployment_id = canary
    get(endpoint, "/exit", **{"x-fairlead-deployment": deployment_id})
    wait_for(lambda: project.ask(deployment_id, endpoint)["status"] == "FAILED")
    assert set(digests(endpoint, 10)) == {make_digest("one")}


def test_canary_is_gone_after_a_kill_9_and_after_another_deployment(canary: tuple[Project, Endpoint, str]) -> None:
    project, endpoint, deployment_id = canary
    project.kill_daemon(endpoint)
    again = project.start()
    assert set(digests(again, 10)) == {make_digest("one")}
    assert project.ask(deployment_id, again)["status"] == "REMOVED"
    second = project.upload(make_bundle("two"), again, canary="50")
    project.follow(second, again)
    project.deploy(make_bundle("three"), endpoint=again)
    assert set(digests(again, 10)) == {make_digest("three")}
    assert project.ask(second, again)["status"] == "REMOVED"


def test_canary_without_a_release_beside_it_is_refused(project: Project) -> None:
    endpoint = project.start()
    found = project.follow(project.upload(make_bundle("one"), endpoint, canary="10"), endpoint)
    assert found["status"] == "FAILED"
    assert "there is no release beside which" in found["diagnosis"]


# --- services without a public port ---


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Project, Endpoint, str]]:
    """A project with a worker beside its web, its platform, and the worker's id."""
    project = make_project(tmp_path, services=TWO_SERVICES)
    try:
        endpoint = project.start()
        found = project.query("{ projectToken { project { services { edges { node { id name } } } } } }", {}, endpoint)
        services = {
            edge["node"]["name"]: edge["node"]["id"] for edge in found["projectToken"]["project"]["services"]["edges"]
        }
        assert services["tiny-backend"] == endpoint.service_id
        yield project, endpoint, services["tiny-worker"]
    finally:
        project.remove()


def bundle_with_worker(label: str = "one") -> bytes:
    procfile = "web: python app.py\nworker: python worker.py\n"
    return make_bundle(label, files={"Procfile": procfile, "worker.py": WORKER})


def test_worker_runs_beside_the_web_and_is_replaced(pair: tuple[Project, Endpoint, str]) -> None:
    project, endpoint, worker = pair
    assert project.deploy(bundle_with_worker(), endpoint=endpoint)["status"] == "SUCCESS"
    first = project.upload(bundle_with_worker(), endpoint, serviceId=worker)
    assert project.follow(first, endpoint)["status"] == "SUCCESS"
    (pid,) = (int(file.name.split()[1]) for file in project.gates.glob("worker *"))
    assert pid in list_processes(endpoint)
    second = project.upload(bundle_with_worker("two"), endpoint, serviceId=worker)
    assert project.follow(second, endpoint)["status"] == "SUCCESS"
    wait_for(lambda: pid not in list_processes(endpoint))
    assert project.serving_digest(endpoint) == make_digest("one")
    listed = project.query(
        "query($service: String!) { deployments(input: {serviceId: $service}) { edges { node { id serviceId } } } }",
        {"service": worker},
        endpoint,
    )
    assert [edge["node"]["id"] for edge in listed["deployments"]["edges"]] == [second, first]


def test_worker_that_cannot_start_leaves_the_earlier_one(pair: tuple[Project, Endpoint, str]) -> None:
    project, endpoint, worker = pair
    first = project.upload(bundle_with_worker(), endpoint, serviceId=worker)
    assert project.follow(first, endpoint)["status"] == "SUCCESS"
    (project.gates / "no workers").touch()
    second = project.upload(bundle_with_worker("two"), endpoint, serviceId=worker)
    found = project.follow(second, endpoint)
    assert found["status"] == "FAILED"
    assert "this worker cannot work" in found["diagnosis"]
    assert project.ask(first, endpoint)["status"] == "SUCCESS"


def test_service_that_the_procfile_does_not_know_is_told(pair: tuple[Project, Endpoint, str]) -> None:
    project, endpoint, worker = pair
    found = project.follow(project.upload(make_bundle("one"), endpoint, serviceId=worker), endpoint)
    assert found["status"] == "FAILED"
    assert "no `worker:` in Procfile" in found["diagnosis"]
