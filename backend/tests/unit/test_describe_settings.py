"""What the backend tells other programs about its variables, and that it never tells a value."""

import json
import os

import pytest

from app import describe_settings
from app.settings import Settings
from app.settings.reference import EXAMPLES, OTHERS, TOGETHER

GOOD = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": "postgresql://maya:s3cr3t-Zq81@db.internal:5432/maya",
    "JWT_SECRET_KEY": "Zk3v9QpL1xT7mB5sR2wY8nC4hJ6gD0fA-uEiOq",  # pragma: allowlist secret - of this test alone
    "ENCRYPTION_KEY": "d1uXhZ0mG4sQy7RkVb9TjE2oNcL5aWfP8iKzMtU3xHg=",
}
#: Values that are good on their own for variables that belong together.
PARTS = {
    "STRIPE_API_KEY": "sk_live_canary",
    "STRIPE_WEBHOOK_SECRET": "whsec_canary",
    "TWILIO_ACCOUNT_SID": "AC" + "0f" * 16,
    "TWILIO_AUTH_TOKEN": "canary-token",
    "TWILIO_FROM_NUMBER": "+4930123456",
    "GOOGLE_CLIENT_ID": "canary.apps.googleusercontent.com",
    "GOOGLE_CLIENT_SECRET": "canary-secret",
}


@pytest.fixture
def check(monkeypatch, capsys):
    def run(*options, **values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        assert describe_settings.main(["--check", *options]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer.pop("format") == "fairlead-settings/1"
        return [(one["variable"], one["kind"], one["reason"]) for one in answer["problems"]]

    return run


def described():
    return {one["name"]: one for one in describe_settings.describe()["variables"]}


def test_every_setting_is_described_with_what_it_does_and_what_it_should_look_like():
    told = described()

    assert told.keys() == {name.upper() for name in Settings.model_fields} | {other[0] for other in OTHERS}
    assert [name for name, one in told.items() if not (one["expected"] and one["purpose"] and one["group"])] == []


def test_the_description_is_the_same_in_every_process(monkeypatch):
    before = describe_settings.describe()
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "production" if name == "environment" else "canary-of-this-process")

    assert describe_settings.describe() == before
    assert str(describe_settings.ROOT) not in json.dumps(before)


def test_what_is_required_is_what_settings_refuse_to_be_without():
    required = {name: one["required"] for name, one in described().items() if one.get("required", "never") != "never"}

    assert required == {
        "DATABASE_URL": "always",
        "ENVIRONMENT": "deployed",
        "JWT_SECRET_KEY": "deployed",
        "ENCRYPTION_KEY": "deployed",
    }


def test_the_keys_that_every_process_needs_the_same_of_are_shared():
    assert {name for name, one in described().items() if one.get("shared")} == {"JWT_SECRET_KEY", "ENCRYPTION_KEY"}


def test_a_secret_has_neither_a_default_nor_an_example_that_production_takes(check):
    secrets = {name: one for name, one in described().items() if one["secret"]}

    assert {"DATABASE_URL", "JWT_SECRET_KEY", "STRIPE_API_KEY"} <= secrets.keys()
    assert {name for name, one in secrets.items() if one.get("default")} == set()
    refused = {name for name, _, _ in check(**{**GOOD, **EXAMPLES, "CORS_ORIGINS": ""})}
    assert refused == {name for name in EXAMPLES if name in secrets}


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("JWT_EXPIRY_SECONDS", "3600"),
        ("REMINDER_DELAY", "86400"),
        ("DATABASE_POOL_TIMEOUT", "5"),
        ("SENTRY_TRACES_SAMPLE_RATE", "0"),
        ("ASSISTANT_DAILY_COST_LIMIT", "2.00"),
        ("RATE_LIMIT", "1200/minute"),
        ("BUILD_INFO", "build-info.json"),
        ("CORS_ORIGINS", None),
        ("JWT_SECRET_KEY", None),
    ],
)
def test_a_default_is_told_as_it_would_be_set(name, default):
    assert described()[name]["default"] == default


