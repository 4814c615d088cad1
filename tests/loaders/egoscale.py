"""Reads a stage's manifest with open-egoscale's own EgoScaleDataset (EGOSCALE_ROOT, its folder egoscale_research) and
compares actions and images with the episode model: egoscale.py DATASET SESSION LEROBOT_V3 --stage 1|2|3"""

import argparse
import sys

import numpy as np

import reference

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("dataset")
parser.add_argument("session")
parser.add_argument("lerobot")
parser.add_argument("--stage", type=int, default=1)
parser.add_argument("--side", default="right")
parser.add_argument("--samples", type=int, default=40)
arguments = parser.parse_args()

checkout = reference.root("EGOSCALE_ROOT")
sys.path.insert(0, f"{checkout}/src")
from egoscale.config import ExperimentConfig
from egoscale.data import EgoScaleCollator, EgoScaleDataset, EgoScaleTransforms
from scipy.spatial.transform import Rotation

config = ExperimentConfig.from_yaml(f"{checkout}/configs/stage{arguments.stage}.yaml")
manifest = f"{arguments.dataset}/meta/chunks_stage{arguments.stage}.jsonl"
dataset = EgoScaleDataset.from_jsonl(manifest, config.data, f"stage{arguments.stage}", transform=None)
rows = dataset._rows
lines = sum(1 for line in open(manifest) if line.strip())
assert len(dataset) == lines, f"{lines - len(dataset)} of {lines} rows dropped by the configuration"
fps, episodes = reference.episodes(arguments.session, arguments.lerobot)
least, checked = 99.0, 0
for index in np.linspace(0, len(dataset) - 1, arguments.samples).astype(int):
    row, sample = rows[index], dataset[int(index)]
    episode = episodes[int(row["episode_id"].rsplit("_", 1)[1])]
    first = row["action_index_start"]
    now, then = episode.wrist(arguments.side, "state"), episode.wrist(arguments.side, "action")
    for at in range(8):
        k = first + at
        delta = np.linalg.inv(now[k]) @ then[k]
        got = sample.actions[at].numpy()
        assert np.abs(got[:3] - delta[:3, 3]).max() < 1e-5, f"{row['chunk_id']} action {at}: translation"
        turned = Rotation.from_rotvec(got[3:6]).as_matrix()
        assert np.abs(turned - delta[:3, :3]).max() < 1e-4, f"{row['chunk_id']} action {at}: rotation"
        joints = episode.joints(arguments.side, "action")[k]
        assert np.abs(got[6 : 6 + len(joints)] - joints).max() < 1e-5, f"{row['chunk_id']} action {at}: hand"
        assert (got[6 + len(joints) :] == 0).all()
    if sample.has_proprio:
        joints = episode.joints(arguments.side, "state")[first]
        assert np.abs(sample.raw_state[: len(joints)].numpy() - joints).max() < 1e-5
    assert sample.instruction == episode.task, sample.instruction
    for view, images in sample.view_images.items():
        camera = {"head": "head", "left_wrist": "wrist", "right_wrist": "wrist"}[view]
        for at in range(2):
            step = row["obs_index_start"] + at
            got = images[at].numpy().transpose(1, 2, 0)
            expected = episode.image(camera if camera in episode.times else view, step)
            if got.shape != expected.shape:
                import cv2

                expected = cv2.resize(expected, (got.shape[1], got.shape[0]), interpolation=cv2.INTER_AREA)
            least = min(least, reference.psnr(got, expected))
            assert least >= 28, f"{row['chunk_id']} {view} image {at}: {least:.1f} dB: another image"
    checked += 1
transforms = EgoScaleTransforms(config.data, config.state_semantics, config.action_semantics)
batch = EgoScaleCollator()([transforms(dataset[k]) for k in range(2)])
print({key: tuple(value.shape) for key, value in batch.items() if hasattr(value, "shape")})
print(f"OK: stage {arguments.stage}, {lines} samples, {checked} compared, images at least {least:.1f} dB")
