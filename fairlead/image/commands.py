"""What an engine is asked to do, as lists of arguments; no secret stands in one.

The three programs agree on most of it. buildah has no `run` of an image: a working container is made from it, the
image's command runs inside, and it is removed. Nor does it take variables from its own environment: they arrive on
standard input, as a JSON object.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fairlead.image.engines import Engine

#: The argument of a Dockerfile that names its base.
BASE_ARGUMENT: Final = "PYTHON_IMAGE"
#: Takes the variables from standard input, and becomes the command.
_RECEIVE: Final = (
    "python",
    "-c",
    "import json, os, sys; os.environ.update(json.load(sys.stdin)); os.execvp(sys.argv[1], sys.argv[1:])",
)


def build(
    engine: Engine,
    folder: Path,
    *,
    file: str,
    tag: str,
    id_file: Path,
    base: str = "",
    labels: Mapping[str, str],
) -> list[str]:
    """Build the command that makes an image called `tag` of an unpacked bundle, and writes its id to `id_file`."""
    command = [engine.program, "build"]
    if engine.name != "docker":
        # The format that OCI has for images knows no health check.
        command += ["--format", "docker"]
    command += ["--file", str(folder / file), "--tag", tag, "--iidfile", str(id_file)]
    if base:
        command += ["--build-arg", f"{BASE_ARGUMENT}={base}"]
    command += [f"--label={name}={fact}" for name, fact in labels.items()]
    return [*command, str(folder)]


def make_container(engine: Engine, image: str, *, name: str) -> list[str]:
    """Build buildah's command that makes a working container; the image must be there already."""
    return [engine.program, "from", "--pull-never", "--name", name, image]


def run(engine: Engine, image: str, *, name: str, variables: Sequence[str], command: Sequence[str] = ()) -> list[str]:
    """Build the command that runs an image in the foreground, on the host's network, as the container `name`.

    `variables` are names: their values are in the environment of the engine's program, and of buildah's on its standard
    input. `command` is the image's own unless given; buildah, whose container was made before, needs it.
    """
    if engine.name == "buildah":
        return [engine.program, "run", name, "--", *_RECEIVE, *command]
    environment = [part for variable in variables for part in ("--env", variable)]
    memory = "/tmp"  # noqa: S108  # nosec B108 - a file system in memory, of the container alone
    confined = ["--read-only", "--tmpfs", memory, "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    foreground = [engine.program, "run", "--rm", "--pull", "never", "--name", name, "--network", "host"]
    return [*foreground, *confined, *environment, image, *command]


def remove_container(engine: Engine, name: str) -> list[str]:
    """Build the command that removes a container, running or not."""
    return [engine.program, "rm", *([] if engine.name == "buildah" else ["--force"]), name]


def inspect(engine: Engine, image: str) -> list[str]:
    """Build the command that prints what an image is, as JSON."""
    if engine.name == "buildah":
        return [engine.program, "inspect", "--type", "image", image]
    return [engine.program, "image", "inspect", image]


def save(engine: Engine, image: str, archive: Path) -> list[str]:
    """Build the command that writes an image to an archive in docker's format, for a scanner to read."""
    if engine.name == "buildah":
        return [engine.program, "push", "--quiet", image, f"docker-archive:{archive}:{image}"]
    return [engine.program, "save", "--output", str(archive), image]
