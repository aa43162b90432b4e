"""Restoring a backup into a new database, which takes the old one's name only when it is whole.

Both renames are one transaction, so that whatever ends a restore, at any moment, there is one database of that name:
the old one as it was, or the new one as the manifest says. What a killed restore leaves is known by its name and by an
odd limit of connections, which is set in the very statement that makes it so, and dropped by the next one.
"""

import contextlib
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fairlead.exceptions import PlatformError
from fairlead.postgres.backup import (
    Manifest,
    Progress,
    connected,
    count_rows,
    newest_migration,
    read_manifest,
    run_program,
    told,
)

if TYPE_CHECKING:
    from psycopg import Connection

#: The advisory lock of whoever restores a database, with a hash of its name: chosen once, the same in every release.
_LOCK_KEY: Final = 0x0FA1_0003
#: The limit of connections of a database that is nobody's: not finished yet, or replaced already.
_NOBODYS: Final = 7346
_NAMES: Final = "^_(restore|before)_[0-9a-f]{8}$"
#: How many of the 63 bytes that PostgreSQL keeps of a name are the old database's in those of the ones beside it.
_STEM: Final = 40
_ATTEMPTS: Final = 5


def restore(
    address: str,
    dump: Path,
    *,
    replace: str | None = None,
    keep_old: bool = False,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Manifest:
    """Restore `dump` in place of the database at `address` (as libpq reads it).

    A database that holds anything is replaced only when `replace` is its name. With `keep_old` it stays, as
    `NAME_before_…`. `on_progress` is told the size of the new database so far, in bytes, from a thread of its own;
    `on_note` which database could not be dropped, and why. Raises `PlatformError` with the old database as it was,
    `CommandError` when pg_restore fails.
    """
    from psycopg.conninfo import make_conninfo

    manifest = read_manifest(dump)
    with connected(address) as connection:
        name = connection.info.dbname
        _refuse_filled(connection, name, replace)
    maintenance = make_conninfo(address, dbname="postgres")
    with connected(maintenance) as server:
        stem, token = name.encode()[:_STEM].decode(errors="ignore"), uuid.uuid4().hex[:8]
        _lock(server, stem)
        _sweep(server, stem, on_note)
        draft, old = f"{stem}_restore_{token}", f"{stem}_before_{token}"
        try:
            limit = _create_like(server, name, draft)
            with told(partial(_size, maintenance, draft), on_progress):
                _fill(make_conninfo(address, dbname=draft), dump, manifest)
            _swap(server, name, draft, old, limits=(limit, limit if keep_old else _NOBODYS))
        except BaseException:
            with contextlib.suppress(Exception):
                _drop(server, draft)
            raise
        if not keep_old:
            _drop_or_tell(server, old, on_note)
    return manifest


def _refuse_filled(connection: "Connection[tuple[Any, ...]]", name: str, replace: str | None) -> None:
    if replace is not None and replace != name:
        raise PlatformError(f"the database is called {name}, not {replace}", hint="nothing was changed")
    if replace is None and (held := _name_contents(connection)):
        raise PlatformError(
            f"the database {name} is not empty: it holds {held}",
            hint="pass --replace, and its name when asked, to put the backup in its place",
        )


def _name_contents(connection: "Connection[tuple[Any, ...]]") -> str:
    """Name what a database holds besides what PostgreSQL and extensions put there, or return nothing."""
    found = connection.execute(
        "WITH own AS (SELECT oid FROM pg_namespace WHERE nspname <> 'information_schema'"
        " AND NOT starts_with(nspname, 'pg_')),"
        " of_extension AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),"
        " kinds(kind, word) AS (VALUES ('r', 'tables'), ('p', 'tables'), ('f', 'tables'), ('v', 'views'),"
        " ('m', 'views'), ('S', 'sequences')),"
        " things AS (SELECT word FROM pg_class c JOIN kinds ON kind = relkind::text JOIN own ON own.oid = relnamespace"
        " WHERE ('pg_class'::regclass, c.oid) NOT IN (TABLE of_extension)"
        " UNION ALL SELECT 'functions' FROM pg_proc p JOIN own ON own.oid = pronamespace"
        " WHERE ('pg_proc'::regclass, p.oid) NOT IN (TABLE of_extension)"
        " UNION ALL SELECT 'large objects' FROM pg_largeobject_metadata)"
        " SELECT word, count(*) FROM things GROUP BY word ORDER BY word"
    ).fetchall()
    return ", ".join(f"{count} {word[:-1] if count == 1 else word}" for word, count in found)


def _lock(server: "Connection[tuple[Any, ...]]", stem: str) -> None:
    row = server.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", [_LOCK_KEY, stem]).fetchone()
    if row is None or not row[0]:
        raise PlatformError("another restore of this database is running", hint="wait for it, and run this again")


def _sweep(server: "Connection[tuple[Any, ...]]", stem: str, on_note: Callable[[str], None] | None) -> None:
    """Drop what restores of this database that were killed left behind; only for the holder of the lock."""
    query = (
        "SELECT datname FROM pg_database WHERE starts_with(datname, %(stem)s)"
        " AND substr(datname, length(%(stem)s) + 1) ~ %(names)s AND datconnlimit = %(nobodys)s"
    )
    for (name,) in server.execute(query, {"stem": stem, "names": _NAMES, "nobodys": _NOBODYS}).fetchall():
        _drop_or_tell(server, name, on_note)


def _drop_or_tell(server: "Connection[tuple[Any, ...]]", name: str, on_note: Callable[[str], None] | None) -> None:
    """Drop a database that is nobody's; where the server refuses that, it stays, and no restore fails for it."""
    import psycopg

    try:
        _drop(server, name)
    except psycopg.Error as error:
        if on_note is not None:
            why = str(error).strip().partition("\n")[0]
            on_note(f"the database {name} is not needed any more and could not be dropped: {why}")


def _size(address: str, name: str) -> int:
    with connected(address) as connection:
        row = connection.execute("SELECT pg_database_size(%s)", [name]).fetchone()
    return int(row[0]) if row else 0


def _create_like(server: "Connection[tuple[Any, ...]]", name: str, draft: str) -> int:
    """Create the database `draft` with the encoding, locale, owner, settings and grants of the database `name`.

    Return the limit of connections that `name` has, which `draft` is to have when it is finished.
    """
    from psycopg import errors, sql

    row = server.execute(
        "SELECT pg_encoding_to_char(encoding), datcollate, datctype, CASE datlocprovider WHEN 'c' THEN 'libc'"
        " WHEN 'i' THEN 'icu' ELSE 'builtin' END, coalesce(to_jsonb(d) ->> 'datlocale',"
        " to_jsonb(d) ->> 'daticulocale'), pg_get_userbyid(datdba),"
        " datconnlimit FROM pg_database d WHERE datname = %s",
        [name],
    ).fetchone()
    if row is None:
        raise PlatformError(f"there is no database {name}")
    encoding, collate, ctype, provider, locale, owner, limit = row
    text = "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {} LOCALE_PROVIDER {} OWNER {}"
    text += f" CONNECTION LIMIT {_NOBODYS}"
    parts = [sql.Identifier(draft), *map(sql.Literal, (encoding, collate, ctype)), sql.SQL(provider)]
    query = sql.SQL(text).format(*parts, sql.Identifier(owner))
    if locale and provider != "libc":
        query += sql.SQL(" ICU_LOCALE {}" if provider == "icu" else " BUILTIN_LOCALE {}").format(sql.Literal(locale))
    try:
        server.execute(query)
    except errors.InsufficientPrivilege:
        raise _not_allowed(server, owner) from None
    _copy_settings(server, name, draft)
    return int(limit)


def _not_allowed(server: "Connection[tuple[Any, ...]]", owner: str) -> PlatformError:
    """Say what the user lacks who may not create a database of `owner`'s."""
    user = server.info.user
    row = server.execute("SELECT rolcreatedb FROM pg_roles WHERE rolname = current_user").fetchone()
    if row is not None and row[0]:
        return PlatformError(
            f"the database belongs to {owner}, and the user {user} may not create one for that role",
            hint=f"restore as {owner}, or let its administrator run: GRANT {owner} TO {user}",
        )
    return PlatformError(
        f"the user {user} may not create databases, and a restore needs one beside the old",
        hint=f"let its administrator run: ALTER ROLE {user} CREATEDB",
    )


def _copy_settings(server: "Connection[tuple[Any, ...]]", name: str, draft: str) -> None:
    from psycopg import sql

    settings = server.execute(
        "SELECT split_part(one, '=', 1), substr(one, strpos(one, '=') + 1), nullif(setrole, 0)::regrole::text"
        " FROM pg_db_role_setting, unnest(setconfig) AS one"
        " WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = %s)",
        [name],
    ).fetchall()
    for setting, value, role in settings:
        whose = sql.SQL(f"ROLE {role} IN DATABASE" if role else "DATABASE")
        with server.transaction():
            server.execute("SELECT set_config(%s, %s, true)", [setting, value])
            text = sql.SQL("ALTER {} {} SET {} FROM CURRENT")
            server.execute(text.format(whose, sql.Identifier(draft), sql.Identifier(*setting.split("."))))
    grants = server.execute(
        "SELECT g.privilege_type, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END,"
        " g.is_grantable FROM pg_database, aclexplode(datacl) g WHERE datname = %s",
        [name],
    ).fetchall()
    if grants:
        server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(draft)))
    for privilege, grantee, grantable in grants:
        grant = f"GRANT {privilege} ON DATABASE {{}} TO {grantee}{' WITH GRANT OPTION' if grantable else ''}"
        server.execute(sql.SQL(grant).format(sql.Identifier(draft)))


