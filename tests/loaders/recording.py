"""The episode behind a row of a dataset, read straight from the recording: independent of the exporter.

Needs `mcap` and `mcap-protobuf-support` (PyPI), numpy, opencv.
"""
import json
from pathlib import Path

import cv2
import numpy as np
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory

# Capture times as estimated while recording and as fitted afterwards lie no further apart than this [ns]; less than half
# a period of 30 images/s.
LIVE_NS = 15e6


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
                joints[1].append(list(message.position))
            else:
                poses[0].append(time)
                poses[1].append([*message.position, *message.rotation])
        self.joints, self.poses = Track(*joints), Track(*poses)

    def at(self, times):
        """Position (n, 3), rotation matrix (n, 3, 3) and joints (n, J) at times [ns]."""
        a, b, t = self.poses.around(times)
        position = a[:, :3] + (b[:, :3] - a[:, :3]) * t[:, None]
        return position, rotation(slerp(a[:, 3:], b[:, 3:], t)), self.joints.linear(times)


class Recording:
    """One recorded episode with the derived files of robot hands."""

    def __init__(self, path, hands):
        self.path = Path(path)
        self.hands, self.images = {}, {}
        for name in hands:
            side = "left" if name.endswith("left") else "right"
            self.hands[side] = Hand(self.path.parent / "derived" / f"{self.path.stem}.retarget.{name}.mcap", side)

    def camera(self, name):
        """Capture times as estimated while recording [ns], and JPEGs."""
        if name not in self.images:
            each = [(time, bytes(message.data)) for _, _, time, message in messages(self.path, [f"/camera/{name}/image"])]
            self.images[name] = np.array([time for time, _ in each], np.int64), [jpeg for _, jpeg in each]
        return self.images[name]


def fitted(jpeg, camera):
    """An image as the dataset should show it: cut, scaled and placed as meta/cameras.json says; RGB."""
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    x, y, w, h = camera["kept_x_y_w_h"]
    left, top, to_w, to_h = camera["placed_x_y_w_h"]
    width, height = camera["size"]
    scaled = cv2.resize(image[y : y + h, x : x + w], (to_w, to_h), interpolation=cv2.INTER_AREA)
    whole = np.zeros((height, width, 3), np.uint8)
    whole[top : top + to_h, left : left + to_w] = scaled
    return whole


def psnr(a, b):
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)


class Check:
    """Compares what a loader returns with the recordings of a session, episode by episode."""

    def __init__(self, session, dataset):
        hands = json.load(open(Path(dataset) / "meta/info.json"))["robot_type"].split("+")
        self.recordings = [Recording(path, hands) for path in sorted(Path(session).glob("episode_*.mcap"))]
        self.cameras = json.load(open(Path(dataset) / "meta/cameras.json"))
        self.worst, self.shown = {}, {}
        self.images_checked = self.rows_checked = 0

    def image(self, episode, key, step, image, capture_ns, grid_ns):
        """`image` (H, W, 3) uint8 RGB of a loader must be the recorded one that was taken at `capture_ns`, and
        no neighbour of that may be nearer to the step's time `grid_ns`."""
        name = key.removeprefix("observation.images.")
        times, jpegs = self.recordings[episode].camera(name)
        index = int(np.argmin(np.abs(times - capture_ns)))

        def shown(at):
            if (episode, key, at) not in self.shown:
                self.shown = {place: image for place, image in self.shown.items() if place[:2] != (episode, key) or abs(place[2] - at) < 4}
                self.shown[episode, key, at] = fitted(jpegs[at], self.cameras[key])
            return self.shown[episode, key, at]

        off = abs(int(times[index]) - capture_ns)
        where = f"episode {episode}, {key}, step {step}"
        assert off < LIVE_NS, f"{where}: no image was taken within {off / 1e6:.1f} ms of its capture time"
        assert image.shape == shown(index).shape, f"{where}: {image.shape}"
        expected = psnr(image, shown(index))
        for other in (index - 1, index + 1):
            if 0 <= other < len(jpegs):
                neighbour = psnr(image, shown(other))
                assert neighbour <= expected + 0.5, f"{where}: image {other} fits better than {index} ({neighbour:.1f} dB, {expected:.1f} dB)"
                margin = abs(int(times[index]) - grid_ns) - abs(int(times[other]) - grid_ns)
                assert margin < LIVE_NS, f"{where}: image {other} was taken {margin / 1e6:.1f} ms nearer to the step than {index}"
        assert expected > 28, f"{where}: {expected:.1f} dB from the recorded image"
        self.worst[key] = min(self.worst.get(key, 99.0), expected)
        self.images_checked += 1

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
            got = np.asarray(got, np.float64)
            assert got.shape == want.shape, f"{what}: {name} of {side}: {got.shape}, expected {want.shape}"
            error = np.abs(got - want)
            at = np.unravel_index(error.argmax(), error.shape)
            assert error.max() < limit, f"{what}: {name} of {side} at {at}: got {got[at]}, expected {want[at]}"
        self.rows_checked += len(times)

    def close(self):
        worst = ", ".join(f"{key} {value:.1f} dB" for key, value in sorted(self.worst.items()))
        print(f"{self.rows_checked} rows of hands and {self.images_checked} images are those of the recording; worst: {worst}")
