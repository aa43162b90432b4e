import json
import lzma
from pathlib import Path
from typing import Any

import httpx
import pytest

from fairlead.exceptions import ConfigurationError
from fairlead.security import advisories

OWN = Path(__file__).resolve().parents[2] / "advisories"


def _advisory(*events: dict[str, str], name: str = "demo", **more: Any) -> dict[str, Any]:
    affected = {
        "package": {"name": name, "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
    }
    return {"id": "GHSA-demo", "affected": [affected], **more}


TWO_RANGES = ({"introduced": "0"}, {"fixed": "1.5"}, {"introduced": "2.0"}, {"fixed": "2.0.7"})


@pytest.mark.parametrize(
    ("events", "version", "affected"),
    [
        (TWO_RANGES, "1.4.9", True),
        (TWO_RANGES, "1.5", False),
        (TWO_RANGES, "1.9", False),
        (TWO_RANGES, "2.0", True),
        (TWO_RANGES, "2.0.6", True),
        (TWO_RANGES, "2.0.7", False),
        (tuple(reversed(TWO_RANGES)), "2.0.6", True),
        (({"introduced": "0"},), "99", True),
        (({"introduced": "0"}, {"last_affected": "1.5"}), "1.5", True),
        (({"introduced": "0"}, {"last_affected": "1.5"}), "1.5.1", False),
        (({"introduced": "1.0"}, {"fixed": "1.10"}), "1.9", True),
        (({"introduced": "0"}, {"fixed": "1.0"}), "1.0rc1", True),
        (({"introduced": "0"}, {"fixed": "1.0"}), "1.0.post1", False),
    ],
)
def test_a_version_is_affected_inside_a_range(events: tuple[dict[str, str], ...], version: str, affected: bool) -> None:
    assert bool(advisories.Database([_advisory(*events)]).affecting("demo", version)) is affected


def test_a_withdrawn_advisory_affects_nothing() -> None:
    database = advisories.Database([_advisory({"introduced": "0"}, withdrawn="2024-01-01T00:00:00Z")])
    assert database.affecting("demo", "1.0") == []


def test_listed_versions_count_and_other_ecosystems_do_not() -> None:
    listed = {"id": "A", "affected": [{"package": {"name": "demo", "ecosystem": "PyPI"}, "versions": ["1.0"]}]}
    foreign = _advisory({"introduced": "0"})
    foreign["affected"][0]["package"]["ecosystem"] = "npm"
    database = advisories.Database([listed, foreign])
    assert [one["id"] for one in database.affecting("demo", "1.0.0")] == ["A"]
    assert database.affecting("demo", "1.1") == []


def test_names_are_compared_in_their_one_spelling() -> None:
    assert advisories.Database([_advisory({"introduced": "0"}, name="Demo_Package")]).affecting("demo-package", "1")


def test_versions_that_cannot_be_read_are_remembered_not_passed_over() -> None:
    database = advisories.Database([_advisory({"introduced": "0"}, {"fixed": "1.0-n653"})])
    assert database.unreadable == {"demo": ["GHSA-demo"]}
    assert database.affecting("demo", "1") == []


LINE = {
    "name": "Demo",
    "vulns": [{"id": "PYSEC-1", "aliases": [], "specs": ["<1.5", ">=2,<2.1"], "fixed": ["1.5", "2.1"]}],
}


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.xz"])
def test_one_package_a_line_is_read(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"advisories{suffix}"
    text = json.dumps(LINE) + "\n\n"
    file.write_bytes(lzma.compress(text.encode()) if suffix.endswith("xz") else text.encode())
    database = advisories.load(tmp_path)
    assert len(database) == 1
    affected = [version for version in ("1.4", "1.5", "2.0", "2.1") if database.affecting("demo", version)]
    assert affected == ["1.4", "2.0"]


def test_the_repositorys_own_database_is_read_whole() -> None:
    database = advisories.load(OWN)
    assert len(database) >= 12
    assert database.unreadable == {}
    assert database.affecting("python-jose", "3.3.0")
    assert not database.affecting("python-jose", "3.4.0")


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "[1]", "not json", '{"id": 1, "affected": []}', '{"id": "A", "affected": [{"package": {}}]}'],
)
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "advisories.json"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match="advisories"):
        advisories.load(file)


def test_one_bad_file_in_a_folder_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([_advisory({"introduced": "0"})]))
    (tmp_path / "b.jsonl.xz").write_bytes(b"not compressed")
    with pytest.raises(ConfigurationError, match=r"b\.jsonl\.xz"):
        advisories.load(tmp_path)


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_missing_or_empty_place_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError):
        advisories.load(tmp_path / name)


def test_the_endpoint_answers_as_osv_does() -> None:
    database = advisories.Database([_advisory({"introduced": "0"}, {"fixed": "2"})])
    with advisories.serve(database) as url, httpx.Client(trust_env=False) as client:
        assert url.startswith("http://127.0.0.1:")
        package = {"name": "demo", "ecosystem": "PyPI"}
        found = client.post(url, json={"package": package, "version": "1"})
        assert [one["id"] for one in found.json()["vulns"]] == ["GHSA-demo"]
        assert client.post(url, json={"package": package, "version": "2"}).json() == {}
        assert client.post(url, content="nonsense").status_code == 400
    with httpx.Client(trust_env=False) as client, pytest.raises(httpx.ConnectError):
        client.get(url)
