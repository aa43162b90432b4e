from pathlib import Path

import pytest

from fairlead._sections import SecurityConfig
from fairlead.security import licences
from fairlead.security.licences import Licence
from fairlead.security.locked import Locked

LOCKED = {
    "psycopg": Locked("psycopg", "3.3.9", "backend/requirements.txt", 12),
    "six": Locked("six", "1.16.0", "requirements.txt", 9),
}
SIX = Licence("1.16.0", "MIT", "MIT")
PSYCOPG = Licence("3.3.9", "LGPL-3.0-only", "LGPL-3.0-only")
REASON = "LGPL-3.0-only: used unchanged, as a package of its own"


def accept(*allowed: str, **exceptions: str) -> SecurityConfig:
    return SecurityConfig(ignore=(), licences=allowed, licence_exceptions=exceptions)


def metadata(*lines: str) -> str:
    return "\n".join(["Metadata-Version: 2.4", "Name: six", "Version: 1.16.0", *lines, "", "Its description: GPL"])


def osi(name: str) -> str:
    return f"Classifier: License :: OSI Approved :: {name}"


@pytest.mark.parametrize(
    ("lines", "expression"),
    [
        (["License-Expression: MIT"], "MIT"),
        (["License-Expression: apache-2.0 or mit"], "Apache-2.0 OR MIT"),
        (["License-Expression: MIT", "License: GPL", osi("BSD License")], "MIT"),
        (["License-Expression: Free for all"], ""),
        (["License: MIT License"], "MIT"),
        (["License: Apache 2.0", osi("Apache Software License")], "Apache-2.0"),
        (["License: 3-Clause BSD License"], "BSD-3-Clause"),
        ([osi("MIT License")], "MIT"),
        (["License: UNKNOWN", osi("MIT License")], "MIT"),
        (["License: Permission is hereby granted,", "        free of charge", osi("MIT License")], "MIT"),
        ([f"License: {'Permission is granted. ' * 5}", osi("MIT License")], "MIT"),
        # A family says nothing more beside a member of it, and nothing alone.
        (["License: BSD-3-Clause", osi("BSD License")], "BSD-3-Clause"),
        ([osi("BSD License")], ""),
        (["License: MIT", osi("BSD License")], ""),
        # Several, and not how they go together: all of them.
        (["License: MIT License", osi("Apache Software License"), osi("MIT License")], "MIT AND Apache-2.0"),
        (["License: MIT OR Apache-2.0", osi("MIT License"), osi("Apache Software License")], "MIT OR Apache-2.0"),
        (["License: MIT OR Apache-2.0", osi("ISC License (ISCL)")], "(MIT OR Apache-2.0) AND ISC"),
        (["License: MIT", osi("GNU General Public License v3 (GPLv3)")], "MIT AND GPL-3.0-only"),
        # What is not understood makes the whole unknown.
        (["License: Dual License", osi("MIT License")], ""),
        (["License: MIT", osi("Some New License")], ""),
        (["License: MIT", "Classifier: License :: Other/Proprietary License"], ""),
        (["License: MIT", "Classifier: License :: OSI Approved"], "MIT"),
        ([], ""),
    ],
)
def test_a_licence_is_what_the_metadata_says(lines: list[str], expression: str) -> None:
    licence = licences.read(metadata(*lines))
    assert (licence.version, licence.expression) == ("1.16.0", expression)


