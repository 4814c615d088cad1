"""The episode model, for the checks beside it: numbers from a lerobot-v3 export of the same session at the
same rate, images from the recording itself."""

import bisect
import glob
import io
import json
import os

import numpy as np
import pyarrow.parquet as parquet
from mcap.reader import make_reader
from PIL import Image


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def image_data(message):
    """The field `data` (2) of a foxglove.CompressedImage."""
    at, found = 0, None
    while at < len(message):
        key, at = varint(message, at)
        field, kind = key >> 3, key & 7
        if kind == 0:
            _, at = varint(message, at)
        elif kind == 2:
            length, at = varint(message, at)
            if (field, found) == (2, None) or field == 2:
                found = message[at : at + length]
            at += length
        else:
            at += 8 if kind == 1 else 4
    return found


def rows_to_matrix(six):
    """Rotation matrices [.., 3, 3] of their first two rows [.., 6]."""
    a, b = six[..., :3], six[..., 3:]
    return np.stack([a, b, np.cross(a, b)], axis=-2)


class Episode:
    """One episode of T steps: state [T, D], action [T, D] (the state one step later), task, names."""

    def __init__(self, table, names, path, task):
        columns = {name: table[name].combine_chunks() for name in table.column_names}
        matrix = lambda name: np.stack(columns[name].to_numpy(zero_copy_only=False)).astype(np.float64)
        self.state, self.action = matrix("observation.state"), matrix("action")
        self.names, self.task, self.path = names, task, path
        self.times = {
            name.split(".", 1)[1]: np.asarray(columns[name].to_pylist()).reshape(-1)
            for name in columns
            if name.startswith("capture_time_ns.")
        }
        self.force = {
            name.rsplit(".", 1)[1]: matrix(name) for name in columns if name.startswith("observation.force.")
        }
        self._images = {}

    def wrist(self, side, rows):
        """Poses [T, 4, 4] of a side's wrist, of `state` or `action`."""
        at = self.names.index(f"{side}_wrist_x")
        values = getattr(self, rows)[:, at : at + 9]
        poses = np.tile(np.eye(4), (len(values), 1, 1))
        poses[:, :3, 3], poses[:, :3, :3] = values[:, :3], rows_to_matrix(values[:, 3:])
        return poses

    def joints(self, side, rows):
        """Joints [T, J] of a side [rad]."""
        at = self.names.index(f"{side}_wrist_x")
        end = min([i for i, n in enumerate(self.names) if n.endswith("_wrist_x") and i > at] + [len(self.names)])
        return getattr(self, rows)[:, at + 9 : end]

    def image(self, camera, step):
        """The recorded image that step shows, RGB [H, W, 3], exactly as its JPEG decodes."""
        if camera not in self._images:
            with open(self.path, "rb") as file:
                messages = make_reader(file).iter_messages(topics=[f"/camera/{camera}/image"])
                found = [(m.publish_time, image_data(m.data)) for _, _, m in messages]
            self._images[camera] = sorted(found, key=lambda pair: pair[0])
        images, time = self._images[camera], self.times[camera][step]
        times = [t for t, _ in images]
        at = bisect.bisect(times, time)
        near = min(range(max(0, at - 1), min(len(times), at + 1)), key=lambda k: abs(times[k] - time))
        # The live estimate and the whole-episode fit are some milliseconds apart, images some 33.
        assert abs(times[near] - time) < 12e6, f"{camera} step {step}: no image within 12 ms of {time}"
        return np.asarray(Image.open(io.BytesIO(images[near][1])).convert("RGB"))


def episodes(session, dataset):
    """Episodes of a session in order, with the numbers of its lerobot-v3 export."""
    with open(f"{dataset}/meta/info.json") as file:
        info = json.load(file)
    names = info["features"]["observation.state"]["names"]
    files = sorted(glob.glob(f"{dataset}/data/*/*.parquet"))
    import pyarrow

    table = pyarrow.concat_tables([parquet.read_table(file) for file in files])
    tasks = parquet.read_table(f"{dataset}/meta/tasks.parquet").to_pylist()
    tasks = {row["task_index"]: row.get("task", row.get("__index_level_0__")) for row in tasks}
    recorded = sorted(glob.glob(f"{session}/episode_*.mcap"))
    numbers = np.asarray(table["episode_index"])
    assert len(recorded) == len(set(numbers)), f"{len(recorded)} recordings, {len(set(numbers))} exported"
    made = []
    for number, path in enumerate(recorded):
        part = table.filter(pyarrow.array(numbers == number))
        made.append(Episode(part, names, path, tasks[part["task_index"][0].as_py()]))
    return info["fps"], made


def psnr(a, b):
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)


def close(what, got, expected, within):
    off = float(np.max(np.abs(np.asarray(got, np.float64) - np.asarray(expected, np.float64))))
    assert off <= within, f"{what}: off by {off}, expected within {within}"
    print(f"  {what}: {np.shape(got)} within {off:.2g}")


def root(variable):
    """The checkout that an environment variable names."""
    path = os.environ.get(variable)
    if not path or not os.path.isdir(path):
        raise SystemExit(f"{variable} must name the checkout, got {path!r}")
    return path
