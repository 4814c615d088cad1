"""Reads pairs of video and HDF5 with DreamDojo's own MANODataset (DREAMDOJO_ROOT) and compares them with the episode
model: dreamdojo_mano.py DATASET SESSION LEROBOT_V3. Distances and turns between the two wrists do not depend on the
camera's frame, so that they can be compared without it."""

import argparse
import glob
import os
import sys

import h5py
import numpy as np

import reference

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("dataset")
parser.add_argument("session")
parser.add_argument("lerobot")
parser.add_argument("--camera", default="head")
arguments = parser.parse_args()
arguments.dataset, arguments.session, arguments.lerobot = (
    os.path.abspath(path) for path in (arguments.dataset, arguments.session, arguments.lerobot)
)

checkout = reference.root("DREAMDOJO_ROOT")
sys.path.insert(0, checkout)
from groot_dreams.data.dataset_mano import MANODataset

MANODataset._VIDEO_ROOT = arguments.dataset
dataset = MANODataset(converted_root=arguments.dataset, num_frames=13)
_, episodes = reference.episodes(arguments.session, arguments.lerobot)
assert len(dataset) == len(episodes), f"{len(dataset)} pairs, {len(episodes)} episodes"


def columns_to_matrix(six):
    a, b = six[..., :3], six[..., 3:]
    return np.stack([a, b, np.cross(a, b)], axis=-1)


least = 99.0
for path in sorted(glob.glob(f"{arguments.dataset}/part1/*/*.hdf5")):
    number = int(os.path.basename(path).split(".")[0])
    episode = episodes[number]
    steps = len(episode.state)
    with h5py.File(path) as file:
        words = {name: file.attrs[name].decode() for name in ("llm_description", "frame")}
        assert words["llm_description"] == episode.task
        pose = {side: file[f"wrist/{side}_pose_cam_rot6d"][:] for side in ("left", "right")}
        assert all(len(values) == steps for values in pose.values())
        print(f"episode {number}: {steps} steps, frame {words['frame']}")
    sides = [side for side in ("left", "right") if f"{side}_wrist_x" in episode.names]
    wrists = {side: episode.wrist(side, "state") for side in sides}
    if len(sides) == 2:
        apart = np.linalg.norm(pose["left"][:, :3] - pose["right"][:, :3], axis=1)
        expected = np.linalg.norm(wrists["left"][:, :3, 3] - wrists["right"][:, :3, 3], axis=1)
        reference.close("distance of the wrists [m]", apart, expected, 1e-5)
        turn = {side: columns_to_matrix(pose[side][:, 3:]) for side in sides}
        got = turn["left"].transpose(0, 2, 1) @ turn["right"]
        expected = wrists["left"][:, :3, :3].transpose(0, 2, 1) @ wrists["right"][:, :3, :3]
        reference.close("turn between the wrists", got, expected, 1e-4)
    from torchcodec.decoders import VideoDecoder

    video = VideoDecoder(path.replace(".hdf5", ".mp4"))
    assert len(video) == steps, f"{len(video)} images, {steps} steps"
    for step in range(0, steps, max(1, steps // 20)):
        got = video[step].numpy().transpose(1, 2, 0)
        least = min(least, reference.psnr(got, episode.image(arguments.camera, step)))
    assert least >= 28, f"{path}: {least:.1f} dB: another image"
for index in range(len(dataset)):
    sample = dataset[index]
    shapes = {key: tuple(value.shape) if hasattr(value, "shape") else value for key, value in sample.items()}
print(shapes)
print(f"OK: {len(dataset)} pairs, images at least {least:.1f} dB")
