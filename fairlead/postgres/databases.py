"""The databases of a server: addresses, creating, cloning, dropping. psycopg is imported when one is first touched."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from fairlead.exceptions import PlatformError

if TYPE_CHECKING:
    from psycopg import sql

#: The embedded server's collation, as PostgreSQL 17 and newer spell it, 15 and 16, and 14.
_LOCALES: Final = (
    "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'C'",
    "LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'",
    "LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'",
)
_ALIKE: Final = {"TimeZone": "UTC", "default_text_search_config": "pg_catalog.english", "DateStyle": "ISO, MDY"}


class Databases(ABC):
    """A PostgreSQL server whose databases can be made and dropped."""

    #: Whether it syncs nothing: then a clone of files takes a third of the time of one through the log.
    throwaway = False

    @abstractmethod
    def url(self, database: str = "postgres") -> str:
        """Return the address of one database, `postgresql://user:password@host:port/database`."""

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Create the database `name`, as a clone of `template` when given; nobody may be connected to that."""
        from psycopg import sql

        source = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
        strategy = sql.SQL(" STRATEGY file_copy" if self.throwaway else "")
        self._administer(sql.SQL("CREATE DATABASE {}{}{}").format(sql.Identifier(name), source, strategy))

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

    def _administer(self, *statements: "sql.Composed") -> None:
        import psycopg

        try:
            with psycopg.connect(self.url(), autocommit=True) as connection:
                connection.execute("SET client_min_messages = warning")
                for statement in statements:
                    connection.execute(statement)
        except psycopg.Error as error:
            raise PlatformError(f"PostgreSQL refused: {_first_line(error)}") from error


class ExternalServer(Databases):
    """A server that somebody else runs, known by the address of one of its databases.

    With `alike` the databases made on it behave as those of the embedded server, whatever its own settings are: empty
    but for the migrations, text in the order of its characters' numbers, searched as English, times in UTC.
    """

    def __init__(self, url: str, *, alike: bool = False, throwaway: bool = False) -> None:
        self._url = url
        self._alike = alike
        self.throwaway = throwaway

    def url(self, database: str | None = None) -> str:
        """Return the address of `database`, or the one that was given."""
        return self._url if database is None else replace_database(self._url, database)

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Create the database `name`, as a clone of `template` when given; nobody may be connected to that."""
        if not self._alike:
            super().create_database(name, template=template)
            return
        if template or not self._created_alike(name):
            super().create_database(name, template=template)
        # What is set for a database is not cloned with it.
        self._administer(*(_set_for(name, setting, value) for setting, value in _ALIKE.items()))

    def _created_alike(self, name: str) -> bool:
        """Create the database `name` with the embedded server's collation; return whether the server knows that."""
        from psycopg import sql

        create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' ").format(sql.Identifier(name))
        for locale in _LOCALES:
            try:
                self._administer(create + sql.SQL(locale).format())
            except PlatformError:
                continue
            return True
        return False


def replace_database(url: str, database: str) -> str:
    """Return `url` with another database in it."""
    scheme, _, rest = url.partition("://")
    place, question, query = rest.partition("?")
    return f"{scheme}://{place.partition('/')[0]}/{quote(database, safe='')}{question}{query}"


def _set_for(database: str, setting: str, value: str) -> "sql.Composed":
    from psycopg import sql

    return sql.SQL("ALTER DATABASE {} SET {} = {}").format(
        sql.Identifier(database), sql.Identifier(setting), sql.Literal(value)
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
