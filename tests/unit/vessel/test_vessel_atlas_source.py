"""Which Atlas a site document may name, and which only the node's own configuration may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.contracts.identity import AtlasSource, GitCredential, SiteDocument
from agents.core.atlas import check_assigned
from agents.core.errors import Rejected, Retryable
from agents.core.settings import EndpointSettings
from agents.io.state import StateFile
from vessel.atlases import Atlases

GOOD = AtlasSource(url="https://git.example/atlas.git", credential="endpoint")


class Socket:
    """An identity socket that names one Atlas."""

    def __init__(self, atlas: AtlasSource | None) -> None:
        self.atlas = atlas

    async def token(self) -> str:
        raise Retryable("no token here")

    async def git_credential(self) -> GitCredential:
        raise Retryable("no credential here")

    async def site(self) -> SiteDocument:
        return SiteDocument(
            generation=1, site="store-00001", node="n" * 16, labels={}, roster=[], endpoints=[], atlas=self.atlas
        )


def atlases(folder: Path, socket: Socket, fixed: AtlasSource | None = None) -> Atlases:
    remembered = StateFile(folder / "source.json", AtlasSource)
    return Atlases(folder, fixed=fixed, identity=socket, remembered=remembered)


@pytest.mark.parametrize("proxy", [None, "http://proxy.example:3128"])
@pytest.mark.parametrize("url", ["https://[", "https://\u2100/atlas.git"])
async def test_an_atlas_at_what_is_no_address_is_refused_behind_a_proxy_too(
    tmp_path: Path, url: str, proxy: str | None
) -> None:
    """Which proxy it would go by was asked first: Vessel ended, at each start again, as the source is remembered."""
    remembered = StateFile(tmp_path / "source.json", AtlasSource)
    endpoint = EndpointSettings(urls=["https://cloud.example"], issuer="https://cloud.example", proxy=proxy)
    socket = Socket(AtlasSource(url=url))
    here = Atlases(tmp_path, fixed=None, identity=socket, remembered=remembered, endpoint=endpoint)
    await here.refresh()
    with pytest.raises(Rejected, match="address is none"):
        here.repository()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"credential": "file:/etc/galley/vessel.kubeconfig"}, "credential 'file'"),
        ({"credential": "ssh:x"}, "credential 'ssh'"),
        ({"url": "file:///srv/atlas.git"}, "an Atlas at 'file:///srv/atlas.git'"),
        ({"url": "FILE:///srv/atlas.git"}, "an Atlas at"),
        ({"url": "/srv/atlas.git"}, "an Atlas at"),
        ({"url": "ext::sh -c id"}, "an Atlas at"),
    ],
)
async def test_the_site_document_names_no_file_of_the_node(
    tmp_path: Path, fields: dict[str, Any], expected: str
) -> None:
    socket = Socket(GOOD)
    here = atlases(tmp_path, socket)
    await here.refresh()
    socket.atlas = AtlasSource(**{"url": "https://git.example/other.git", **fields})
    with pytest.raises(Rejected, match="site document names") as caught:
        await here.refresh()
    assert expected in str(caught.value) and "galley.yaml" in str(caught.value)
    assert here.source == GOOD, "what was followed before stays, so that drift is repaired from its clone"
    assert StateFile(tmp_path / "source.json", AtlasSource).load() == GOOD
    here.repository()


async def test_one_remembered_by_an_older_version_is_refused_too(tmp_path: Path) -> None:
    bad = AtlasSource(url="https://git.example/atlas.git", credential="file:/etc/galley/vessel.kubeconfig")
    StateFile(tmp_path / "source.json", AtlasSource).save(bad)
    with pytest.raises(Rejected, match="credential 'file'"):
        atlases(tmp_path, Socket(bad)).repository()


async def test_the_nodes_own_configuration_may(tmp_path: Path) -> None:
    own = AtlasSource(url="file:///srv/atlas.git", credential="file:/etc/galley/git")
    here = atlases(tmp_path, Socket(GOOD), fixed=own)
    await here.refresh()
    assert here.source == own
    here.repository()


def test_what_a_site_document_may_name() -> None:
    check_assigned(GOOD)
    check_assigned(AtlasSource(url="http://127.0.0.1:8080/atlas.git", credential="none"))
