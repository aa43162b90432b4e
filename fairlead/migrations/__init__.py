"""Everything between a `.sql` file and a table: reading files, applying and reverting them, proving that downs reverse.

```
conventions  files  statements   no database: what a file's name says, its text, where a statement begins
url                              every spelling of DATABASE_URL, and connecting with clear errors
table  lock  foreign             schema_migrations, one runner at a time, the tables of other tools
planning  execution  failures    what is to run, sending one file, telling what went wrong
runner                           Migrator: status, apply, revert, baseline, resolve
alembic  engine                  the same acts over a project's Alembic, and which of the two is meant
catalog  reversibility           a snapshot of the schema in words, and the walk up, down and up again
lint                             what a file locks, rewrites and takes away
```
"""

from fairlead.migrations.engine import Engine, Options, fingerprint, open_engine
from fairlead.migrations.files import Migration, create_migration, find_migration, load_migrations
from fairlead.migrations.reversibility import find_irreversible, verify_reversible
from fairlead.migrations.runner import Migrator, Step
from fairlead.migrations.table import Status
from fairlead.migrations.url import connect, describe_url, normalise_url, pooler_warning

__all__ = [
    "Engine",
    "Migration",
    "Migrator",
    "Options",
    "Status",
    "Step",
    "connect",
    "create_migration",
    "describe_url",
    "find_irreversible",
    "find_migration",
    "fingerprint",
    "load_migrations",
    "normalise_url",
    "open_engine",
    "pooler_warning",
    "verify_reversible",
]