@pytest.mark.parametrize("together", TOGETHER, ids=lambda names: names[0])
def test_what_is_said_to_belong_together_is_refused_by_halves(check, together):
    for given in together:
        missing = [name for name in together if name != given]
        problems = check(**GOOD, **dict.fromkeys(missing, ""), **{given: PARTS[given]})
        assert "partial" in {kind for name, kind, _ in problems if name in together}, given
    assert check(**GOOD, PUBLIC_URL="https://maya.example", **{name: PARTS[name] for name in together}) == []


def test_a_complete_environment_has_no_problem(check):
    assert check("--deployed", **GOOD) == []


@pytest.mark.parametrize("environment", ["", "development", " Development "])
def test_a_deployed_release_is_held_to_what_production_asks_for(check, environment):
    problems = check("--deployed", DATABASE_URL="postgresql://u:changeme@h/d", ENVIRONMENT=environment)

    kinds = {name: kind for name, kind, _ in problems}
    assert kinds.pop("ENVIRONMENT", None) == ("malformed" if environment else None)
    assert kinds == {"DATABASE_URL": "placeholder", "JWT_SECRET_KEY": "missing", "ENCRYPTION_KEY": "missing"}


def test_development_may_make_its_secrets_up(check):
    assert check(DATABASE_URL="postgresql://u:changeme@h/d") == []


@pytest.mark.parametrize(
    ("name", "value", "kind", "reason"),
    [
        ("DATABASE_URL", "mysql://u:p@h/d", "malformed", "does not begin with postgresql://"),
        ("DATABASE_URL", "postgresql://h", "malformed", "names no database"),
        ("JWT_SECRET_KEY", "canary", "malformed", "has 6 characters"),
        ("JWT_SECRET_KEY", "a" * 40, "placeholder", "is a placeholder, not a secret"),
        ("ENCRYPTION_KEY", "Y2FuYXJ5", "malformed", "holds 6 bytes, not 32"),
        ("CORS_ORIGINS", "https://a.example,htp://canary", "malformed", "is malformed"),
        ("CORS_ORIGINS", "https://a.example,b", "malformed", "is malformed"),
        ("CORS_ORIGINS", "htp://x/", "malformed", "is malformed"),
        ("ENVIRONMENT", "prod-canary", "malformed", "is malformed"),
        ("HEALTH_TIMEOUT", "canary", "malformed", "is malformed"),
        ("DATABASE_POOL_SIZE", "0", "malformed", "is malformed"),
    ],
)
def test_a_value_that_is_refused_is_told_by_name_and_reason(check, name, value, kind, reason):
    assert (name, kind, reason) in check(**{**GOOD, name: value})


@pytest.mark.parametrize(
    "canary", ["canary/Q7z!", "canary://Q7z@x,Q7z", "postgresql://canary:Q7z!@h", "Q7z!", "AC" * 9]
)
def test_no_value_is_told_of_any_variable_that_is_malformed(monkeypatch, capsys, canary):
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), canary)

    describe_settings.main(["--check", "--deployed"])

    told = capsys.readouterr()
    assert len(json.loads(told.out)["problems"]) > 30
    assert canary not in told.out + told.err
    assert "Q7z" not in told.out + told.err
    assert "canary" not in told.out + told.err


@pytest.mark.parametrize(
    ("reason", "value", "expected"),
    [
        ("contains 'htp://x', which is not an origin", "htp://x/", True),
        ("contains 'b', which is not an origin", "https://a.example, b", True),
        ("the key AbCdEfGhIj is none", "xxabcdefghxx", True),
        ("does not begin with postgresql://", "mysql://u:p@h/d", False),
        ("has 6 characters", "canary", False),
        ("is missing", "", False),
    ],
)
def test_a_reason_that_repeats_a_part_of_the_value_is_recognised(reason, value, expected):
    assert describe_settings.tells(reason, value) is expected


def test_it_reads_no_variable_but_those_of_the_process(check):
    os.environ.pop("ENVIRONMENT", None)

    assert ("DATABASE_URL", "missing", "is missing") in check()
