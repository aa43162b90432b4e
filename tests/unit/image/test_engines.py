from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead.exceptions import CommandError, ConfigurationError
from fairlead.image import engines
from fairlead.image.engines import Engine, find_engine

Which = Callable[[str], str | None]
WORKS, NO_DAEMON, SILENT = "echo 28.0", "echo 'cannot connect to the daemon' >&2; exit 1", "exit 0"


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[dict[str, str]], Which]:
    """Give a machine that has the programs of these names, each a script."""

    def make(programs: dict[str, str]) -> Which:
        for name, script in programs.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)
        return lambda name: str(tmp_path / name) if name in programs else None

    return make


@pytest.mark.parametrize(
    ("programs", "wanted", "found"),
    [
        ({"docker": WORKS, "buildah": WORKS}, "", "docker"),
        ({"docker": NO_DAEMON, "buildah": WORKS}, "", "buildah"),
        ({"docker": SILENT, "podman": WORKS}, "", "podman"),
        ({"docker": WORKS, "buildah": WORKS}, "buildah", "buildah"),
    ],
)
def test_the_first_engine_that_works_is_found(
    machine: Callable[[dict[str, str]], Which], programs: dict[str, str], wanted: str, found: str
) -> None:
    which = machine(programs)
    assert find_engine(wanted, which=which) == Engine(
        next(name for name in engines.NAMES if name == found), which(found) or ""
    )


def test_a_program_without_its_daemon_is_no_engine_and_the_error_says_why(
    machine: Callable[[dict[str, str]], Which],
) -> None:
    with pytest.raises(CommandError) as caught:
        find_engine(which=machine({"docker": NO_DAEMON, "podman": SILENT}))
    assert caught.value.exit_code == 18
    assert caught.value.output.splitlines() == [
        "docker: cannot connect to the daemon",
        "podman: it ended with exit code 0",
        "buildah: is not installed",
    ]


def test_an_engine_that_was_asked_for_is_not_replaced(machine: Callable[[dict[str, str]], Which]) -> None:
    with pytest.raises(CommandError) as caught:
        find_engine("podman", which=machine({"docker": WORKS, "podman": NO_DAEMON}))
    assert caught.value.output == "podman: cannot connect to the daemon"


def test_an_engine_that_there_is_not_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError):
        find_engine("kaniko")
