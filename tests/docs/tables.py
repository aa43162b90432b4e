"""Reads the tables of a page in Markdown."""


def read_table(page: str, *, after: str) -> list[list[str]]:
    """Return the rows of the first table below the line `after`, its headings first; raise `ValueError` without one."""
    lines = iter(page.splitlines())
    for line in lines:
        if line == after:
            break
    rows: list[list[str]] = []
    for line in lines:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    if not rows:
        raise ValueError(f"there is no table below {after!r}")
    return [row for row in rows if not set("".join(row)) <= set("-:")]
