"""Builds the two things that leave this repository, installs each in an empty environment, and runs it there.

The bundle: unpacked in an empty folder and installed from its own runtime lock, hashes required. Its packages must be
compatible, the application must import, its migrations must be the repository's, its configuration must be valid.
The wheel of the toolkit: built with the build tools that the gates' lock pins, then run in somebody else's repository.
"""

import json
import re
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fairlead import _output, _program, config
from fairlead._process import Completed, run
from fairlead.config import Config
from fairlead.exceptions import CommandError, ConfigurationError, Error

_SECONDS: Final = 300
#: What would let a check succeed for a reason that the empty environment does not have.
_NOT_HANDED_ON = re.compile(r"FAIRLEAD_.*|PYTHON(PATH|HOME)|VIRTUAL_ENV|UV_PYTHON|COVERAGE_.*|DATABASE_URL|ENVIRONMENT")
_COUNT_MIGRATIONS = """
import pathlib, sys
from fairlead.migrations import load_migrations
print(len(load_migrations(pathlib.Path(sys.argv[1]))))
"""
_FOREIGN_CONFIGURATION = '[tool.fairlead]\nname = "somebody-elses"\n\n[tool.fairlead.migrations]\ndirectory = "db"\n'


class Check:
    """One package under test: a scratch folder, an empty environment in it, and commands that run there."""

    def __init__(self, loaded: Config, scratch: Path) -> None:
        self.config = loaded
        self.scratch = scratch
        self.python = scratch / "environment" / "bin" / "python"
        self.environ = {name: text for name, text in loaded.environ.items() if not _NOT_HANDED_ON.fullmatch(name)}

    def run(self, *argv: str | Path, cwd: Path, variables: Mapping[str, str] | None = None) -> Completed:
        """Run a command with nothing of this environment's own Python in its variables."""
        return run(argv, cwd=cwd, env={**self.environ, **(variables or {})}, timeout=_SECONDS)

    def install(self, *requirements: str | Path, cwd: Path) -> None:
        """Make the empty environment, install `requirements` in it, and see that what it holds is compatible."""
        environment = self.python.parent.parent
        self.run("uv", "venv", "--quiet", "--python", sys.executable, environment, cwd=self.scratch)
        self.run("uv", "pip", "install", "--quiet", "--python", self.python, *requirements, cwd=cwd)
        self.run("uv", "pip", "check", "--quiet", "--python", self.python, cwd=cwd)


def check_bundle(check: Check) -> str:
    """Build and try the bundle; return what was seen, raise `Error` with what is wrong."""
    archive, release = check.scratch / "bundle.tar.gz", check.scratch / "release"
    built = check.run(sys.executable, "-m", "fairlead", "build", "--output", archive, "--json", cwd=check.config.root)
    facts: dict[str, Any] = json.loads(built.stdout)
    with tarfile.open(archive) as bundle:
        # Python 3.11.0 to 3.11.3 have no filters, and need none here: this archive was made a moment ago.
        bundle.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
        bundle.extractall(release)  # noqa: S202  # nosec B202 - our own archive, just made
    check.install("--require-hashes", "-r", "requirements.txt", cwd=release)
    module = check.config.app.partition(":")[0]
    check.run(check.python, "-c", f"import {module}", cwd=release, variables=_development(check.config))
    migrations = _check_migrations(check, release)
    if check.config.bundle.toolkit:
        check.run(check.python, "-m", "fairlead", "config.show", "--json", cwd=release)
    digest = str(facts["digest"]).removeprefix("sha256:")[:12]
    return f"{len(facts['files'])} files, {migrations} migrations, {module} imports, digest {digest}"


def check_wheel(check: Check) -> str:
    """Build and try the toolkit's wheel; return what was seen, raise `Error` with what is wrong."""
    root = check.config.root
    options = ["--build-constraints", "requirements-gates.txt", "--require-hashes", "--python", sys.executable]
    check.run("uv", "build", "--wheel", "--out-dir", check.scratch / "dist", *options, root, cwd=root)
    (wheel,) = (check.scratch / "dist").glob("*.whl")
    left_out = files_left_out(root / "fairlead", wheel)
    if left_out:
        raise CommandError(f"{wheel.name} lacks {', '.join(left_out)}", hint="see [tool.hatch.build] in pyproject.toml")
    check.install("--constraints", "requirements.txt", wheel, cwd=root)
    foreign = check.scratch / "somebody elses"
    (foreign / "db").mkdir(parents=True)
    (foreign / "pyproject.toml").write_text(_FOREIGN_CONFIGURATION, "utf-8")
    listed = check.run(check.python.parent / "fairlead", "--list", cwd=foreign)
    shown = check.run(check.python, "-m", "fairlead", "config.show", cwd=foreign)
    if "deploy" not in listed.stdout or "somebody-elses" not in shown.stdout:
        raise CommandError("the installed toolkit does not answer", output=f"{listed.output}\n{shown.output}")
    return f"{wheel.name} runs in another repository"


def files_left_out(package: Path, wheel: Path) -> list[str]:
    """Name the files of `package` that a wheel lacks."""
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    files = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(name for path in files if (name := path.relative_to(package.parent).as_posix()) not in packed)


def build(arguments: Sequence[str]) -> int:
    """Check what the arguments name, `bundle` or `wheel`, both without any; 0 when all is well, else 1."""
    checks: dict[str, Callable[[Check], str]] = {"bundle": check_bundle, "wheel": check_wheel}
    if unknown := set(arguments) - set(checks):
        raise ConfigurationError(
            f"there is no package {', '.join(sorted(unknown))}", hint=f"known: {', '.join(checks)}"
        )
    loaded = config.load()
    failed = 0
    for name in arguments or checks:
        with tempfile.TemporaryDirectory(prefix=f"fairlead-{name}-") as scratch:
            try:
                _output.status("ok", f"{name}: {checks[name](Check(loaded, Path(scratch)))}")
            except Error as error:
                failed += 1
                output = getattr(error, "output", "")
                _output.error(f"{name}: {error.message}", hint=error.hint, output=output)
    return 1 if failed else 0


def _check_migrations(check: Check, release: Path) -> int:
    """See that the release's own toolkit reads as many migrations as the repository has; return how many."""
    settings = check.config.migrations
    if settings.engine != "sql" or not check.config.bundle.toolkit:
        return 0
    directory = settings.directory.relative_to(check.config.backend)
    counted = int(check.run(check.python, "-c", _COUNT_MIGRATIONS, directory, cwd=release).stdout)
    expected = sum(1 for file in settings.directory.glob("*.sql") if not file.name.endswith(".down.sql"))
    if counted != expected:
        raise CommandError(
            f"the bundle holds {counted} migrations and {settings.directory} has {expected}",
            hint="see tool.fairlead.bundle.include in pyproject.toml",
        )
    return counted


def _development(loaded: Config) -> dict[str, str]:
    """Return the variables of a development environment, with the address of a database that is not there."""
    return {**loaded.environment("local").variables, "DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/none"}


if __name__ == "__main__":
    sys.exit(_program.run(build, sys.argv[1:]))
