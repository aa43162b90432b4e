"""What an act that changes an environment leaves in the history."""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from typing import Final

from fairlead import build
from fairlead._output import redact
from fairlead.approval import Approval
from fairlead.build import BuildInfo
from fairlead.config import Config, EnvironmentConfig
from fairlead.deploy.backup import Backup
from fairlead.deploy.reporting import Clock
from fairlead.exceptions import Error, InconclusiveError, UnsafeDeployError
from fairlead.history import Event, History

#: The acts that look at a new release in full, suites included.
DELIVERING: Final = frozenset({"deploy", "promote"})
#: The acts whose verdict says whether an environment's release is good.
_JUDGING: Final = DELIVERING | {"rollback"}
#: How much the suites look at that an environment may ask for.
_EXTENT: Final = {"off": 0, "smoke": 1, "full": 2}
#: The verdicts of a deploy after which its release is known to have been good.
GOOD = ("healthy", "unchanged")


@dataclass(slots=True)
class Record:
    """Collects what becomes one line of the history; `suites` are those that the release has passed."""

    config: Config
    environment: EnvironmentConfig
    name: str
    info: BuildInfo | None = None
    release: int | None = None
    digest: str | None = None
    backup: Backup | None = None
    approval: Approval | None = None
    archive: str | None = None
    suites: str = "off"
    notes: list[str] = field(default_factory=list)

    def write(self, verdict: str, clock: Clock, *, detail: str | None = None) -> None:
        """Append the line; where that cannot be done it is told, and changes nothing of how the act ended."""
        try:
            self._append(verdict, clock, detail=detail)
        except Error as error:
            clock.reporter.note(f"this is not on record: {error.message}")

    def _append(self, verdict: str, clock: Clock, *, detail: str | None) -> None:
        info = self.info
        told = "; ".join([*self.notes, *([detail] if detail else [])])
        History(self.config.state_dir).append(
            Event(
                name=self.name,
                verdict=verdict,
                environment=self.environment.name,
                release=self.release,
                digest=info.digest if info else self.digest,
                version=info.version if info else None,
                revision=info.revision if info else None,
                actor=info.actor if info else build.user(),
                duration=clock.seconds,
                steps=clock.steps,
                backup=asdict(self.backup) if self.backup else None,
                approval=asdict(self.approval) if self.approval else None,
                archive=self.archive,
                suites=self.suites,
                detail=redact(told) if told else None,
            )
        )

    def recall(self, digest: str, *, acts: Collection[str] = _JUDGING) -> bool:
        """Tell whether the last verdict of these acts here on a digest is good, and on all that is asked for now.

        Where it is, the suites that it passed then are on record of this act too.
        """
        try:
            known = read_verdicts(self.config, self.environment, acts=acts)
            last = next((one for one in known if one.digest == digest), None)
        except Error:
            return False
        if last is None or last.verdict not in GOOD or not covers(last, self.environment):
            return False
        self.suites = last.suites or "off"
        return True

    def write_failure(self, error: BaseException, clock: Clock) -> None:
        """Append the line of an act that failed or was broken off."""
        if isinstance(error, KeyboardInterrupt):
            verdict = "interrupted"
        elif isinstance(error, InconclusiveError):
            verdict = "inconclusive"
        else:
            verdict = "unsafe" if isinstance(error, UnsafeDeployError) else "failed"
        self.write(verdict, clock, detail=str(error))


def covers(event: Event, environment: EnvironmentConfig) -> bool:
    """Tell whether the suites that a release had passed by then are no fewer than the environment asks for now."""
    return _EXTENT.get(str(event.suites), 0) >= _EXTENT[environment.suites]


def read_verdicts(
    config: Config, environment: EnvironmentConfig, *, acts: Collection[str] = _JUDGING
) -> Iterator[Event]:
    """Give what is on record here of the acts that judged an environment's release, newest first."""
    events = History(config.state_dir).load()
    return (one for one in reversed(events) if one.environment == environment.name and one.name in acts)


def find_recorded_digest(config: Config, environment: EnvironmentConfig) -> str | None:
    """Return the digest that the record here says an environment serves; None where it does not say so for sure."""
    last = next((one for one in read_verdicts(config, environment) if one.verdict in {*GOOD, "inconclusive"}), None)
    # What was gone back to was seen to serve, also where nobody knows whether it is good.
    return last.digest if last is not None and (last.verdict in GOOD or last.name == "rollback") else None
