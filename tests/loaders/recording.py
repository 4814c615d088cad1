"""The episode behind a row of a dataset, read straight from the recording and its retargeted motion: independent of the
exporter. Where a session was emulated, TRUTH or truth.jsonl beside it gives what the marks in its images mean.
"""
import json
import os
import tomllib
from pathlib import Path

import cv2
import numpy as np
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory

import mark

# Capture times as estimated while recording and as fitted afterwards lie no further apart than this [ns]; less than half
# a period of 30 images/s.
LIVE_NS = 15e6
# Capture times of an emulated camera, as fitted, are no further from the true ones than this [ns], in the median; more where
# the machine was too busy to emulate.
SYNC_NS = float(os.environ.get("SYNC_MS", 3)) * 1e6

# Images of every so manieth step are compared.
EVERY = int(os.environ.get("IMAGES_EVERY", 1))


def messages(path, topics):
    """(topic, channel metadata, publish time [ns], message) of an MCAP file."""
    with open(path, "rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for _, channel, message, decoded in reader.iter_decoded_messages(topics=topics):
            yield channel.topic, channel.metadata, message.publish_time, decoded


def rotation(q):
    """Matrices of quaternions x, y, z, w, (n, 4) to (n, 3, 3)."""
    x, y, z, w = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1)


