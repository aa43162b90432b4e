from pathlib import Path

import pytest

from fairlead.image import commands
from fairlead.image.engines import Engine

DOCKER, PODMAN, BUILDAH = Engine("docker", "/d"), Engine("podman", "/p"), Engine("buildah", "/b")
FOLDER, IDS = Path("/bundle"), Path("/ids")
LABELS = {"title": "a shop", "version": "1"}
CONFINED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]


@pytest.mark.parametrize(
    ("engine", "head"),
    [
        (DOCKER, ["/d", "build"]),
        (PODMAN, ["/p", "build", "--format", "docker"]),
        (BUILDAH, ["/b", "build", "--format", "docker"]),
    ],
)
def test_an_image_is_built_of_one_folder_with_its_labels(engine: Engine, head: list[str]) -> None:
    made = commands.build(engine, FOLDER, file="Dockerfile", tag="shop:1", id_file=IDS, labels=LABELS)
    named = ["--file", "/bundle/Dockerfile", "--tag", "shop:1", "--iidfile", "/ids"]
    assert made == [*head, *named, "--label=title=a shop", "--label=version=1", "/bundle"]


def test_another_base_takes_the_place_of_the_dockerfiles_own() -> None:
    made = commands.build(DOCKER, FOLDER, file="Dockerfile", tag="a", id_file=IDS, base="own@sha256:0", labels={})
    assert made[made.index("--build-arg") + 1] == "PYTHON_IMAGE=own@sha256:0"
    first = (Path(__file__).parents[3] / "backend/Dockerfile").read_text("utf-8").partition("\nFROM")[0]
    assert f"\nARG {commands.BASE_ARGUMENT}=" in first


@pytest.mark.parametrize(("engine", "program"), [(DOCKER, "/d"), (PODMAN, "/p")])
def test_a_container_runs_confined_and_is_told_variables_by_name(engine: Engine, program: str) -> None:
    head = [program, "run", "--rm", "--pull", "never", "--name", "c", "--network", "host"]
    told = ["--env", "KEY", "--env", "PORT"]
    assert commands.run(engine, "shop", name="c", variables=["KEY", "PORT"], command=["serve"]) == [
        *head,
        *CONFINED,
        *told,
        "shop",
        "serve",
    ]
    assert commands.remove_container(engine, "c") == [program, "rm", "--force", "c"]


def test_buildah_makes_a_container_runs_in_it_and_removes_it() -> None:
    assert commands.make_container(BUILDAH, "shop", name="c") == ["/b", "from", "--pull-never", "--name", "c", "shop"]
    made = commands.run(BUILDAH, "shop", name="c", variables=["KEY"], command=["serve", "--all"])
    assert (made[:6], made[7:]) == (["/b", "run", "c", "--", "python", "-c"], ["serve", "--all"])
    assert commands.remove_container(BUILDAH, "c") == ["/b", "rm", "c"]


@pytest.mark.parametrize(
    ("engine", "command"),
    [
        (DOCKER, ["/d", "save", "--output", "/a.tar", "shop:1"]),
        (PODMAN, ["/p", "save", "--output", "/a.tar", "shop:1"]),
        (BUILDAH, ["/b", "push", "--quiet", "shop:1", "docker-archive:/a.tar:shop:1"]),
    ],
)
def test_an_image_is_exported_in_dockers_format(engine: Engine, command: list[str]) -> None:
    assert commands.save(engine, "shop:1", Path("/a.tar")) == command
