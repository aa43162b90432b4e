"""The history: appended whole, read in spite of what a crash left, without secrets."""

import json
from pathlib import Path
from types import MappingProxyType

import pytest

from fairlead import _output
from fairlead._output import MASK, Redactor
from fairlead.exceptions import Error
from fairlead.history import Event, History


@pytest.fixture
def kept(tmp_path: Path) -> History:
    return History(tmp_path / "state")


def deploy(number: int, *, environment: str = "staging", verdict: str = "healthy", name: str = "deploy") -> Event:
    return Event(name, verdict, environment=environment, release=number)


def test_events_are_read_back_in_the_order_they_were_added(kept: History) -> None:
    events = (
        Event(
            "deploy",
            "healthy",
            environment="production",
            release=3,
            digest="sha256:00",
            version="1.2.3",
            revision="abc",
            actor="Zoë",
            duration=12.5,
            steps=MappingProxyType({"upload": 0.5, "verify": 2.0}),
            detail="line one\nline two",
        ),
        Event("gate", "unhealthy"),
    )
    for event in events:
        kept.append(event)
    assert kept.load() == events


def test_history_that_does_not_exist_is_empty(kept: History) -> None:
    assert kept.load() == ()
    assert kept.last("deploy", environment="staging") is None


def test_event_notes_its_moment_in_utc() -> None:
    assert Event("a", "b").at.endswith("Z")
    assert len(Event("a", "b").at) == len("2024-05-06T07:08:09.123456Z")


def test_every_event_is_one_line_of_json(kept: History) -> None:
    kept.append(Event("a", "b", detail="x\ny\u2028z\x85"))
    kept.append(Event("a", "b"))
    lines = kept.file.read_bytes().split(b"\n")
    assert lines[-1] == b""
    assert [json.loads(line)["name"] for line in lines[:-1]] == ["a", "a"]


@pytest.mark.parametrize(
    "detail",
    ["", "a\nb", "a\u2028b\u2029c", "a\x85b\x0bc\x1cd", "Grüße 漢字 \U0001f600", 'quote " and \\ slash', "\udc80 raw"],
)
def test_any_text_survives_the_round_trip(kept: History, detail: str) -> None:
    kept.append(Event("a", "b", detail=detail))
    kept.append(Event("c", "d"))
    assert [event.detail for event in kept.load()] == [detail, None]


@pytest.mark.parametrize(
    ("verdict", "environment", "release"),
    [
        (None, "staging", 4),
        ("healthy", "staging", 2),
        ("unhealthy", "staging", 4),
        ("healthy", "production", 3),
        ("inconclusive", "staging", None),
        (None, "local", None),
    ],
)
def test_last_is_the_newest_of_its_name_environment_and_verdict(
    kept: History, verdict: str | None, environment: str, release: int | None
) -> None:
    kept.append(deploy(1))
    kept.append(deploy(2))
    kept.append(deploy(3, environment="production"))
    kept.append(deploy(4, verdict="unhealthy"))
    kept.append(deploy(5, name="rollback"))
    found = kept.last("deploy", environment=environment, verdict=verdict)
    assert (found.release if found else None) == release


@pytest.mark.parametrize("cut", ['{"name": "dep', '{"name": "deploy", "verdict": "hea', "\x00\x00\x00", "{"])
def test_cut_line_is_passed_over_and_the_next_event_stands_on_its_own(kept: History, cut: str) -> None:
    kept.append(deploy(1))
    with kept.file.open("a") as file:
        file.write(cut)
    kept.append(deploy(2))
    kept.append(deploy(3))
    assert [event.release for event in kept.load()] == [1, 2, 3]


@pytest.mark.parametrize(
    "line",
    [b"", b"[]", b"3", b"null", b'"x"', b"{}", b'{"name": "x"}', b"\xff\xfe", b'{"verdict": "x"}', b"not json"],
)
def test_line_that_is_no_event_is_passed_over(kept: History, line: bytes) -> None:
    kept.append(deploy(1))
    with kept.file.open("ab") as file:
        file.write(line + b"\n")
    kept.append(deploy(2))
    assert [event.release for event in kept.load()] == [1, 2]


def test_facts_of_a_later_version_are_passed_over(kept: History) -> None:
    kept.append(deploy(1))
    with kept.file.open("a") as file:
        file.write('{"name": "deploy", "verdict": "healthy", "colour": "red", "release": 2}\n')
    assert [event.release for event in kept.load()] == [1, 2]


def test_folder_that_cannot_be_made_is_an_expected_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match="cannot be written") as caught:
        History(tmp_path / "file" / "state").append(deploy(1))
    assert caught.value.hint


def test_folder_in_place_of_the_file_is_an_expected_error(kept: History) -> None:
    kept.file.mkdir(parents=True)
    with pytest.raises(Error, match="cannot be written: Is a directory"):
        kept.append(deploy(1))
    with pytest.raises(Error, match="cannot be read: Is a directory"):
        kept.load()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_full_disk_is_an_expected_error(kept: History) -> None:
    kept.file.parent.mkdir()
    kept.file.symlink_to("/dev/full")
    with pytest.raises(Error, match="cannot be written: No space left on device"):
        kept.append(deploy(1))


def test_secrets_are_masked_and_the_event_stays_readable(kept: History, monkeypatch: pytest.MonkeyPatch) -> None:
    redactor = Redactor()
    monkeypatch.setattr(_output, "redact", redactor)
    for secret in ('s3cret"\\token', "123456"):
        redactor.register(secret)
    kept.append(
        Event(
            "deploy",
            "healthy",
            actor='s3cret"\\token',
            detail="postgres://u:hunter2@db/x",
            duration=0.1234567,
            steps={"upload": 1.5},
        )
    )
    written = kept.file.read_text()
    assert not [leak for leak in ("s3cret", "hunter2", "123456") if leak in written]
    (event,) = kept.load()
    assert (event.actor, event.detail) == (MASK, f"postgres://u:{MASK}@db/x")
    assert event.steps == {"upload": 1.5}
