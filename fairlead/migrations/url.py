"""Database addresses: every spelling that DATABASE_URL comes in, and connecting with errors that say what to do.

A password never appears in a message from here.
"""

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlencode

from fairlead.exceptions import MigrationError

if TYPE_CHECKING:
    from psycopg import Connection

_SCHEMES: Final = {"postgres", "postgresql", "pgsql"}
_DRIVERS: Final = {"psycopg", "psycopg2", "psycopg2cffi", "psycopg_async", "asyncpg", "pg8000"}
_EXAMPLE: Final = "postgresql://user:password@host:5432/database"
#: Parameters that other drivers read and libpq does not know, with the name that it knows them by, if any.
_FOREIGN: Final = {
    "ssl": "sslmode",
    "prepared_statement_cache_size": None,
    "prepared_statement_name_func": None,
    "statement_cache_size": None,
    "pgbouncer": None,
    "connection_limit": None,
    "pool_timeout": None,
    "schema": None,
}
_REASONS: Final = (
    ("password authentication failed", "the user or the password is wrong", "check the user and password in it"),
    ("no password supplied", "the server wants a password and the address has none", f"write it as {_EXAMPLE}"),
    ("no pg_hba.conf entry", "the server does not let this user in from here", "ask its administrator"),
    ("does not exist", "there is no such user", "check the user in it"),
    ("Connection refused", "nothing listens there", "check host and port, and that the server is running"),
    ("No such file or directory", "nothing listens on that socket", "check the socket's folder and port"),
    ("could not translate host", "the host's name is unknown", "check the host's name"),
    ("failed to resolve host", "the host's name is unknown", "check the host's name"),
    ("timeout", "it did not answer in time", "check host, port and firewall"),
    ("too many", "the server has no connection to spare", "end some sessions, or raise max_connections"),
    ("starting up", "the server is starting up", "try again in a moment"),
    ("shutting down", "the server is shutting down", "try again in a moment"),
    ("SSL", "the two sides do not agree on encryption", "check sslmode in the address"),
)
_MISSING_DATABASE: Final = re.compile(r'database "(.*)" does not exist')
_POOLER_PORT: Final = "6543"


def normalise_url(url: str) -> str:
    """Return `url` as libpq reads it: `postgresql://`, without a driver's name and a driver's own parameters.

    A libpq text (`host=… dbname=…`) is passed on as it is. Raises `MigrationError` for what is no PostgreSQL address.
    """
    text = url.strip().strip("'\"")
    if not text:
        raise MigrationError("the database's address is empty", hint=f"write it as {_EXAMPLE}")
    if "://" not in text:
        if "=" in text:
            return text
        raise MigrationError("the database's address has no scheme", hint=f"write it as {_EXAMPLE}")
    scheme, _, driver = text.partition("://")[0].lower().partition("+")
    if scheme not in _SCHEMES:
        raise MigrationError(f"{scheme}:// is no address of a PostgreSQL", hint=f"write it as {_EXAMPLE}")
    if driver and driver not in _DRIVERS:
        raise MigrationError(f"{scheme}+{driver}:// names an unknown driver", hint=f"write it as {_EXAMPLE}")
    # Split by hand: an empty host and several hosts are valid here, and the standard library's parser loses them.
    rest = text.partition("://")[2]
    if rest.count("@") > 1 or "@" in rest.partition("/")[2] or "@" in rest.partition("?")[2]:
        raise _unreadable()  # an @ or / within the password, which would make a part of it the host
    place, _, query = rest.partition("?")
    query = _normalise_query(query)
    return f"postgresql://{place}?{query}" if query else f"postgresql://{place}"


def describe_url(url: str) -> str:
    """Return where `url` leads, for messages: `user@host:port/database`, never the password."""
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        facts = conninfo_to_dict(normalise_url(url))
    except Error:
        return "(an address that cannot be read)"
    user = f"{facts['user']}@" if facts.get("user") else ""
    port = f":{facts['port']}" if facts.get("port") else ""
    return f"{user}{facts.get('host') or 'localhost'}{port}/{facts.get('dbname') or facts.get('user') or ''}"