@pytest.mark.parametrize(
    ("expression", "met"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only AND MIT", False),
        ("MIT AND Apache-2.0", True),
        ("GPL-3.0-only AND MIT OR Apache-2.0", True),
        ("GPL-3.0-only AND (MIT OR Apache-2.0)", False),
        ("(MIT OR GPL-3.0-only) AND (Apache-2.0 OR GPL-3.0-only)", True),
        ("((MIT))", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", True),
        ("GPL-2.0-only WITH GCC-exception-2.0", False),
        ("GPL-2.0-only", False),
        ("", False),
    ],
)
def test_an_expression_is_met_by_what_is_allowed(expression: str, met: bool) -> None:
    allowed = {"MIT", "Apache-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"}
    assert licences.permits(expression, allowed) is met


def test_licences_that_are_all_allowed_or_excepted_pass() -> None:
    scan = licences.judge({"six": SIX, "psycopg": PSYCOPG}, expected=LOCKED, accepted=accept("mit", Psycopg=REASON))
    assert scan.passed
    assert scan.looked_at == "2 of 2 packages seen"


@pytest.mark.parametrize(
    ("psycopg", "accepted", "rule", "told"),
    [
        (PSYCOPG, accept("MIT"), "disallowed-licence", "psycopg 3.3.9 (backend/requirements.txt:12)"),
        (Licence("3.3.9", "", "BSD"), accept("MIT"), "unknown-licence", "'BSD', which is no licence"),
        (Licence("3.3.9", ""), accept("MIT"), "unknown-licence", "it says nothing"),
        (PSYCOPG, accept("MIT", psycopg="we like it"), "licence-exception", "must begin with the licence"),
        (PSYCOPG, accept("MIT", psycopg="Nice: we like it"), "licence-exception", "must begin with the licence"),
        (Licence("3.3.9", "GPL-3.0-only", "x"), accept("MIT", psycopg=REASON), "disallowed-licence", "GPL-3.0-only"),
        (PSYCOPG, accept("MIT", "LGPL-3.0-only", psycopg=REASON), "unused-licence-exception", "psycopg"),
        (PSYCOPG, accept("MIT", "LGPL-3.0-only", gone="MIT: it was"), "unused-licence-exception", "gone"),
    ],
)
def test_what_is_not_accepted_is_one_finding(psycopg: Licence, accepted: SecurityConfig, rule: str, told: str) -> None:
    scan = licences.judge({"six": SIX, "psycopg": psycopg}, expected=LOCKED, accepted=accepted)
    (finding,) = scan.findings
    assert finding.rule == rule
    assert told in str(finding)
    assert not scan.gaps


def test_an_exception_says_what_a_silent_package_does_not() -> None:
    scan = licences.judge(
        {"six": SIX, "psycopg": Licence("3.3.9", "")}, expected=LOCKED, accepted=accept("MIT", psycopg=REASON)
    )
    assert scan.passed


@pytest.mark.parametrize(
    ("seen", "accepted", "gap"),
    [
        ({"six": SIX}, accept("MIT", psycopg=REASON), "psycopg 3.3.9: is not installed here"),
        ({"six": SIX, "psycopg": Licence("3.3.8", "MIT")}, accept("MIT"), "psycopg 3.3.9: 3.3.8 is installed"),
        ({"six": SIX, "psycopg": Licence("", "MIT")}, accept("MIT"), "an unknown version is installed"),
        ({}, accept("MIT"), "six 1.16.0: is not installed here"),
        ({"six": SIX, "psycopg": PSYCOPG}, accept(), "names no licence that is allowed"),
        ({"six": SIX, "psycopg": PSYCOPG}, accept("MIT", "LGPL-3.0-only", "LGPL"), "'LGPL' is no SPDX identifier"),
    ],
)
def test_what_was_not_looked_at_is_a_gap_and_no_finding(
    seen: dict[str, Licence], accepted: SecurityConfig, gap: str
) -> None:
    scan = licences.judge(seen, expected=LOCKED, accepted=accepted)
    assert any(gap in line for line in scan.gaps)
    assert not scan.findings


def test_locks_without_a_package_are_a_gap() -> None:
    assert licences.judge({}, expected={}, accepted=accept("MIT")).gaps == ("the locks hold no package",)


@pytest.mark.parametrize(
    ("installed", "locked", "same"), [("1.0", "1.0", True), ("1.0.0", "1.0", True), ("1.0.1", "1.0", False)]
)
def test_equal_versions_are_equal_however_they_are_spelt(installed: str, locked: str, same: bool) -> None:
    assert (licences.unseen(Licence(installed, "MIT"), Locked("six", locked, "a", 1)) == "") is same


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for folder, text in {
        "six-1.16.0.dist-info": metadata("License-Expression: MIT"),
        "psycopg-3.3.9.dist-info": metadata("License: LGPL-3.0-only")
        .replace("six", "Psycopg")
        .replace("1.16.0", "3.3.9"),
        "nameless-1.0.dist-info": "Metadata-Version: 2.4\n",
    }.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "METADATA").write_text(text)
    (tmp_path / "empty-1.0.dist-info").mkdir()
    return tmp_path


def test_what_is_installed_is_read_by_its_normalised_name(site: Path) -> None:
    assert licences.collect([str(site)]) == {"six": SIX, "psycopg": PSYCOPG}


@pytest.mark.parametrize(("locks", "rules"), [(("requirements.txt",), []), (licences.SHIPPED, ["disallowed-licence"])])
def test_only_what_the_named_locks_hold_is_judged(site: Path, locks: tuple[str, ...], rules: list[str]) -> None:
    scan = licences.scan(LOCKED, accept("MIT"), locks=locks, path=[str(site)])
    assert [finding.rule for finding in scan.findings] == rules
    assert not scan.gaps


def test_this_environment_is_looked_at_by_default() -> None:
    assert licences.collect()["pytest"].expression == "MIT"
