"""Reads dataset.zarr.zip with UMI's own UmiDataset (UMI_ROOT) and compares every row and image with the episode
model: umi_zarr.py DATASET SESSION LEROBOT_V3 [--camera wrist]"""

import argparse
import sys

import cv2
import numpy as np

import reference

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("dataset")
parser.add_argument("session")
parser.add_argument("lerobot")
parser.add_argument("--side", default="right")
parser.add_argument("--camera", default="wrist")
arguments = parser.parse_args()

sys.path.insert(0, reference.root("UMI_ROOT"))
from diffusion_policy.dataset.umi_dataset import UmiDataset
from scipy.spatial.transform import Rotation

path = f"{arguments.dataset}/dataset.zarr.zip"
low = lambda shape, **more: dict(shape=shape, horizon=2, latency_steps=0, down_sample_steps=3, type="low_dim", **more)
observations = {
    "camera0_rgb": dict(shape=[3, 224, 224], horizon=2, latency_steps=0, down_sample_steps=3, type="rgb"),
    "robot0_eef_pos": low([3]),
    "robot0_eef_rot_axis_angle": low([6], rotation_rep="rotation_6d"),
    "robot0_gripper_width": low([1]),
    "robot0_eef_rot_axis_angle_wrt_start": low([6]),
}
dataset = UmiDataset(
    shape_meta={"obs": observations, "action": dict(shape=[10], horizon=16, latency_steps=0, down_sample_steps=3)},
    dataset_path=path, pose_repr=dict(obs_pose_repr="relative", action_pose_repr="relative"), val_ratio=0.0,
)  # fmt: skip
data, ends = dataset.replay_buffer, dataset.replay_buffer.episode_ends[:]
_, episodes = reference.episodes(arguments.session, arguments.lerobot)
assert list(ends) == list(np.cumsum([len(e.state) for e in episodes])), f"episode_ends {ends}"
start = 0
for number, episode in enumerate(episodes):
    steps = len(episode.state)
    rows = slice(start, start + steps)
    start += steps
    print(f"episode {number}: {steps} steps")
    pose = episode.wrist(arguments.side, "state")
    reference.close("eef_pos [m]", data["robot0_eef_pos"][rows], pose[:, :3, 3], 2e-6)
    turned = Rotation.from_rotvec(data["robot0_eef_rot_axis_angle"][rows]).as_matrix()
    reference.close("eef_rot", turned, pose[:, :3, :3], 2e-5)
    width = data["robot0_gripper_width"][rows]
    assert (0 < width).all() and (width < 0.3).all(), f"widths {width.min()} to {width.max()}"
    print(f"  gripper_width: {width.min():.3f} to {width.max():.3f} m")
    least = 99.0
    images = data["camera0_rgb"]
    for step in range(steps):
        recorded = episode.image(arguments.camera, step)
        height, side = recorded.shape[0], min(recorded.shape[:2])
        left = (recorded.shape[1] - side) // 2
        top = (height - side) // 2
        cut = recorded[top : top + side, left : left + side]
        expected = cv2.resize(cut, (224, 224), interpolation=cv2.INTER_AREA)
        least = min(least, reference.psnr(images[start - steps + step], expected))
    print(f"  camera0_rgb: {steps} images, PSNR at least {least:.1f} dB")
    assert least >= 30, "another image, another cut, or colours swapped"
for index in np.linspace(0, len(dataset) - 1, 8).astype(int):
    sample = dataset[int(index)]
    assert sample["action"].shape == (16, 10) and np.isfinite(sample["action"].numpy()).all()
print(f"OK: {len(episodes)} episodes, {start} rows, {len(dataset)} windows")
