"""Checks of configuration values: what is taken, in which type, and what is said of the rest."""

from datetime import date
from typing import Any

import pytest

from fairlead._values import check, describe, from_text

TAKEN: list[tuple[str, Any, Any]] = [
    ("string", "develop", "develop"),
    ("name", "maya-backend_2.0", "maya-backend_2.0"),
    ("path", "backend/migrations", "backend/migrations"),
    ("app", "app.main:app", "app.main:app"),
    ("app", "main:create_app", "main:create_app"),
    ("url path", "/api/health", "/api/health"),
    ("url path", "/", "/"),
    ("url", "https://api.example.com/", "https://api.example.com"),
    ("url", "http://127.0.0.1:8000", "http://127.0.0.1:8000"),
    ("url", "http://[::1]:8000", "http://[::1]:8000"),
    ("url", "https://example.com/base/", "https://example.com/base"),
    ("variable name", "RAILWAY_TOKEN", "RAILWAY_TOKEN"),
    ("boolean", False, False),
    ("list of strings", ["a", "b"], ("a", "b")),
    ("list of strings", (), ()),
    ("table of strings", {"web": "maya"}, {"web": "maya"}),
    ("table of percentages", {"backend/app": 90}, {"backend/app": 90.0}),
    ("port", 0, 0),
    ("port", 65535, 65535),
    ("seconds", 0.1, 0.1),
    ("seconds", 30, 30.0),
    ("count", 1, 1),
    ("count", 3.0, 3),
    ("per cent", 0, 0.0),
    ("per cent", 100, 100.0),
    ("sql|alembic", "alembic", "alembic"),
]

REFUSED: list[tuple[str, Any, str]] = [
    ("string", "", "must be a text"),
    ("string", "  ", "must be a text"),
    ("string", 3, "not the number 3"),
    ("name", "maya backend", "letters, digits"),
    ("name", 'x"\ninjected = 1', "letters, digits"),
    ("path", ["a"], "not a list"),
    ("app", "app.main", "package.module:attribute"),
    ("app", "app.main:", "package.module:attribute"),
    ("app", "app..main:app", "package.module:attribute"),
    ("app", ":app", "package.module:attribute"),
    ("app", "app.main:app()", "package.module:attribute"),
    ("url path", "api/health", "begins with '/'"),
    ("url path", None, "begins with '/'"),
    ("url", "api.example.com", "must be an address"),
    ("url", "ftp://example.com", "must be an address"),
    ("url", "http://", "must be an address"),
    ("url", "https://", "must be an address"),
    ("url", "https:///path", "must be an address"),
    ("url", "https://exa mple.com", "must be an address"),
    ("url", "http://127.0.0.1:99999", "must be an address"),
    ("url", "http://127.0.0.1:port", "must be an address"),
    ("url", "http://[::1", "must be an address"),
    ("url", 8000, "must be an address"),
    ("url", "https://user:pw-canary@example.com", "without a user, a password"),
    ("url", "https://token-canary@example.com", "without a user, a password"),
    ("url", "https://user:pw/canary@example.com", "without a user, a password"),
    ("variable name", "not-a-name", "name of an environment variable"),
    ("variable name", 5, "name of an environment variable"),
    ("boolean", "true", "must be true or false"),
    ("boolean", 1, "must be true or false"),
    ("list of strings", "app/*.py", "must be a list of texts"),
    ("list of strings", ["app", 3], "must be a list of texts"),
    ("list of strings", [""], "must be a list of texts"),
    ("table of strings", {"A": 1}, "must be a table of texts"),
    ("table of percentages", ["a=1"], "must be a table of percentages"),
    ("table of percentages", {"a": 101}, "must be a percentage from 0 to 100"),
    ("table of strings", ["A=1"], "must be a table of texts"),
    ("port", -1, "a port"),
    ("port", 65536, "a port"),
    ("port", 80.5, "a port"),
    ("port", True, "a port"),
    ("port", "80", "the text '80'"),
    ("seconds", 0, "a number of seconds"),
    ("seconds", float("nan"), "a number of seconds"),
    ("seconds", float("inf"), "a number of seconds"),
    ("count", 0, "a whole number from 1"),
    ("count", 1.5, "a whole number from 1"),
    ("per cent", 100.1, "a percentage"),
    ("sql|alembic", "prisma", "one of sql, alembic"),
    ("sql|alembic", ["sql"], "one of sql, alembic"),
]


@pytest.mark.parametrize(("kind", "raw", "expected"), TAKEN)
def test_good_value_is_taken_in_its_type(kind: str, raw: Any, expected: Any) -> None:
    value = check(raw, kind)
    assert value == expected
    assert type(value) is type(expected) or kind.startswith("table of ")


@pytest.mark.parametrize(("kind", "raw", "message"), REFUSED)
def test_bad_value_is_refused_with_what_it_should_be(kind: str, raw: Any, message: str) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        check(raw, kind)
    assert message in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("raw", ["sk-live-4242-secret", ["sk-live-4242-secret"], {"token": "sk-live-4242-secret"}])
def test_secret_in_place_of_a_variable_name_is_not_repeated(raw: Any) -> None:
    with pytest.raises(ValueError, match="never the secret itself") as caught:
        check(raw, "variable name")
    assert "4242" not in str(caught.value)


def test_table_cannot_be_changed_through_the_checked_value() -> None:
    value = check({"A": "1"}, "table of strings")
    with pytest.raises(TypeError):
        value["A"] = "2"


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("a, b ,,c", "list of strings", ["a", "b", "c"]),
        ("", "list of strings", []),
        ("web=maya, worker=jobs", "table of strings", {"web": "maya", "worker": "jobs"}),
        ("URL=postgres://x/?a=b", "table of strings", {"URL": "postgres://x/?a=b"}),
        ("", "table of strings", {}),
        ("a/b=90,c=7.5", "table of percentages", {"a/b": 90, "c": 7.5}),
        ("TRUE", "boolean", True),
        ("yes", "boolean", True),
        ("1", "boolean", True),
        (" no ", "boolean", False),
        ("0", "boolean", False),
        ("9000", "port", 9000),
        ("2.5", "seconds", 2.5),
        ("8", "count", 8),
        ("main", "string", "main"),
    ],
)
def test_variable_text_becomes_the_kind_of_its_key(text: str, kind: str, expected: Any) -> None:
    assert from_text(text, kind) == expected


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("perhaps", "boolean"),
        ("", "boolean"),
        ("", "port"),
        ("eighty", "port"),
        ("1.2.3", "seconds"),
        ("web", "table of strings"),
        ("web", "table of percentages"),
        ("web=much", "table of percentages"),
        ("web=maya,worker", "table of strings"),
    ],
)
def test_variable_text_that_does_not_fit_is_refused_not_guessed(text: str, kind: str) -> None:
    with pytest.raises(ValueError, match="must"):
        check(from_text(text, kind), kind)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("develop", "the text 'develop'"),
        (3, "the number 3"),
        (2.5, "the number 2.5"),
        (True, "a boolean"),
        (["secret"], "a list"),
        ({"secret": 1}, "a table"),
        (date(2024, 1, 1), "date"),
    ],
)
def test_value_is_described_by_type_and_where_short_by_itself(raw: Any, expected: str) -> None:
    assert describe(raw) == expected


def test_long_text_is_described_without_repeating_it_whole() -> None:
    assert len(describe("x" * 10_000)) < 200
