"""USB cameras: pulled, renumbered, frozen, damaged images, held by somebody else."""

import statistics
import time
from pathlib import Path

from devices.cameras import SETTINGS, Camera
from judge.episode import HAS_MCAP, read
from judge.stream import Fault

from .bench import HEAD, TABLE, WRIST, Bench, Lab, Outcome

EPISODE = "episode_0000.mcap"


def note_stamps(bench: Bench, episode: Path) -> None:
    """How long after its first part left, by the host, an image was stamped; and how long
    after that the recorder had it."""
    if not HAS_MCAP:
        return
    samples = read(episode, list(bench.devices))
    for stream, camera in bench.devices.items():
        if not isinstance(camera, Camera):
            continue
        known = {packet.number: packet for packet in camera.packets if packet.left}
        pairs = [(sample, known.get(camera.number_of(sample.message))) for sample in samples[stream]]
        pairs = [(sample, packet) for sample, packet in pairs if packet]
        if not pairs:
            continue
        # The guest's clock against the host's: no image arrives before it has left.
        guest_s = min(sample.log_ns * 1e-9 - packet.left for sample, packet in pairs)
        lags = [1e3 * (sample.publish_ns * 1e-9 - guest_s - packet.first_left) for sample, packet in pairs]
        waits = [1e-6 * (sample.log_ns - sample.publish_ns) for sample, _ in pairs]
        bench.outcome.notes.append(
            f"{stream}: stamped {statistics.median(lags):+.1f} ms ({min(lags):+.1f} to {max(lags):+.1f}) after its "
            f"first part left; taken over {statistics.median(waits):.1f} ms (up to {max(waits):.1f}) after its stamp"
        )


def expect_settings(bench: Bench) -> None:
    """Each camera was told what the rig says."""
    for stream, camera in bench.devices.items():
        if isinstance(camera, Camera):
            told = dict(camera.adapter.settings)
            bench.outcome.expect(told == SETTINGS, f"{stream}: was set to {told}, expected {SETTINGS}")


def expect_end(bench: Bench, status: int, said: str) -> None:
    """Complete, unless the guest could not keep up with a camera."""
    overrun = sum(verdict.absent for verdict in bench.outcome.verdicts)
    expected = (0, 3) if overrun else (0,)
    bench.outcome.expect(status in expected, f"dexumi record ended with {status}: {said[-300:]}")


def expect_logged(bench: Bench, episode: Path, text: str) -> None:
    """The file's log tells what happened."""
    if HAS_MCAP:
        told = [sample.message.message for sample in read(episode, ["/log"])["/log"]]
        bench.outcome.expect(any(text in line for line in told), f"not in the file's log: {text!r}, but {told}")


def undisturbed(bench: Bench, seconds: float) -> Outcome:
    """Every image is in the file, byte by byte."""
    with bench:
        bench.prepare()
        bench.record(seconds)
        status, said = bench.finished()
        expect_settings(bench)
        episode = bench.fetch() / EPISODE
        bench.judge(episode)
        expect_end(bench, status, said)
        note_stamps(bench, episode)
    return bench.outcome


def camera(lab: Lab, folder: Path) -> Outcome:
    """One camera, 640x480 at 30 Hz, its controls set: every image is in the file."""
    return undisturbed(Bench(lab, folder, streams=(WRIST,), rate_hz=30), 10)


def camera_720p(lab: Lab, folder: Path) -> Outcome:
    """One camera, 1280x720."""
    return undisturbed(Bench(lab, folder, streams=(WRIST,), size=(1280, 720)), 10)


def cameras_2(lab: Lab, folder: Path) -> Outcome:
    """Two cameras at once."""
    return undisturbed(Bench(lab, folder, streams=(WRIST, HEAD)), 10)


def cameras_3(lab: Lab, folder: Path) -> Outcome:
    """Three cameras at once."""
    return undisturbed(Bench(lab, folder, streams=(WRIST, HEAD, TABLE)), 10)


def camera_unplug(lab: Lab, folder: Path) -> Outcome:
    """Each of two cameras is pulled and plugged in again while the other one goes on; its
    controls are set anew."""
    with Bench(lab, folder, streams=(WRIST, HEAD)) as bench:
        bench.prepare()
        bench.record(300)
        time.sleep(3)
        before = bench.device_names()
        faults = {}
        for stream in (WRIST, HEAD):
            faults[stream] = [bench.while_unplugged(stream, 2)]
            bench.wait_plugged(stream)
            time.sleep(8)
        bench.outcome.notes.append(f"{' '.join(before)} became {' '.join(bench.device_names())}")
        status, said = bench.stop()
        bench.outcome.expect(status == 3, f"dexumi record ended with {status}: {said[-300:]}")
        expect_settings(bench)
        episode = bench.fetch() / EPISODE
        # The recorder says so for ENODEV only.
        expect_logged(bench, episode, "is gone: unplugged")
        bench.judge(episode, faults)
        note_stamps(bench, episode)
    return bench.outcome


