"""Compiles the locks, and checks that each is in step with its `.in` file.

Three locks, in this order, each constrained by those before it, so that a package has one version in all of them. They
are compiled by pip-compile. The check changes nothing: uv resolves each `.in` anew with the lock's own pins as
constraints, and whatever comes out must be what the lock holds. It needs no network where uv's cache is warm.
"""

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fairlead import _output, _program, config
from fairlead._locks import LOCKS, Pin, parse, read_lock
from fairlead._process import run
from fairlead.exceptions import ConfigurationError

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
#: What a person installs stays small: ten seconds on a fresh machine.
LARGEST: Final = {"requirements.txt": 45}
_OPTIONS: Final = (
    "--generate-hashes",
    "--strip-extras",
    "--allow-unsafe",
    "--no-emit-index-url",
    "--no-emit-find-links",
)
#: pip would take packages, and so hashes, from these places of one machine.
_OF_THIS_MACHINE: Final = ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX")


def compile_command(lock: str, *, upgrades: Sequence[str] = ()) -> list[str]:
    """Build the pip-compile command of one lock."""
    source = lock.removesuffix(".txt") + ".in"
    return [sys.executable, "-m", "piptools", "compile", "--quiet", *_OPTIONS, *upgrades, "--output-file", lock, source]


def resolve_command(lock: str, *, python: str) -> list[str]:
    """Build the command that resolves a lock's `.in` on one Python, holding every pin that the lock has."""
    source = lock.removesuffix(".txt") + ".in"
    options = ["--quiet", "--no-header", "--no-annotate", "--strip-extras", "--python-platform", "linux"]
    return ["uv", "pip", "compile", *options, "--python-version", python, "--constraints", lock, source]


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for pip-compile, without the package folders of this one machine."""
    kept = {name: value for name, value in environ.items() if name not in _OF_THIS_MACHINE}
    command = "nox -s lock"
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "CUSTOM_COMPILE_COMMAND": command}


def problems_of(root: Path) -> list[str]:
    """Check the locks as they lie there: readable, hashed, no address, small enough, one version of a package."""
    found: list[str] = []
    seen: dict[str, tuple[str, Pin]] = {}
    for lock in LOCKS:
        pins, problems = parse(read_lock(root, lock))
        found += [f"{lock}: {problem}" for problem in problems]
        if len(pins) > LARGEST.get(lock, sys.maxsize):
            found.append(f"{lock}: {len(pins)} packages, and at most {LARGEST[lock]} are allowed")
        for name, pin in pins.items():
            other, earlier = seen.setdefault(name, (lock, pin))
            if earlier.version != pin.version:
                found.append(f"{lock}: {pin}, but {other} has {earlier}")
    return found


def differences(lock: str, locked: Mapping[str, Pin], resolved: Mapping[str, Pin], *, python: str) -> list[str]:
    """Compare what a lock holds with what its `.in` asks for on one Python.

    On the oldest Python both must be the same. On a newer one the lock may hold more: what only the older needs.
    """
    source = lock.removesuffix(".txt") + ".in"
    found = []
    for name in sorted(resolved):
        if name not in locked:
            found.append(f"{lock}: {name} is missing, and {source} asks for it on Python {python}")
        elif locked[name].version != resolved[name].version:
            found.append(f"{lock}: {locked[name]}, but {source} asks for {resolved[name]}")
    if python == PYTHONS[0]:
        unasked = sorted(set(locked) - set(resolved))
        found += [f"{lock}: {locked[name]} is there, and nothing in {source} asks for it" for name in unasked]
    return found


def check(root: Path) -> list[str]:
    """Return a line for each way in which the locks are not sound or not in step; change nothing."""
    found = problems_of(root)
    for lock in LOCKS:
        locked, _ = parse(read_lock(root, lock))
        for python in PYTHONS:
            resolved, refusal = _resolve(root, lock, python)
            found += [f"{lock}: {refusal}"] if refusal else differences(lock, locked, resolved, python=python)
            if refusal:
                break
    if not found:
        for python in PYTHONS:
            found += _uninstallable(root, python)
    return found


def lock(arguments: Sequence[str]) -> int:
    """Compile the locks, or check them when the first argument is `--check`; 0 when they are in step."""
    loaded = config.load()
    root = loaded.root
    if "--check" in arguments:
        if len(arguments) > 1:
            raise ConfigurationError("`--check` takes nothing beside it", hint="nox -s lock -- --check")
        found = check(root)
        if found:
            _output.error("the locks are out of step", problems=found, hint="nox -s lock")
            return 1
        _output.status("ok", f"the {len(LOCKS)} locks are in step, hashed, and install on {', '.join(PYTHONS)}")
        return 0
    for name in LOCKS:
        _output.status("note", f"compiling {name}")
        run(compile_command(name, upgrades=arguments), cwd=root, env=variables(loaded.environ), timeout=1800)
    found = problems_of(root)
    if found:
        _output.error("the locks were compiled, and are not sound", problems=found)
        return 1
    _output.status("ok", f"compiled {', '.join(LOCKS)}")
    return 0


def _resolve(root: Path, lock: str, python: str) -> tuple[dict[str, Pin], str]:
    """Resolve a lock's `.in`; return the pins, or why they could not be had. uv's cache is asked before the network."""
    command = resolve_command(lock, python=python)
    done = run([*command, "--offline"], cwd=root, check=False, timeout=120)
    if done.returncode != 0:
        done = run(command, cwd=root, check=False, timeout=300)
    if done.returncode != 0:
        why = " ".join(line.strip() for line in done.stderr.splitlines() if line.strip())
        return {}, f"its .in file cannot be resolved with its pins on Python {python}: {why}"
    pins, _ = parse(done.stdout)
    return pins, ""


def _uninstallable(root: Path, python: str) -> list[str]:
    """Say what keeps the locks from being installed, file for file and hash for hash, on one Python."""
    with tempfile.TemporaryDirectory(prefix="fairlead-lock-") as folder:
        for lock in LOCKS:
            command = ["uv", "pip", "install", "--dry-run", "--quiet", "--require-hashes", "--only-binary", ":all:"]
            command += ["--python-version", python, "--target", folder, "--requirements", lock]
            done = run([*command, "--offline"], cwd=root, check=False, timeout=120)
            if done.returncode != 0:
                done = run(command, cwd=root, check=False, timeout=300)
            if done.returncode != 0:
                why = " ".join(done.stderr.split())
                return [f"{lock}: cannot be installed on Python {python}: {why}"]
    return []


if __name__ == "__main__":
    sys.exit(_program.run(lock, sys.argv[1:]))
