"""A deploy of an archive that was made before: the one that was signed, and no other."""

import hashlib
import shutil
from pathlib import Path

import pytest

from fairlead.history import History
from tests.git import git
from tests.integration.deploy.shop import Shop

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def archive(shop: Shop, tmp_path: Path) -> Path:
    """A bundle of the tree, by another build than the deploy's own."""
    file = tmp_path / "signed.tar.gz"
    ended = shop.run("build", "--output", str(file), FAIRLEAD_BUILD_NUMBER="77")
    assert ended.code == 0, ended.said
    return file


def test_the_given_archive_is_sent_byte_for_byte(shop: Shop, archive: Path) -> None:
    ended = shop.run("deploy", "--env", "staging", "--bundle", str(archive))
    assert ended.code == 0, ended.said
    assert shop.double.received == [archive.read_bytes()]
    assert History(shop.state).load()[-1].archive == hashlib.sha256(archive.read_bytes()).hexdigest()


def test_an_archive_of_another_tree_is_refused_before_anything_is_sent(
    shop: Shop, archive: Path, tmp_path: Path
) -> None:
    shop.root = shutil.copytree(shop.root, tmp_path / "changed")
    (shop.root / "shop" / "app" / "main.py").write_text("app = 1\n", "utf-8")
    git(shop.root, "commit", "--all", "--message", "Change the shop")
    ended = shop.run("deploy", "--env", "staging", "--bundle", str(archive))
    assert ended.code == 17
    assert f"{archive} holds sha256:" in ended.said
    assert shop.double.received == []


def test_an_archive_that_is_not_there_is_one_reason_among_the_others(shop: Shop, tmp_path: Path) -> None:
    shop.root = shutil.copytree(shop.root, tmp_path / "changed")
    git(shop.root, "switch", "--create", "other")
    ended = shop.run("deploy", "--env", "staging", "--bundle", str(tmp_path / "nowhere.tar.gz"))
    assert ended.code == 17
    assert f"there is no {tmp_path / 'nowhere.tar.gz'}" in ended.said
    assert "staging is deployed from branch" in ended.said
    assert shop.double.received == []