def camera_renumbered(lab: Lab, folder: Path) -> Outcome:
    """Two cameras are pulled while the recorder hangs, and come back in the other order:
    each gets another number. One is named by its link, the other by its serial number."""
    bench = Bench(lab, folder, streams=(WRIST, HEAD))
    bench.devices[HEAD].by_usb = True
    with bench:
        bench.prepare()
        before = bench.device_names()
        bench.record(300)
        time.sleep(3)
        began = time.monotonic()
        bench.machine.send_signal("record", "STOP")
        for stream in (WRIST, HEAD):
            bench.devices[stream].unplug()
        time.sleep(1)
        for stream in (HEAD, WRIST):
            bench.devices[stream].plug()
            bench.wait_plugged(stream)
        after = bench.device_names()
        bench.machine.send_signal("record", "CONT")
        ended = time.monotonic()
        renamed = all(earlier != later for earlier, later in zip(before, after))
        bench.outcome.expect(renamed, f"not renumbered: {before}, then {after}")
        bench.outcome.notes.append(f"{' '.join(before)} became {' '.join(after)}")
        time.sleep(8)
        bench.stop()
        fault = [Fault(began, ended, unclear=12, outage=True)]
        bench.judge(bench.fetch() / EPISODE, {stream: fault for stream in bench.devices})
    return bench.outcome


def camera_stopped(lab: Lab, folder: Path) -> Outcome:
    """The recorder stands still for 5 s: the kernel's buffers fill up, it throws the rest
    away, and its numbers tell how many."""
    with Bench(lab, folder, streams=(WRIST,)) as bench:
        bench.prepare()
        bench.record(12)
        time.sleep(3)
        began = time.monotonic()
        bench.machine.send_signal("record", "STOP")
        time.sleep(5)
        bench.machine.send_signal("record", "CONT")
        fault = Fault(began, time.monotonic(), unclear=0)
        bench.finished()
        bench.judge(bench.fetch() / EPISODE, {WRIST: [fault]})
        verdict = bench.outcome.verdicts[0]
        bench.outcome.expect(verdict.absent > 20, f"only {verdict.absent} images lost")
    return bench.outcome


def camera_frozen(lab: Lab, folder: Path) -> Outcome:
    """A camera gives no image for 4 s, while it is still there; then it goes on."""
    with Bench(lab, folder, streams=(WRIST, HEAD)) as bench:
        bench.prepare()
        bench.record(300)
        time.sleep(3)
        began = time.monotonic()
        bench.devices[WRIST].is_frozen = True
        time.sleep(4)
        bench.devices[WRIST].is_frozen = False
        faults = {WRIST: [Fault(began, time.monotonic(), outage=True, unclear=12)]}
        time.sleep(8)
        status, said = bench.stop()
        bench.outcome.expect(status == 3, f"dexumi record ended with {status}: {said[-300:]}")
        episode = bench.fetch() / EPISODE
        expect_logged(bench, episode, "is gone: frozen")
        bench.judge(episode, faults)
    return bench.outcome


def camera_damaged(lab: Lab, folder: Path) -> Outcome:
    """Every tenth image breaks off in the middle, without a word of the kernel; one more
    in twenty is marked by the camera as damaged. None of them is in the file, all are
    counted."""
    bench = Bench(lab, folder, streams=(WRIST,))
    wrist = bench.devices[WRIST]
    with bench:
        bench.prepare()
        wrist.cut_every, wrist.mark_every = 10, 20
        bench.record(10)
        status, said = bench.finished()
        bench.outcome.expect(status == 3, f"dexumi record ended with {status}: {said[-300:]}")
        report = bench.judge(bench.fetch() / EPISODE)
        verdict = bench.outcome.verdicts[0]
        losses = report["ledger"][WRIST]["losses"]
        bench.outcome.notes.append(f"{verdict.spoilt} damaged; ledger: {verdict.ledger['missing']} missing, {losses}")
        bench.outcome.expect(losses.get("truncated", 0) >= 10, f"truncated images: {losses}")
        expect_end(bench, status, said)
    return bench.outcome


def camera_busy(lab: Lab, folder: Path) -> Outcome:
    """A camera that another recorder or another program holds: refused, with its holder's
    name, and the first one goes on undisturbed."""
    with Bench(lab, folder, streams=(WRIST,)) as bench:
        bench.prepare()
        link = bench.devices[WRIST].link
        other = "dexumi record --rig /data/rig.toml --out /data/other --seconds 1 --reserve-mb 1"
        bench.machine.background(f"v4l2-ctl -d {link} --stream-mmap --stream-count=100000", "holder")
        time.sleep(3)
        refused = bench.machine.run(other)
        bench.outcome.expect(
            refused.status != 0 and "in use by `v4l2-ctl`" in refused.text,
            f"a recorder beside v4l2-ctl ended with {refused.status}: {refused.text[-300:]}",
        )
        bench.outcome.notes.append(f"beside v4l2-ctl: {last_line(refused.text)}")
        bench.machine.send_signal("holder", "TERM")
        bench.finished("holder")
        bench.record(300)
        refused = bench.machine.run(other)
        bench.outcome.expect(
            refused.status != 0 and "in use by" in refused.text,
            f"a second recorder ended with {refused.status}: {refused.text[-300:]}",
        )
        bench.outcome.notes.append(f"beside a recorder: {last_line(refused.text)}")
        time.sleep(8)
        status, said = bench.stop()
        bench.judge(bench.fetch() / EPISODE)
        expect_end(bench, status, said)
    return bench.outcome


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


SCENARIOS = [
    camera, camera_720p, cameras_2, cameras_3, camera_unplug, camera_renumbered, camera_stopped,
    camera_frozen, camera_damaged, camera_busy,
]
