"""The commands that PostgreSQL is run by."""

import itertools
from pathlib import Path

import pytest

from fairlead.postgres.binaries import Binaries
from fairlead.postgres.cluster import ENVIRONMENT, initdb_argv, single_user_argv
from fairlead.postgres.databases import ExternalServer, replace_database
from fairlead.postgres.server import choose_port, server_argv

BINARIES = Binaries(Path("/opt/pg/bin"))


def settings(argv: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for flag, word in itertools.pairwise(argv) if flag == "-c")


def test_initdb_hands_the_password_over_in_a_file() -> None:
    argv = initdb_argv(BINARIES, Path("/a b/data"), Path("/a b/password"), durable=True)
    assert argv[:4] == [
        "/opt/pg/bin/initdb",
        "--pgdata=/a b/data",
        "--username=postgres",
        "--pwfile=/a b/password",
    ]
    assert "--auth=scram-sha-256" in argv
    assert "--encoding=UTF8" in argv


def test_server_listens_on_loopback_and_a_private_socket_only() -> None:
    argv = server_argv(BINARIES, Path("/a b/data"), 20123, Path('/a "b"'), durable=True)
    assert argv[:3] == ["/opt/pg/bin/postgres", "-D", "/a b/data"]
    found = settings(argv)
    assert found["listen_addresses"] == "127.0.0.1"
    assert found["port"] == "20123"
    assert found["unix_socket_directories"] == '"/a ""b"""'
    assert found["unix_socket_permissions"] == "0700"


@pytest.mark.parametrize("name", ["fsync", "synchronous_commit", "full_page_writes"])
def test_only_a_server_that_need_not_last_skips_the_disk(name: str) -> None:
    durable = settings(server_argv(BINARIES, Path("d"), 1, Path("s"), durable=True))
    passing = settings(server_argv(BINARIES, Path("d"), 1, Path("s"), durable=False))
    assert name not in durable
    assert passing[name] == "off"


def test_environment_of_the_caller_does_not_reach_the_server() -> None:
    assert set(ENVIRONMENT) == {"PATH", "LC_ALL", "TZ"}


def test_chosen_port_lies_below_those_that_the_system_hands_out() -> None:
    assert 20_000 <= choose_port() < 32_768


@pytest.mark.parametrize(
    ("url", "database", "expected"),
    [
        ("postgresql://u:p@h:1/a", "b", "postgresql://u:p@h:1/b"),
        ("postgresql://u:p@h:1/a?sslmode=require", "b", "postgresql://u:p@h:1/b?sslmode=require"),
        ("postgresql:///a?host=/tmp", "b", "postgresql:///b?host=/tmp"),
        ("postgresql://u:p@h:1", "b c", "postgresql://u:p@h:1/b%20c"),
    ],
)
def test_database_of_an_address_is_replaced(url: str, database: str, expected: str) -> None:
    assert replace_database(url, database) == expected
    assert ExternalServer(url).url(database) == expected
    assert ExternalServer(url).url() == url


def test_server_of_one_session_stops_at_an_error_and_repeats_no_statement() -> None:
    argv = single_user_argv(BINARIES, Path("/a b/data"))
    assert argv[:4] == ["/opt/pg/bin/postgres", "--single", "-D", "/a b/data"]
    assert {"exit_on_error=on", "log_min_error_statement=panic"} < set(argv)
    assert argv[-1] == "postgres"
