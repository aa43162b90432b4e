"""Builds, describes, runs and exports images; whatever happens, no container is left behind."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from fairlead import _output
from fairlead._process import run, spawn, terminate
from fairlead.exceptions import CommandError, ConfigurationError
from fairlead.image import commands
from fairlead.image.engines import Engine

#: Seconds for a question to an engine, and for writing an image to an archive.
_QUICK: Final = 60.0
_EXPORT: Final = 900.0
#: Seconds that a container has to end in: the backend finishes its requests within 25.
GRACE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Image:
    """What an engine knows of an image: its id, whom it runs as, what it starts, and its labels."""

    id: str
    user: str
    command: tuple[str, ...]
    labels: Mapping[str, str]


def build_image(
    engine: Engine, archive: Path, *, tag: str, file: str = "Dockerfile", base: str = "", labels: Mapping[str, str]
) -> str:
    """Build an image from a bundle's archive alone and return its id; the engine's output goes to standard error.

    `file` is the Dockerfile within the bundle, `base` an image to build on instead of the one that it names. Raises
    `ConfigurationError` where the bundle has no such file, `CommandError` where the engine fails.
    """
    with tempfile.TemporaryDirectory(prefix="fairlead-image-") as scratch:
        folder, id_file = Path(scratch) / "bundle", Path(scratch) / "id"
        folder.mkdir()
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        if not (folder / file).is_file():
            raise ConfigurationError(
                f"the bundle has no {file}", hint="name it in tool.fairlead.bundle.include and railway.dockerfile-path"
            )
        command = commands.build(engine, folder, file=file, tag=tag, id_file=id_file, base=base, labels=labels)
        code = _attend(command, environ=os.environ)
        if code != 0:
            raise CommandError(f"{engine.name} could not build {tag}: exit code {code}, see its output above")
        return id_file.read_text("utf-8").strip() if id_file.is_file() else ""


def describe(engine: Engine, image: str) -> Image:
    """Ask what an image is; raise `CommandError` where there is none of that name, or no sense in the answer."""
    done = run(commands.inspect(engine, image), check=False, timeout=_QUICK)
    if done.returncode != 0:
        raise CommandError(
            f"{engine.name} has no image {image}", hint="invoke image.build", output=done.stderr.strip()[-1000:]
        )
    try:
        return read_description(done.stdout)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise CommandError(f"{engine.name} describes {image} in a way that is not understood: {error!r}") from None


def read_description(text: str) -> Image:
    """Read the JSON of `docker image inspect`, `podman image inspect` or `buildah inspect`."""
    facts: Any = json.loads(text)
    if isinstance(facts, list):
        config, name = facts[0]["Config"], facts[0]["Id"]
    else:
        config, name = facts["Docker"]["config"], facts["FromImageID"]
    command = (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))
    return Image(str(name), str(config.get("User") or ""), command, dict(config.get("Labels") or {}))


def run_image(engine: Engine, image: str, *, variables: Mapping[str, str], command: Sequence[str] = ()) -> int:
    """Run an image until it ends or is interrupted, and return its exit code; its output goes to standard error.

    Its environment is `variables`, and it has the host's network. Its own command runs unless another is given.
    """
    started = tuple(command) or describe(engine, image).command
    with _container(engine, image) as name, tempfile.TemporaryFile() as told:
        told.write(json.dumps(dict(variables)).encode())
        told.seek(0)
        asked = commands.run(engine, image, name=name, variables=sorted(variables), command=started)
        if engine.name == "buildah":
            return _attend(asked, environ=os.environ, stdin=told)
        return _attend(asked, environ={**os.environ, **variables})


def export(engine: Engine, image: str, archive: Path) -> None:
    """Write an image to an archive in docker's format; raise `CommandError` where that fails."""
    run(commands.save(engine, image, archive), timeout=_EXPORT)


@contextlib.contextmanager
def _container(engine: Engine, image: str) -> Iterator[str]:
    """Give the name of a container that is gone at the end."""
    name = f"fairlead-{secrets.token_hex(6)}"
    try:
        if engine.name == "buildah":
            run(commands.make_container(engine, image, name=name), timeout=_EXPORT)
        yield name
    finally:
        # One that removed itself is an error to every engine, and all is well.
        with contextlib.suppress(CommandError):
            run(commands.remove_container(engine, name), check=False, timeout=_QUICK)


def _attend(command: Sequence[str], *, environ: Mapping[str, str], stdin: IO[bytes] | int = subprocess.DEVNULL) -> int:
    """Run a command to its end, passing on what it prints; an interruption ends it before it goes on its way."""
    child = spawn(command, env=environ, output=subprocess.PIPE, stdin=stdin)
    try:
        for line in child.stdout or ():
            _output.live(_output.redact(line.decode("utf-8", "replace")))
        return child.wait()
    finally:
        terminate(child, grace=GRACE, first=signal.SIGTERM)
        if child.stdout is not None:
            child.stdout.close()
