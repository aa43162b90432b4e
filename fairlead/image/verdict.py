"""How a scan of an image can end badly."""

from typing import ClassVar

from fairlead.exceptions import Error


class FindingsError(Error):
    """Something was found: 1, as the security gate ends then."""

    exit_code: ClassVar[int] = 1
