#!/usr/bin/env python3
"""Reads a dataset with DreamZero's own loader and compares it with the recording; then makes its statistics of relative
actions anew and compares them with the dataset's.

usage: read_dreamzero.py DATASET SESSION [decord|torchcodec]    env DREAMZERO_ROOT: a checkout of dreamzero0/dreamzero
"""
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["DREAMZERO_ROOT"])
BACKEND = sys.argv[3] if len(sys.argv) > 3 else "decord"
if BACKEND != "decord":
    sys.modules["decord"] = None

import numpy as np  # noqa: E402
import yaml  # noqa: E402
from groot.vla.data.dataset import ModalityConfig  # noqa: E402
from groot.vla.data.dataset.lerobot import LeRobotSingleDataset  # noqa: E402
from groot.vla.data.schema import EmbodimentTag  # noqa: E402

from recording import Check  # noqa: E402
from rows import Rows  # noqa: E402


def modality_configs(dataset):
    """Those of the configuration beside the dataset, one image and one row at a time."""
    config = yaml.safe_load(open(Path(dataset) / "dreamzero.yaml"))
    tag = next(iter(config["modality_configs"]))
    keys = config[f"modality_config_{tag}"]
    each = {}
    for group in ("video", "state", "action", "language"):
        indices = [0] if group != "action" else keys["action"]["delta_indices"]
        each[group] = ModalityConfig(delta_indices=indices, modality_keys=keys[group]["modality_keys"])
    return EmbodimentTag(tag), each, config


def main():
    dataset, session = sys.argv[1:3]
    tag, configs, config = modality_configs(dataset)
    relative = config["relative_action_keys"]
    loader = LeRobotSingleDataset(
        dataset_path=dataset, modality_configs=configs, embodiment_tag=tag, video_backend=BACKEND,
        metadata_version="0221", use_global_metadata=False, fps=json.load(open(Path(dataset) / "meta/info.json"))["fps"],
        relative_action=True, relative_action_keys=relative, relative_action_per_horizon=False,
    )
    modality = json.load(open(Path(dataset) / "meta/modality.json"))
    check = Check.of(session, dataset)
    columns = json.load(open(Path(dataset) / "meta/info.json"))["features"]["action"]["names"]
    tasks = {json.loads(line)["task_index"]: json.loads(line)["task"] for line in open(Path(dataset) / "meta/tasks.jsonl")}
    for number in loader.trajectory_ids:
        rows = Rows(dataset, int(number))
        seen = {group: [] for group in configs if group in ("state", "action")}
        keys = [key for config in configs.values() for key in config.modality_keys]
        for step in range(len(rows.frame)):
            data = loader.get_step_data(number, {key: np.array([step]) for key in keys})
            for view in configs["video"].modality_keys:
                key = modality["video"][view.removeprefix("video.")]["original_key"]
                name = key.removeprefix("observation.images.")
                if rows.valid(f"camera.{name}")[step]:
                    check.image(int(number), key, step, np.asarray(data[view])[0], rows.column(f"capture_time_ns.{name}")[step], rows.grid[step])
            said = data[configs["language"].modality_keys[0]]
            expected = tasks[int(rows.column("annotation.subtask")[step])]
            assert expected in (said if isinstance(said, list) else [said]), f"episode {number}, step {step}: {said!r}, expected {expected!r}"
            for group in seen:
                seen[group].append({key.split(".", 1)[1]: np.asarray(data[key])[0] for key in configs[group].modality_keys})
        for side in ("left", "right"):
            if f"{side}_hand" not in modality["state"]:
                continue
            both = rows.hand_rows(side)
            place = modality["action"][f"{side}_hand"]
            names = [name.removeprefix(f"{side}_") for name in columns[place["start"] : place["end"]]]
            for ahead, group in enumerate(("state", "action")):
                part = {key: np.stack([row[key] for row in seen[group]])[both] for key in seen[group][0]}
                check.numbers(int(number), side, rows.grid[both + ahead], part[f"{side}_wrist_pos"], part[f"{side}_wrist_rot6d"], part[f"{side}_hand"], f"{group} of episode {number}", names)
    check.close()
    ours = json.load(open(Path(dataset) / "meta/relative_stats_dreamzero.json"))
    for key in relative:
        theirs = loader._calculate_relative_stats_for_key(key).model_dump()
        for statistic, values in ours[key].items():
            error = np.abs(np.array(theirs[statistic], float) - np.array(values)).max()
            assert error < 1e-4, f"relative statistics, {key}, {statistic}: off by {error}"
    print("relative statistics: as DreamZero makes them")
    print("OK")
    sys.stdout.flush()
    # The loader keeps threads.
    os._exit(0)


if __name__ == "__main__":
    main()
