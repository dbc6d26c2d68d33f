"""A wrong wall clock for one process of ours: libfaketime, told by a file that may change while the process runs.

Its monotonic clock stays true, as a machine's does when somebody sets the time.
"""

from __future__ import annotations

from pathlib import Path

LIBRARY = "libfaketimeMT.so.1"
TEN_YEARS = 10 * 365 * 24 * 3600


class WrongClock:
    """`shift`: s that the clock is ahead (negative: behind); `set_right` as a person or NTP does."""

    def __init__(self, file: Path, shift: int) -> None:
        self._file = file
        self.set(shift)

    def set(self, shift: int) -> None:
        """Another time, from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{shift:+d}")
        new.replace(self._file)

    def set_right(self) -> None:
        """The machine's own time."""
        self.set(0)

    def environ(self) -> dict[str, str]:
        """For the process. Raises StopIteration where Debian's package libfaketime is not installed."""
        library = next(Path("/usr/lib").glob(f"*/faketime/{LIBRARY}"))
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
