"""Database fixtures for anyone's test-suite: a real PostgreSQL, with nothing to install; and end-to-end checks.

The end-to-end part (`--url`, `--smoke`, the fixtures `api` and `account`) is `fairlead.verification.endtoend`.

```
postgres_server         session    the server: embedded and thrown away, or the one at FAIRLEAD_TEST_DATABASE_URL
database_url            session    a database of this worker's own, with the repository's migrations applied
database                function   a connection to that database; what a test does with it is rolled back
migrated_database_url   function   a database of this test's own, with the migrations applied: for code that commits
fresh_database_url      function   an empty database of this test's own
```

With pytest-xdist the workers of a run share one embedded server, kept by the process that starts them: it is started
when the first test needs it and ends with the run, and each worker has databases of its own on it. Databases are
dropped when their scope ends. The address is `postgresql://user:password@host:port/database`.

Databases made on a server that was given sort text, search it and tell the time as those of the embedded one do,
whatever that server's own locale is: both give the same results.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from fairlead._sharedserver import Keeper, ask
from fairlead.exceptions import Error, PlatformError

if TYPE_CHECKING:
    from psycopg import Connection

    from fairlead.postgres import Databases

pytest_plugins = ("fairlead.verification.endtoend",)

VARIABLE = "FAIRLEAD_TEST_DATABASE_URL"

_INPUT = "fairlead_test_server"
_keeper = pytest.StashKey[Keeper]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where to ask for the run's server."""
    if not os.environ.get(VARIABLE):
        stash: pytest.Stash = node.config.stash
        if _keeper not in stash:
            stash[_keeper] = Keeper(_start_server)
        node.workerinput[_INPUT] = stash[_keeper].address


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the server of the run, after its workers."""
    if keeper := config.stash.get(_keeper, None):
        keeper.close()


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> "Iterator[Databases]":
    """Give the PostgreSQL server of this test run; see `fairlead.postgres.Databases`."""
    from fairlead.postgres import ExternalServer

    given = os.environ.get(VARIABLE)
    keeper: str | None = getattr(pytestconfig, "workerinput", {}).get(_INPUT)
    with _plainly():
        if given:
            from fairlead.migrations import normalise_url

            yield ExternalServer(normalise_url(given), alike=True)
        elif keeper and (shared := ask(keeper)):
            yield ExternalServer(shared, throwaway=True)
        else:
            with _start_server() as server:
                yield server


@pytest.fixture(scope="session")
def migrated_template(postgres_server: "Databases", pytestconfig: pytest.Config) -> str:
    """Give the name of a database with the repository's migrations applied, to be cloned and never connected to.

    It is told by the hash of the migrations: on a server that was given it is kept, and other runs clone it too.
    """
    from fairlead import config
    from fairlead.migrations import fingerprint, open_engine
    from fairlead.postgres import keep_template

    def migrate(address: str) -> None:
        with open_engine(settings, address) as engine:
            engine.apply()

    with _plainly():
        settings = config.load(pytestconfig.rootpath).migrations
        return keep_template(postgres_server, fingerprint(settings), migrate)


@pytest.fixture(scope="session")
def database_url(postgres_server: "Databases", migrated_template: str) -> Iterator[str]:
    """Give the address of this worker's migrated database, which its tests share."""
    from fairlead.postgres import scratch_database

    with _plainly(), scratch_database(postgres_server, template=migrated_template) as name:
        yield postgres_server.url(name)


@pytest.fixture
def database(database_url: str) -> "Iterator[Connection[tuple[Any, ...]]]":
    """Give a connection to this worker's database, in a transaction that is rolled back after the test.

    Its `transaction()` blocks are savepoints, its `commit()` raises, and a test that sends COMMIT as SQL fails at its
    end, because that cannot be undone: code that commits is tested on `migrated_database_url`.
    """
    import psycopg
    from psycopg.pq import TransactionStatus

    with _plainly():
        try:
            connection = psycopg.connect(database_url)
        except psycopg.Error as error:
            raise PlatformError(f"the test database cannot be reached: {error}") from error
    with connection, connection.transaction(force_rollback=True):
        yield connection
        ended = not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE
    if ended:
        pytest.fail(
            "the test ended the transaction of `database`, and what it committed stays in the worker's database\n"
            "test code that commits with `migrated_database_url`, which is its own",
            pytrace=False,
        )


@pytest.fixture
def migrated_database_url(postgres_server: "Databases", migrated_template: str) -> Iterator[str]:
    """Give the address of a migrated database that is this test's alone."""
    from fairlead.postgres import scratch_database

    with _plainly(), scratch_database(postgres_server, template=migrated_template) as name:
        yield postgres_server.url(name)


@pytest.fixture
def fresh_database_url(postgres_server: "Databases") -> Iterator[str]:
    """Give the address of an empty database that is this test's alone."""
    from fairlead.postgres import scratch_database

    with _plainly(), scratch_database(postgres_server) as name:
        yield postgres_server.url(name)


def _start_server() -> "AbstractContextManager[Databases]":
    from fairlead.postgres import temporary_server

    return temporary_server()


@contextmanager
def _plainly() -> Iterator[None]:
    """Report an expected error as its message, what to do next and nothing else."""
    try:
        yield
    except Error as error:
        pytest.fail(f"{error.message}\n{error.hint}" if error.hint else error.message, pytrace=False)
