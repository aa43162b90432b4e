"""Runs Alembic's commands inside a project's own environment, and reports to a file what each did and found.

A command is a line of JSON on the input, a list of arguments. Nothing of Fairlead is imported here: its folder is no
longer on the path, and the project need not have it. The addresses come in the environment, never as arguments.
"""

import ast
import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_OLDEST = (1, 20)
#: What Linux calls the wish to be told of the end of one's parent.
_PARENT_DEATH_SIGNAL = 1
#: How many objects more before the collector looks for cycles among them: what is imported, and stays, holds no waste.
_COLLECTED_AFTER = 100_000
_VERSION = "CAST(pg_catalog.current_setting('server_version_num') AS int)"


def main() -> None:
    """Run the commands on the input until it ends; `facts` is our own, all others are Alembic's."""
    gc.set_threshold(_COLLECTED_AFTER)
    # Whoever runs us holds the lock: where that process is killed, another may begin.
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != int(os.environ.pop("FAIRLEAD_ALEMBIC_PARENT")):
        sys.exit(3)
    # The folder of this file holds modules of the same names as the project's.
    sys.path[0] = str(Path.cwd())
    url = os.environ.pop("FAIRLEAD_ALEMBIC_URL")
    variable = os.environ.pop("FAIRLEAD_ALEMBIC_URL_ENV")
    limits = json.loads(os.environ.pop("FAIRLEAD_ALEMBIC_LIMITS"))
    # Project code may read the input, and must not read our commands.
    commands = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with Path(os.environ.pop("FAIRLEAD_ALEMBIC_REPORT")).open("a", buffering=1, encoding="utf-8") as stream:

        def report(**facts: Any) -> None:
            stream.write(json.dumps(facts) + "\n")

        _load(report)
        _observe(report)
        _observe_blocks(report)
        _limit_sessions(limits)
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
    except Exception as error:  # noqa: BLE001 - the project's own code runs here; whatever it is, it is told
        frames = [(Path(frame.filename).name, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        report(failed="".join(traceback.format_exception_only(error)), frames=frames)
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
    """Report each revision when it begins and when it is applied or undone, and each file that is made."""
    environment: Any = importlib.import_module("alembic.runtime.environment").EnvironmentContext
    scripts: Any = importlib.import_module("alembic.script").ScriptDirectory

    steps: Any = importlib.import_module("alembic.runtime.migration").RevisionStep

    configure, generate, make_step = environment.configure, scripts.generate_revision, steps.__init__

    def observed_step(self: Any, *arguments: Any, **options: Any) -> None:
        make_step(self, *arguments, **options)
        run = self.migration_fn

        def begin(**given: Any) -> Any:
            report(begun=self.revision.revision, at=time.monotonic())
            return run(**given)

        self.migration_fn = begin

    def told(*, step: Any, **_: Any) -> None:
        revisions = step.up_revision_ids if step.is_upgrade else step.source_revision_ids
        report(revisions=list(revisions), at=time.monotonic())

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
    steps.__init__ = observed_step


def _observe_blocks(report: Callable[..., None]) -> None:
    """Report that a revision leaves its transaction, and lift the time-outs there: they leave INVALID indexes."""
    context: Any = importlib.import_module("alembic.runtime.migration").MigrationContext
    names = ("lock_timeout", "statement_timeout")
    show = ", ".join(f"pg_catalog.current_setting('{name}')" for name in names)
    block = context.autocommit_block

    def set_all(connection: Any, values: Any) -> None:
        pairs = ", ".join(
            f"pg_catalog.set_config('{name}', '{value}', false)" for name, value in zip(names, values, strict=True)
        )
        connection.exec_driver_sql(f"SELECT {pairs}")

    @contextlib.contextmanager
    def observed_block(self: Any) -> Iterator[None]:
        report(outside=True)
        with block(self):
            if self.connection is None or self.connection.dialect.name != "postgresql":
                yield
                return
            before = self.connection.exec_driver_sql(f"SELECT {show}").one()
            set_all(self.connection, ("0", "0"))
            try:
                yield
            finally:
                with contextlib.suppress(Exception):  # a session that has ended tells so by itself
                    set_all(self.connection, before)

    context.autocommit_block = observed_block


def _limit_sessions(limits: dict[str, int]) -> None:
    """Set the time-outs in each session that is opened, and have the server end it soon after this process."""
    event: Any = importlib.import_module("sqlalchemy.event")
    engines: Any = importlib.import_module("sqlalchemy.engine").Engine
    setting = "pg_catalog.set_config('{}', '{}', false)".format
    look = setting("client_connection_check_interval", 1000)
    settings = [setting(name, value) for name, value in limits.items()]
    settings.append(f"CASE WHEN {_VERSION} >= 140000 THEN {look} END")
    statement = f"SELECT {', '.join(settings)}"

    def limit(connection: Any) -> None:
        if connection.dialect.name != "postgresql":
            return
        # By the driver, so that for SQLAlchemy no transaction has begun.
        session = connection.connection.dbapi_connection
        with contextlib.closing(session.cursor()) as cursor:
            cursor.execute(statement)
        session.commit()

    event.listen(engines, "engine_connect", limit)


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
        name, started = context.connection.exec_driver_sql(
            "SELECT pg_catalog.current_database(),"
            " CAST(EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()) AS text)"
        ).one()
        report(current=list(current), database=name, started=started)
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
