"""Databases for tests and trials: scratch ones that are always dropped, and templates that are kept between runs.

A name says what a database is, and a comment who made it and when, so that what a killed run left behind is found by
the next one on the same server.
"""

import contextlib
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from fairlead.exceptions import PlatformError
from fairlead.postgres.databases import Databases

if TYPE_CHECKING:
    from psycopg import Connection

SCRATCH: Final = "fairlead_test_"
TEMPLATE: Final = "fairlead_template_"
#: Nobody's test takes a day, and a template that nobody asked for in a week belongs to migrations of the past.
_LONGEST_TEST: Final = 86_400
_UNUSED_AFTER: Final = 7 * 86_400
#: The advisory lock of whoever makes a template: chosen once, the same in every release.
_LOCK_KEY: Final = 0x0FA1_21EA_D0DB_0002


@contextmanager
def scratch_database(server: Databases, *, template: str | None = None) -> Iterator[str]:
    """Give the name of a database of this caller's own, a clone of `template` where given, dropped at the end."""
    name = f"{SCRATCH}{int(time.time()):x}_{uuid.uuid4().hex[:12]}"
    server.create_database(name, template=template)
    try:
        yield name
    finally:
        server.drop_database(name)


def keep_template(server: Databases, key: str, fill: Callable[[str], None]) -> str:
    """Return the name of a database that holds what `key` stands for, made once on a server and kept.

    `fill` is given the address of an empty database. Several runs at once make it once; a run that is killed leaves no
    half-made one under that name.
    """
    name = f"{TEMPLATE}{key}"
    with _alone(server) as connection:
        _sweep(server, connection, keep=name)
        if not server.database_exists(name):
            with scratch_database(server) as draft:
                fill(server.url(draft))
                _name(server, draft, name)
        _remark(connection, name)
    return name


@contextmanager
def _alone(server: Databases) -> "Iterator[Connection[tuple[Any, ...]]]":
    """Be the only one that makes templates, of those who know the server by the same database: a lock is its own."""
    import psycopg

    try:
        connection = psycopg.connect(server.url(), autocommit=True, application_name="fairlead templates")
    except psycopg.Error as error:
        raise PlatformError(f"PostgreSQL cannot be reached: {str(error).strip().partition(chr(10))[0]}") from error
    with connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK_KEY])
        yield connection


def _sweep(server: Databases, connection: "Connection[tuple[Any, ...]]", *, keep: str) -> None:
    """Drop the templates that nobody asked for in a while, and the scratch databases of runs that were killed."""
    rows = connection.execute(
        "SELECT d.datname, shobj_description(d.oid, 'pg_database'),"
        " EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid) FROM pg_database d"
        " WHERE starts_with(d.datname, %s) OR starts_with(d.datname, %s)",
        [SCRATCH, TEMPLATE],
    ).fetchall()
    now = time.time()
    for name, remark, used in rows:
        if name == keep or used:
            continue
        asked = _moment(remark, 10) if name.startswith(TEMPLATE) else _moment(name.removeprefix(SCRATCH), 16)
        allowed = _UNUSED_AFTER if name.startswith(TEMPLATE) else _LONGEST_TEST
        if asked is not None and now - asked > allowed:
            with contextlib.suppress(PlatformError):  # somebody else dropped it, or owns it
                server.drop_database(name)


def _name(server: Databases, draft: str, name: str) -> None:
    """Give a draft its name, unless a run that knows the server by another database was quicker."""
    try:
        server.rename_database(draft, name)
    except PlatformError:
        if not server.database_exists(name):
            raise


def _moment(text: str | None, base: int) -> int | None:
    match = re.match(r"(?:used )?([0-9a-f]+)", text or "")
    try:
        return int(match[1], base) if match else None
    except ValueError:
        return None


def _remark(connection: "Connection[tuple[Any, ...]]", name: str) -> None:
    from psycopg import errors, sql

    remark = sql.Literal(f"used {int(time.time())}")
    # Another run that says the same at this moment is as good.
    with contextlib.suppress(errors.InternalError_, errors.UniqueViolation):
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), remark))