def pooler_warning(url: str) -> str | None:
    """Return what to say about an address that seems to lead to a pooler, which may lend each statement a session."""
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        facts = conninfo_to_dict(normalise_url(url))
    except Error:
        return None
    host, port = str(facts.get("host") or ""), str(facts.get("port") or "")
    if _POOLER_PORT not in port.split(",") and "pooler" not in host and "pgbouncer" not in url.partition("?")[2]:
        return None
    return (
        f"{describe_url(url)} looks like a pooler: the lock that keeps two runners apart needs a session of its own;"
        " give the server's direct address, or the pooler's session mode"
    )


def connect(
    url: str, *, timeout: int = 10, application: str = "fairlead", create: bool = False
) -> "Connection[tuple[Any, ...]]":
    """Connect to the database at `url`, in any of its spellings, with each statement a transaction of its own.

    `timeout` is in seconds; with `create` a database that is not there is made first. Raises `MigrationError` that
    says what is wrong with the address or the server.
    """
    import psycopg

    address = normalise_url(url)
    try:
        return _open(address, timeout, application)
    except psycopg.ProgrammingError:
        raise _unreadable() from None
    except psycopg.Error as error:
        missing = _MISSING_DATABASE.search(str(error))
        if missing is None or not create:
            raise _unreachable(address, str(error)) from None
        _create_database(address, missing[1], timeout, application)
    try:
        return _open(address, timeout, application)
    except psycopg.Error as error:
        raise _unreachable(address, str(error)) from None


def _open(address: str, timeout: int, application: str) -> "Connection[tuple[Any, ...]]":
    import psycopg

    return psycopg.connect(
        address, autocommit=True, connect_timeout=timeout, application_name=application, prepare_threshold=None
    )


def _create_database(address: str, name: str, timeout: int, application: str) -> None:
    """Create the database `name` on the server at `address`; one that another creator made meanwhile will do."""
    import psycopg
    from psycopg import errors, sql
    from psycopg.conninfo import make_conninfo

    try:
        with _open(make_conninfo(address, dbname="postgres"), timeout, application) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except (errors.DuplicateDatabase, errors.UniqueViolation):
        return
    except errors.InsufficientPrivilege:
        raise MigrationError(
            f"cannot create {describe_url(address)}: this user may not create databases",
            hint="ask its administrator for the database, or for CREATEDB",
        ) from None
    except psycopg.Error as error:
        said = str(error).strip().splitlines()[0]
        raise MigrationError(f"cannot create {describe_url(address)}: {said}") from None


def _normalise_query(query: str) -> str:
    kept = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        known = _FOREIGN.get(name, name)
        if known is not None:
            kept.append((known, value))
    return urlencode(kept, quote_via=quote)


def _unreadable() -> MigrationError:
    # Nothing of the address is repeated: what stands in the wrong place may be a part of the password.
    return MigrationError(
        "the database's address cannot be read",
        hint=f"write it as {_EXAMPLE}, with %40 for @, %3A for :, %2F for / and %23 for # within user and password",
    )


def _unreachable(address: str, said: str) -> MigrationError:
    if "invalid" in said and ("port" in said or "connection option" in said):
        return _unreadable()
    where = describe_url(address)
    if missing := _MISSING_DATABASE.search(said):
        return MigrationError(
            f"cannot connect to {where}: there is no database {missing[1]}",
            hint="check the last part of the address, or let it be created with --create",
        )
    for sign, reason, hint in _REASONS:
        if sign in said:
            return MigrationError(f"cannot connect to {where}: {reason}", hint=hint)
    return MigrationError(f"cannot connect to {where}: {said.strip().splitlines()[0]}")
