#!/usr/bin/env python3
"""Reads a GR00T dataset with Isaac-GR00T's own episode loader and compares it with the recording; then with its own
configuration beside the dataset, makes statistics anew and compares them with the dataset's.

usage: read_gr00t.py DATASET SESSION GROOT     GROOT: a checkout of Isaac-GR00T (N1.6 or N1.7)
"""
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, sys.argv[3])
# decord and torchcodec crash in one process; GR00T takes the latter.
sys.modules["decord"] = None

import numpy as np  # noqa: E402
from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS  # noqa: E402
from gr00t.data.dataset.lerobot_episode_loader import LeRobotEpisodeLoader  # noqa: E402
from gr00t.data.embodiment_tags import EmbodimentTag  # noqa: E402
import gr00t.data.stats as stats  # noqa: E402

from recording import Check  # noqa: E402
from rows import Rows  # noqa: E402


def configuration(dataset):
    """Registers the configuration that lies beside the dataset."""
    spec = importlib.util.spec_from_file_location("new_embodiment_config", Path(dataset) / "new_embodiment_config.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return MODALITY_CONFIGS[EmbodimentTag.NEW_EMBODIMENT.value]


def compare_statistics(dataset):
    """The dataset's statistics against those that GR00T's own code makes of it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(dataset, copy, symlinks=True)
        for name in ("stats.json", "relative_stats.json"):
            (copy / "meta" / name).unlink()
        stats.generate_stats(copy)
        stats.generate_rel_stats(copy, EmbodimentTag.NEW_EMBODIMENT)
        for name, keys in (("stats.json", ("observation.state", "action")), ("relative_stats.json", None)):
            theirs, ours = json.load(open(copy / "meta" / name)), json.load(open(Path(dataset) / "meta" / name))
            for key in keys or theirs:
                for statistic, values in theirs[key].items():
                    a, b = np.array(values, float), np.array(ours[key][statistic], float)
                    assert a.shape == b.shape, f"{name}, {key}, {statistic}: shape {b.shape}, GR00T makes {a.shape}"
                    error = np.abs(a - b).max()
                    assert error < 2e-4, f"{name}, {key}, {statistic}: off by {error}"
            print(f"{name}: as GR00T makes it")


def main():
    dataset, session = sys.argv[1:3]
    config = configuration(dataset)
    loader = LeRobotEpisodeLoader(dataset, config)
    check = Check.of(session, dataset)
    modality = json.load(open(Path(dataset) / "meta/modality.json"))
    for number in range(len(loader)):
        episode, rows = loader[number], Rows(dataset, number)
        for view in config["video"].modality_keys:
            key = modality["video"][view]["original_key"]
            name = key.removeprefix("observation.images.")
            captures, valid = rows.column(f"capture_time_ns.{name}"), rows.valid(f"camera.{name}")
            for step in np.flatnonzero(valid):
                check.image(number, key, step, np.asarray(episode[f"video.{view}"].iloc[step]), captures[step], rows.grid[step])
        for side in ("left", "right"):
            if f"{side}_hand" not in modality["state"]:
                continue
            both = rows.hand_rows(side)
            for group, ahead in (("state", 0), ("action", 1)):
                wrist = np.stack(episode[f"{group}.{side}_wrist_eef_9d"].to_numpy())[both]
                joints = np.stack(episode[f"{group}.{side}_hand"].to_numpy())[both]
                check.numbers(number, side, rows.grid[both + ahead], wrist[:, :3], wrist[:, 3:], joints, f"{group} of episode {number}")
    check.close()
    compare_statistics(dataset)
    print("OK")


if __name__ == "__main__":
    main()
