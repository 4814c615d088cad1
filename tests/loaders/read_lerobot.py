#!/usr/bin/env python3
"""Reads a LeRobot dataset with the official lerobot package and compares it with the recording.

usage: read_lerobot.py DATASET SESSION [--causal]    (v3.0 directly; v2.1 by the package's own converter, on a copy)
"""
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
CACHE = tempfile.TemporaryDirectory()
os.environ["HF_HOME"] = os.environ["HF_DATASETS_CACHE"] = CACHE.name

import json  # noqa: E402

import numpy as np  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402
from recording import Check  # noqa: E402


def check_windows(dataset, plain):
    """Windows of 16 actions and 2 images, at each end of each episode and at every 7th row."""
    meta, checked = dataset.meta, 0
    for number in range(meta.total_episodes):
        episode = meta.episodes[number]
        first, end = episode["dataset_from_index"], episode["dataset_to_index"]
        for row in sorted({*range(first, end, 7), *range(first, first + 3), *range(end - 17, end)}):
            checked += 1
            item = dataset[row]
            for offset, (action, pad) in enumerate(zip(item["action"], item["action_is_pad"])):
                neighbour = min(row + offset, end - 1)
                assert bool(pad) == (row + offset >= end), f"row {row} + {offset}: pad is {bool(pad)}"
                assert (action.numpy() == plain[neighbour]).all(), f"row {row} + {offset}: not the action of row {neighbour}"
            for key in meta.camera_keys:
                assert item[key].shape[0] == 2 and bool(item[f"{key}_is_pad"][0]) == (row == first), f"row {row}, {key}"
    print(f"{checked} windows: their actions, and they stop at episode ends")


def main():
    source, session = sys.argv[1:3]
    root = Path(source)
    if json.load(open(root / "meta/info.json"))["codebase_version"] == "v2.1":
        from lerobot.scripts.convert_dataset_v21_to_v30 import convert_dataset

        root = Path(CACHE.name) / "copy" / "dataset"
        shutil.copytree(source, root)
        convert_dataset("local/copy", root=str(root), push_to_hub=False, force_conversion=True)
    dataset = LeRobotDataset("local/dataset", root=root)
    check = Check.of(session, source, causal="--causal" in sys.argv, least_db=32)
    meta = dataset.meta
    columns = {name: np.asarray(dataset.hf_dataset.data.column(name).to_pylist()) for name in ("grid_time_ns", "observation.valid")}
    names = meta.features["observation.state"]["names"]
    valid_names = meta.features["observation.valid"]["names"]
    captures = {key: np.asarray(dataset.hf_dataset.data.column(f"capture_time_ns.{key.removeprefix('observation.images.')}").to_pylist()) for key in meta.camera_keys}
    for number in range(meta.total_episodes):
        first, end = meta.episodes[number]["dataset_from_index"], meta.episodes[number]["dataset_to_index"]
        state, action = [], []
        for row in range(first, end):
            item = dataset[row]
            assert item["frame_index"] == row - first and item["episode_index"] == number
            state.append(item["observation.state"].numpy())
            action.append(item["action"].numpy())
            for key in meta.camera_keys:
                if columns["observation.valid"][row][valid_names.index(f"camera.{key.removeprefix('observation.images.')}")]:
                    image = (item[key].numpy() * 255).round().astype(np.uint8).transpose(1, 2, 0)
                    check.image(number, key, row - first, image, int(np.ravel(captures[key][row])[0]), int(np.ravel(columns["grid_time_ns"][row])[0]))
        times = np.ravel(columns["grid_time_ns"][first:end])
        sides = [side for side in ("left", "right") if f"{side}_wrist_x" in names]
        for index, side in enumerate(sides):
            start = names.index(f"{side}_wrist_x")
            stop = names.index(f"{sides[index + 1]}_wrist_x") if index + 1 < len(sides) else len(names)
            good = np.array([columns["observation.valid"][row][valid_names.index(f"hand.{side}")] for row in range(first, end)])
            # A row and the next must both be measured, so that the action is as well.
            both = np.flatnonzero(good[:-1] & good[1:])
            for what, values, at in (("state", state, times[both]), ("action", action, times[both + 1])):
                part = np.array(values)[both, start:stop]
                check.numbers(number, side, at, part[:, :3], part[:, 3:9], part[:, 9:], f"{what} of episode {number}")
    check.close()
    step = 1 / meta.fps
    window = {"action": [k * step for k in range(16)]} | {key: [-step, 0.0] for key in meta.camera_keys}
    plain = np.asarray(dataset.hf_dataset.data.column("action").to_pylist(), np.float32)
    check_windows(LeRobotDataset("local/dataset", root=root, delta_timestamps=window), plain)
    for key, feature in meta.features.items():
        if feature["dtype"] in ("float32", "video"):
            missing = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"} - set(meta.stats[key])
            # The converter brings along what v2.1 has.
            assert not missing or root != Path(source), f"statistics of {key} lack {sorted(missing)}"
    print("OK")


if __name__ == "__main__":
    main()
