"""Addresses in errors: scheme and host alone, whatever a person wrote into them."""

from __future__ import annotations

import pytest

from agents.contracts.identity import AtlasSource
from agents.core.atlas import check_assigned, shown
from agents.core.errors import Rejected
from vessel.git.faults import last_words, remote_fault
from vessel.git.remote import Remote

WITH_PASSWORD = [
    "ssh://git:hunter2@h/x.git",
    "git+https://u:hunter2@h/x",
    "https:/u:hunter2@h/x",
    "https:u:hunter2@h/x",
    "file://u:hunter2@h/x",
    "file://h/x?token=hunter2",
    "http://h/x.git?private_token=hunter2",
    "ssh://git:hunter2/3@h/x",
    "git:hunter2@h:x.git",
    "https://h@/hunter2",
    "https://u:hunter2@[h/x",
]


@pytest.mark.parametrize("url", WITH_PASSWORD)
def test_a_refused_address_tells_no_password(url: str) -> None:
    with pytest.raises(Rejected) as refused:
        Remote(url)
    assert "hunter2" not in str(refused.value)
    if not url.startswith("http:"):
        with pytest.raises(Rejected) as refused:
            check_assigned(AtlasSource(url=url.replace("https:", "ssh:"), branch="main", credential="none"))
        assert "hunter2" not in str(refused.value)


def test_what_git_says_tells_neither() -> None:
    url = "https://h.example:8443/x.git?private_token=hunter2"
    for said in (f"fatal: unable to access '{url}': timed out", "error: 404", "not our ref", "unadvertised object"):
        told = str(remote_fault(said, url))
        assert "hunter2" not in told and "https://h.example:8443/..." in told
    assert last_words("fatal: cannot read ssh://u:hunter2@h/x now") == "cannot read ssh://h/... now"


def test_what_may_be_told() -> None:
    assert shown("https://[::1]:80/a") == "https://[::1]:80/..."
    assert shown("ftp://x") == "ftp://x"
    assert shown("file:///srv/atlas.git") == "file:///srv/atlas.git"
    assert shown("file:///u:hunter2@h/x") == "file://..."
    assert shown("/srv/atlas.git") == "..."
