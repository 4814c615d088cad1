#!/usr/bin/env python3
"""Reads a stage's manifest with open-egoscale's own EgoScaleDataset and compares every sample with the recording.

usage: read_egoscale.py DATASET SESSION STAGE     env EGOSCALE_ROOT: the folder egoscale_research of a checkout of
wingAGI/open-egoscale
"""
import json
import os
import sys
from pathlib import Path

ROOT = os.environ["EGOSCALE_ROOT"]
sys.path.insert(0, f"{ROOT}/src")

import h5py  # noqa: E402
import numpy as np  # noqa: E402
from egoscale.config import ExperimentConfig  # noqa: E402
from egoscale.data import EgoScaleCollator, EgoScaleDataset, EgoScaleTransforms  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

from recording import Check, whole  # noqa: E402

# Images of every so manieth sample are compared: each image is in two of them, and the loader opens a video for each.
EVERY = 4


def main():
    dataset, session, stage = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    config = ExperimentConfig.from_yaml(f"{ROOT}/configs/stage{stage}.yaml")
    manifest = dataset / f"meta/chunks_stage{stage}.jsonl"
    loader = EgoScaleDataset.from_jsonl(manifest, config.data, f"stage{stage}", transform=None)
    rows = [json.loads(line) for line in open(manifest)]
    assert len(loader) == len(rows), f"{len(rows) - len(loader)} of {len(rows)} samples dropped by the configuration"
    about = json.load(open(dataset / "meta/info.json"))
    side = "left" if about["hand"].endswith("left") else "right"
    check = Check(session, [about["hand"]], {})
    by_role = {}
    for device in check.recordings[0].rig["device"]:
        if device["stream"].startswith("/camera/"):
            name = device["stream"].split("/")[2]
            by_role["head" if "head" in name else name if "_" in name else f"{side}_{name}"] = name
    episodes = [json.loads(line) for line in open(dataset / "meta/episodes.jsonl")]
    files = [h5py.File(dataset / f"data/episodes/{episode['episode_id']}.h5") for episode in episodes]
    for number, (episode, file) in enumerate(zip(episodes, files)):
        assert episode["source_episode_id"] == check.recordings[number].about["id"] and episode["active_hand"] == side
        # States and wrists that the loader does not give are compared where they lie.
        grid, valid = file["timestamps/grid_time_ns"][:], file["timestamps/valid"][:] == 1
        state, wrist = file["signals/raw_state"][:][valid], file["signals/active_wrist_pose"][:][valid]
        rotation = wrist[:, :2, :3].reshape(-1, 6)
        joints = len(check.recordings[number].hands[side].names)
        check.numbers(number, side, grid[valid], wrist[:, :3, 3], rotation, state[:, :joints], f"state of episode {number}")
        check.same("wrist in the state", state[:, 22:31], np.hstack([wrist[:, :3, 3], rotation]), 1e-6)
    for index, row in enumerate(rows):
        sample = loader[index] if index % EVERY == 0 else None
        number = int(row["episode_id"].rsplit("_", 1)[1])
        times, captures = files[number]["timestamps/grid_time_ns"][:], files[number]["timestamps/capture_time_ns"]
        now = row["action_index_start"]
        steps = np.arange(now, now + row["action_horizon"])
        # The target of the last step is one further than the grid of the file.
        period = times[1] - times[0]
        at = np.append(times, times[-1] + period)
        hand = check.recordings[number].hands[side]
        here, turned, _ = hand.at(at[steps])
        there, then, joints = hand.at(at[steps + 1])
        if sample is None:
            actions = files[number]["signals/actions"][:][steps]
        else:
            actions = sample.actions.numpy()
        where = row["chunk_id"]
        check.same(f"{where}: wrist", actions[:, :3], np.einsum("nji,nj->ni", turned, there - here), 1e-5)
        delta = np.einsum("nji,njk->nik", turned, then)
        check.same(f"{where}: turn", Rotation.from_rotvec(actions[:, 3:6]).as_matrix(), delta, 1e-4)
        check.same(f"{where}: hand", actions[:, 6 : 6 + joints.shape[1]], joints, 1e-4)
        assert (actions[:, 6 + joints.shape[1] :] == 0).all()
        check.rows_checked += len(steps)
        if sample is None:
            continue
        if sample.has_proprio:
            check.same(f"{where}: state", sample.raw_state.numpy()[: joints.shape[1]], hand.at(at[steps[:1]])[2][0], 1e-4)
        else:
            assert (sample.raw_state == 0).all(), f"{where}: state of worn data"
        assert sample.instruction == check.recordings[number].task, sample.instruction
        for view, images in sample.view_images.items():
            camera = by_role[view]
            check.cameras.setdefault(camera, whole(check.size(number, camera)))
            for place in range(row["obs_horizon"]):
                step = row["obs_index_start"] + place
                check.image(number, camera, step, images[place].numpy().transpose(1, 2, 0), captures[view][step], times[step])
    transforms = EgoScaleTransforms(config.data, config.state_semantics, config.action_semantics)
    batch = EgoScaleCollator()([transforms(loader[index]) for index in range(2)])
    assert batch["actions"].shape == (2, 8, 28) and batch["images"].shape[0] == 2, batch["images"].shape
    check.close()
    print(f"stage {stage}: all {len(rows)} samples, images of every {EVERY}th, views {list(row['camera_views'])}")
    print("OK")


if __name__ == "__main__":
    main()
