#!/usr/bin/env python3
"""Reads a dataset with DreamDojo's own loader and compares it with the recording.

usage: read_dreamdojo.py DATASET SESSION     env DREAMDOJO_ROOT: a checkout of NVIDIA/DreamDojo

DATASET is of the variant g1 (its path says so), or a tree of videos. Stand-ins: pytorch3d (not needed for what is
read), ipdb (raises instead of asking), Tensor.cuda (no GPU).
"""
import os
import sys
import types
from pathlib import Path

ROOT = os.environ["DREAMDOJO_ROOT"]
DATASET, SESSION = (os.path.abspath(path) for path in sys.argv[1:3])
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, ROOT)
# Statistics are opened by paths relative to the checkout.
os.chdir(ROOT)


def stand_in(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


def refuse():
    raise RuntimeError("the loader refuses a sample")


try:
    import pytorch3d.transforms  # noqa: F401
except ImportError:
    stand_in("pytorch3d", transforms=stand_in("pytorch3d.transforms"))
stand_in("ipdb", set_trace=refuse)

import numpy as np  # noqa: E402
import torch  # noqa: E402

if not torch.cuda.is_available():
    torch.Tensor.cuda = lambda self, *_, **__: self

from recording import Check  # noqa: E402
from rows import Rows  # noqa: E402


def videos():
    from groot_dreams.data.dataset_video import VideoDataset

    dataset = VideoDataset(video_root=DATASET, num_frames=13)
    expected = sorted(Path(DATASET).rglob("*.mp4"))
    assert len(dataset) == len(expected), f"{len(dataset)} of {len(expected)} videos are taken"
    sample = dataset[0]
    assert tuple(sample["video"].shape) == (3, 13, 480, 640), sample["video"].shape
    assert tuple(sample["action"].shape) == (12, 384), sample["action"].shape
    print(f"{len(dataset)} videos, all taken")


def robot():
    from groot_dreams.dataloader import MultiVideoActionDataset

    dataset = MultiVideoActionDataset(dataset_path=[DATASET], num_frames=13, data_split="full")
    loader = dataset.datasets[0].lerobot_dataset
    check = Check(SESSION, DATASET)
    key = "observation.images.head" if "observation.images.head" in check.cameras else next(iter(check.cameras))
    name = key.removeprefix("observation.images.")
    rows, last = {}, None
    for number, base in loader.all_steps:
        number = int(number)
        if number != last:
            rows[number], last = Rows(DATASET, number), number
        row = rows[number]
        captures, valid = row.column(f"capture_time_ns.{name}"), row.valid(f"camera.{name}")
        sides = [part.removeprefix("hand.") for part in row.parts if part.startswith("hand.")]
        data = loader.get_step_data(number, base)
        for place, step in enumerate(loader.delta_indices["video.ego_view"] + base):
            if valid[step] and base % 10 == 0:
                check.image(number, key, int(step), np.asarray(data["video.ego_view"][place]), captures[step], row.grid[step])
        for side in sides:
            good = set(row.hand_rows(side).tolist())
            steps = [int(step) for step in loader.delta_indices["action.left_arm"] + base]
            kept = [place for place, step in enumerate(steps) if step in good]
            if kept:
                arm = np.asarray(data[f"action.{side}_arm"])[kept]
                times = [row.grid[steps[place] + 1] for place in kept]
                x, y, z, w = arm[:, 3:].T
                rotation = np.array([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), 2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)]).T
                check.numbers(number, side, times, arm[:, :3], rotation, None, f"action of episode {number} from {base}")
    check.close()
    sample = dataset[0]
    columns = torch.nonzero(sample["action"].abs().sum(0)).flatten()
    assert tuple(sample["video"].shape) == (3, 13, 480, 640) and tuple(sample["action"].shape) == (12, 384)
    assert columns.max() < 101, f"action columns up to {columns.max()}"


if __name__ == "__main__":
    robot() if (Path(DATASET) / "meta/info.json").exists() else videos()
    print("OK")
    sys.stdout.flush()
    os._exit(0)
