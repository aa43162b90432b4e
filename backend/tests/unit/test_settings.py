import base64
import secrets

import pytest

from app.settings import Settings, SettingsError, load_settings

GOOD_URL = "postgresql://maya:s3cr3t-Zq81@db.internal:5432/maya"
GOOD_JWT_KEY = "Zk3v9QpL1xT7mB5sR2wY8nC4hJ6gD0fA-uEiOq"
GOOD_ENCRYPTION_KEY = "d1uXhZ0mG4sQy7RkVb9TjE2oNcL5aWfP8iKzMtU3xHg="


@pytest.fixture
def environment(monkeypatch):
    def set_variables(**values):
        for name, value in values.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return set_variables


@pytest.fixture
def production(environment):
    def set_variables(**values):
        complete = {
            "ENVIRONMENT": "production",
            "DATABASE_URL": GOOD_URL,
            "JWT_SECRET_KEY": GOOD_JWT_KEY,
            "ENCRYPTION_KEY": GOOD_ENCRYPTION_KEY,
        }
        environment(**(complete | values))

    return set_variables


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_a_postgresql_address_is_accepted(environment, scheme):
    environment(DATABASE_URL=f"{scheme}://maya:p%40ss@db:5433/maya?sslmode=require")

    dsn = load_settings().dsn

    assert (dsn.drivername, dsn.host, dsn.port, dsn.database) == ("postgresql+psycopg", "db", 5433, "maya")
    assert dsn.password == "p@ss"
    assert dsn.query == {"sslmode": "require"}


def test_development_generates_secrets_for_each_process(environment):
    environment(DATABASE_URL=GOOD_URL)

    first, second = load_settings(), load_settings()

    assert len(first.jwt_secret_key.get_secret_value()) >= 32
    assert len(base64.b64decode(first.encryption_key.get_secret_value())) == 32
    assert first.jwt_secret_key != second.jwt_secret_key
    assert first.encryption_key != second.encryption_key


@pytest.mark.parametrize("name", ["staging", "production"])
def test_complete_configuration_is_accepted_outside_development(production, name):
    production(ENVIRONMENT=name)

    assert load_settings().environment == name


@pytest.mark.parametrize("name", ["staging", "production"])
def test_secrets_are_not_generated_outside_development(production, name):
    production(ENVIRONMENT=name, JWT_SECRET_KEY=None, ENCRYPTION_KEY="")

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert "  JWT_SECRET_KEY is missing" in str(caught.value)
    assert "  ENCRYPTION_KEY is missing" in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("JWT_SECRET_KEY", "replace-me-with-at-least-32-random-characters"),
        ("JWT_SECRET_KEY", "test-secret-key-min-32-characters-long"),
        ("JWT_SECRET_KEY", "CHANGEMECHANGEMECHANGEMECHANGEMECHANGEME"),
        ("JWT_SECRET_KEY", "a" * 40),
        ("JWT_SECRET_KEY", "k3Q9" * 10),
        ("ENCRYPTION_KEY", base64.b64encode(bytes(32)).decode()),
        ("ENCRYPTION_KEY", base64.b64encode(b"0123456789abcdef" * 2).decode()),
        ("ENCRYPTION_KEY", base64.b64encode(b"my-placeholder-of-32-characters!").decode()),
        ("DATABASE_URL", "postgresql://maya:changeme@127.0.0.1:5432/maya"),
        ("DATABASE_URL", "postgresql://postgres:postgres@db/maya"),
        ("CORS_ORIGINS", "*"),
    ],
)
def test_defaults_are_refused_in_production_and_accepted_in_development(production, variable, value):
    production(**{variable: value})
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert f"  {variable} " in str(caught.value)

    production(**{variable: value, "ENVIRONMENT": "development"})
    load_settings()


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("DATABASE_URL", None, "is missing"),
        ("DATABASE_URL", "   ", "is missing"),
        ("DATABASE_URL", "mysql://u:hunter22@h/db", "does not begin with postgresql://"),
        ("DATABASE_URL", "postgresql+asyncpg://u:hunter22@h/db", "does not begin with postgresql://"),
        ("DATABASE_URL", "hunter22", "is not an address"),
        ("DATABASE_URL", "postgresql://u:hunter22@h:port/db", "is not an address"),
        ("DATABASE_URL", "postgresql://u:hunter22@h", "names no database"),
        ("JWT_SECRET_KEY", "hunter22", "has 8 characters"),
        ("ENCRYPTION_KEY", "hunter22!", "is not base64"),
        ("ENCRYPTION_KEY", base64.b64encode(b"hunter22").decode(), "holds 8 bytes, not 32"),
        ("DATABASE_POOL_SIZE", "many", "is 'many'"),
        ("DATABASE_POOL_SIZE", "0", "is '0'"),
        ("DATABASE_POOL_TIMEOUT", "-1", "is '-1'"),
        ("HEALTH_TIMEOUT", "nan", "is 'nan'"),
        ("JWT_EXPIRY_SECONDS", "1.5", "is '1.5'"),
        ("CORS_ORIGINS", "https://a.example,b.example", "contains 'b.example'"),
        ("CORS_ORIGINS", "https://a.example/path", "contains 'https://a.example/path'"),
        ("LOG_LEVEL", "loud", "is 'LOUD'"),
    ],
)
def test_a_malformed_variable_is_named_with_what_it_should_look_like(environment, variable, value, reason):
    environment(**({"DATABASE_URL": GOOD_URL} | {variable: value}))

    with pytest.raises(SettingsError) as caught:
        load_settings()

    message = str(caught.value)
    assert "1 variable is missing or malformed" in message
    assert f"  {variable} {reason}" in message
    assert f"Expected: {Settings.model_fields[variable.lower()].description}" in message
    assert "hunter22" not in message


def test_one_message_names_every_variable_at_fault(environment):
    environment(ENVIRONMENT="prod", JWT_SECRET_KEY="short", ENCRYPTION_KEY="short", HEALTH_TIMEOUT="soon")

    with pytest.raises(SettingsError) as caught:
        load_settings()

    lines = str(caught.value).splitlines()
    assert lines[0] == "The backend cannot start: 5 variables are missing or malformed."
    named = [line.split()[0] for line in lines[1:-1]]
    assert named == ["ENVIRONMENT", "DATABASE_URL", "JWT_SECRET_KEY", "ENCRYPTION_KEY", "HEALTH_TIMEOUT"]
    assert lines[-1].startswith("Set them in the environment")


def test_secrets_are_in_no_rendering_of_the_settings(production):
    production()

    settings = load_settings()

    for rendered in (repr(settings), str(settings), settings.model_dump_json(), str(settings.dsn)):
        for secret in ("s3cr3t-Zq81", GOOD_JWT_KEY, GOOD_ENCRYPTION_KEY):
            assert secret not in rendered


def test_url_safe_base64_is_accepted(environment):
    key = base64.urlsafe_b64encode(b"\xff" * 16 + secrets.token_bytes(16)).decode()
    environment(DATABASE_URL=GOOD_URL, ENCRYPTION_KEY=key)

    assert load_settings().encryption_key.get_secret_value() == key


def test_origins_are_separated_by_commas(environment):
    environment(DATABASE_URL=GOOD_URL, CORS_ORIGINS=" https://a.example/ , http://localhost:3000,")

    assert load_settings().cors_origins == ("https://a.example", "http://localhost:3000")


def test_words_are_read_in_any_case(environment):
    environment(DATABASE_URL=GOOD_URL, ENVIRONMENT="Development", LOG_LEVEL="debug")

    settings = load_settings()

    assert (settings.environment, settings.log_level) == ("development", "DEBUG")
