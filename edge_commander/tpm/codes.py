"""What a tool of tpm2-tools says when it fails: which TPM response code, and whether it may pass by itself. Pure.

TPM 2.0 Library, Part 2, section 6.6 (response codes): warnings (0x900 to 0x97F) name passing conditions; the layers
above the TPM (TSS 2.0 Overview and Common Structures, section 3.1) put their number into bits 16 to 23.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CODE = re.compile(r"\((?:0[xX])?([0-9A-Fa-f]{3,8})\)(?: - ([^\n]*))?")
_ERROR = re.compile(r"^ERROR: *([^\n]*)", re.MULTILINE)
TCTI_EXIT = 4
"""Exit status of tpm2-tools for a failure of the connection (`tool_rc_tcti_error`)."""
TCTI_LAYER = 0x0A
INTEGRITY, DEFINED, HANDLE = 0x1F, 0x14C, 0x0B


@dataclass(frozen=True)
class Said:
    """`code`: the TPM's, 0 where none was told. `passing`: it may pass by itself. `text`: for people, no data in it."""

    code: int
    passing: bool
    text: str

    def is_(self, number: int) -> bool:
        """Whether the code is this one; of those that name a parameter, handle or session (bit 7), of whichever."""
        if number < 0x40:
            return bool(self.code & 0x80) and self.code < 0x1000 and self.code & 0x3F == number
        return self.code == number


def read_failure(status: int, text: str) -> Said:
    """Reads exit status and standard error of a tool that failed."""
    found = _CODE.search(text)
    code = int(found[1], 16) if found else 0
    passing = 0x900 <= code <= 0x97F or code >> 16 & 0xFF == TCTI_LAYER
    passing = passing or (code == 0 and (status == TCTI_EXIT or "tcti" in text.lower()))
    words = (found[2] if found else None) or next(iter(_ERROR.findall(text)), "failed")
    shown = re.sub(r"/proc/self/fd/\d+", "its input", words).strip()[:160]
    return Said(code, passing, f"{shown} ({code:#x})" if code else shown)
