import pytest

from fairlead.security.dockerfiles import check_compose, check_dockerfile

DIGEST = f"@sha256:{'0' * 64}"
GOOD = f"FROM debian:12{DIGEST}\nUSER 10001:10001\n"


def rules(text: str) -> list[tuple[str, int | None]]:
    return [(one.rule, one.line) for one in check_dockerfile(text, "Dockerfile")]


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"ARG BASE=debian:12{DIGEST}\nFROM ${{BASE}} AS build\nFROM $BASE\nCOPY --from=build /a /a\nUSER 1\n",
        f"FROM --platform=linux/amd64 debian{DIGEST} as one\nUSER 7\nFROM one\nRUN true\n",
        "FROM scratch\nUSER 65532\n",
        f"# FROM debian\nFROM debian{DIGEST}\nRUN one \\\n  # a remark\n  two\nUSER 10001\n",
        f"FROM debian{DIGEST}\nCOPY --from=0 /a /b\nUSER root\nRUN true\nUSER 10001\n",
        f"FROM debian{DIGEST} AS one\nFROM one\nRUN --mount=type=bind,from=one,target=/a true\nUSER 10001\n",
        f"FROM debian{DIGEST}\nUSER 10001\nRUN <<EOF cat\nFROM debian\nUSER root\nEOF\n",
    ],
)
def test_images_by_digest_and_a_numeric_user_pass(text: str) -> None:
    assert rules(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM python:3.14-slim\nUSER 10001\n", [("image-by-tag", 1)]),
        ("ARG BASE=python:3.14\nFROM ${BASE}\nUSER 10001\n", [("image-by-tag", 2)]),
        ("ARG BASE\nFROM ${BASE:-python:3.14}\nUSER 10001\n", [("image-by-tag", 2)]),
        ("FROM python@sha256:0\nUSER 10001\n", [("image-by-tag", 1)]),
        (f"FROM debian{DIGEST}\nCOPY --from=busybox:1 /a /a\nUSER 9\n", [("image-by-tag", 2)]),
        (f"FROM debian{DIGEST}\nRUN true\n", [("root-user", 1)]),
        (f"FROM debian{DIGEST}\nUSER 10001\nUSER root\n", [("root-user", 3)]),
        (f"FROM debian{DIGEST}\nUSER 0:0\n", [("root-user", 2)]),
        (f"FROM debian{DIGEST}\nUSER nobody\n", [("root-user", 2)]),
        (f"FROM debian{DIGEST} AS one\nUSER 7\nFROM debian{DIGEST}\n", [("root-user", 3)]),
        (f"FROM debian{DIGEST}\nRUN --mount=type=bind,from=evil:1,target=/a true\nUSER 9\n", [("image-by-tag", 2)]),
        (f"FROM debian{DIGEST}\nRUN <<EOF\nUSER 10001\nEOF\n", [("root-user", 1)]),
        (f"FROM debian{DIGEST}\nCOPY <<-'ONE' <<TWO /a\nx\n\tONE\nUSER 1\nTWO\nUSER 0\n", [("root-user", 7)]),
        (f'FROM debian{DIGEST}\nUSER 9\nRUN echo "a <<EOF b"\nUSER 0\n', [("root-user", 4)]),
        ("from debian:12\n", [("image-by-tag", 1), ("root-user", 1)]),
    ],
)
def test_a_tag_and_root_are_found_where_they_stand(text: str, found: list[tuple[str, int]]) -> None:
    assert rules(text) == found


@pytest.mark.parametrize(
    ("line", "caught"),
    [
        ("    image: redis:8", True),
        ("    image: 'redis:8'  # a cache", True),
        ("  redis: { image: redis:8, restart: always }", True),
        ("    image: &name redis:8", True),
        ('    "image": redis:8', True),
        ('  redis: { "restart": "always", "image": "redis:8" }', True),
        ("    image:", True),
        ("    image: >-", True),
        (f"    image: redis:8{DIGEST}", False),
        (f'    image: "redis:8{DIGEST}"', False),
        ("    image: *name", False),
        ("    image: localhost/ours:local", False),
        ("    # image: redis:8", False),
        ('    # "image": redis:8', False),
        ('    command: "echo image: redis:8"', False),
    ],
)
def test_a_compose_file_takes_images_by_digest(line: str, caught: bool) -> None:
    found = check_compose(f"services:\n{line}\n", "compose.yml")
    assert [one.rule for one in found] == ["image-by-tag"] * caught
    assert [one.line for one in found] == [2] * caught
