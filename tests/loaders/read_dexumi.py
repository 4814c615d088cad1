#!/usr/bin/env python3
"""Reads each hand's hierarchy of a dexumi-zarr dataset with DexUMI's own DexUMIDataset and compares rows, images and windows
with the recording.

usage: read_dexumi.py DATASET SESSION     env DEXUMI_ROOT: a checkout of real-stanford/DexUMI
"""
import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["DEXUMI_ROOT"])

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import zarr  # noqa: E402
from dexumi.diffusion_policy.dataloader.dexumi_dataset import DexUMIDataset, normalize_data  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

from recording import Check, shift_ms  # noqa: E402

WINDOW = 16
SHAPE = (240, 240)


def loaded(path, unnormal, **more):
    return DexUMIDataset(
        data_dirs=[str(path)], load_camera_ids=[0], camera_resize_shape=list(SHAPE), pred_horizon=WINDOW, obs_horizon=1,
        action_horizon=8, unnormal_list=unnormal, optional_transforms=["Resize", "CenterCrop"], bgr2rgb=False, seed=0, **more,
    )  # fmt: skip


def poses(position, rotation):
    made = np.tile(np.eye(4), (len(position), 1, 1))
    made[:, :3, 3], made[:, :3, :3] = position, rotation
    return made


def hand(check, side, path):
    root = zarr.open(str(path), mode="r")
    about = dict(root.attrs)
    factor = 3.0 if "radians" in about["hand_scale"] else 1e-3
    has_force = "fsr" in root["episode_0"]
    # Relative hand actions leave the column as it is stored, so that it can be compared.
    dataset = loaded(path, ["camera_0", "pose", "proprioception"], relative_hand_action=True, enable_fsr=False)
    buffer = dataset.buffer.memory_buffer
    start = 0
    for number in range(len(check.recordings)):
        group = root[f"episode_{number}"]
        grid, captures = group["grid_time_ns"][:], group["camera_0/capture_time_ns"][:]
        camera = group["camera_0"].attrs["name"]
        height, width = group["camera_0/rgb"].shape[1:3]
        check.cameras[camera] = {"size": SHAPE, "kept_x_y_w_h": (0, 0, width, height), "placed_x_y_w_h": (0, 0, *SHAPE), "interpolation": cv2.INTER_LINEAR}
        valid = group["valid"][:]
        steps = len(grid)
        rows = slice(start, start + steps)
        good = np.flatnonzero(valid[:-1] & valid[1:])
        motors = check.recordings[number].hands[side]
        where = f"{side} hand of episode {number}"
        turned = Rotation.from_rotvec(buffer["pose"][rows][:, 3:]).as_matrix()[:, :2].reshape(-1, 6)
        check.numbers(number, side, grid[good + 1], buffer["pose"][rows][good, :3], turned[good], None, f"pose of the {where}")
        for name, ahead in (("hand_action", 1), ("proprioception", 0)):
            scaled = motors.scaled(about["hand_columns"], grid[good + ahead], factor)
            check.same(f"{name} of the {where}", buffer[name][rows][good], scaled, 1e-3)
        for step in range(steps):
            if valid[step]:
                check.image(number, camera, step, buffer["camera_0"][rows][step].astype(np.uint8), captures[step], grid[step])
        if has_force:
            for column, finger in enumerate(about["fsr_columns"]):
                track = check.recordings[number].samples(f"/exo/{side}/force/{finger}", lambda m: [m.x, m.y, m.z])
                shift, off = shift_ms(track, grid[valid], group["fsr"][:][valid, column], lambda rows: np.linalg.norm(rows, axis=1))
                span = np.ptp(group["fsr"][:, column])
                rms = float(np.sqrt(np.mean(off**2)))
                assert abs(shift) < 5 and rms < 0.02 * span + 1, f"fsr {finger}: {shift:.1f} ms off, {rms:.1f} of {span:.0f} counts"
                check.notes.append(f"fsr of {finger} in {where}: {rms:.2f} counts rms of {span:.0f} at a shift of {shift:+.1f} ms")
        # Windows: 16 poses relative to the first, as the loader makes them of what it has read.
        for index in np.linspace(0, len(dataset) - 1, 200).astype(int):
            first, end, before, behind = dataset.indices[index]
            if not start <= first < start + steps:
                continue
            window = np.clip(first - start - before + np.arange(WINDOW), first - start, end - 1 - start)
            if not valid[window].all() or window.max() + 1 >= steps or not valid[window + 1].all():
                continue
            position, rotation, _ = motors.at(grid[window + 1])
            ours = poses(position, rotation)
            relative = np.linalg.inv(ours[0]) @ ours
            six = np.hstack([relative[:, :3, 3], Rotation.from_matrix(relative[:, :3, :3]).as_rotvec()])
            joints = motors.scaled(about["hand_columns"], grid[window + 1], factor)
            expected = np.hstack([
                normalize_data(six.astype(np.float32), dataset.stats["relative_pose"]),
                normalize_data((joints - joints[0]).astype(np.float32), dataset.stats["relative_hand_action"]),
            ])  # fmt: skip
            check.same(f"window {index} of the {where}", dataset[int(index)]["action"], expected, 5e-3)
            check.windows += 1
        start += steps
    assert start == len(buffer["pose"]), f"{len(buffer['pose'])} rows, {start} steps"
    if has_force:
        cutoff = [10.0] * len(about["fsr_columns"])
        sample = loaded(path, ["camera_0", "pose"], relative_hand_action=False, enable_fsr=True, fsr_binary_cutoff=cutoff)[0]
        assert sample["fsr"].shape == (1, len(cutoff)) and sample["camera_0"].shape == (1, 3, 224, 224)


def main():
    dataset, session = Path(sys.argv[1]), sys.argv[2]
    stores = sorted(dataset.glob("*.zarr"))
    hands = [dict(zarr.open(str(store), mode="r").attrs)["hand"] for store in stores]
    check = Check(session, hands, {}, least_db=30)
    check.windows = 0
    for store in stores:
        hand(check, store.stem, store)
    check.close()
    print(f"{check.windows} windows of {WINDOW} actions as the loader makes them")
    print("OK")


if __name__ == "__main__":
    main()
