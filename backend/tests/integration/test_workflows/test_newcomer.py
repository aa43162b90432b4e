"""From an empty database to settings that persist: what a newcomer does on the first day."""

import sys
import uuid

import httpx
import pytest

CREATE = [sys.executable, "-m", "app.create_user"]
PASSWORD = "correct-horse-battery"


@pytest.fixture
def email():
    return f"newcomer-{uuid.uuid4().hex}@maya.test"


def test_a_newcomer_creates_an_account_logs_in_and_keeps_settings(run_backend, serve, database_url, email):
    created = run_backend(
        [*CREATE, "--email", email, "--business", "Zoë's"], DATABASE_URL=database_url, MAYA_PASSWORD=PASSWORD
    )
    assert (created.returncode, created.stderr) == (0, "")
    assert email in created.stdout
    assert PASSWORD not in created.stdout

    key = {"JWT_SECRET_KEY": uuid.uuid4().hex + uuid.uuid4().hex}
    first = serve(DATABASE_URL=database_url, **key)
    with httpx.Client(base_url=first.url) as client:
        token = client.post("/api/auth/login", json={"email": email, "password": PASSWORD}).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        put = client.put("/api/business/me", headers=headers, json={"timezone": "Asia/Tokyo", "greeting": "Hello"})
        assert put.status_code == 200
    first.stop()
    assert token not in first.log.read_text()
    assert PASSWORD not in first.log.read_text()

    second = serve(DATABASE_URL=database_url, **key)
    got = httpx.get(f"{second.url}/api/business/me", headers=headers).json()
    assert (got["name"], got["timezone"], got["greeting"]) == ("Zoë's", "Asia/Tokyo", "Hello")


def test_the_password_is_read_from_standard_input(run_backend, database_url, email):
    done = run_backend([*CREATE, "--email", email, "--business", "B"], stdin=f"{PASSWORD}\n", DATABASE_URL=database_url)

    assert done.returncode == 0, done.stderr
