"""The embedded PostgreSQL: a server of one's own from a wheel's binaries, with nothing to install or configure.

`Server.start` runs one in a folder and keeps its data there; `temporary_server` gives a throw-away one in memory. Both
listen on loopback and a private socket only, ask for a password, and run as an unprivileged user when started as root.
`ExternalServer` offers the same operations on a server that somebody else runs.
"""

from fairlead.postgres.cluster import remove_data
from fairlead.postgres.databases import Databases, ExternalServer
from fairlead.postgres.scratch import keep_template, scratch_database
from fairlead.postgres.server import Server
from fairlead.postgres.temporary import temporary_server

__all__ = [
    "Databases",
    "ExternalServer",
    "Server",
    "keep_template",
    "remove_data",
    "scratch_database",
    "temporary_server",
]