def _fill(address: str, dump: Path, manifest: Manifest) -> None:
    """Restore `dump` into the database at `address`, and compare what is there then with the manifest."""
    run_program("pg_restore", ["--exit-on-error", "--single-transaction", str(dump)], address)
    with connected(address) as connection:
        found, migration = count_rows(connection), newest_migration(connection)
    if found != manifest.rows or migration != manifest.migration:
        wrong = sorted(
            table for table in found.keys() | manifest.rows.keys() if found.get(table) != manifest.rows.get(table)
        )
        raise PlatformError(
            f"what was restored is not what the manifest says ({', '.join(wrong) or 'another migration'})",
            hint="the old database is as it was; use another backup",
        )


def _swap(server: "Connection[tuple[Any, ...]]", name: str, draft: str, old: str, *, limits: tuple[int, int]) -> None:
    """Give `draft` the name of the old database, in one transaction, ending the sessions on the old one.

    `limits` are the limits of connections that the new and the old one have from then on.
    """
    from psycopg import errors, sql

    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    limit = sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}")
    for attempt in range(_ATTEMPTS):
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            with server.transaction():
                server.execute(rename.format(sql.Identifier(name), sql.Identifier(old)))
                server.execute(rename.format(sql.Identifier(draft), sql.Identifier(name)))
                for database, most in zip((name, old), limits, strict=True):
                    server.execute(limit.format(sql.Identifier(database), sql.Literal(most)))
        except errors.ObjectInUse:
            if attempt + 1 == _ATTEMPTS:
                raise
        else:
            return


def _drop(server: "Connection[tuple[Any, ...]]", name: str) -> None:
    from psycopg import sql

    server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
