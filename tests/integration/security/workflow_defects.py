"""Workflows with a defect each, as the tests plant them, and the one without any that they are made of."""

from dataclasses import dataclass

PINNED = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683"

CLEAN = f"""\
name: ci
on:
  pull_request:
permissions:
  contents: read
concurrency:
  group: ci-${{{{ github.ref }}}}
  cancel-in-progress: true
jobs:
  tests:
    name: tests
    runs-on: ubuntu-24.04
    steps:
      - uses: {PINNED} # v4.2.2
        with:
          persist-credentials: false
      - run: nox -s tests
"""


@dataclass(frozen=True, slots=True)
class WorkflowDefect:
    """A workflow with one defect, the rule that it breaks, and the line that it stands on."""

    name: str
    workflow: str
    rule: str
    on: str


def swap(old: str, new: str, text: str = CLEAN) -> str:
    """Return a text with the one place where `old` stands changed."""
    assert text.count(old) == 1
    return text.replace(old, new)


TITLE = '- run: echo "${{ github.event.pull_request.title }}"'

DEFECTS = (
    WorkflowDefect(
        "an action by its tag",
        swap(f"{PINNED} # v4.2.2", "actions/checkout@v4"),
        "unpinned-uses",
        "- uses: actions/checkout@v4",
    ),
    WorkflowDefect(
        "an action by its tag, and a comment that says to look away",
        swap(f"{PINNED} # v4.2.2", "actions/checkout@v4 # zizmor: ignore[unpinned-uses]"),
        "unpinned-uses",
        "- uses: actions/checkout@v4 # zizmor: ignore[unpinned-uses]",
    ),
    WorkflowDefect(
        "every permission",
        swap("permissions:\n  contents: read", "permissions: write-all"),
        "excessive-permissions",
        "permissions: write-all",
    ),
    WorkflowDefect(
        "a permission to write for every job",
        swap("contents: read", "contents: write"),
        "excessive-permissions",
        "contents: write",
    ),
    WorkflowDefect(
        "permissions left to the default",
        swap("permissions:\n  contents: read\n", ""),
        "excessive-permissions",
        "tests:",
    ),
    WorkflowDefect("a pull request's title in a script", f"{CLEAN}      {TITLE}\n", "template-injection", TITLE),
    WorkflowDefect(
        "secrets for a fork's code",
        swap("  pull_request:\n", "  pull_request_target:\n").replace(
            "          persist", "          ref: ${{ github.event.pull_request.head.sha }}\n          persist"
        ),
        "dangerous-triggers",
        "pull_request_target:",
    ),
    WorkflowDefect(
        "credentials left in the checkout",
        swap("persist-credentials: false", "fetch-depth: 0"),
        "artipacked",
        f"- uses: {PINNED} # v4.2.2",
    ),
    WorkflowDefect(
        "a job in an image by its tag",
        swap("    runs-on: ubuntu-24.04\n", "    runs-on: ubuntu-24.04\n    container: python:3.14\n"),
        "unpinned-images",
        "container: python:3.14",
    ),
    WorkflowDefect(
        "a secret outside an environment",
        CLEAN + "        env:\n          TOKEN: ${{ secrets.TOKEN }}\n",
        "secrets-outside-env",
        "TOKEN: ${{ secrets.TOKEN }}",
    ),
)