def slerp(a, b, t):
    """Between unit quaternions, (n, 4) each, t (n,)."""
    b = np.where((a * b).sum(1, keepdims=True) < 0, -b, b)
    angle = np.arccos(np.clip((a * b).sum(1), -1, 1))[:, None]
    t = t[:, None]
    small = angle < 1e-6
    sine = np.where(small, 1, np.sin(angle))
    mixed = np.where(small, (1 - t) * a + t * b, (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / sine)
    return mixed / np.linalg.norm(mixed, axis=1, keepdims=True)


class Track:
    """Values at increasing times [ns], interpolated."""

    def __init__(self, times, values):
        self.times, self.values = np.array(times, np.int64), np.array(values, np.float64)

    def around(self, at):
        right = np.clip(np.searchsorted(self.times, at), 1, len(self.times) - 1)
        t = (at - self.times[right - 1]) / (self.times[right] - self.times[right - 1])
        return self.values[right - 1], self.values[right], t

    def linear(self, at):
        a, b, t = self.around(at)
        return a + (b - a) * t[:, None]


class Hand:
    """Wrist and joints of one side from a derived file."""

    def __init__(self, path, side):
        joints, poses = ([], []), ([], [])
        self.names = []
        for topic, metadata, time, message in messages(path, [f"/retarget/{side}/joints", f"/retarget/{side}/end_effector"]):
            if topic.endswith("joints"):
                self.names = metadata["names"].split(",")
                joints[0].append(time)
                joints[1].append([*message.position, *message.motor])
            else:
                poses[0].append(time)
                poses[1].append([*message.position, *message.rotation])
        joints = Track(*joints)
        width = len(self.names)
        self.joints = Track(joints.times, joints.values[:, :width])
        self.motors = Track(joints.times, joints.values[:, width:])
        self.poses = Track(*poses)

    def at(self, times):
        """Position (n, 3), rotation matrix (n, 3, 3) and joints (n, J) at times [ns]."""
        a, b, t = self.poses.around(times)
        position = a[:, :3] + (b[:, :3] - a[:, :3]) * t[:, None]
        return position, rotation(slerp(a[:, 3:], b[:, 3:], t)), self.joints.linear(times)

    def scaled(self, names, times, factor):
        """DexUMI's motors at times [ns]: joints of these names [rad] * 3, or commands in thousandths / 1000."""
        if factor == 3.0:
            return 3.0 * self.joints.linear(times)[:, [self.names.index(name) for name in names]]
        return factor * self.motors.linear(times)


class Recording:
    """One recorded episode with the derived files of robot hands."""

    def __init__(self, path, hands, truth=None):
        self.path = Path(path)
        self.hands, self.images, self.taken = {}, {}, {}
        for name in hands:
            side = "left" if name.endswith("left") else "right"
            self.hands[side] = Hand(self.path.parent / "derived" / f"{self.path.stem}.retarget.{name}.mcap", side)
        with open(path, "rb") as file:
            reader = make_reader(file)
            self.about = next(json.loads(m.metadata["json"]) for m in reader.iter_metadata() if m.name == "episode")
            self.rig = next(tomllib.loads(a.data.decode()) for a in reader.iter_attachments() if a.name == "rig.toml")
        self.offset_ns = mark.session_offset_ns(truth, self.about["anchor"]) if truth else None

    @property
    def task(self):
        return self.about["task"]

    def camera(self, name):
        """Capture times as estimated while recording [ns], and JPEGs."""
        if name not in self.images:
            each = [(time, bytes(message.data)) for _, _, time, message in messages(self.path, [f"/camera/{name}/image"])]
            self.images[name] = np.array([time for time, _ in each], np.int64), [jpeg for _, jpeg in each]
        return self.images[name]

    def marks(self, name):
        """True capture times by the marks drawn into the images, session clock [ns]; None where the truth is not known.
        An image whose mark cannot be read has -1."""
        if self.offset_ns is None:
            return None
        if name not in self.taken:
            found = []
            for jpeg in self.camera(name)[1]:
                gray = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
                time = None if gray is None else mark.read(gray, gray.shape[::-1])
                found.append(-1 if time is None else int(time * 1e9) + self.offset_ns)
            self.taken[name] = np.array(found, np.int64)
        return self.taken[name]

    def samples(self, topic, values):
        """Samples of a stream as estimated while recording: a track of `values(message)`."""
        each = [(time, values(message)) for _, _, time, message in messages(self.path, [topic])]
        order = np.argsort([time for time, _ in each], kind="stable")
        return Track([each[at][0] for at in order], [each[at][1] for at in order])


def whole(size):
    """How an image of `size` is shown without cut or scale."""
    return {"size": size, "kept_x_y_w_h": (0, 0, *size), "placed_x_y_w_h": (0, 0, *size)}


def fitted(jpeg, camera):
    """An image as the dataset should show it: cut, scaled and placed as `camera` says (meta/cameras.json); RGB."""
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    x, y, w, h = camera["kept_x_y_w_h"]
    left, top, to_w, to_h = camera["placed_x_y_w_h"]
    width, height = camera["size"]
    kept = image[y : y + h, x : x + w]
    scaled = kept if (w, h) == (to_w, to_h) else cv2.resize(kept, (to_w, to_h), interpolation=camera.get("interpolation", cv2.INTER_AREA))
    if (left, top, to_w, to_h) == (0, 0, width, height):
        return np.ascontiguousarray(scaled)
    shown = np.zeros((height, width, 3), np.uint8)
    shown[top : top + to_h, left : left + to_w] = scaled
    return shown


def psnr(a, b):
    return min(99.0, cv2.PSNR(np.ascontiguousarray(a), np.ascontiguousarray(b)))


def session_truth(session):
    """Header of the emulator's list of true values, or None."""
    path = Path(os.environ.get("TRUTH") or Path(session).parent / "truth.jsonl")
    if not path.is_file():
        return None
    with open(path) as lines:
        return json.loads(next(lines))


class Check:
    """Compares what a loader returns with the recordings of a session, episode by episode.

    cameras: how images are shown, by the name of the recorded camera; least_db: what every image must reach."""

    def __init__(self, session, hands, cameras, causal=False, least_db=28):
        self.truth = session_truth(session)
        paths = sorted(Path(session).glob("episode_*.mcap"))
        self.recordings = [Recording(path, hands, self.truth) for path in paths]
        self.cameras, self.causal, self.least_db = cameras, causal, least_db
        self.worst, self.shown, self.furthest, self.dated, self.sizes = {}, {}, {}, {}, {}
        self.images_checked = self.marks_checked = self.rows_checked = 0
        self.notes, self.near = [], []

    @classmethod
    def of(cls, session, dataset, **more):
        """Of a dataset in a LeRobot layout, which says hands and cameras itself."""
        hands = json.load(open(Path(dataset) / "meta/info.json"))["robot_type"].split("+")
        cameras = json.load(open(Path(dataset) / "meta/cameras.json"))
        return cls(session, hands, {key.removeprefix("observation.images."): value for key, value in cameras.items()}, **more)

    def expected(self, episode, name, index):
        """The recorded image as the dataset should show it; the last few are kept."""
        key = (episode, name, index)
        if key not in self.shown:
            self.shown = {other: image for other, image in self.shown.items() if other[:2] != key[:2] or abs(other[2] - index) < 4}
            self.shown[key] = fitted(self.recordings[episode].camera(name)[1][index], self.cameras[name])
        return self.shown[key]

    def image(self, episode, name, step, image, capture_ns, grid_ns):
        """`image` (H, W, 3) uint8 RGB of a loader must be the image of camera `name` that was taken at `capture_ns`, and
        no neighbour of that may be nearer to the step's time `grid_ns` (causal: it is the latest one before)."""
        if step % EVERY:
            return
        name = name.removeprefix("observation.images.")
        recording = self.recordings[episode]
        times, marks = recording.camera(name)[0], recording.marks(name)
        index = int(np.argmin(np.abs(times - capture_ns)))
        off = abs(int(times[index]) - capture_ns)
        where = f"episode {episode}, {name}, step {step}"
        neighbours = [other for other in (index - 1, index + 1) if 0 <= other < len(times)]
        if off >= LIVE_NS and marks is not None and marks.max() >= 0:
            # An image that came late is dated late live, and rightly afterwards: its mark says which it is.
            index = int(np.argmin(np.abs(np.where(marks >= 0, marks, np.iinfo(np.int64).min // 2) - capture_ns)))
            off = abs(int(marks[index]) - capture_ns)
            neighbours = [other for other in (index - 1, index + 1) if 0 <= other < len(times)]
            early = int(marks[index]) - grid_ns
        else:
            early = self.is_the_one(times, index, neighbours, grid_ns, LIVE_NS, where)
        assert off < LIVE_NS, f"{where}: no image was taken within {off / 1e6:.1f} ms of its capture time"
        if marks is not None and marks[index] >= 0:
            # How well the recording is dated is not the exporter's: within half a period of the step (causal: one
            # period before) by its mark, but for that, and unless the camera lost an image there.
            late = capture_ns - int(marks[index])
            self.dated.setdefault(name, []).append(late / 1e6)
            early = int(marks[index]) - grid_ns
            period = float(np.median(np.diff(marks[marks >= 0])))
            if len(neighbours) == 2 and times[index + 1] - times[index - 1] < 2.5 * period:
                low, high = (-period, 0) if self.causal else (-period / 2, period / 2)
                slack = abs(late) + SYNC_NS
                assert low - slack < early < high + slack, f"{where}: its mark is {early / 1e6:+.1f} ms from the step, period {period / 1e6:.1f} ms"
                self.near.append(low <= early <= high)
        self.furthest.setdefault(name, []).append(early / 1e6)
        want = self.expected(episode, name, index)
        assert image.shape == want.shape, f"{where}: {image.shape}, expected {want.shape}"
        camera = self.cameras[name]
        told = None
        if marks is not None:
            recorded = self.size(episode, name)
            told = mark.read(mark.gray(image), recorded, camera["kept_x_y_w_h"], camera["placed_x_y_w_h"])
        got = psnr(image, want)
        if told is not None:
            told = int(told * 1e9) + recording.offset_ns
            assert told == marks[index], f"{where}: its mark says {(told - int(marks[index])) / 1e6:.1f} ms after that of image {index}"
            self.marks_checked += 1
        else:
            for other in neighbours:
                neighbour = psnr(image, self.expected(episode, name, other))
                assert neighbour <= got + 0.5, f"{where}: image {other} fits better than {index} ({neighbour:.1f} dB, {got:.1f} dB)"
        assert got > self.least_db, f"{where}: {got:.1f} dB from the recorded image"
        self.worst[name] = min(self.worst.get(name, 99.0), got)
        self.images_checked += 1

    def size(self, episode, name):
        """Width and height of a camera's recorded images."""
        key = (episode, name)
        if key not in self.sizes:
            jpeg = self.recordings[episode].camera(name)[1][0]
            self.sizes[key] = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE).shape[::-1]
        return self.sizes[key]

    def is_the_one(self, times, index, neighbours, grid_ns, within, where):
        """That no neighbour of an image is nearer to a step's time (causal: it is the latest before), as far as times are known
        to `within`. How long after the step it was taken [ns]."""
        early = int(times[index]) - grid_ns
        for other in neighbours:
            if self.causal:
                sooner = int(times[other]) - grid_ns
                assert not early < sooner <= -within, f"{where}: image {other} is later, {-sooner / 1e6:.1f} ms before the step"
            else:
                nearer = abs(early) - abs(int(times[other]) - grid_ns)
                assert nearer < within, f"{where}: image {other} was taken {nearer / 1e6:.1f} ms nearer to the step than {index}"
        assert not self.causal or early < within, f"{where}: taken {early / 1e6:.1f} ms after the step"
        return early

    def numbers(self, episode, side, times, position=None, rotation=None, joints=None, what="", joint_names=None):
        """Positions [m], rotation rows (n, 6) and joints [rad] at `times` [ns] must be those of the derived file; of the
        joints, those of `joint_names` where not all are there."""
        hand = self.recordings[episode].hands[side]
        expected = list(hand.at(np.asarray(times, np.int64)))
        if joint_names is not None:
            expected[2] = expected[2][:, [hand.names.index(name) for name in joint_names]]
        for name, got, want, limit in [
            ("position", position, expected[0], 1e-5),
            ("rotation", rotation, expected[1][:, :2].reshape(-1, 6), 1e-4),
            ("joints", joints, expected[2], 1e-4),
        ]:
            if got is None:
                continue
            self.same(f"{what}: {name} of {side}", got, want, limit)
        self.rows_checked += len(times)

    def same(self, what, got, want, limit):
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        assert got.shape == want.shape, f"{what}: {got.shape}, expected {want.shape}"
        error = np.abs(got - want)
        at = np.unravel_index(error.argmax(), error.shape)
        assert error.max() < limit, f"{what} at {at}: got {got[at]}, expected {want[at]}"

    def close(self):
        """Says what was compared, which must be something."""
        assert self.recordings and self.rows_checked and self.images_checked, "nothing was compared"
        for name, early in self.furthest.items():
            early = np.array(early)
            words = ""
            if name in self.dated:
                late = np.array(self.dated[name])
                words = f" by their marks; dated {np.median(late):+.2f} ms from those (median), {np.abs(late).max():.2f} ms at most"
                assert abs(np.median(late)) < SYNC_NS / 1e6, f"{name} is dated {np.median(late):+.2f} ms from its marks"
            print(f"{name}: images {early.min():+.1f} to {early.max():+.1f} ms from their steps{words}")
        worst = ", ".join(f"{name} {value:.1f} dB" for name, value in sorted(self.worst.items()))
        print(
            f"{self.rows_checked} rows of hands and {self.images_checked} images are those of the recording, "
            f"{self.marks_checked} told by their marks; worst: {worst}"
        )
        if self.near:
            share = np.mean(self.near)
            print(f"{share:.1%} of {len(self.near)} images are within {'one period before' if self.causal else 'half a period of'} their steps by their marks")
            assert share > 0.9
        for note in self.notes:
            print(note)


def shift_ms(track, times, got, values=lambda rows: rows, widest=10):
    """Values of a stream as estimated while recording differ from those of the final clock by a shift. The shift [ms] that
    explains `got` at `times` [ns] best, and what it leaves, (n, ...): `values` turns the stream's rows into such."""
    best = (np.inf, None, None)
    for shift in np.arange(-widest, widest + 0.05, 0.1):
        off = values(track.linear(np.asarray(times, np.int64) + int(shift * 1e6))) - got
        rms = np.sqrt(np.mean(off**2))
        if rms < best[0]:
            best = (rms, shift, off)
    return best[1], best[2]
