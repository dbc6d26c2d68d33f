"""Which version of the suite is installed here. Touches the installation's files."""

from __future__ import annotations

from pathlib import Path

PLACE = Path(__file__).resolve().parents[2]
"""Where the packages lie."""
_NAME, _RECORD = "galley-", ".dist-info"


def own_version(place: Path = PLACE) -> str:
    """Empty where none is installed. `place` is for tests.

    The installation's record has the version in its name. `importlib.metadata`, which reads the record, loads archives
    and mail for it: 20 ms of each process; it is asked where the packages are used from elsewhere.
    """
    found = [one.name.removeprefix(_NAME).removesuffix(_RECORD) for one in place.glob(f"{_NAME}[0-9]*{_RECORD}")]
    if len(found) == 1:
        return found[0]
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("galley")
    except PackageNotFoundError:
        return ""
