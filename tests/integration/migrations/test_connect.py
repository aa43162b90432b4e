"""Connecting to a real server, with addresses that are wrong each in its own way."""

import threading
from urllib.parse import urlsplit

import psycopg
import pytest

from fairlead.exceptions import MigrationError
from fairlead.migrations.url import connect
from fairlead.postgres import Databases

PASSWORD = "s3cret-w0rd"


def test_missing_database_is_told_apart_from_a_missing_user(postgres_server: Databases) -> None:
    with pytest.raises(MigrationError, match="there is no database none_such") as caught:
        connect(postgres_server.url("none_such"))
    assert "--create" in str(caught.value.hint)


def test_wrong_password_is_told_without_it(postgres_server: Databases) -> None:
    place = urlsplit(postgres_server.url("postgres"))
    with pytest.raises(MigrationError, match="the user or the password is wrong") as caught:
        connect(f"postgresql://{place.username}:{PASSWORD}@{place.hostname}:{place.port}/postgres")
    assert PASSWORD not in f"{caught.value.message} {caught.value.hint}"


def test_missing_database_is_created_when_asked_for(postgres_server: Databases) -> None:
    name = 'made "here" %'
    address = postgres_server.url("postgres").rpartition("/")[0] + "/made%20%22here%22%20%25"
    try:
        for _ in range(2):
            with connect(address, create=True) as connection:
                assert connection.info.dbname == name
    finally:
        with connect(postgres_server.url("postgres")) as connection:
            connection.execute('DROP DATABASE IF EXISTS "made ""here"" %"')


def test_two_creators_both_connect(postgres_server: Databases) -> None:
    address = postgres_server.url("made_by_two")
    barrier = threading.Barrier(2)
    seen: list[str] = []

    def create() -> None:
        barrier.wait()
        with connect(address, create=True) as connection:
            seen.append(connection.info.dbname)

    threads = [threading.Thread(target=create) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with connect(postgres_server.url("postgres")) as connection:
        connection.execute("DROP DATABASE IF EXISTS made_by_two")
    assert seen == ["made_by_two", "made_by_two"]


def test_user_who_may_not_create_is_told(postgres_server: Databases, fresh_database_url: str) -> None:
    place = urlsplit(postgres_server.url("postgres"))
    role = f"poor_{urlsplit(fresh_database_url).path[-8:]}"
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'".encode())
        try:
            with pytest.raises(MigrationError, match="may not create databases") as caught:
                connect(f"postgresql://{role}:{PASSWORD}@{place.hostname}:{place.port}/none_such", create=True)
        finally:
            connection.execute(f"DROP ROLE {role}".encode())
    assert PASSWORD not in caught.value.message
