#!/usr/bin/env python3
"""Reads pairs of video and HDF5 with DreamDojo's own MANODataset and compares numbers and images with the recording.

usage: read_mano.py DATASET SESSION HAND...     env DREAMDOJO_ROOT: a checkout of NVIDIA/DreamDojo

HAND: robot hands by whose retargeted motion the wrists are known. The loader reads the numbers and then feeds latent actions in
their place, so that they are compared where it takes them from: the file of each pair.
"""
import os
import sys
from pathlib import Path

ROOT = os.environ["DREAMDOJO_ROOT"]
DATASET, SESSION = (os.path.abspath(path) for path in sys.argv[1:3])
HANDS = sys.argv[3:]
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, ROOT)
os.chdir(ROOT)

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

if not torch.cuda.is_available():
    torch.Tensor.cuda = lambda self, *_, **__: self

from groot_dreams.data import dataset_mano  # noqa: E402

from recording import Check, shift_ms, whole  # noqa: E402

CLIP = 13


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def smallest_turn(before, after):
    """Rotation matrices (n, 3, 3) that bring unit vectors `before` to `after`: I + [v] + [v]^2 / (1 + c)."""
    v, c = np.cross(before, after), (before * after).sum(-1)
    x, y, z = v.T
    zero = np.zeros_like(x)
    cross = np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]).transpose(2, 0, 1)
    return np.eye(3) + cross + cross @ cross / (1 + c)[:, None, None]


def joint_turns(points, side):
    """Rotations (n, 20, 3, 3) of a glove's joints in the palm's axes (x out of the palm, z to the fingers), from its 21
    points (n, 21, 3): bone by bone the smallest turn, a tip as its last bone."""
    forward = unit(points[:, 9] - points[:, 0])
    across = points[:, 5] - points[:, 17]
    out = unit(np.cross(across if side == "right" else -across, forward))
    palm = np.stack([out, np.cross(forward, out), forward], axis=1)
    points = np.einsum("nij,nkj->nki", palm, points)
    made = []
    for finger in range(5):
        turn = np.tile(np.eye(3), (len(points), 1, 1))
        for part in range(4):
            at = 1 + 4 * finger + part
            if part < 3:
                turn = smallest_turn(turn[:, :, 2], unit(points[:, at + 1] - points[:, at])) @ turn
            made.append(turn)
    return np.stack(made, axis=1)


def columns(six):
    """Matrices whose first two columns are given, (n, 6)."""
    a, b = six[..., :3], six[..., 3:]
    return np.stack([a, b, np.cross(a, b)], axis=-1)


def camera_pose(rig, camera):
    """The mount of a camera that stands in the world, or None."""
    for mount in rig.get("mount", []):
        if (mount["parent"], mount["child"]) == ("world", f"camera/{camera}"):
            pose = np.eye(4)
            pose[:3, 3] = mount["translation_m"]
            pose[:3, :3] = Rotation.from_quat(mount["rotation_xyzw"]).as_matrix()
            return pose
    return None


def main():
    dataset_mano.MANODataset._VIDEO_ROOT = DATASET
    loader = dataset_mano.MANODataset(converted_root=DATASET, num_frames=CLIP)
    check = Check(SESSION, HANDS, {})
    assert len(loader) == len(check.recordings), f"{len(loader)} pairs, {len(check.recordings)} recordings"
    nodes = {"left": dataset_mano._LEFT_NODES_ORDER, "right": dataset_mano._RIGHT_NODES_ORDER}
    for video, path in loader.episode_pairs:
        number = int(Path(path).stem)
        recording = check.recordings[number]
        with h5py.File(path) as file:
            words = {name: value.decode() if isinstance(value, bytes) else value for name, value in file.attrs.items()}
            assert words["llm_description"] == recording.task and words["source_episode_id"] == recording.about["id"], words
            grid, valid = file["timestamps/grid_time_ns"][:], file["timestamps/valid"][:] == 1
            (camera,) = file["timestamps/capture_time_ns"]
            captures = file[f"timestamps/capture_time_ns/{camera}"][:]
            world_from_camera = camera_pose(recording.rig, camera)
            assert (world_from_camera is not None) == (words["frame"] == "camera"), words["frame"]
            if world_from_camera is None:
                world_from_camera = np.eye(4)
            turn_back = world_from_camera[:3, :3].T
            for side in recording.hands:
                position, rotation, _ = recording.hands[side].at(grid[valid])
                wrist = file[f"wrist/{side}_pose_cam_rot6d"][:][valid]
                where = f"episode {number}: {side} wrist"
                check.same(f"{where}, position", wrist[:, :3], (position - world_from_camera[:3, 3]) @ turn_back.T, 1e-5)
                wrists = columns(wrist[:, 3:])
                check.same(f"{where}, rotation", wrists, turn_back @ rotation, 1e-4)
                joints = np.stack([columns(file[f"rot6d/{side}/{name}"][:][valid]) for name in nodes[side]], axis=1)
                inside = wrists.transpose(0, 2, 1)[:, None] @ joints
                # The glove's points, as they came: what is left beside a shift between clocks is an error of the turns.
                points = recording.samples(f"/glove/{side}/keypoints", lambda m: list(m.points))
                shift, off = shift_ms(points, grid[valid], inside, lambda rows: joint_turns(rows.reshape(-1, 21, 3), side))
                # Of a rotation matrix that is a little off, the norm of the difference is sqrt(2) times the angle.
                angle = np.degrees(np.linalg.norm(off, axis=(2, 3)) / np.sqrt(2))
                assert abs(shift) < 6 and np.sqrt(np.mean(angle**2)) < 0.3 and angle.max() < 3, f"{where}: joints {shift:.1f} ms off, {angle.max():.2f}° at most"
                check.notes.append(
                    f"episode {number}, {side}: 20 joints in {len(inside)} rows, {np.sqrt(np.mean(angle**2)):.3f}° rms, "
                    f"{angle.max():.2f}° at most from the glove's points at a shift of {shift:+.1f} ms"
                )
                check.rows_checked += len(wrist)
        check.cameras.setdefault(camera, whole(check.size(number, camera)))
        # Clips as the loader takes them, so that every image is in one.
        for first in range(0, len(grid) - CLIP, CLIP):
            dataset_mano.randint = lambda low, high, first=first: first
            images, start = loader._load_video_slice_torchcodec(video, CLIP)
            assert start == first
            for place, image in enumerate(images):
                step = first + place
                if valid[step]:
                    check.image(number, camera, step, np.asarray(image), captures[step], grid[step])
    dataset_mano.randint = lambda low, high: low
    for index in range(len(loader)):
        sample = loader[index]
        assert tuple(sample["video"].shape) == (3, CLIP, 480, 640) and tuple(sample["action"].shape) == (CLIP - 1, 384)
        assert (sample["action"][:, :352] == 0).all() and (sample["action"][:, 352:] == 1).all(), "the loader feeds more than latent actions now: compare them"
    check.close()
    print("OK")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
