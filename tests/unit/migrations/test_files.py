"""Reading a folder of migration files."""

from pathlib import Path

import pytest

from fairlead.exceptions import MigrationError
from fairlead.migrations.files import checksum, create_migration, find_migration, load_migrations

UP = "CREATE TABLE t ();\n"
DOWN = "DROP TABLE t;\n"


def write(folder: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_migrations_are_ordered_by_their_numbers(tmp_path: Path) -> None:
    write(tmp_path, **{"10_c.sql": UP, "2_b.sql": UP, "001_a.sql": UP, "001_a.down.sql": DOWN})
    assert [migration.label for migration in load_migrations(tmp_path)] == ["001_a", "2_b", "10_c"]


def test_migration_holds_both_texts_and_files(tmp_path: Path) -> None:
    write(tmp_path, **{"001_a.sql": UP, "001_a.down.sql": DOWN})
    (migration,) = load_migrations(tmp_path)
    assert (migration.sql, migration.down_sql) == (UP, DOWN)
    assert (migration.file, migration.down_file) == (tmp_path / "001_a.sql", tmp_path / "001_a.down.sql")


def test_migration_without_a_down_is_read(tmp_path: Path) -> None:
    (migration,) = load_migrations(write(tmp_path, **{"001_a.sql": UP}))
    assert migration.down_sql is None


@pytest.mark.parametrize("name", ["README", "README.txt", "notes.md", ".gitkeep", ".001_a.sql.swp"])
def test_files_that_are_no_migrations_by_nature_are_passed_over(tmp_path: Path, name: str) -> None:
    assert load_migrations(write(tmp_path, **{name: "words", "001_a.sql": UP}))[0].label == "001_a"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"001_a.sql": UP, "01_b.sql": UP}, ["001_a.sql", "01_b.sql", "2 files of version 1"]),
        ({"001_a.sql": ""}, ["001_a.sql: is empty"]),
        ({"001_a.sql": " \n-- a comment\n/* and /* another */ */ ;"}, ["001_a.sql: is empty"]),
        ({"001_a.sql": UP, "001_a.down.sql": "\n"}, ["001_a.down.sql: is empty"]),
        ({"001_a.sql": UP, "add_b.sql": UP}, ["add_b.sql: does not fit the convention"]),
        ({"001_a.slq": UP}, ["001_a.slq: does not fit the convention"]),
        ({"001.sql": UP}, ["001.sql: does not fit"]),
        ({"001_a.down.sql": DOWN}, ["001_a.down.sql: there is no 001_a.sql"]),
        ({"001_a.sql": UP, "001_b.down.sql": DOWN}, ["001_b.down.sql: there is no 001_b.sql"]),
        ({"001_a.sql": b"SELECT '\xe9'"}, ["001_a.sql: is not UTF-8 (byte 9)"]),
        ({"001_a.sql": "SELECT '\0'"}, ["001_a.sql: holds a NUL"]),
    ],
)
def test_each_file_at_fault_is_named(tmp_path: Path, files: dict[str, str | bytes], told: list[str]) -> None:
    with pytest.raises(MigrationError) as caught:
        load_migrations(write(tmp_path, **files))
    assert [part for part in told if part not in caught.value.message] == []


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    write(tmp_path, **{"001_a.sql": UP, "1_b.sql": UP, "002_c.sql": "", "x.sql": UP, "003_d.down.sql": DOWN})
    with pytest.raises(MigrationError) as caught:
        load_migrations(tmp_path)
    assert caught.value.message.startswith("4 files in ")
    for name in ("001_a.sql", "1_b.sql", "002_c.sql", "x.sql", "003_d.down.sql"):
        assert name in caught.value.message
    assert caught.value.exit_code == 11


def test_folder_within_the_folder_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "001_a.sql").mkdir()
    with pytest.raises(MigrationError, match="does not fit"):
        load_migrations(tmp_path)


