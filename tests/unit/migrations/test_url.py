"""Spellings of a database's address."""

import pytest

from fairlead.exceptions import MigrationError
from fairlead.migrations.url import connect, describe_url, normalise_url, pooler_warning

PASSWORD = "s3cret-w0rd"


@pytest.mark.parametrize(
    ("spelling", "normal"),
    [
        ("postgresql://u:p@h:5432/d", "postgresql://u:p@h:5432/d"),
        ("postgres://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgresql+psycopg://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgresql+psycopg2://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgresql+psycopg_async://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgresql+asyncpg://u:p@h/d?ssl=require", "postgresql://u:p@h/d?sslmode=require"),
        ("postgres+asyncpg://u:p@h/d?prepared_statement_cache_size=0", "postgresql://u:p@h/d"),
        ("POSTGRES://u:p@h/d", "postgresql://u:p@h/d"),
        ("  'postgres://u:p@h/d'\n", "postgresql://u:p@h/d"),
        ("postgres://u:p%40ss@h/d?sslmode=require", "postgresql://u:p%40ss@h/d?sslmode=require"),
        ("postgresql:///d?host=%2Ftmp%2Fa%20b", "postgresql:///d?host=%2Ftmp%2Fa%20b"),
        ("postgresql://u@[::1]:5432/d", "postgresql://u@[::1]:5432/d"),
        ("postgresql://a:5432,b:5433/d", "postgresql://a:5432,b:5433/d"),
        ("postgres://u:p#a@h/d", "postgresql://u:p#a@h/d"),
        ("host=h dbname=d", "host=h dbname=d"),
    ],
)
def test_every_spelling_becomes_the_one_that_libpq_reads(spelling: str, normal: str) -> None:
    assert normalise_url(spelling) == normal


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("", "is empty"),
        ("''", "is empty"),
        ("localhost", "no scheme"),
        (f"mysql://u:{PASSWORD}@h/d", "mysql:// is no address"),
        (f"postgres://u:x@{PASSWORD}@h/d", "cannot be read"),
        (f"postgres://u:12/{PASSWORD}@h/d", "cannot be read"),
        (f"postgres://u:12?{PASSWORD}@h/d", "cannot be read"),
        (f"postgresql+nodriver://u:{PASSWORD}@h/d", "unknown driver"),
    ],
)
def test_what_is_no_address_is_refused_without_the_password(address: str, told: str) -> None:
    with pytest.raises(MigrationError, match=told) as caught:
        normalise_url(address)
    assert PASSWORD not in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("address", "described"),
    [
        (f"postgres://u:{PASSWORD}@h:5433/d", "u@h:5433/d"),
        (f"postgres://u:{PASSWORD}@h/d", "u@h/d"),
        ("postgres:///d", "localhost/d"),
        (f"host=h user=u password={PASSWORD}", "u@h/u"),
        (f"password={PASSWORD} nonsense", "(an address that cannot be read)"),
    ],
)
def test_description_leaves_the_password_out(address: str, described: str) -> None:
    assert describe_url(address) == described


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://u:{PASSWORD}@h/d?unknown_option=1",
        f"host=h passwort={PASSWORD}",
        f"postgres://u:p@127.0.0.1:{PASSWORD}/d",
    ],
)
def test_connecting_to_what_libpq_cannot_read_tells_nothing_of_it(address: str) -> None:
    with pytest.raises(MigrationError, match="cannot be read") as caught:
        connect(address)
    assert PASSWORD not in caught.value.message


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        (f"postgres://u:{PASSWORD}@h:6543/d", True),
        (f"postgres://u:{PASSWORD}@aws-0-eu.pooler.supabase.com/d", True),
        (f"postgres://u:{PASSWORD}@ep-x-pooler.neon.tech/d?sslmode=require", True),
        (f"postgres://u:{PASSWORD}@h/d?pgbouncer=true", True),
        (f"host=h port=6543 password={PASSWORD}", True),
        (f"postgres://u:{PASSWORD}@h:5432/pooler", False),
        (f"postgres://pooler:{PASSWORD}6543@h/d", False),
        ("postgresql://a:5432,b:5433/d", False),
    ],
)
def test_pooler_is_warned_of(address: str, warned: bool) -> None:
    warning = pooler_warning(address)
    assert (warning is not None) == warned
    assert PASSWORD not in str(warning)
