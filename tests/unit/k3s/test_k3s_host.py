"""What touches the host: bounded programs, durable files, trees that are not crossed; and what is told to people."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.k3s import host as host_module
from edge_commander.distribution.k3s import reference
from edge_commander.distribution.k3s.distribution import K3s
from edge_commander.distribution.k3s.facts import Marker
from edge_commander.distribution.k3s.files import File
from edge_commander.distribution.k3s.host import Host
from edge_commander.distribution.k3s.settings import K3sSettings
from edge_commander.distribution.port import Distribution, Operation
from tests.fakes.k3s_kit import TOKEN, plan
from tests.fakes.k3s_world import World


@pytest.fixture
def host(world: World) -> Host:
    return Host(world.settings, world.root, str(world.root / "bin/systemctl"))


async def test_a_program_that_hangs_is_killed_with_its_children(world: World, host: Host) -> None:
    world.program("bin/k3s", f"#!/bin/sh\nsleep 60 & echo $! > {world.root}/child\nwait\n")
    before = time.monotonic()
    with pytest.raises(Retryable, match=r"bin/k3s server: took longer than 0\.3 s"):
        await host.run("k3s", ("server",), 0.3)
    assert time.monotonic() - before < 5
    child = int((world.root / "child").read_text())
    for _ in range(50):
        if not _alive(child):
            return
        await asyncio.sleep(0.02)
    pytest.fail("the child lives on")


def _alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().split()[2] != "Z"


async def test_one_that_leaves_something_running_is_not_waited_for(world: World, host: Host) -> None:
    world.program("bin/k3s", f"#!/bin/sh\nsleep 60 & echo $! > {world.root}/child\necho done\n")
    assert await host.run("k3s", ("server",), 30) == "done\n"
    os.kill(int((world.root / "child").read_text()), signal.SIGKILL)


async def test_only_the_end_of_much_output_is_kept(world: World, host: Host) -> None:
    world.program("bin/k3s", "#!/bin/sh\nhead -c 3000000 /dev/zero\necho last\n")
    said = await host.run("k3s", ("server",), 30)
    assert said.endswith("last\n") and len(said) <= 64 * 1024


async def test_a_failure_tells_the_last_line_scrubbed(world: World, host: Host) -> None:
    world.program("bin/k3s", "#!/bin/sh\necho first\necho 'fatal: password=hunter2 refused' >&2\nexit 3\n")
    with pytest.raises(Retryable, match="exit 3: fatal") as failed:
        await host.run("k3s", ("server",), 5)
    assert "hunter2" not in str(failed.value) and "first" not in str(failed.value)


async def test_a_program_that_the_image_lacks_is_rejected(world: World, host: Host) -> None:
    (world.root / "bin/killall").unlink()
    with pytest.raises(Rejected, match="bin/killall: cannot be run: No such file or directory; the image must have it"):
        await host.run("killall", (), 5)


async def test_the_mode_is_that_of_the_file_whatever_the_umask(host: Host) -> None:
    before = os.umask(0o077)  # as the units have it
    try:
        for mode in (0o600, 0o644):
            file = File("/etc/rancher/k3s/x", b"text", mode)
            host.write(file)
            assert host.place(file.path).stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)
    assert host.place("/etc/rancher/k3s").stat().st_mode & 0o777 == 0o700


async def test_a_full_or_forbidden_disk_is_retryable_and_names_the_path(world: World, host: Host) -> None:
    (world.root / "etc").write_text("a file where a directory should be")
    with pytest.raises(Retryable, match="etc"):
        host.write(File("/etc/rancher/k3s/x", b""))


async def test_a_tree_with_something_mounted_below_is_left(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write(File("/var/lib/kubelet/pods/a/volume/file", b"data"))
    mounted = host.place("/var/lib/kubelet/pods/a/volume")
    monkeypatch.setattr(host_module, "_mount_points", lambda: iter([Path("/"), mounted]))
    with pytest.raises(Retryable, match=r"/var/lib/kubelet: .*volume is still mounted below it"):
        host.remove_tree("/var/lib/kubelet")
    assert (mounted / "file").exists()
    monkeypatch.setattr(host_module, "_mount_points", lambda: iter([Path("/")]))
    host.remove_tree("/var/lib/kubelet")
    assert not host.place("/var/lib/kubelet").exists()


def test_mount_points_are_read() -> None:
    assert Path("/proc") in set(host_module._mount_points())


async def test_a_link_is_removed_and_not_followed(world: World, host: Host) -> None:
    outside = world.root / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    host.make_directory("/var/lib/rancher")
    host.place("/var/lib/rancher/k3s").symlink_to(outside)
    host.remove_tree("/var/lib/rancher/k3s")
    assert not host.place("/var/lib/rancher/k3s").is_symlink() and (outside / "kept").exists()
    host.make_directory("/var/lib/rancher/k3s")
    host.place("/var/lib/rancher/k3s/link").symlink_to(outside)
    host.remove_tree("/var/lib/rancher/k3s")
    assert (outside / "kept").exists()


async def test_image_archives_are_copied_once(world: World) -> None:
    archives = world.place("/usr/share/images")
    archives.mkdir(parents=True)
    (archives / "k3s.tar.zst").write_bytes(b"layers")
    (archives / "README").touch()
    world.settings = K3sSettings(
        binary="/bin/k3s", killall="/bin/killall", snapshot_dir="/keep/k3s", images_dir="/usr/share/images"
    )
    await world.k3s().init(plan())
    there = world.place(reference.path("images"))
    assert [file.name for file in there.iterdir()] == ["k3s.tar.zst"] and (
        there / "k3s.tar.zst"
    ).read_bytes() == b"layers"
    assert len([line for line in world.told if line.startswith("copy ")]) == 1


async def test_every_step_is_told_and_no_secret_with_it_nor_on_a_command_line(world: World) -> None:
    await world.k3s().init(plan())
    await world.k3s().snapshot("before")
    await world.k3s().restore("/keep/k3s/etcd/before-nuc-1-1000", plan(epoch=2))
    assert "write /etc/rancher/k3s/galley-token (mode 600)" in world.told
    assert "run systemctl start --no-block k3s.service" in world.told
    text = "\n".join([*world.told, *world.lines("calls")])
    assert TOKEN not in text and "PRIVATE" not in text


async def test_registries_come_and_go_with_the_settings(world: World) -> None:
    world.settings = K3sSettings(
        binary="/bin/k3s",
        killall="/bin/killall",
        snapshot_dir="/keep/k3s",
        mirrors={"docker.io": ["http://127.0.0.1:5000"]},
    )
    await world.k3s().init(plan())
    file = world.place(reference.path("registries"))
    assert "docker.io" in file.read_text()
    world.settings = K3sSettings(binary="/bin/k3s", killall="/bin/killall", snapshot_dir="/keep/k3s")
    await world.k3s().init(plan())
    assert not file.exists() and world.events == ["new-cluster"]


async def test_a_member_takes_a_new_config_and_is_not_restarted_for_it(world: World) -> None:
    await world.k3s().init(plan())
    calls = len(world.calls)
    await world.k3s().init(plan(servers=("192.0.2.2", "192.0.2.3")))
    assert world.config()["server"] == "https://192.0.2.2:6443"
    assert world.calls[calls:] == []


async def test_a_member_that_was_stopped_is_started(world: World) -> None:
    await world.k3s().init(plan())
    (world.root / "active").unlink()
    await world.k3s().init(replace(plan(), secrets=None))
    assert world.active and world.events == ["new-cluster"]


async def test_reset_leaves_nothing_but_what_was_begun(world: World) -> None:
    world.place("/etc/rancher/node").mkdir(parents=True)
    world.place("/etc/rancher/node/password").write_text("secret")
    await world.k3s().init(plan())
    await world.k3s().reset()
    state = world.state()
    assert state["files"] == {} and state["marker"] == Marker(site="store-01234", begun=1)
    assert not world.place("/var/lib/rancher/k3s").exists() and not world.place("/etc/rancher/node").exists()
    calls = len(world.calls)
    await world.k3s().reset()
    assert world.calls[calls:] == []


async def test_health_and_members_before_there_is_a_cluster_and_after(world: World) -> None:
    k3s = world.k3s()
    health = await k3s.health()
    assert (health.api, health.problem) == (False, "k3s has no cluster on this node yet")
    with pytest.raises(Retryable, match="no cluster on this node yet"):
        await k3s.members()
    await k3s.init(plan())
    assert (await k3s.health()).api and [one.name for one in await k3s.members()] == ["nuc-1"]
    await k3s.aclose()


def test_it_has_the_ports_signatures(world: World) -> None:
    for operation in Operation:
        expected = inspect.signature(getattr(Distribution, operation.value)).parameters
        assert list(inspect.signature(getattr(K3s, operation.value)).parameters) == list(expected)
    assert world.k3s().name == "k3s"


async def test_a_systemd_that_does_not_answer_is_retryable(world: World) -> None:
    world.program("bin/systemctl", "#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    with pytest.raises(Retryable, match="Failed to connect to bus"):
        await world.k3s().init(plan())
    assert not world.marker.exists()
