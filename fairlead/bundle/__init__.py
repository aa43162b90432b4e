"""Makes the bundle: an allow-list of files, a reproducible archive, and the digest that is its identity.

The digest is a SHA-256 over the sorted list of `mode SP size SP sha256 SP path` of every file but build-info.json. It
depends on nothing else: not on the folder, the umask, the clock, the owner or the compression.
"""

from fairlead.bundle.archive import Bundle, Entry, compute_digest, read_entries
from fairlead.bundle.collection import make_bundle

__all__ = ["Bundle", "Entry", "compute_digest", "make_bundle", "read_entries"]
