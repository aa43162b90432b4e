"""Says of migrations what would block the application, rewrite a table, lose data or break the release that serves.

```
findings     what is found, and every rule that there is
squawk       squawk's own rules, a file at a time
trial        a file's statements one by one in a transaction that is rolled back, and what each did to the tables
surface      what a release can see of the schema, and what of that a migration took away
marks        what a file says of itself: destructive, contract, accept, each because of something
reports      text, SARIF and GitHub's annotations
uses         where the release that serves has a name in its code
linter       puts these together
```
"""

from fairlead.migrations.lint.findings import RULES, Finding, Report
from fairlead.migrations.lint.linter import Options, Uses, lint
from fairlead.migrations.lint.reports import render, render_annotations, render_sarif
from fairlead.migrations.lint.uses import find_uses

__all__ = [
    "RULES",
    "Finding",
    "Options",
    "Report",
    "Uses",
    "find_uses",
    "lint",
    "render",
    "render_annotations",
    "render_sarif",
]
