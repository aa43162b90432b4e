"""Everything between a `.sql` file and a table: reading files, applying and reverting them, proving that downs reverse.

```
files  statements   no database: folders, names, checksums, where a statement begins
url                 every spelling of DATABASE_URL, and connecting with clear errors
table               schema_migrations and the lock
runner              Migrator: status, apply, revert
catalog  reversibility   a snapshot of the schema in words, and the walk up, down and up again
```
"""

from fairlead.migrations.files import Migration, create_migration, find_migration, load_migrations
from fairlead.migrations.reversibility import find_irreversible, verify_reversible
from fairlead.migrations.runner import Migrator, Step
from fairlead.migrations.table import Status
from fairlead.migrations.url import connect, describe_url, normalise_url

__all__ = [
    "Migration",
    "Migrator",
    "Status",
    "Step",
    "connect",
    "create_migration",
    "describe_url",
    "find_irreversible",
    "find_migration",
    "load_migrations",
    "normalise_url",
    "verify_reversible",
]
