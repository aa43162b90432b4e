import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from fairlead.security import dependencies, safetydatabase
from fairlead.security.advisories import Database

VERSIONS = ["0", "0.9", "1.0.dev1", "1.0a1", "1.0rc1", "1.0", "1.0.post1", "1.5", "2.0b3", "2.0", "2.0.7", "1!0.1"]
FILES = ("insecure.json", "insecure_full.json")


def _advisory(identifier: str = "GHSA-demo", *, versions: list[str] | None = None, **more: Any) -> dict[str, Any]:
    events = more.pop("events", [{"introduced": "0"}, {"fixed": "1.5"}])
    part = {"package": {"name": "Demo", "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    return {"id": identifier, "affected": [part | ({"versions": versions} if versions else {})], **more}


def _read(folder: Path, file: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / file).read_text("utf-8"))
    return document


@given(
    st.lists(st.tuples(st.sampled_from(["introduced", "fixed", "last_affected"]), st.sampled_from(VERSIONS))),
    st.lists(st.sampled_from(VERSIONS), max_size=2),
    st.sampled_from(VERSIONS),
)
def test_specifiers_hold_for_the_versions_that_osv_s_events_do(
    steps: list[tuple[str, str]], listed: list[str], version: str
) -> None:
    advisory = _advisory(events=[{kind: at} for kind, at in steps], versions=listed)
    (part,) = advisory["affected"]
    # As safety asks: with nothing said of pre-releases.
    held = any(SpecifierSet(text).contains(version) for text in safetydatabase.specifiers(part))
    assert held == bool(Database([advisory]).affecting("demo", version))


@pytest.mark.parametrize(
    ("text", "version", "holds"), [("<1.5", "1.0rc1", True), ("<1.5", "1.5", False), ("", "0.1b1", True)]
)
def test_specifiers_that_are_given_hold_for_pre_releases_as_well(text: str, version: str, holds: bool) -> None:
    (found,) = safetydatabase.specifiers({"database_specific": {"specifiers": [text]}})
    assert SpecifierSet(found).contains(version) is holds


def test_both_files_tell_of_the_same_specifiers_in_the_schema_that_safety_reads(tmp_path: Path) -> None:
    advisory = _advisory(aliases=["CVE-1"], summary="bad")
    safetydatabase.write(Database([advisory]), tmp_path)
    brief, full = (_read(tmp_path, file) for file in FILES)
    assert brief["meta"]["schema_version"] == full["meta"]["schema_version"] == "2.0.0"
    (entry,) = full["vulnerable_packages"]["demo"]
    assert brief["vulnerable_packages"]["demo"] == entry["specs"]
    assert entry["ids"] == [{"type": "pyup", "id": "GHSA-demo"}]
    assert (entry["advisory"], entry["fixed_versions"]) == ("bad", ["1.5"])
    assert [one.rpartition("/")[2] for one in entry["vulnerability_resources"]] == ["GHSA-demo", "CVE-1"]


def test_a_version_that_mends_it_and_cannot_be_read_is_no_advice(tmp_path: Path) -> None:
    advisory = _advisory(events=[{"introduced": "0"}, {"fixed": "1.0-n653"}, {"fixed": "1.10"}, {"fixed": "1.9"}])
    advisory["affected"][0]["database_specific"] = {"specifiers": ["<1.10"]}
    safetydatabase.write(Database([advisory]), tmp_path)
    (entry,) = _read(tmp_path, FILES[1])["vulnerable_packages"]["demo"]
    assert entry["fixed_versions"] == ["1.9", "1.10"]


def test_what_was_withdrawn_is_left_out(tmp_path: Path) -> None:
    safetydatabase.write(Database([_advisory("A", withdrawn="2024-01-01T00:00:00Z")]), tmp_path)
    for file in FILES:
        assert set(_read(tmp_path, file)["vulnerable_packages"]) == {one.name for one in dependencies.CONTROLS}


def test_a_control_that_the_advisories_know_is_not_written_twice(tmp_path: Path) -> None:
    control = dependencies.CONTROLS[0]
    safetydatabase.write(Database([dependencies.advisory_of(control)]), tmp_path)
    assert len(_read(tmp_path, FILES[1])["vulnerable_packages"][control.name]) == 1


def _document(schema: str = "2.0.0", *packages: str) -> str:
    return json.dumps({"meta": {"schema_version": schema}, "vulnerable_packages": {name: [] for name in packages}})


@pytest.mark.parametrize(
    ("text", "gap"),
    [
        (None, "there is no insecure.json"),
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"meta": {}}', "cannot be read"),
        ('{"demo": ["<1"]}', "cannot be read"),
        (_document("1.1.0", "demo"), "has the schema '1.1.0'"),
        (_document("2.0.0"), "is empty"),
        (_document("2.0.0", "other"), "about none of the locked packages"),
        (_document("2.0.0", "demo", "other"), ""),
    ],
)
def test_what_is_no_database_about_the_packages_is_a_gap(tmp_path: Path, text: str | None, gap: str) -> None:
    (tmp_path / FILES[1]).write_text(_document("2.0.0", "demo"))
    if text is not None:
        (tmp_path / FILES[0]).write_text(text)
    gaps = safetydatabase.find_gaps(tmp_path, {"demo"})
    assert len(gaps) == bool(gap)
    assert all(gap in line for line in gaps)
