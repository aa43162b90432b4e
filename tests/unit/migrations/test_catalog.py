"""Comparing snapshots and telling the difference."""

import pytest

from fairlead.migrations.catalog import Difference, Entry, compare, describe_difference

TABLE = Entry("table", "bookings")
COLUMN = Entry("column", "owner_id", "bookings")
OWNER = Entry("owner of", "table bookings", "bookings")
GRANTS = Entry("grants on", "table bookings", "bookings")


def test_equal_snapshots_do_not_differ() -> None:
    assert compare({TABLE: "", COLUMN: "uuid"}, {COLUMN: "uuid", TABLE: ""}) == ()


def test_parts_of_a_missing_table_are_not_told_apart() -> None:
    assert compare({TABLE: "", COLUMN: "uuid", GRANTS: "x"}, {}) == (Difference(TABLE, "", None),)


def test_change_of_a_part_is_told() -> None:
    found = compare({TABLE: "", COLUMN: "uuid NOT NULL"}, {TABLE: "", COLUMN: "uuid"})
    assert found == (Difference(COLUMN, "uuid NOT NULL", "uuid"),)


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (Difference(COLUMN, "uuid NOT NULL", "uuid"),
         "down does not restore bookings.owner_id NOT NULL"),
        (Difference(COLUMN, "uuid", None), "down does not restore column bookings.owner_id (uuid)"),
        (Difference(TABLE, None, ""), "down leaves table bookings behind"),
        (Difference(TABLE, "", None), "down does not restore table bookings"),
        (Difference(GRANTS, "a", ""), "down does not restore grants on table bookings: it was a, and is nothing"),
        (Difference(COLUMN, "x" * 200, "y"),
         f"down does not restore column bookings.owner_id: it was {'x' * 160}…, and is y"),
        (Difference(TABLE, "x" * 200 + "a", "x" * 200 + "b"),
         f"down does not restore table bookings: it was …{'x' * 80}a, and is …{'x' * 80}b"),
        (Difference(OWNER, None, "app"),
         "down does not restore owner of table bookings: it was whoever migrates, and is app"),
    ],
)  # fmt: skip
def test_difference_is_told_in_words(difference: Difference, words: str) -> None:
    assert describe_difference(difference, "down") == words
