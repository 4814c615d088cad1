#!/usr/bin/env python3
"""Reads dataset.zarr.zip with UMI's own UmiDataset and compares rows, images and samples with the recording.

usage: read_umi.py DATASET SESSION     env UMI_ROOT: a checkout of real-stanford/universal_manipulation_interface
"""
import os
import sys

sys.path.insert(0, os.environ["UMI_ROOT"])

import numpy as np  # noqa: E402
from diffusion_policy.dataset.umi_dataset import UmiDataset  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

from recording import Check  # noqa: E402

SIDE, STRIDE, ACTIONS = 224, 3, 16


def loaded(path, robots):
    observed = dict(horizon=2, latency_steps=0, down_sample_steps=STRIDE)
    low = lambda width, **more: dict(shape=[width], type="low_dim", **observed, **more)
    keys = {}
    for robot in range(robots):
        keys[f"camera{robot}_rgb"] = dict(shape=[3, SIDE, SIDE], type="rgb", **observed)
        keys[f"robot{robot}_eef_pos"] = low(3)
        keys[f"robot{robot}_eef_rot_axis_angle"] = low(6, rotation_rep="rotation_6d")
        keys[f"robot{robot}_gripper_width"] = low(1)
        keys[f"robot{robot}_eef_rot_axis_angle_wrt_start"] = low(6)
        for other in range(robots):
            if other != robot:
                keys[f"robot{robot}_eef_pos_wrt{other}"] = low(3)
                keys[f"robot{robot}_eef_rot_axis_angle_wrt{other}"] = low(6)
    action = dict(shape=[10 * robots], horizon=ACTIONS, latency_steps=0, down_sample_steps=STRIDE)
    relative = dict(obs_pose_repr="relative", action_pose_repr="relative")
    return UmiDataset(shape_meta={"obs": keys, "action": action}, dataset_path=path, pose_repr=relative, val_ratio=0.0)


def square(size):
    """The middle of an image, as the export cuts it."""
    width, height = size
    side = min(size)
    return {"size": (SIDE, SIDE), "kept_x_y_w_h": ((width - side) // 2, (height - side) // 2, side, side), "placed_x_y_w_h": (0, 0, SIDE, SIDE)}


def main():
    path, session = f"{sys.argv[1]}/dataset.zarr.zip", sys.argv[2]
    import zarr

    with zarr.ZipStore(path, mode="r") as store:
        about = dict(zarr.group(store).attrs)
    robots, cameras = about["robots"], about["cameras"]
    dataset = loaded(path, len(robots))
    data, meta = dataset.replay_buffer, dataset.replay_buffer.meta
    ends = list(meta["episode_ends"][:])
    check = Check(session, robots, {})
    assert len(ends) == len(check.recordings), f"{len(ends)} episodes, {len(check.recordings)} recordings"
    grid, valid = meta["grid_time_ns"][:], meta["valid"][:]
    sides = ["left" if name.endswith("left") else "right" for name in robots]
    for number, (first, end) in enumerate(zip([0, *ends], ends)):
        good = first + np.flatnonzero(valid[first:end])
        for robot, side in enumerate(sides):
            turned = Rotation.from_rotvec(data[f"robot{robot}_eef_rot_axis_angle"][:][good]).as_matrix()[:, :2].reshape(-1, 6)
            check.numbers(number, side, grid[good], data[f"robot{robot}_eef_pos"][:][good], turned, None, f"episode {number}")
            width = data[f"robot{robot}_gripper_width"][first:end]
            assert (0 <= width).all() and (width < 0.3).all() and np.ptp(width) > 0, f"widths {width.min()} to {width.max()}"
            check.notes.append(f"gripper of {side} in episode {number}: {width.min():.3f} to {width.max():.3f} m")
        for place, camera in enumerate(cameras):
            check.cameras[camera] = square(check.size(number, camera))
            captures, images = meta[f"camera{place}_capture_time_ns"][:], data[f"camera{place}_rgb"]
            for row in good:
                check.image(number, camera, int(row - first), images[int(row)], captures[row], grid[row])
    compared = 0
    for index in np.linspace(0, len(dataset) - 1, 60).astype(int):
        now, first, end = (int(x) for x in dataset.sampler.indices[index][:3])
        number = int(np.searchsorted(ends, now, side="right"))
        ahead = np.minimum(now + STRIDE * np.arange(ACTIONS), end - 1)
        # A row that was held is none of the recording's.
        if not valid[ahead].all() or not valid[max(first, now - STRIDE)]:
            continue
        sample = dataset[int(index)]
        for robot, side in enumerate(sides):
            position, rotation, _ = check.recordings[number].hands[side].at(grid[ahead])
            apart = np.einsum("ji,nj->ni", rotation[0], position - position[0])
            turn = np.einsum("ji,njk->nik", rotation[0], rotation)[:, :2].reshape(-1, 6)
            action = sample["action"].numpy()[:, 10 * robot : 10 * robot + 10]
            check.same(f"sample {index}: positions of {side}", action[:, :3], apart, 1e-4)
            check.same(f"sample {index}: rotations of {side}", action[:, 3:9], turn, 1e-4)
            check.same(f"sample {index}: widths of {side}", action[:, 9], data[f"robot{robot}_gripper_width"][:][ahead, 0], 1e-5)
            image = (sample["obs"][f"camera{robot}_rgb"][-1].numpy() * 255).round().astype(np.uint8).transpose(1, 2, 0)
            assert (image == data[f"camera{robot}_rgb"][now]).all(), f"sample {index}: not the image of its row"
        compared += 1
    check.close()
    print(f"{compared} of {len(dataset)} samples: {ACTIONS} actions of each hand relative to the pose of the last image")
    print("OK")


if __name__ == "__main__":
    main()
