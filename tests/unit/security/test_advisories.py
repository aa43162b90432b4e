import json
import lzma
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from fairlead.exceptions import ConfigurationError, InconclusiveError
from fairlead.security import advisories, dependencies

OWN = Path(__file__).resolve().parents[2] / "advisories"


def _advisory(*events: dict[str, str], name: str = "demo", **more: Any) -> dict[str, Any]:
    affected = {
        "package": {"name": name, "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
    }
    return {"id": "GHSA-demo", "affected": [affected]} | more


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


GIT = {"type": "GIT", "repo": "https://example.com/demo", "events": [{"introduced": "0"}]}
PYPI = {"name": "demo", "ecosystem": "PyPI"}
EVERY = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}


@pytest.mark.parametrize(
    ("parts", "unreadable"),
    [
        ([{"package": PYPI, "ranges": [GIT]}], True),
        ([{"package": PYPI, "ranges": [{**EVERY, "type": "SEMVER"}]}], True),
        ([{"package": PYPI}], True),
        ([{"package": PYPI, "ranges": [], "versions": []}], True),
        ([{"package": PYPI, "ranges": [{**EVERY, "events": []}]}], True),
        ([{"package": PYPI, "ranges": [EVERY], "database_specific": {"specifiers": []}}], True),
        ([{"package": PYPI, "ranges": [GIT]}, {"package": PYPI, "ranges": [EVERY]}], False),
        ([{"package": PYPI, "ranges": [GIT, EVERY]}], False),
        ([{"package": PYPI, "ranges": [GIT], "versions": ["1"]}], False),
        ([{"ranges": [GIT]}, {"package": PYPI, "ranges": [EVERY]}], False),
    ],
)
def test_an_advisory_that_names_no_version_is_remembered(parts: list[dict[str, Any]], unreadable: bool) -> None:
    database = advisories.Database([{"id": "GHSA-demo", "affected": parts}])
    assert database.unreadable == ({"demo": ["GHSA-demo"]} if unreadable else {})
    assert bool(database.affecting("demo", "1")) is not unreadable


def test_a_listed_version_that_cannot_be_read_is_no_locked_one() -> None:
    advisory = _advisory({"introduced": "1.0"}, {"fixed": "2.0"})
    advisory["affected"][0]["versions"] = ["2004b-2", "3.0"]
    database = advisories.Database([advisory])
    assert database.unreadable == {}
    assert [version for version in ("0.9", "1.5", "2.0", "3.0") if database.affecting("demo", version)] == [
        "1.5",
        "3.0",
    ]


def test_events_that_cannot_be_read_do_not_matter_where_versions_are_listed() -> None:
    advisory = _advisory({"introduced": "0"}, {"fixed": "1.0-n653"})
    advisory["affected"][0]["versions"] = ["0.9"]
    database = advisories.Database([advisory])
    assert database.unreadable == {}
    assert [version for version in ("0.8", "0.9") if database.affecting("demo", version)] == ["0.9"]


def test_what_was_withdrawn_need_not_be_readable() -> None:
    advisory = _advisory({"introduced": "0"}, {"fixed": "1.0-n653"}, withdrawn="2024-01-01T00:00:00Z")
    assert advisories.Database([advisory]).unreadable == {}


@pytest.mark.parametrize(
    ("names", "gaps"),
    [
        (["demo"], []),
        (["demo", "six"], []),
        (["six"], ["the advisories are about none of the locked packages"]),
        (["demo", "odd"], ["odd: its advisory GHSA-demo names versions that cannot be read"]),
    ],
)
def test_what_a_database_cannot_say_is_told(names: list[str], gaps: list[str]) -> None:
    odd = _advisory({"introduced": "1.0-n653"}, name="odd")
    assert advisories.Database([_advisory({"introduced": "0"}), odd]).find_gaps(names) == gaps


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
    [
        *("", "{}", "[]", "[1]", "not json", '{"id": 1, "affected": []}', '{"id": "A", "affected": [{"package": {}}]}'),
        json.dumps(_advisory({"introduced": "0"}, schema_version="2.0.0")),
        json.dumps(_advisory({"introduced": "0"}, withdrawn="9999-01-01T00:00:00Z")),
        *(json.dumps(_advisory({"introduced": "0"}, withdrawn=never)) for never in ("", "yes", True)),
        json.dumps({"id": "A", "affected": [{"package": {"name": "demo", "ecosystem": "pypi"}, "ranges": []}]}),
    ],
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


def test_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text(json.dumps([_advisory({"introduced": "0"})]))
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path: Path) -> Any:  # as root, every folder may be read
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ConfigurationError, match="closed cannot be read: Permission denied"):
        advisories.load(tmp_path)


def test_a_link_to_a_folder_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([_advisory({"introduced": "0"})]))
    (tmp_path / "more").symlink_to("..", target_is_directory=True)
    with pytest.raises(ConfigurationError, match="more is a link to a folder"):
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


def test_what_a_service_knows_is_fetched_whole() -> None:
    known = advisories.Database(
        [_advisory({"introduced": "0"}), _advisory({"introduced": "5"}, id="GHSA-2", name="six")]
    )
    with advisories.serve(known) as url:
        fetched = advisories.fetch(["demo", "six", "other"], url=url)
    assert fetched.packages == sorted(["demo", "six", *(control.name for control in dependencies.CONTROLS)])
    assert not fetched.affecting("six", "4")
    assert fetched.affecting("six", "5")


def test_a_service_that_does_not_answer_is_told() -> None:
    with advisories.serve(advisories.Database([])) as url:
        pass
    with pytest.raises(InconclusiveError, match="failed"):
        advisories.fetch(["demo"], url=url)


def test_an_answer_in_pages_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        query = json.loads(request.content)
        name, page = query["package"]["name"], query.get("page_token")
        if name != "demo":
            control = next(one for one in dependencies.CONTROLS if one.name == name)
            return httpx.Response(200, json={"vulns": [dependencies.advisory_of(control)]})
        asked.append(page)
        found = _advisory({"introduced": "0"}, id=f"GHSA-{page}")
        return httpx.Response(200, json={"vulns": [found], **({} if page else {"next_page_token": "2"})})

    client = httpx.Client(transport=httpx.MockTransport(answer))
    monkeypatch.setattr("fairlead._http.make_client", lambda *_, **__: client)
    fetched = advisories.fetch(["demo"], url="http://127.0.0.1/v1/query")
    assert asked == [None, "2"]
    assert [one["id"] for one in fetched.of("demo")] == ["GHSA-None", "GHSA-2"]
