#!/usr/bin/env python3
"""Reads a LeRobotDataset v3.0 folder with the official lerobot package, offline.

usage: lerobot_v3.py DATASET [--backend torchcodec|pyav]

Every row is read with every image decoded, once alone and once with a window
of neighbouring steps. Checked: episode lengths, image size and range, that an
image equals the one that ffmpeg decodes at its position, and that windows stop
at episode ends. Exit status 0 and a last line "OK" when all of it holds.
"""
import argparse
import os
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
CACHE = tempfile.TemporaryDirectory()
os.environ["HF_HOME"] = CACHE.name
os.environ["HF_DATASETS_CACHE"] = CACHE.name

import numpy as np  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402


def decoded_by_ffmpeg(path, height, width):
    """Every image of a video in file order, (n, height, width, 3) uint8 RGB."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    data = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, height, width, 3)


def check_rows(dataset):
    meta = dataset.meta
    assert len(dataset) == meta.total_frames, (len(dataset), meta.total_frames)
    row, videos = 0, {}
    for number in range(meta.total_episodes):
        episode = meta.episodes[number]
        assert episode["dataset_from_index"] == row, (number, episode["dataset_from_index"], row)
        for step in range(episode["length"]):
            item = dataset[row]
            where = f"row {row}, episode {number}, step {step}"
            assert item["index"] == row and item["episode_index"] == number and item["frame_index"] == step, where
            assert item["task"] == episode["tasks"][0], f"{where}: {item['task']!r}"
            assert all(np.isfinite(item[key].numpy()).all() for key in ("observation.state", "action")), where
            for key in meta.camera_keys:
                image = item[key].numpy()
                height, width, _ = meta.features[key]["shape"]
                assert image.shape == (3, height, width) and 0 <= image.min() <= image.max() <= 1, f"{where}, {key}"
                path = dataset.root / meta.get_video_file_path(number, key)
                if videos.get(key, (None,))[0] != path:
                    # Episodes lie one behind the other: the first of a file starts it.
                    videos[key] = (path, row, decoded_by_ffmpeg(path, height, width))
                _, start, reference = videos[key]
                error = np.abs(image * 255 - reference[row - start].transpose(2, 0, 1)).mean()
                assert error < 2, f"{where}, {key}: differs by {error:.1f} from image {row - start} of {path}"
            row += 1
    assert row == len(dataset), (row, len(dataset))
    print(f"{row} rows of {meta.total_episodes} episodes, {len(meta.camera_keys)} cameras: each image is the one at its step")


def check_windows(dataset, plain):
    meta = dataset.meta
    for number in range(meta.total_episodes):
        episode = meta.episodes[number]
        first, end = episode["dataset_from_index"], episode["dataset_to_index"]
        for row in range(first, end):
            item = dataset[row]
            for offset, (action, pad) in enumerate(zip(item["action"], item["action_is_pad"])):
                neighbour = min(row + offset, end - 1)
                assert bool(pad) == (row + offset >= end), f"row {row} + {offset}: pad is {bool(pad)}"
                assert (action.numpy() == plain[neighbour]).all(), f"row {row} + {offset}: not the action of row {neighbour}"
            for key in meta.camera_keys:
                assert item[key].shape[0] == 2 and bool(item[f"{key}_is_pad"][0]) == (row == first), f"row {row}, {key}"
    print(f"{len(dataset)} windows stop at episode ends")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--backend", choices=["torchcodec", "pyav"], default=None)
    arguments = parser.parse_args()
    options = {"repo_id": "local/dataset", "root": arguments.dataset, "video_backend": arguments.backend}
    dataset = LeRobotDataset(**options)
    step = 1 / dataset.meta.fps
    print(f"fps {dataset.meta.fps}, robot {dataset.meta.robot_type}, cameras {dataset.meta.camera_keys}")
    for key, feature in dataset.meta.features.items():
        if feature["dtype"] in ("float32", "video"):
            missing = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"} - set(dataset.meta.stats[key])
            assert not missing, f"statistics of {key} lack {sorted(missing)}"
    check_rows(dataset)
    window = {"action": [k * step for k in range(16)]}
    window |= {key: [-step, 0.0] for key in dataset.meta.camera_keys}
    plain = np.asarray(dataset.hf_dataset.data.column("action").to_pylist(), np.float32)
    check_windows(LeRobotDataset(**options, delta_timestamps=window), plain)
    print("OK")


if __name__ == "__main__":
    sys.exit(main())
