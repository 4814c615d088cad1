"""Reads <side>.zarr with DexUMI's own DexUMIDataset (DEXUMI_ROOT) and compares every row and image with the
episode model: dexumi_zarr.py DATASET SESSION LEROBOT_V3 [--camera wrist]"""

import argparse
import json
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

sys.path.insert(0, reference.root("DEXUMI_ROOT"))
from dexumi.diffusion_policy.dataloader.dexumi_dataset import DexUMIDataset
from scipy.spatial.transform import Rotation

store = f"{arguments.dataset}/{arguments.side}.zarr"
about = json.load(open(f"{store}/.zattrs"))
fps, episodes = reference.episodes(arguments.session, arguments.lerobot)
assert about["fps"] == fps, "export both at the same --fps"
dataset = DexUMIDataset(
    data_dirs=[store], load_camera_ids=[0], camera_resize_shape=[240, 240], pred_horizon=16, obs_horizon=1,
    action_horizon=8, unnormal_list=["camera_0", "pose"], optional_transforms=["Resize", "CenterCrop"],
    relative_hand_action=True, bgr2rgb=False, enable_fsr=False, seed=0,
)  # fmt: skip
buffer = dataset.buffer.memory_buffer
# Normalisation must not hide what is stored: the replay buffer holds it raw for these keys.
start = 0
for number, episode in enumerate(episodes):
    steps = len(episode.state)
    rows = slice(start, start + steps)
    start += steps
    print(f"episode {number}: {steps} steps")
    target = episode.wrist(arguments.side, "action")
    pose = buffer["pose"][rows]
    reference.close("pose: position [m], one step ahead", pose[:, :3], target[:, :3, 3], 2e-6)
    turned = Rotation.from_rotvec(pose[:, 3:]).as_matrix()
    reference.close("pose: rotation, one step ahead", turned, target[:, :3, :3], 2e-5)
    import zarr

    group = zarr.open(store, mode="r")[f"episode_{number}"]
    for name, which in (("hand_action", "action"), ("proprioception", "state")):
        joints = episode.joints(arguments.side, which)
        if "radians" in about["hand_scale"]:
            reference.close(name, group[name][:], joints * 3, 1e-5)
    if "fsr" in group:
        force = episode.force[arguments.side].reshape(steps, -1, 3)
        reference.close("fsr", group["fsr"][:], np.linalg.norm(force, axis=2), 1e-3)
    worst = 0
    for step in range(steps):
        expected = cv2.resize(episode.image(arguments.camera, step), (240, 240))
        got = buffer["camera_0"][rows][step]
        worst = max(worst, int(np.abs(expected.astype(int) - got.astype(int)).max()))
        assert worst <= 3, f"step {step}: a pixel is off by {worst}: another image, or colours swapped"
    print(f"  camera_0: {steps} images, pixels within {worst}")
assert start == len(buffer["pose"]), f"{len(buffer['pose'])} rows, {start} steps"
for index in np.linspace(0, len(dataset) - 1, 8).astype(int):
    sample = dataset[int(index)]
    assert sample["action"].shape[0] == 16 and np.isfinite(sample["action"]).all()
    assert sample["camera_0"].shape == (1, 3, 224, 224)
print(f"OK: {len(episodes)} episodes, {start} rows, {len(dataset)} windows")
