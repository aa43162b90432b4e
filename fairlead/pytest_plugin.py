"""Database fixtures for anyone's test-suite: a real PostgreSQL, with nothing to install.

```
postgres_server         session    the server: embedded and thrown away, or the one at FAIRLEAD_TEST_DATABASE_URL
database_url            session    a database of this worker's own, with the repository's migrations applied
migrated_database_url   function   a database of this test's own, with the migrations applied
fresh_database_url      function   an empty database of this test's own
```

With pytest-xdist each worker has its own server, or its own databases on the one that was given. Databases are dropped
when their scope ends. The address is `postgresql://user:password@host:port/database`.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from fairlead.exceptions import Error

if TYPE_CHECKING:
    from fairlead.postgres import Databases

VARIABLE = "FAIRLEAD_TEST_DATABASE_URL"


@pytest.fixture(scope="session")
def postgres_server() -> "Iterator[Databases]":
    """Give the PostgreSQL server of this test session; see `fairlead.postgres.Databases`."""
    from fairlead.postgres import ExternalServer, temporary_server

    address = os.environ.get(VARIABLE)
    with _plainly():
        if address:
            from fairlead.migrations import normalise_url

            yield ExternalServer(normalise_url(address))
        else:
            with temporary_server() as server:
                yield server


@pytest.fixture(scope="session")
def migrated_template(postgres_server: "Databases", pytestconfig: pytest.Config) -> Iterator[str]:
    """Give the name of a database with the repository's migrations applied, to be cloned and never connected to."""
    from fairlead import config
    from fairlead.migrations import Migrator, connect, load_migrations

    with _plainly(), _database(postgres_server) as name:
        migrations = load_migrations(config.load(pytestconfig.rootpath).migrations.directory)
        with connect(postgres_server.url(name)) as connection:
            Migrator(connection, migrations).apply()
        yield name


@pytest.fixture(scope="session")
def database_url(postgres_server: "Databases", migrated_template: str) -> Iterator[str]:
    """Give the address of this worker's migrated database, which its tests share."""
    with _plainly(), _database(postgres_server, template=migrated_template) as name:
        yield postgres_server.url(name)


@pytest.fixture
def migrated_database_url(postgres_server: "Databases", migrated_template: str) -> Iterator[str]:
    """Give the address of a migrated database that is this test's alone."""
    with _plainly(), _database(postgres_server, template=migrated_template) as name:
        yield postgres_server.url(name)


@pytest.fixture
def fresh_database_url(postgres_server: "Databases") -> Iterator[str]:
    """Give the address of an empty database that is this test's alone."""
    with _plainly(), _database(postgres_server) as name:
        yield postgres_server.url(name)


@contextmanager
def _database(server: "Databases", *, template: str | None = None) -> Iterator[str]:
    name = f"fairlead_test_{uuid.uuid4().hex[:16]}"
    server.create_database(name, template=template)
    try:
        yield name
    finally:
        server.drop_database(name)


@contextmanager
def _plainly() -> Iterator[None]:
    """Report an expected error as its message, what to do next and nothing else."""
    try:
        yield
    except Error as error:
        pytest.fail(f"{error.message}\n{error.hint}" if error.hint else error.message, pytrace=False)
