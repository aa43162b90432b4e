import sys
import uuid

import pytest

from app.build_info import BuildInfo
from app.logs import caller, request_id
from app.observation import errors
from app.security import Identity

DSN = "https://0123456789abcdef@sentry.example/7"


def test_an_event_loses_what_was_asked_and_gains_the_ids_to_find_it_by():
    identity = Identity(uuid.uuid4(), uuid.uuid4())
    event = {
        "request": {"method": "GET", "url": "http://maya.test/x?code=abc", "headers": {"Cookie": "a"}, "data": "b"},
        "exception": {"values": [{"type": "ValueError", "value": "postgresql://u:hunter2@h/db"}]},
        "breadcrumbs": ({"message": "Authorization: Bearer abc.def"}, 7),
        "user": {"email": "owner@maya.test", "ip_address": "198.51.100.7"},
        "tags": {"kept": "yes"},
    }
    tokens = caller.set(identity), request_id.set("trace-1")
    try:
        scrubbed = errors._scrub(event, {})
    finally:
        caller.reset(tokens[0])
        request_id.reset(tokens[1])

    assert scrubbed == {
        "request": {"method": "GET"},
        "exception": {"values": [{"type": "ValueError", "value": "postgresql://u:***@h/db"}]},
        "breadcrumbs": [{"message": "Authorization: Bearer ***"}, 7],
        "user": {"id": str(identity.user_id)},
        "tags": {"kept": "yes", "tenant_id": str(identity.tenant_id), "request_id": "trace-1"},
    }


def test_an_event_outside_a_request_names_nobody():
    assert errors._scrub({"message": "x"}, {}) == {"message": "x", "user": {}, "tags": {}}


def test_what_is_too_deep_is_left_out():
    deep = "hunter2"
    for _ in range(100):
        deep = [deep]

    assert "hunter2" not in str(errors._redacted(deep))


@pytest.mark.parametrize(
    ("build", "release"),
    [
        (BuildInfo(), None),
        (BuildInfo(version="1.2.3"), "maya-backend@1.2.3"),
        (BuildInfo(version="1.2.3", revision="abc"), "maya-backend@1.2.3+abc"),
    ],
)
def test_the_release_is_version_and_revision(build, release):
    assert errors._name_release(build) == release


def test_nothing_is_reported_without_an_address(make_settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)

    errors.start_reporting(make_settings(), BuildInfo())
    errors.stop_reporting(make_settings())


@pytest.mark.parametrize(("rate", "traced"), [(0.0, False), (0.5, True)])
def test_the_library_is_told_to_send_nothing_about_persons(make_settings, monkeypatch, rate, traced):
    import sentry_sdk

    given = {}
    flushed = []
    monkeypatch.setattr(sentry_sdk, "init", lambda **options: given.update(options))
    monkeypatch.setattr(sentry_sdk, "flush", lambda *, timeout: flushed.append(timeout))
    settings = make_settings(sentry_dsn=DSN, sentry_traces_sample_rate=rate)

    errors.start_reporting(settings, BuildInfo(version="1"))
    errors.stop_reporting(settings)

    assert given["dsn"] == DSN
    assert (given["send_default_pii"], given["include_local_variables"]) == (False, False)
    assert given["max_request_body_size"] == "never"
    assert ("fastapi" in {integration.identifier for integration in given["integrations"]}) is traced
    assert flushed == [2.0]
