"""`python -m app.create_user` in this process: every way in which it refuses."""

import io
import uuid

import pytest

from app import create_user

PASSWORD = "correct-horse-battery"


@pytest.fixture
def create(monkeypatch, capsys, database_url):
    def run(*, email=None, business="B", password=PASSWORD, stdin="", url=database_url):
        if url is not None:
            monkeypatch.setenv("DATABASE_URL", url)
        if password is not None:
            monkeypatch.setenv("MAYA_PASSWORD", password)
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        address = email or f"user-{uuid.uuid4().hex}@maya.test"
        code = create_user.main(["--email", address, "--business", business])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


def test_an_account_is_created(create):
    code, out, err = create()

    assert (code, err) == (0, "")
    assert out.startswith("Created B with the owner user-")


def test_the_same_email_twice_is_refused(create):
    email = f"user-{uuid.uuid4().hex}@maya.test"
    create(email=email)

    code, out, err = create(email=email.upper())

    assert (code, out) == (1, "")
    assert "exists already" in err


def test_a_database_without_tables_is_told_from_one_that_is_gone(create, fresh_database_url):
    code, out, err = create(url=fresh_database_url)

    assert (code, out) == (1, "")
    assert "do not fit this release" in err
    assert "python -m fairlead migrate" in err
    assert len(err.splitlines()) == 1


def test_standard_input_is_read_without_the_variable(create):
    assert create(password=None, stdin=f"{PASSWORD}\r\n")[0] == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"email": "not-an-address"}, "--email cannot be used: must be an email address"),
        ({"business": "  "}, "--business cannot be used"),
        ({"business": "a\0b"}, "--business cannot be used: must not contain null characters"),
        ({"password": "short"}, "must have 8 to 1024 characters"),
        ({"password": None, "stdin": ""}, "must have 8 to 1024 characters"),
        ({"password": None, "stdin": "long-enough\0"}, "must have 8 to 1024 characters"),
        ({"url": None}, "DATABASE_URL is missing"),
        (
            {"url": "postgresql://maya:hunter22@127.0.0.1:1/maya"},
            "The database at maya@127.0.0.1:1/maya cannot be used",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_message(create, options, expected):
    code, out, err = create(**options)

    assert (code, out) == (1, "")
    assert expected in err
    assert "Traceback" not in err
    assert "hunter22" not in err
