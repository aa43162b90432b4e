"""Other tools' ways of naming migrations, read as they are."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fairlead.exceptions import MigrationError
from fairlead.migrations.conventions import Role, file_names, next_role, order_of, read_role
from fairlead.migrations.files import create_migration, find_migration, load_migrations

UP = "CREATE TABLE t ();\n"
DOWN = "DROP TABLE t;\n"


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("up", "down", "version", "name"),
    [
        ("015_x.sql", "015_x.down.sql", "015", "x"),
        ("1_x.up.sql", "1_x.down.sql", "1", "x"),
        ("20240102030405_x.up.sql", "20240102030405_x.down.sql", "20240102030405", "x"),
        ("20240102030405_add_b.sql", "20240102030405_add_b.down.sql", "20240102030405", "add_b"),
        ("V0001__add_b.sql", "U0001__add_b.sql", "0001", "add_b"),
        ("V1.2__x.sql", "U1.2__undo_x.sql", "1.2", "x"),
        ("V1_2__x.sql", "U1_2__x.sql", "1.2", "x"),
        ("V0001.Name.up.sql", "V0001.Name.down.sql", "0001", "Name"),
        ("0001_x/up.sql", "0001_x/down.sql", "0001", "x"),
        ("2024-01-02-030405_x/up.sql", "2024-01-02-030405_x/down.sql", "20240102030405", "x"),
    ],
)
def test_each_convention_is_read_with_its_down(tmp_path: Path, up: str, down: str, version: str, name: str) -> None:
    (found,) = load_migrations(write(tmp_path, {up: UP, down: DOWN}))
    assert (found.version, found.name, found.sql, found.down_sql) == (version, name, UP, DOWN)
    assert (found.file, found.down_file) == (tmp_path / up, tmp_path / down)
    assert found.transactional
    for spelling in (up, down, version, found.label, f"backend/migrations/{up}"):
        assert find_migration([found], spelling) is found


def test_conventions_mix_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = ["10_j.sql", "2_b.up.sql", "V003__c.sql", "V4.Name.up.sql", "0005_e/up.sql", "20240102030405_z.sql"]
    found = load_migrations(write(tmp_path, dict.fromkeys([*names, "V1.10__a.sql", "V1.9__a.sql"], UP)))
    versions = [migration.version for migration in found]
    assert versions == ["1.9", "1.10", "2", "003", "4", "0005", "10", "20240102030405"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["015_a.sql", "V15__b.sql"], "015_a.sql, V15__b.sql: 2 files of version 15"),
        (["1_a.sql", "1_a.up.sql"], "1_a.sql, 1_a.up.sql: 2 files of version 1"),
        (["V1__a.sql", "V1.0__b.sql"], "2 files of version 1"),
        (["0001_a/up.sql", "1_b.sql"], "0001_a/up.sql, 1_b.sql: 2 files of version 1"),
        (["V1__a.sql", "U1__a.sql", "U1__b.sql"], "U1__a.sql, U1__b.sql: 2 downs of version 1"),
        (["0001_a/down.sql"], "0001_a/down.sql: there is no 0001_a/up.sql"),
        (["U1__a.sql"], "U1__a.sql: there is no V1__a.sql"),
        (["V1.Name.down.sql"], "there is no V1.Name.up.sql"),
        (["R__views.sql"], "R__views.sql: is one of Flyway's repeatable migrations"),
        (["001_a.dwon.sql"], "001_a.dwon.sql: does not fit"),
        (["name/up.sql"], "name/up.sql: does not fit"),
        (["0001_a/up.sql", "0001_a/more.sql"], "0001_a/more.sql: does not fit"),
    ],
)
def test_what_does_not_fit_together_is_named(tmp_path: Path, files: list[str], told: str) -> None:
    with pytest.raises(MigrationError) as caught:
        load_migrations(write(tmp_path, dict.fromkeys(files, UP)))
    assert told in caught.value.message


def test_sections_of_one_file_keep_their_line_numbers(tmp_path: Path) -> None:
    text = "-- head\n-- migrate:up\nSELECT 1;\n\n-- migrate:down\nSELECT 2;\n"
    (found,) = load_migrations(write(tmp_path, {"20240102030405_x.sql": text}))
    assert found.sql == "-- head\n-- migrate:up\nSELECT 1;\n\n"
    assert found.down_sql == "-- head\n\n\n\n-- migrate:down\nSELECT 2;\n"
    assert found.down_file == found.file


def test_checksum_of_sections_is_that_of_the_up(tmp_path: Path) -> None:
    seen = {
        load_migrations(write(tmp_path, {"1_x.sql": f"-- migrate:up\nSELECT 1;\n{rest}"}))[0].checksum
        for rest in ("", "\n-- migrate:down\nSELECT 2;", "\n\n-- migrate:down\nSELECT 3;")
    }
    assert len(seen) == 1


def test_empty_down_section_is_no_down(tmp_path: Path) -> None:
    (found,) = load_migrations(write(tmp_path, {"1_x.sql": "-- migrate:up\nSELECT 1;\n-- migrate:down\n"}))
    assert found.down_sql is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("-- migrate:up\n\n-- migrate:down\nSELECT 1;", "has nothing below -- migrate:up"),
        ("-- migrate:down\nSELECT 1;", "needs one -- migrate:up"),
        ("-- migrate:down\nSELECT 1;\n-- migrate:up\nSELECT 1;", "needs one -- migrate:up"),
        ("-- migrate:up\nSELECT 1;\n-- migrate:up\nSELECT 1;", "needs one -- migrate:up"),
        ("SELECT 0;\n-- migrate:up\nSELECT 1;", "has statements above"),
    ],
)
def test_sections_that_make_no_sense_are_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(MigrationError, match=told):
        load_migrations(write(tmp_path, {"1_x.sql": text}))


def test_section_s_line_within_a_string_is_none(tmp_path: Path) -> None:
    text = "SELECT $$\n-- migrate:down\n$$;\n"
    (found,) = load_migrations(write(tmp_path, {"1_x.sql": text}))
    assert (found.sql, found.down_sql) == (text, None)


def test_down_in_a_section_and_in_a_file_is_one_too_many(tmp_path: Path) -> None:
    both = "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 2;\n"
    with pytest.raises(MigrationError, match="2 downs of version 1"):
        load_migrations(write(tmp_path, {"1_x.sql": both, "1_x.down.sql": DOWN}))


@pytest.mark.parametrize(
    ("files", "up", "down"),
    [
        ({"1_x.sql": f"-- fairlead: no-transaction\n{UP}", "1_x.down.sql": DOWN}, False, True),
        ({"1_x.sql": UP, "1_x.down.sql": f"{DOWN}-- Fairlead:"}, True, True),
        ({"1_x.sql": UP, "1_x.down.sql": f"{DOWN}--fairlead: no-transaction"}, True, False),
        ({"1_x.sql": f"-- migrate:up transaction:false\n{UP}-- migrate:down\n{DOWN}"}, False, True),
        ({"1_x.sql": f"-- migrate:up\n{UP}-- migrate:down transaction:false\n{DOWN}"}, True, False),
        ({"1_x.sql": f"-- migrate:up\n-- fairlead: no-transaction\n{UP}-- migrate:down\n{DOWN}"}, False, True),
        ({"1_x.sql": f"-- fairlead: no-transaction\n-- migrate:up\n{UP}-- migrate:down\n{DOWN}"}, False, False),
        ({"1_x.sql": "SELECT '\n-- fairlead: no-transaction\n'", "1_x.down.sql": DOWN}, True, True),
        ({"1_x.sql": "DO $x$\n-- fairlead: no-transaction\n$x$", "1_x.down.sql": DOWN}, True, True),
        ({"1_x.sql": "/* \n-- fairlead: no-transaction\n*/ SELECT 1", "1_x.down.sql": DOWN}, True, True),
        ({"1_x/up.sql": UP, "1_x/down.sql": DOWN, "1_x/metadata.toml": "run_in_transaction = false"}, False, False),
    ],
)
def test_marks_switch_the_transaction_off(tmp_path: Path, files: dict[str, str], up: bool, down: bool) -> None:
    (found,) = load_migrations(write(tmp_path, files))
    assert (found.transactional, found.down_transactional) == (up, down)


def test_misspelt_mark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match=r"1_x\.sql:2: fairlead has no mark 'no-transactions'"):
        load_migrations(write(tmp_path, {"1_x.sql": f"{UP}-- fairlead: no-transactions\n"}))


@pytest.mark.parametrize(
    ("present", "made"),
    [
        (["1_a.up.sql", "1_a.down.sql"], ("2_b.up.sql", "2_b.down.sql")),
        (["V0009__a.sql"], ("V0010__b.sql", "U0010__b.sql")),
        (["V1.2__a.sql"], ("V2__b.sql", "U2__b.sql")),
        (["V0001.Name.up.sql"], ("V0002.b.up.sql", "V0002.b.down.sql")),
        (["0001_a/up.sql"], ("0002_b/up.sql", "0002_b/down.sql")),
        (["20240102030405_a.sql"], ("20260506070809_b.sql", "20260506070809_b.down.sql")),
        (["20990102030405_a.sql"], ("20990102030406_b.sql", "20990102030406_b.down.sql")),
        (["2024-01-02-030405_a/up.sql"], ("2026-05-06-070809_b/up.sql", "2026-05-06-070809_b/down.sql")),
        (["001_a.sql", "002_a.up.sql", "002_a.down.sql"], ("003_b.up.sql", "003_b.down.sql")),
    ],
)
def test_next_one_follows_the_convention_that_is_there(present: list[str], made: tuple[str, str]) -> None:
    roles = [role for name in present if (role := read_role(name))]
    assert len(roles) == len(present)
    assert file_names(next_role(roles, "b", now=datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC))) == made


def test_created_pair_of_a_folder_each_is_made(tmp_path: Path) -> None:
    up, down = create_migration(write(tmp_path, {"0001_a/up.sql": UP}), "b")
    assert (up, down) == (tmp_path / "0002_b" / "up.sql", tmp_path / "0002_b" / "down.sql")
    assert up.is_file()
    assert down.is_file()


def test_callers_at_once_get_a_version_each(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def create(index: int) -> None:
        barrier.wait()
        create_migration(tmp_path, f"by {index}")

    threads = [threading.Thread(target=create, args=[index]) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = sorted(file.name[:3] for file in tmp_path.glob("*.down.sql"))
    assert versions == [f"{number:03d}" for number in range(1, 9)]


@pytest.mark.parametrize(
    ("version", "order"), [("015", (15,)), ("1.10", (1, 10)), ("1.0", (1,)), ("0", (0,)), ("000", (0,))]
)
def test_order_is_by_the_numbers(version: str, order: tuple[int, ...]) -> None:
    assert order_of(version) == order


def test_plain_down_belongs_to_either_form() -> None:
    up, plain, down = (read_role(name) for name in ("1_a.up.sql", "1_a.sql", "1_a.down.sql"))
    assert isinstance(up, Role)
    assert isinstance(plain, Role)
    assert isinstance(down, Role)
    assert up.pair == plain.pair == down.pair
