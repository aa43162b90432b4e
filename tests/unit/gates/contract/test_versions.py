import pytest

from fairlead.exceptions import ConfigurationError
from fairlead.gates.contract.versions import may_break, next_breaking


@pytest.mark.parametrize(
    ("old", "new", "announced"),
    [
        ("1.4.2", "2.0.0", True),
        ("1.4.2", "2.0.0-rc.1", True),
        ("1.4.2", "v10.0.0", True),
        ("1.4.2", "1.5.0", False),
        ("1.4.2", "1.4.2", False),
        ("2.0.0", "1.9.9", False),
        ("0.3.1", "0.4.0", True),
        ("0.3.1", "1.0.0", True),
        ("0.3.1", "0.3.2", False),
        ("0.3.1", "0.2.9", False),
        ("0.0.4", "0.0.5", True),
        ("0.0.4", "0.0.4", False),
        ("0.0.0", "0.0.1", True),
        ("2.0.0-rc.1", "2.0.0-rc.2", True),
        ("2.0.0-rc.1", "2.0.0", True),
        ("2.0.0-rc.1", "2.0.0-rc.1", False),
        ("2.0.0-rc.1", "1.9.0", False),
        ("2.0.0-rc.2", "2.0.0-rc.1", False),
        ("2.0.0-rc.2", "2.0.0-rc.10", True),
        ("2.0.0-rc.1", "2.0.0-rc.1+x", False),
        ("2.0.0-1", "2.0.0-beta", True),
        ("1.4.0-rc.1", "1.4.0", False),
        ("1.4.0-rc.1", "2.0.0", True),
        ("0.4.0-rc.1", "0.4.0", True),
        ("1.0.0+build.5", "1.0.0+build.6", False),
    ],
)
def test_a_version_announces_that_clients_break(old: str, new: str, announced: bool) -> None:
    assert may_break(old, new) is announced


@pytest.mark.parametrize(
    "old", ["1.4.2", "0.3.1", "0.0.4", "0.0.0", "2.0.0-rc.1", "1.4.0-rc.1", "0.4.1-rc.1", "v3.1.0+build.5"]
)
def test_the_next_breaking_version_is_one(old: str) -> None:
    assert may_break(old, next_breaking(old))


@pytest.mark.parametrize("version", ["unknown", "1.2", "1.2.3.4", "", "1.x.0"])
def test_what_is_no_version_is_said(version: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a version"):
        may_break(version, "1.0.0")
    with pytest.raises(ConfigurationError, match="is not a version"):
        may_break("1.0.0", version)
