"""Writes the baseline of secrets anew, from what both scanners find."""

from pathlib import Path

from fairlead.exceptions import InconclusiveError
from fairlead.security import baseline, detect_secrets, kingfisher


def write(root: Path, *, history: bool = False) -> int:
    """Write the baseline from the tree at `root`, with `history` from all that was ever committed too; return how many
    of its entries no one has judged yet.

    What people said of an entry is kept, and without `history` the entries about it are too. Raises
    `InconclusiveError` when not everything was looked at, since a baseline of a part would hide the rest, and when it
    cannot be written.
    """
    known = baseline.load(root)
    scans = [detect_secrets.find(root), kingfisher.find(root), *([kingfisher.find_in_history(root)] if history else [])]
    if gaps := [gap for scan in scans for gap in scan.gaps]:
        message = f"no baseline was written, since not everything was looked at: {'; '.join(gaps)}"
        raise InconclusiveError(message)
    past = [] if history else [entry.to_secret() for entry in known if entry.past]
    found = [secret for scan in scans for secret in scan.secrets] + past
    text = baseline.render(found, known, detect_secrets.settings())
    # Whole or not at all: what people have said of the entries stands nowhere else.
    beside = root / f"{baseline.FILE}.new"
    try:
        beside.write_text(text, "utf-8")
        beside.replace(root / baseline.FILE)
    except OSError as error:
        raise InconclusiveError(f"{baseline.FILE} cannot be written, and is as it was: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
    return sum(not entry.judged or not entry.reason for entry in baseline.load(root))