def test_links_are_followed_and_one_that_leads_nowhere_does_not_fit(tmp_path: Path) -> None:
    folder = tmp_path / "linked"
    folder.mkdir()
    (tmp_path / "real.sql").write_text(UP, "utf-8")
    (folder / "001_a.sql").symlink_to(tmp_path / "real.sql")
    assert [migration.sql for migration in load_migrations(folder)] == [UP]
    (folder / "002_b.sql").symlink_to("itself.sql")
    (folder / "itself.sql").symlink_to("itself.sql")
    with pytest.raises(MigrationError, match="2 files in") as caught:
        load_migrations(folder)
    assert "002_b.sql: does not fit" in caught.value.message


def test_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="there is no folder"):
        load_migrations(tmp_path / "none")


def test_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MigrationError, match="is not a folder"):
        load_migrations(tmp_path / "file")


def test_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    (migration,) = load_migrations(write(tmp_path, **{"001_a.sql": b"\xef\xbb\xbf" + UP.encode()}))
    assert migration.sql == UP
    assert migration.checksum == checksum(UP)


def test_checksum_ignores_the_style_of_line_ends_only() -> None:
    assert checksum("SELECT 1;\r\nSELECT 2;\r\n") == checksum("SELECT 1;\nSELECT 2;\n")
    assert checksum("SELECT 1; ") != checksum("SELECT 1;")


@pytest.mark.parametrize("name", ["2", "002", "002_b", "002_b.sql", "002_b.down.sql", "backend/migrations/002_b.sql"])
def test_migration_is_found_by_any_name_of_it(tmp_path: Path, name: str) -> None:
    migrations = load_migrations(write(tmp_path, **{"001_a.sql": UP, "002_b.sql": UP}))
    assert find_migration(migrations, name).label == "002_b"


@pytest.mark.parametrize("name", ["3", "b", "002_c", ""])
def test_unknown_migration_is_told_with_the_newest(tmp_path: Path, name: str) -> None:
    migrations = load_migrations(write(tmp_path, **{"001_a.sql": UP, "002_b.sql": UP}))
    with pytest.raises(MigrationError, match="the newest is 002_b"):
        find_migration(migrations, name)


@pytest.mark.parametrize(
    ("present", "slug", "made"),
    [
        ([], "create tenants", "001_create_tenants"),
        (["001_a.sql", "009_b.sql"], "Add-Bookings!", "010_add_bookings"),
        (["0009_a.sql"], "b", "0010_b"),
        (["999_a.sql"], "b", "1000_b"),
    ],
)
def test_created_pair_takes_the_next_number(tmp_path: Path, present: list[str], slug: str, made: str) -> None:
    write(tmp_path, **dict.fromkeys(present, UP))
    up, down = create_migration(tmp_path, slug)
    assert (up.name, down.name) == (f"{made}.sql", f"{made}.down.sql")
    assert up.is_file()
    assert down.is_file()


def test_where_one_file_holds_both_ways_the_next_one_does_too(tmp_path: Path) -> None:
    (tmp_path / "20240102030405_a.sql").write_text("-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 2;\n", "utf-8")
    (made,) = create_migration(tmp_path, "add rooms")
    with pytest.raises(MigrationError, match="is empty; write its statements"):
        load_migrations(tmp_path)
    text = made.read_text("utf-8").replace("-- migrate:down\n", "CREATE TABLE rooms ();\n-- migrate:down\n")
    made.write_text(f"{text}DROP TABLE rooms;\n", "utf-8")
    newest = load_migrations(tmp_path)[-1]
    assert (newest.name, newest.file, newest.down_file) == ("add_rooms", made, made)
    assert "DROP" not in newest.sql


def test_created_pair_is_refused_until_it_is_written(tmp_path: Path) -> None:
    create_migration(tmp_path / "new", "a")
    with pytest.raises(MigrationError, match=r"001_a\.sql: is empty"):
        load_migrations(tmp_path / "new")


def test_slug_without_a_letter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="no letter or digit"):
        create_migration(tmp_path, " - ")
