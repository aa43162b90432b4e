"""Asks an application about its variables, by the command that the configuration names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fairlead import _process
from fairlead._output import redact
from fairlead.config import Config
from fairlead.environment.description import Description, Problem, read_description, read_problems
from fairlead.exceptions import CommandError, ConfigurationError

#: Seconds that the command may take; it imports an application's settings and nothing else.
_LONGEST: Final = 60.0
#: What the command gets of this process's environment besides the variables that it is to check.
_INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
#: The word that the interpreter of the application's environment stands for.
_PYTHON: Final = "python"


@dataclass(frozen=True, slots=True)
class Application:
    """How an application is asked: `argv` run in its `folder`, with `environ` and the variables in question."""

    argv: tuple[str, ...]
    folder: Path
    environ: Mapping[str, str] = field(repr=False)

    def describe(self) -> Description:
        """Ask which variables there are; raise `CommandError` when the command fails or makes no sense."""
        done = self._run((), self.environ)
        if done.returncode != 0:
            shown = redact(done.output)[-4000:]
            raise CommandError(f"env.describe ended with exit code {done.returncode}", output=shown)
        return read_description(done.stdout)

    def check(self, variables: Mapping[str, str], *, described: Description, deployed: bool) -> tuple[Problem, ...]:
        """Ask what is wrong with the values of `variables`; only those that are `described` are handed over.

        With `deployed` the rules of a deployed release hold. Raises `CommandError` like `describe`.
        """
        handed = {name: value for name, value in variables.items() if described.find(name) is not None}
        done = self._run(("--check", *(("--deployed",) if deployed else ())), {**self.environ, **handed})
        if done.returncode != 0:
            # Its output is kept back: a traceback may well show a value.
            raise CommandError(
                f"env.describe --check ended with exit code {done.returncode}; its output may hold values and is "
                "not shown",
                hint="run the command by hand, with values that are no secrets",
            )
        return read_problems(done.stdout, known=described)

    def _run(self, options: Sequence[str], environ: Mapping[str, str]) -> _process.Completed:
        return _process.run([*self.argv, *options], cwd=self.folder, env=environ, timeout=_LONGEST, check=False)


def find_application(config: Config, *, python: Path) -> Application:
    """Return how the application is asked, with the interpreter `python` that has its packages.

    Raises `ConfigurationError` where the configuration does not say how.
    """
    command = config.env.describe
    if not command:
        raise ConfigurationError(
            "nothing says which variables the application reads: tool.fairlead.env.describe is missing",
            hint='declare it: [tool.fairlead.env] describe = ["python", "-m", "app.describe_settings"]',
        )
    argv = (str(python) if command[0] == _PYTHON else command[0], *command[1:])
    inherited = {name: config.environ[name] for name in _INHERITED if name in config.environ}
    return Application(argv, config.backend, inherited)
