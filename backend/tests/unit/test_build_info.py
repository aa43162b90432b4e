import json

import pytest

from app.build_info import BuildInfo, BuildInfoError, load_build_info

DIGEST = "sha256:" + "0f" * 32
WRITTEN = {
    "actor": "ada",
    "branch": "main",
    "build_number": "41",
    "build_time": "2026-01-02T03:04:05Z",
    "digest": DIGEST,
    "dirty": False,
    "name": "maya-backend",
    "revision": "a" * 40,
    "version": "1.2.3",
}


def test_a_written_file_is_read_without_the_actor(tmp_path):
    path = tmp_path / "build-info.json"
    path.write_text(json.dumps(WRITTEN))

    assert load_build_info(path).model_dump() == {
        "name": "maya-backend",
        "version": "1.2.3",
        "revision": "a" * 40,
        "digest": DIGEST,
        "branch": "main",
        "build_number": "41",
        "build_time": "2026-01-02T03:04:05Z",
    }


def test_without_a_file_every_fact_is_unknown(tmp_path):
    assert load_build_info(tmp_path / "absent.json") == BuildInfo()
    assert set(BuildInfo().model_dump(exclude={"name", "version"}).values()) == {None}
    assert BuildInfo().version == "unknown"


def test_a_build_without_a_digest_has_none(tmp_path):
    path = tmp_path / "build-info.json"
    path.write_text(json.dumps(WRITTEN | {"digest": ""}))

    assert load_build_info(path).digest is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not JSON"),
        (b"{", "it is not JSON"),
        (b"[1]", "it is not a JSON object"),
        (b"\xff\xfe", "it cannot be read (UnicodeDecodeError)"),
        (json.dumps(WRITTEN | {"digest": "sha256:12"}).encode(), "these members are malformed: digest"),
        (json.dumps(WRITTEN | {"version": "", "branch": []}).encode(), "these members are malformed: branch, version"),
    ],
)
def test_a_malformed_file_is_refused_with_the_reason(tmp_path, content, reason):
    path = tmp_path / "build-info.json"
    path.write_bytes(content)

    with pytest.raises(BuildInfoError) as caught:
        load_build_info(path)

    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


def test_a_folder_in_its_place_is_refused(tmp_path):
    with pytest.raises(BuildInfoError, match="cannot be read"):
        load_build_info(tmp_path)
