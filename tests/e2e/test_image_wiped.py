# ruff: noqa: F811, F402 - fixtures are taken by name
"""An operator's wipe of two NUCs under QEMU, one with a TPM, the power cut in each phase of it and of the boots; and
back as from the factory. Their clocks are decades behind after it. Emulated: no test judges by time.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge_commander.wipe.record import Phase, Stage, Target
from tests.e2e.test_image_life import cluster, life, lives, shop  # noqa: F401 - the same two, anew
from tests.site_in_a_box import nuc_moments as moments
from tests.site_in_a_box.nuc_cluster import NucCluster
from tests.site_in_a_box.nuc_life import LINES, Life
from tests.site_in_a_box.nuc_moments import Moment, cut, stage_of
from tests.site_in_a_box.nuc_shop import wait

EPOCH, BEHIND = "1970-01-01T00:00:10", "2001-01-01T00:00:00"
WIPED = (
    [
        moments.ARMED,
        stage_of(Target.VAR, Stage.ERASE, amid=True),
        stage_of(Target.VAR, Stage.VERIFY),
        stage_of(Target.VAR, Stage.FORMAT),
        moments.DONE,
    ],
    [
        stage_of(Target.CONF, Stage.ERASE),
        moments.FIRMWARE,
        moments.KERNEL,
        moments.INITRD,
        moments.EARLY,
        moments.DAEMONS,
    ],
)
"""Where the power is cut, machine by machine, each moment in a boot of its own."""
pytestmark = pytest.mark.timeout(3600)


def test_they_enrol(lives: list[Life]) -> None:
    for one in lives:
        one.machine.wait_shell(600)
    for one in lives:
        one.wait_enrolled()
        one.wait_units()


def test_power_that_fails_in_any_phase_of_a_wipe_and_its_boots_is_no_end_of_it(
    lives: list[Life], tmp_path: Path
) -> None:
    with ThreadPoolExecutor(len(lives)) as pool:
        files = [tmp_path / f"{life.site}.json" for life in lives]
        for done in [pool.submit(_wiped, *one) for one in zip(lives, files, WIPED, strict=True)]:
            done.result()


def _wiped(life: Life, file: Path, cuts: list[Moment]) -> None:
    """From the order until the last cut. The first moment may be in the machine that was ordered to."""
    life.leave_things()
    if not life.machine.tpm:
        assert life.secrets_left() == {"conf": LINES, "var": LINES}
    life.order_wipe(file)
    if cuts[0] is moments.ARMED:
        cut(life.machine, cuts[0])
    else:
        life.machine.wait_off()
    assert life.record.phase is Phase.ARMED
    life.take_stick_out()
    life.machine.clock = BEHIND if life.machine.tpm else EPOCH
    kept = life.kept()
    for moment in cuts if cuts[0] is not moments.ARMED else cuts[1:]:
        print(f"{life.machine.serial}: cut at {moment}, {cut(life.machine, moment):.1f} s after the start")
        if not life.erased():
            assert life.kept() == kept, moment
    assert life.secrets_left() == {"conf": 0, "var": 0}


def test_after_the_last_cut_it_boots_as_from_the_factory(lives: list[Life]) -> None:
    for life in lives:
        life.machine.start()
    for life in lives:
        life.machine.wait_shell(600)
        life.wait_units()
        life.is_as_from_the_factory()


def test_it_is_the_node_that_it_was_and_answers_once(life: Life) -> None:
    life.wait_answered()
    assert [(outcome, detail) for _, outcome, detail in life.answers()] == [("done", "erased, and read back")]
    assert life.times_said() <= 1
    assert life.node["status"] == "enrolled"
    beat = life.node["beat_ms"]
    wait(lambda: life.node["beat_ms"] > beat, "it beats", life.machine)


def test_a_clock_decades_behind_is_put_where_it_can_be(life: Life) -> None:
    """systemd knows when the image was built."""
    built = int((life.shop.built.folder / "epoch").read_text())
    assert int(life.machine.run("date +%s")) >= built


def test_vessel_is_at_work_again(lives: list[Life], cluster: NucCluster) -> None:
    """Once its clock is right, which NTP sees to: the API server's certificate is of today."""
    machine = lives[0].machine
    machine.run(f"date -s @{time.time():.0f}")
    cluster.commit("good night")
    wait(lambda: cluster.greeting() == "good night", "the Atlas is applied", machine)
