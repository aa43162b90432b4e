"""The errors that Fairlead expects, each with the exit code that its command ends with.

```
Error                       1   never raised itself
├── ConfigurationError     10   pyproject.toml, a variable or a flag is at fault
├── MigrationError         11   a migration cannot be read, applied or reverted
├── PlatformError          12   the platform refused, failed or did not answer
│   ├── AuthenticationError     the token is missing, wrong or of the wrong kind
│   ├── RateLimitError          asked too often; carries how long to wait
│   ├── ResponseError           an answer that is an error, or makes no sense
│   └── DeadlineError           it took longer than it was allowed to
├── DeployError            13   the deploy failed, the earlier release serves
├── UnsafeDeployError      14   the deploy failed and nothing vouches for the earlier release: act now
├── LockedError            15   another deploy holds the lock
├── ApprovalError          16   an approval or a confirmation is missing
├── PreflightError         17   the deploy was refused before anything was done
├── CommandError           18   a command that was run failed or is not installed
└── VerificationError       4   a service is unhealthy
    ├── FirstSuiteError     1   of its suites the first one failed and no other
    ├── SecondSuiteError    2   the second one
    ├── ThirdSuiteError     3   the third one
    └── InconclusiveError   5   it could not be checked, which is never the same as healthy
```
"""

from typing import ClassVar


class Error(Exception):
    """Tell a user what happened and why, and in `hint` what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigurationError(Error):
    """Report every fault of the configuration at once; `problems` holds one line for each."""

    exit_code = 10

    def __init__(self, message: str, *, hint: str | None = None, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class MigrationError(Error):
    """A migration cannot be read, applied or reverted."""

    exit_code = 11


class PlatformError(Error):
    """The platform refused, failed or did not answer."""

    exit_code = 12


class AuthenticationError(PlatformError):
    """The platform does not accept the token."""


class RateLimitError(PlatformError):
    """The platform was asked too often; `retry_after` is the wait it wants, in seconds."""

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class ResponseError(PlatformError):
    """The platform answered with an error, or with something that cannot be understood."""


class DeadlineError(PlatformError):
    """Something took longer than it was allowed to."""


class DeployError(Error):
    """A deploy failed; the earlier release still serves, and that was verified."""

    exit_code = 13


class UnsafeDeployError(Error):
    """A deploy failed and the earlier release could not be verified."""

    exit_code = 14


class LockedError(Error):
    """Another deploy holds the environment's lock."""

    exit_code = 15


class ApprovalError(Error):
    """An approval or a confirmation is missing."""

    exit_code = 16


class PreflightError(Error):
    """A deploy was refused before anything was done; `problems` holds one line for each reason."""

    exit_code = 17

    def __init__(self, message: str, *, hint: str | None = None, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class CommandError(Error):
    """A command that was run failed or is not installed; `output` is the end of what it printed."""

    exit_code = 18

    def __init__(self, message: str, *, hint: str | None = None, output: str = "") -> None:
        super().__init__(message, hint=hint)
        self.output = output


class VerificationError(Error):
    """A live service is unhealthy."""

    exit_code = 4


class FirstSuiteError(VerificationError):
    """Of the end-to-end suites the first one failed, and no other."""

    exit_code = 1


class SecondSuiteError(VerificationError):
    """Of the end-to-end suites the second one failed, and no other."""

    exit_code = 2


class ThirdSuiteError(VerificationError):
    """Of the end-to-end suites the third one failed, and no other."""

    exit_code = 3


class InconclusiveError(VerificationError):
    """A live service could not be checked, which is never the same as healthy."""

    exit_code = 5
