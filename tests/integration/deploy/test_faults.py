"""Every fault of the table, planted before a real deploy: its exit code, and what the public URL serves afterwards."""

import re
from collections.abc import Callable

import pytest

from tests.integration.deploy import platform_rows, release_rows, suite_rows
from tests.integration.deploy.rows import Row
from tests.integration.deploy.shop import Shop, tell

Note = Callable[[str, object], None]
ROWS = (*platform_rows.ROWS, *release_rows.ROWS, *suite_rows.ROWS)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.fault) for row in ROWS])
@pytest.mark.usefixtures("impatient")
def test_deploy_ends_as_the_table_says(row: Row, shop: Shop, record_property: Note) -> None:
    row.arrange(shop.double)
    ended = shop.run(*row.act, **row.environ)
    seen = "unseen" if row.serves == "unseen" else shop.seen()
    tell(record_property, row.fault, ended, seen, expected=f"{row.code}, {row.serves}")
    assert (ended.code, seen) == (row.code, row.serves), ended.said
    assert re.search(row.says, ended.said), ended.said
    assert "Traceback" not in ended.said
