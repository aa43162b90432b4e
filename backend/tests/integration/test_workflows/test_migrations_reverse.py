"""Each migration's down file takes the database back to exactly what it was before the up file."""

import uuid

import psycopg
import pytest

from app.settings import ROOT

UP = sorted(path for path in (ROOT / "migrations").glob("*.sql") if not path.name.endswith(".down.sql"))

#: Everything that the migrations of this backend can make, as text.
CATALOGUE = """
SELECT 'column', table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable, column_default
  FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
  WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'function', proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'relation', relname, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
ORDER BY 1, 2, 3
"""


@pytest.fixture
def empty_database(postgres_server):
    name = f"reverse_{uuid.uuid4().hex}"
    postgres_server.create_database(name)
    with psycopg.connect(postgres_server.url(name), autocommit=True) as connection:
        yield connection
    postgres_server.drop_database(name)


def down(path):
    return path.with_name(path.name.removesuffix(".sql") + ".down.sql")


def apply(connection, path):
    with connection.transaction():
        connection.execute(path.read_text(encoding="utf-8"))


def test_every_migration_has_a_down_file():
    assert len(UP) >= 4
    assert [path for path in UP if not down(path).is_file()] == []


def test_every_migration_changes_the_database_and_reverses(empty_database):
    def catalogue():
        return empty_database.execute(CATALOGUE).fetchall()

    for path in UP:
        before = catalogue()
        apply(empty_database, path)
        after = catalogue()
        assert after != before, f"{path.name} changes nothing"
        apply(empty_database, down(path))
        assert catalogue() == before, f"{down(path).name} does not reverse {path.name}"
        apply(empty_database, path)
        assert catalogue() == after, f"{path.name} differs the second time"

    for path in reversed(UP):
        apply(empty_database, down(path))
    assert catalogue() == []


TENANT = "INSERT INTO tenants (name) VALUES ('T') RETURNING id"
USER = "INSERT INTO users (tenant_id, email, name, password_hash, role) VALUES (%s, %s, 'U', %s, %s)"
HASH = "$argon2id$v=19$x"


@pytest.mark.parametrize(
    ("statement", "arguments", "constraint"),
    [
        ("INSERT INTO tenants (name) VALUES (%s)", [" "], "tenants_name_check"),
        (USER, [None, "a@b", HASH, "owner"], "tenant_id"),
        (USER, [uuid.uuid4(), "a@b", HASH, "owner"], "users_tenant_id_fkey"),
        (USER, ["tenant", "nobody", HASH, "owner"], "users_email_check"),
        (USER, ["tenant", "a@b", "plain", "owner"], "users_password_hash_check"),
        (USER, ["tenant", "a@b", HASH, "root"], "users_role_check"),
        (
            "INSERT INTO business_settings (tenant_id, receptionist_enabled) VALUES (%s, true)",
            ["tenant"],
            "business_settings_receptionist_check",
        ),
        (
            "INSERT INTO business_settings (tenant_id, phone_number) VALUES (%s, '030 123')",
            ["tenant"],
            "business_settings_phone_number_check",
        ),
    ],
)
def test_the_database_refuses_what_the_application_would(database_url, statement, arguments, constraint):
    with psycopg.connect(database_url) as connection:
        tenant = connection.execute(TENANT).fetchone()[0]
        values = [tenant if value == "tenant" else value for value in arguments]
        with pytest.raises(psycopg.errors.IntegrityError, match=constraint):
            connection.execute(statement, values)
        connection.rollback()


def test_the_database_refuses_an_email_that_differs_in_case_only(database_url):
    with psycopg.connect(database_url) as connection:
        tenant = connection.execute(TENANT).fetchone()[0]
        email = f"{uuid.uuid4().hex}@maya.test"
        connection.execute(USER, [tenant, email, HASH, "owner"])
        with pytest.raises(psycopg.errors.UniqueViolation, match="users_email_lower_key"):
            connection.execute(USER, [tenant, email.upper(), HASH, "member"])
        connection.rollback()
