"""Holds one stream of an episode against the list of what the device sent."""

from dataclasses import dataclass, field
from itertools import takewhile

from devices.boards import Board, Packet
from devices.cameras import Camera
from judge.episode import Sample

# A capture time that is off by more is wrong, however busy host and guest are [s].
MAX_DATE_ERROR_S = 0.5
# An emulated processor cannot keep up with a camera at all times: so many of its images
# may find no buffer in the kernel, if the ledger has them.
MAX_UNBUFFERED = 0.1
# A clock's line may lie this far above single arrivals [s].
MAX_EARLY_S = 0.05


@dataclass
class Fault:
    """When a stream was disturbed, by the host's clock [s]."""

    began: float
    ended: float
    # How long the stream may take to come back.
    return_s: float = 15.0
    # Whether the device was gone, so that the ledger must count an outage.
    outage: bool = False
    # How far the ledger may be off: packets at the edges of the fault.
    unclear: int = 4


@dataclass
class Verdict:
    """One row of the table."""

    stream: str
    sent: int = 0
    written: int = 0
    # In the interval of the file, not in the file: sent packets, and those that
    # an unpowered device would have sent.
    absent: int = 0
    # Of these, lost in the device, because the guest did not ask in time; and sent
    # damaged.
    overrun: int = 0
    spoilt: int = 0
    unpowered: int = 0
    # Images for which the kernel had no buffer, as the ledger says too.
    unbuffered: int = 0
    # Spoilt ones next to the interval: of the episode, or not.
    edge: int = 0
    # Images received after a later one, as the kernel handed them over.
    swapped: int = 0
    ledger: dict = field(default_factory=dict)
    # When the last one in the file was due [s].
    last_due: float = 0.0
    # From the end of a fault to the next packet in the file [s].
    back_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def itemised(self) -> int:
        return self.ledger.get("missing", 0) + sum(self.ledger.get("losses", {}).values())


def judge_stream(
    device: Board | Camera,
    samples: list[Sample],
    ledger: dict,
    faults: list[Fault],
    ledger_may_lag: int = 0,
) -> Verdict:
    """`samples` are those in the file, in its order. `ledger_may_lag` is how many
    packets the ledger of a recovered file, which is up to a second old, may not know."""
    packets = device.packets
    numbers = [device.number_of(sample.message) for sample in samples]
    verdict = Verdict(device.stream, written=len(numbers), ledger=ledger)
    say = verdict.problems.append
    if not numbers:
        say("nothing in the file")
        return verdict
    known = {packet.number: packet for packet in packets if not packet.spoilt}
    foreign = [number for number in numbers if number not in known]
    if foreign:
        say(f"{len(foreign)} samples that nobody sent, first {foreign[0]}")
        return verdict
    backward = [(earlier, later) for earlier, later in zip(numbers, numbers[1:]) if later <= earlier]
    if len(set(numbers)) < len(numbers):
        say(f"{len(numbers) - len(set(numbers))} samples twice")
    elif backward:
        say(f"{len(backward)} samples out of order, first {backward[0][1]} after {backward[0][0]}")
    if isinstance(device, Camera):
        verdict.swapped = sum(later.log_ns < earlier.log_ns for earlier, later in zip(samples, samples[1:]))
    first, last = min(numbers), max(numbers)
    verdict.last_due = known[last].due
    in_file = set(numbers)
    interval = [packet for packet in packets if first <= packet.number <= last]
    absent = [packet for packet in interval if packet.number not in in_file]
    before = reversed([packet for packet in packets if packet.number < first])
    after = [packet for packet in packets if packet.number > last]
    for side in (before, after):
        verdict.edge += sum(1 for _ in takewhile(lambda packet: packet.spoilt, side))
    verdict.sent = sum(packet.left is not None for packet in interval)
    verdict.overrun = len(interval) - verdict.sent
    verdict.spoilt = sum(packet.spoilt for packet in interval)
    verdict.absent = len(absent)
    for earlier, later in zip(interval, interval[1:]):
        verdict.unpowered += max(round((later.due - earlier.due) / device.period_s) - 1, 0)

    def excused(packet: Packet) -> bool:
        return packet.left is None or packet.spoilt or any(
            fault.began - 0.3 <= packet.due <= fault.ended + fault.return_s for fault in faults
        )

    unexcused = [packet for packet in absent if not excused(packet)]
    may_drop = isinstance(device, Camera) and len(unexcused) <= MAX_UNBUFFERED * len(interval)
    if may_drop and verdict.itemised >= verdict.absent - verdict.overrun:
        verdict.unbuffered = len(unexcused)
    elif unexcused:
        say(f"{len(unexcused)} packets are not in the file without a fault, first {unexcused[0].number}")
    for fault in faults:
        after = sorted(known[number].due for number in numbers if known[number].due > fault.ended)
        if not after:
            say("the stream did not come back")
            continue
        back = after[0] - fault.ended
        verdict.back_s.append(back)
        if back > fault.return_s:
            say(f"the stream took {back:.1f} s to come back")
    judge_dates(verdict, [(sample, known[number]) for sample, number in zip(samples, numbers)])
    judge_ledger(verdict, faults, ledger_may_lag, device.counts_overrun)
    return verdict


def judge_dates(verdict: Verdict, pairs: list[tuple[Sample, Packet]]) -> None:
    """Nothing is captured after it arrived, but for the fit's error, and capture times are near the truth."""
    early = [sample for sample, _ in pairs if sample.publish_ns - sample.log_ns > MAX_EARLY_S * 1e9]
    if early:
        worst = max(sample.publish_ns - sample.log_ns for sample in early) / 1e9
        verdict.problems.append(
            f"{len(early)} samples were captured after their arrival, by up to {worst:.3f} s"
        )
    # The guest's clock against the host's: no packet arrives before it leaves.
    guest_ns = min(sample.log_ns - round(packet.left * 1e9) for sample, packet in pairs if packet.left)
    errors = [abs(sample.publish_ns - guest_ns - round(packet.due * 1e9)) / 1e9 for sample, packet in pairs]
    wrong = [error for error in errors if error > MAX_DATE_ERROR_S]
    if wrong:
        verdict.problems.append(
            f"{len(wrong)} capture times are off by more than {MAX_DATE_ERROR_S} s, by up to {max(wrong):.3f} s"
        )


def judge_ledger(verdict: Verdict, faults: list[Fault], may_lag: int, counts_overrun: bool) -> None:
    ledger, say = verdict.ledger, verdict.problems.append
    if not ledger:
        say("the ledger does not know the stream")
        return
    lost = sum(ledger["losses"].values())
    if ledger["received"] != ledger["written"] + lost:
        say(f"ledger: received {ledger['received']}, written {ledger['written']}, lost {lost}")
    if not 0 <= verdict.written - ledger["written"] <= may_lag:
        say(f"ledger: {ledger['written']} written, the file has {verdict.written}")
    outages = sum(fault.outage for fault in faults)
    if ledger["outages"] != outages:
        say(f"ledger: {ledger['outages']} outages, in truth {outages}")
    truth = verdict.absent + verdict.unpowered
    unclear = sum(fault.unclear for fault in faults) + may_lag
    if not counts_overrun:
        unclear += verdict.overrun
    if not truth - unclear <= verdict.itemised <= truth + verdict.edge + unclear:
        say(f"ledger: {verdict.itemised} missing or lost, in truth {truth}")
