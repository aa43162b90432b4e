"""Runs Alembic's commands inside a project's own environment, and reports to a file what each did and found.

A command is a line of JSON on the input, a list of arguments. Nothing of Fairlead is imported here: its folder is no
longer on the path, and the project need not have it. The addresses come in the environment, never as arguments.
"""

import ast
import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_OLDEST = (1, 20)
#: What Linux calls the wish to be told of the end of one's parent.
_PARENT_DEATH_SIGNAL = 1


def main() -> None:
    """Run the commands on the input until it ends; `facts` is our own, all others are Alembic's."""
    # Whoever runs us holds the lock: where that process is killed, another may begin.
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    # The folder of this file holds modules of the same names as the project's.
    sys.path[0] = str(Path.cwd())
    url = os.environ.pop("FAIRLEAD_ALEMBIC_URL")
    variable = os.environ.pop("FAIRLEAD_ALEMBIC_URL_ENV")
    # Project code may read the input, and must not read our commands.
    commands = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with Path(os.environ.pop("FAIRLEAD_ALEMBIC_REPORT")).open("a", buffering=1, encoding="utf-8") as stream:

        def report(**facts: Any) -> None:
            stream.write(json.dumps(facts) + "\n")

        _load(report)
        _observe(report)
        for command in map(json.loads, commands):
            report(ended=_run(command, url, variable, report))


def _load(report: Callable[..., None]) -> None:
    try:
        version = importlib.import_module("alembic").__version__
    except ImportError as error:
        report(unusable=str(error))
        sys.exit(3)
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _OLDEST:
        report(too_old=version)
        sys.exit(3)


def _run(command: list[str], url: str, variable: str, report: Callable[..., None]) -> int:
    """Run one command as if it were the only one of this process; return its exit code."""
    own = command[0]
    # An env.py may look at the arguments, and sees those of a command that it knows.
    sys.argv[1:] = ["current" if own == "facts" else own, *command[1:]]
    try:
        _command_line(own, url, variable, report).main(sys.argv[1:])
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception:  # noqa: BLE001 - the project's own code runs here; whatever it is, it is printed and told
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _command_line(own: str, url: str, variable: str, report: Callable[..., None]) -> Any:
    line = importlib.import_module("alembic.config").CommandLine(prog="alembic")
    run_command = line.run_cmd

    def run_with_address(config: Any, options: Any) -> None:
        # A project may have no alembic.ini at all, and its settings in pyproject.toml.
        has_section = config.file_config.has_section(config.config_ini_section)
        theirs = config.get_main_option("sqlalchemy.url") if has_section else None
        address = _with_driver(url, theirs or "")
        os.environ[variable] = address
        config.set_main_option("sqlalchemy.url", address.replace("%", "%%"))
        if own == "facts":
            _tell_facts(config, report)
        else:
            run_command(config, options)

    line.run_cmd = run_with_address
    return line


def _with_driver(url: str, theirs: str) -> str:
    """Return `url` with the driver that it names, or else the project's, or else psycopg."""
    scheme, _, rest = url.partition("://")
    driver = scheme.partition("+")[2]
    dialect, _, wanted = theirs.partition("://")[0].partition("+")
    if not driver and dialect in {"postgres", "postgresql"}:
        driver = wanted
    if (driver or "psycopg") == "asyncpg":
        rest = rest.replace("?sslmode=", "?ssl=").replace("&sslmode=", "&ssl=")
    return "postgresql+" + (driver or "psycopg") + "://" + rest


def _observe(report: Callable[..., None]) -> None:
    """Report each revision as it is applied or undone, and each file that is made."""
    environment: Any = importlib.import_module("alembic.runtime.environment").EnvironmentContext
    scripts: Any = importlib.import_module("alembic.script").ScriptDirectory

    configure, generate = environment.configure, scripts.generate_revision

    def told(*, step: Any, **_: Any) -> None:
        report(revisions=list(step.up_revision_ids) if step.is_upgrade else list(step.source_revision_ids))

    def observed_configure(self: Any, *arguments: Any, **options: Any) -> Any:
        theirs = options.get("on_version_apply") or ()
        options["on_version_apply"] = [told, *([theirs] if callable(theirs) else theirs)]
        return configure(self, *arguments, **options)

    def observed_generate(self: Any, *arguments: Any, **options: Any) -> Any:
        made = generate(self, *arguments, **options)
        if made is not None:
            report(made=str(Path(made.path).absolute()))
        return made

    environment.configure = observed_configure
    scripts.generate_revision = observed_generate


def _tell_facts(config: Any, report: Callable[..., None]) -> None:
    environment: Any = importlib.import_module("alembic.runtime.environment").EnvironmentContext
    scripts: Any = importlib.import_module("alembic.script").ScriptDirectory

    script = scripts.from_config(config)
    revisions = [
        {
            "revision": each.revision,
            "down": [*each._versioned_down_revisions, *each._resolved_dependencies],
            "doc": each.doc,
            "path": str(Path(each.path).absolute()),
            "reversible": _is_reversible(each.path),
        }
        for each in reversed(list(script.walk_revisions()))
    ]
    report(script=revisions, heads=list(script.get_heads()))

    def look(current: Any, context: Any) -> list[Any]:
        name = context.connection.exec_driver_sql("SELECT pg_catalog.current_database()").scalar()
        report(current=list(current), database=name)
        return []

    with environment(config, script, fn=look, dont_mutate=True):
        script.run_env()


def _is_reversible(path: str) -> bool:
    """Tell whether the body of `downgrade` does anything: no `pass`, docstring or `raise` alone."""
    tree = ast.parse(Path(path).read_bytes())
    bodies = [node.body for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "downgrade"]
    idle = (ast.Pass, ast.Raise)
    return any(
        not isinstance(line, idle) and not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for body in bodies
        for line in body
    )


if __name__ == "__main__":
    main()
