import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from fairlead.exceptions import ResponseError
from fairlead.railway import Deployment, DeploymentStatus, LogLine, Scope, Upload
from fairlead.railway.fields import Fields

#: status, is_terminal, is_success, is_failure, needs_approval
STATUSES = [
    ("INITIALIZING", False, False, False, False),
    ("QUEUED", False, False, False, False),
    ("WAITING", False, False, False, False),
    ("NEEDS_APPROVAL", False, False, False, True),
    ("BUILDING", False, False, False, False),
    ("DEPLOYING", False, False, False, False),
    ("SUCCESS", True, True, False, False),
    ("FAILED", True, False, True, False),
    ("CRASHED", True, False, True, False),
    ("REMOVING", False, False, False, False),
    ("REMOVED", True, False, True, False),
    ("SKIPPED", True, False, True, False),
    ("SLEEPING", True, False, False, False),
    ("TELEPORTING", False, False, False, False),
]

DEPLOYMENT: dict[str, Any] = {
    "id": "d1",
    "status": "SUCCESS",
    "createdAt": "2026-01-01T10:00:00.123Z",
    "statusUpdatedAt": None,
    "url": None,
    "staticUrl": "maya.up.railway.app",
    "deploymentStopped": False,
    "canRollback": True,
    "meta": {"cliMessage": "hello", "imageDigest": "sha256:1"},
    "diagnosis": None,
}


@pytest.mark.parametrize(("text", "terminal", "success", "failure", "approval"), STATUSES)
def test_every_status_says_how_it_stands(
    text: str, terminal: bool, success: bool, failure: bool, approval: bool
) -> None:
    status = DeploymentStatus(text)
    assert (status.is_terminal, status.is_success, status.is_failure) == (terminal, success, failure)
    assert status.needs_approval is approval


def test_the_table_above_holds_every_known_status() -> None:
    assert {row[0] for row in STATUSES if DeploymentStatus(row[0]).is_known} == set(DeploymentStatus.__members__)
    assert len(DeploymentStatus) == 13


def test_unknown_status_is_kept_as_given() -> None:
    unknown = DeploymentStatus("TELEPORTING")
    assert (unknown, str(unknown), f"{unknown}", unknown.value) == ("TELEPORTING",) * 4
    assert isinstance(unknown, DeploymentStatus)
    assert not unknown.is_known
    assert unknown == DeploymentStatus("TELEPORTING")
    assert {unknown: 1}[DeploymentStatus("TELEPORTING")] == 1
    assert pickle.loads(pickle.dumps(unknown)) == unknown  # noqa: S301  # our own bytes
    assert copy.deepcopy(unknown) == unknown
    assert len(DeploymentStatus) == 13


@pytest.mark.parametrize("value", ["", None, 5])
def test_what_is_no_text_is_no_status(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a valid"):
        DeploymentStatus(value)


def test_deployment_is_read_whole() -> None:
    assert Deployment.read(Fields(DEPLOYMENT, "data.deployment")) == Deployment(
        id="d1",
        status=DeploymentStatus.SUCCESS,
        created_at=datetime(2026, 1, 1, 10, 0, 0, 123000, tzinfo=UTC),
        static_url="maya.up.railway.app",
        can_rollback=True,
        message="hello",
        meta={"cliMessage": "hello", "imageDigest": "sha256:1"},
    )


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (None, None),
        ({}, None),
        ({"cliMessage": "upload", "commitMessage": "commit"}, "upload"),
        ({"commitMessage": "commit"}, "commit"),
        ({"message": "plain"}, "plain"),
        ({"cliMessage": None, "commitMessage": "commit"}, "commit"),
        ({"cliMessage": 5}, None),
    ],
)
def test_message_is_found_in_meta(meta: Any, message: str | None) -> None:
    assert Deployment.read(Fields({**DEPLOYMENT, "meta": meta}, "d")).message == message


@pytest.mark.parametrize(
    ("given", "read"), [(None, None), ("", None), ("the build failed", "the build failed"), ({"a": 1}, '{"a": 1}')]
)
def test_diagnosis_of_any_shape_becomes_text(given: Any, read: str | None) -> None:
    assert Deployment.read(Fields({**DEPLOYMENT, "diagnosis": given}, "d")).diagnosis == read


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"id": None}, "data.deployment.id should be a string and is nothing"),
        ({"id": 5}, "data.deployment.id should be a string and is a number"),
        ({"id": ""}, "data.deployment.id should be a string and is ''"),
        ({"status": None}, "data.deployment.status"),
        ({"status": ["SUCCESS"]}, "data.deployment.status should be a string and is a list"),
        ({"createdAt": "yesterday"}, "data.deployment.createdAt should be a date-time and is 'yesterday'"),
        ({"createdAt": "2026-01-01T10:00:00"}, "date-time with its zone"),
        ({"createdAt": 17}, "data.deployment.createdAt"),
        ({"statusUpdatedAt": "never"}, "data.deployment.statusUpdatedAt"),
        ({"deploymentStopped": None}, "data.deployment.deploymentStopped should be true or false"),
        ({"deploymentStopped": "false"}, "data.deployment.deploymentStopped"),
        ({"canRollback": 1}, "data.deployment.canRollback should be true or false and is a number"),
        ({"meta": []}, "data.deployment.meta should be an object and is a list"),
        ({"url": 1}, "data.deployment.url"),
    ],
)
def test_wrong_field_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ResponseError) as caught:
        Deployment.read(Fields({**DEPLOYMENT, **wrong}, "data.deployment"))
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", sorted(DEPLOYMENT))
def test_missing_field_is_wrong_or_optional(name: str) -> None:
    fields = Fields({key: value for key, value in DEPLOYMENT.items() if key != name}, "d")
    if name in {"id", "status", "createdAt", "deploymentStopped", "canRollback"}:
        with pytest.raises(ResponseError, match=f"d.{name} "):
            Deployment.read(fields)
    else:
        assert Deployment.read(fields).id == "d1"


@pytest.mark.parametrize("value", [None, [], "text", 5, True])
@pytest.mark.parametrize("record", [Deployment, Scope, LogLine, Upload])
def test_what_is_no_object_is_no_record(record: Any, value: Any) -> None:
    with pytest.raises(ResponseError, match="answer should be an object"):
        record.read(Fields(value, "answer"))


def test_records_cannot_be_changed() -> None:
    read = Deployment.read(Fields(DEPLOYMENT, "d"))
    with pytest.raises(AttributeError):
        read.message = "other"  # type: ignore[misc]  # what is being tested
    with pytest.raises(TypeError):
        read.meta["cliMessage"] = "other"  # type: ignore[index]  # what is being tested
