"""Which stick the image looks at: every one with the label, so that one of a file system it cannot read is said too."""

from __future__ import annotations

import re
from pathlib import Path

FILES = Path(__file__).parents[3] / "images/nuc/files/usr/lib"


def test_a_stick_of_any_file_system_starts_the_unit_and_only_two_are_mounted() -> None:
    """A large stick is exFAT as it is sold: nothing was said of it, and nothing done."""
    rule = (FILES / "udev/rules.d/90-galley-stick.rules").read_text()
    assert re.findall(r'ENV\{(\w+)\}=="([^"]+)"', rule) == [("ID_FS_LABEL", "GALLEY"), ("ID_FS_USAGE", "filesystem")]
    script = (FILES / "galley/settings").read_text()
    assert re.findall(r"mount -t (\S+) -o ro,\$options \$STICK", script) == ["vfat,ext4"]
