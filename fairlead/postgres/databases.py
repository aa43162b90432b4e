"""The databases of a server: addresses, creating, cloning, dropping. psycopg is imported when one is first touched."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING
from urllib.parse import quote

from fairlead.exceptions import PlatformError

if TYPE_CHECKING:
    from psycopg import sql


class Databases(ABC):
    """A PostgreSQL server whose databases can be made and dropped."""

    @abstractmethod
    def url(self, database: str = "postgres") -> str:
        """Return the address of one database, `postgresql://user:password@host:port/database`."""

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Create the database `name`, as a clone of `template` when given; nobody may be connected to that."""
        from psycopg import sql

        source = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
        self._administer(sql.SQL("CREATE DATABASE {}{}").format(sql.Identifier(name), source))

    def drop_database(self, name: str) -> None:
        """Drop the database `name`, ending the sessions that use it; where there is none, do nothing."""
        from psycopg import sql

        self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def rename_database(self, name: str, new_name: str) -> None:
        """Rename the database `name`; nobody may be connected to it."""
        from psycopg import sql

        self._administer(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new_name))
        )

    def database_exists(self, name: str) -> bool:
        """Tell whether there is a database `name`."""
        import psycopg

        try:
            with psycopg.connect(self.url(), autocommit=True) as connection:
                found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        except psycopg.Error as error:
            raise PlatformError(f"PostgreSQL cannot be asked for the database {name}: {_first_line(error)}") from error
        return found is not None

    def _administer(self, statement: "sql.Composed") -> None:
        import psycopg

        try:
            with psycopg.connect(self.url(), autocommit=True) as connection:
                connection.execute("SET client_min_messages = warning")
                connection.execute(statement)
        except psycopg.Error as error:
            raise PlatformError(f"PostgreSQL refused: {_first_line(error)}") from error


class ExternalServer(Databases):
    """A server that somebody else runs, known by the address of one of its databases."""

    def __init__(self, url: str) -> None:
        self._url = url

    def url(self, database: str | None = None) -> str:
        """Return the address of `database`, or the one that was given."""
        return self._url if database is None else replace_database(self._url, database)


def replace_database(url: str, database: str) -> str:
    """Return `url` with another database in it."""
    scheme, _, rest = url.partition("://")
    place, question, query = rest.partition("?")
    return f"{scheme}://{place.partition('/')[0]}/{quote(database, safe='')}{question}{query}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
