"""Finds what builds and runs images on this machine: docker, podman or buildah, whichever works."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from fairlead._process import Completed, run
from fairlead.exceptions import CommandError, ConfigurationError

Name = Literal["docker", "podman", "buildah"]

#: In the order of preference.
NAMES: Final[tuple[Name, ...]] = get_args(Name)
_SECONDS: Final = 20.0
_HINT: Final = "install docker, podman or buildah (on Debian: apt-get install buildah), or start the docker daemon"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answered: its name, and where its program is."""

    name: Name
    program: str


def check_command(engine: Engine) -> list[str]:
    """Build the command that succeeds only where the engine can work.

    A docker without its daemon has a program and a version; only the server's version tells.
    """
    if engine.name == "docker":
        return [engine.program, "version", "--format", "{{.Server.Version}}"]
    return [engine.program, "info"]


def find_engine(
    wanted: str = "",
    *,
    which: Callable[[str], str | None] = shutil.which,
    runner: Callable[..., Completed] = run,
) -> Engine:
    """Return the engine called `wanted`, or without one the first that works.

    Raises `ConfigurationError` at a name that is none, and `CommandError` saying of each engine why it cannot be used.
    """
    names = [name for name in NAMES if wanted in ("", name)]
    if not names:
        raise ConfigurationError(f"there is no engine {wanted!r}", hint=f"one of: {', '.join(NAMES)}")
    reasons: list[str] = []
    for name in names:
        program = which(name)
        if program is None:
            reasons.append(f"{name}: is not installed")
            continue
        engine = Engine(name, program)
        reason = _refusal(engine, runner)
        if reason is None:
            return engine
        reasons.append(f"{name}: {reason}")
    raise CommandError("no engine for images works on this machine", hint=_HINT, output="\n".join(reasons))


def _refusal(engine: Engine, runner: Callable[..., Completed]) -> str | None:
    """Say why an engine cannot be used; None where it can."""
    try:
        done = runner(check_command(engine), check=False, timeout=_SECONDS)
    except CommandError as error:
        return error.message
    if done.returncode == 0 and done.stdout.strip():
        return None
    return (done.stderr.strip().splitlines() or [f"it ended with exit code {done.returncode}"])[-1]
