"""A disk that is full under the platform's folder: a clear message, and the earlier release goes on serving."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead import _process, localplatform, postgres
from fairlead.exceptions import CommandError, PlatformError
from tests.integration.localplatform.tiny import Project, make_bundle, make_digest, make_project


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Project]:
    """A project whose platform lives on a file system of 16 MB, its database elsewhere."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small file system")
    project = make_project(tmp_path)
    project.directory.mkdir(parents=True)
    try:
        _process.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(project.directory)])
    except CommandError as error:
        pytest.skip(f"a small file system cannot be mounted here: {error}")
    database = tmp_path / "database"
    database.mkdir()
    (project.directory / "postgres").symlink_to(database)
    try:
        yield project
    finally:
        with contextlib.suppress(PlatformError):
            (project.directory / "ballast").unlink(missing_ok=True)
            localplatform.stop(project.config)
        postgres.remove_data(database)
        _process.run(["umount", "--lazy", str(project.directory)])


def fill(project: Project, *, spare: int) -> None:
    """Fill the disk but for about `spare` bytes."""
    free = os.statvfs(project.directory)
    block = b"\1" * 4096
    with (project.directory / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for _ in range((free.f_bavail * free.f_frsize - spare) // len(block)):
            file.write(block)


def test_deployment_that_does_not_fit_fails_and_the_earlier_release_serves(small_disk: Project) -> None:
    endpoint = small_disk.start()
    assert small_disk.deploy(make_bundle("kept"), endpoint=endpoint)["status"] == "SUCCESS"
    fill(small_disk, spare=400_000)
    large = make_bundle("large", files={"data.bin": "0" * 8_000_000})
    deployment = small_disk.deploy(large, endpoint=endpoint)
    assert deployment["status"] == "FAILED"
    assert "disk" in deployment["diagnosis"]
    assert "full" in deployment["diagnosis"]
    assert small_disk.serving_digest(endpoint) == make_digest("kept")
    (small_disk.directory / "ballast").unlink()
    assert small_disk.deploy(make_bundle("next"), endpoint=endpoint)["status"] == "SUCCESS"
    assert small_disk.serving_digest(endpoint) == make_digest("next")


def test_status_is_told_even_when_nothing_at_all_can_be_written(small_disk: Project) -> None:
    endpoint = small_disk.start()
    first = small_disk.deploy(make_bundle("kept"), endpoint=endpoint)
    waiting = {"preDeployCommand": 'touch "$GATES/waiting"; while [ ! -e "$GATES/go" ]; do sleep 0.1; done; exit 9'}
    deployment_id = small_disk.upload(make_bundle("new", deploy=waiting), endpoint)
    while not (small_disk.gates / "waiting").exists():
        assert small_disk.ask(deployment_id, endpoint)["status"] != "FAILED"
    fill(small_disk, spare=0)
    (small_disk.gates / "go").touch()
    deployment = small_disk.follow(deployment_id, endpoint)
    assert deployment["status"] == "FAILED"
    assert "full" in deployment["diagnosis"]
    assert small_disk.ask(first["id"], endpoint)["status"] == "SUCCESS"
    assert small_disk.serving_digest(endpoint) == make_digest("kept")


def test_platform_does_not_start_on_a_full_disk_and_says_why(small_disk: Project) -> None:
    fill(small_disk, spare=0)
    with pytest.raises(PlatformError, match="full"):
        small_disk.start()
    assert localplatform.find(small_disk.config) is None
