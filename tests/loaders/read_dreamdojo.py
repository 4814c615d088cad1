#!/usr/bin/env python3
"""Reads a dataset with DreamDojo's own loader and compares it with the recording.

usage: read_dreamdojo.py DATASET SESSION     env DREAMDOJO_ROOT: a checkout of NVIDIA/DreamDojo

DATASET is of the variant g1, or of own (read with a copy of the loader that was changed as its DREAMDOJO.md says), or a
tree of videos. Stand-ins:
pytorch3d (not needed for what is read), ipdb (raises instead of asking), Tensor.cuda (no GPU), lightning (a base class).
"""
import json
import os
import shutil
import sys
import tempfile
import types
from pathlib import Path

ROOT = os.environ["DREAMDOJO_ROOT"]
DATASET, SESSION = (os.path.abspath(path) for path in sys.argv[1:3])
sys.path.insert(0, str(Path(__file__).parent))


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

import mark  # noqa: E402
from recording import Check, Recording, session_truth  # noqa: E402
from rows import Rows  # noqa: E402


# Steps a second of the export that is read, and how far apart the latent-action loader takes its two images.
FPS = 20
SKIPPED = 4
SEEN = None


def videos():
    global SEEN
    truth = session_truth(SESSION)
    if truth:
        recordings = [Recording(path, [], truth) for path in sorted(Path(SESSION).glob("episode_*.mcap"))]
        camera = "head" if any(d["stream"] == "/camera/head/image" for d in recordings[0].rig["device"]) else "wrist"
        SEEN = {int(time) - each.offset_ns for each in recordings for time in each.marks(camera)}
    os.chdir(ROOT)
    sys.path.insert(0, ROOT)
    from groot_dreams.data.dataset_video import VideoDataset

    dataset = VideoDataset(video_root=DATASET, num_frames=13)
    expected = sorted(Path(DATASET).rglob("*.mp4"))
    assert len(dataset) == len(expected), f"{len(dataset)} of {len(expected)} videos are taken"
    sample = dataset[0]
    assert tuple(sample["video"].shape) == (3, 13, 480, 640), sample["video"].shape
    assert tuple(sample["action"].shape) == (12, 384), sample["action"].shape
    print(f"{len(dataset)} videos, all taken")
    clips = [sample["video"].numpy().transpose(1, 2, 3, 0) for sample in (dataset[k % len(dataset)] for k in range(12))]
    told = [marked(clip, (480, 640)) for clip in clips]
    stand_in("lightning", LightningDataModule=object)
    sys.path.insert(0, f"{ROOT}/external/lam_project")
    from lam.dataset import VideoDataset as LatentActions

    latent = LatentActions(subset_path=DATASET, num_frames=2, randomize=True)
    assert len(latent.file_names) == len(expected), f"{len(latent.file_names)} of {len(expected)} videos are taken"
    for name in latent.file_names:
        told.append(marked(np.asarray(latent.load_video_slice(name, 2, 0)), (240, 320), most=SKIPPED))
    print(f"{len(told)} clips of both loaders: {sum(told)} images follow each other as they were taken")


def marked(clip, size, most=1):
    """The number of images of a clip, each at most `most` steps after the one before by their marks."""
    if clip.dtype != np.uint8:
        clip = (clip * (255 if clip.max() <= 1.0 else 1)).round().astype(np.uint8)
    assert clip.shape[1:] == (*size, 3), clip.shape
    if SEEN is None:
        return 0
    # A 16:9 image is cut to the middle 4:3 by the export.
    times = [mark.read(mark.gray(image), (1280, 720), (160, 0, 960, 720)) for image in clip]
    assert all(time is not None for time in times), f"unreadable marks: {times}"
    assert all(int(time * 1e9) in SEEN for time in times), f"no recorded image has the times {times}"
    steps = np.diff(times)
    assert (steps > 0).all() and (steps < (most + 1.5) / FPS).all(), f"images {times} do not follow each other at {FPS} a second"
    return len(times)


def taught(checkout):
    """A copy of the loader with the changes that DREAMDOJO.md asks for, so that it knows the tag `dexumi`."""
    copy = Path(tempfile.mkdtemp())
    shutil.copytree(f"{checkout}/groot_dreams", copy / "groot_dreams")
    (copy / "shared_meta").symlink_to(f"{checkout}/shared_meta")
    said = (Path(DATASET) / "DREAMDOJO.md").read_text()
    keys = next(json.loads(part) for part in said.split("`") if part.startswith('{"'))
    slots = next(part for part in said.split("`") if part.startswith("action_seq["))

    def change(name, before, after):
        path = copy / "groot_dreams" / name
        text = path.read_text()
        assert text.count(before) == 1, f"{name}: {text.count(before)} times {before!r}"
        path.write_text(text.replace(before, after))

    change("data/embodiment_tags.py", '    YAM = "yam"', '    YAM = "yam"\n    DEXUMI = "dexumi"')
    change("dataloader.py", 'return "gr1" in', 'return "dexumi" in dataset_path.lower() or "gr1" in')
    change("dataloader.py", '                if "gr1" in path.lower():', '                if "dexumi" in path.lower():\n                    embodiment = "dexumi"\n                elif "gr1" in path.lower():')
    change(
        "groot_configs.py",
        '    if embodiment == "gr1":',
        f"""    if embodiment == "dexumi":
        delta_indices = list(range(0, num_frames * 2, 2))
        config = {{
            "video": ModalityConfig(delta_indices=delta_indices, modality_keys={keys["video"]}),
            "state": ModalityConfig(delta_indices=[0], modality_keys={keys["state"]}),
            "action": ModalityConfig(delta_indices=delta_indices, modality_keys={keys["action"]}),
        }}
    elif embodiment == "gr1":""",
    )
    change("data/dataset.py", "        if embodiment_tag == EmbodimentTag.GR1:\n            if \"inhouse", "        if embodiment_tag == EmbodimentTag.DEXUMI:\n            has_default_meta = False\n        elif embodiment_tag == EmbodimentTag.GR1:\n            if \"inhouse")
    change("data/dataset.py", '            elif "gr1" in str(self.dataset_path).lower():\n                action_seq', f'            elif "dexumi" in str(self.dataset_path).lower():\n                {slots}\n            elif "gr1" in str(self.dataset_path).lower():\n                action_seq')
    return str(copy)


def robot():
    is_own = (Path(DATASET) / "DREAMDOJO.md").read_text().count("under the tag") > 0
    root = taught(ROOT) if is_own else ROOT
    # Statistics are opened by paths relative to the checkout.
    os.chdir(root)
    sys.path.insert(0, root)
    from groot_dreams.dataloader import MultiVideoActionDataset

    dataset = MultiVideoActionDataset(dataset_path=[DATASET], num_frames=13, data_split="full")
    loader = dataset.datasets[0].lerobot_dataset
    check = Check.of(SESSION, DATASET)
    name = "head" if "head" in check.cameras else next(iter(check.cameras))
    view = next(key for key in loader.delta_indices if key.startswith("video."))
    columns = json.load(open(Path(DATASET) / "meta/info.json"))["features"]["action"]["names"]
    parts = json.load(open(Path(DATASET) / "meta/modality.json"))["action"]
    rows, last = {}, None
    for number, base in loader.all_steps:
        number = int(number)
        if number != last:
            rows[number], last = Rows(DATASET, number), number
        row = rows[number]
        captures, valid = row.column(f"capture_time_ns.{name}"), row.valid(f"camera.{name}")
        sides = [part.removeprefix("hand.") for part in row.parts if part.startswith("hand.")]
        if base % 10:
            continue
        data = loader.get_step_data(number, base)
        for place, step in enumerate(loader.delta_indices[view] + base):
            if valid[step]:
                check.image(number, name, int(step), np.asarray(data[view][place]), captures[step], row.grid[step])
        for side in sides:
            wrist = f"{side}_wrist" if is_own else f"{side}_arm"
            good = set(row.hand_rows(side).tolist())
            steps = [int(step) for step in loader.delta_indices[f"action.{wrist}"] + base]
            kept = [place for place, step in enumerate(steps) if step in good]
            if not kept:
                continue
            times = [row.grid[steps[place] + 1] for place in kept]
            arm = np.asarray(data[f"action.{wrist}"])[kept]
            if is_own:
                rotation = arm[:, 3:]
            else:
                x, y, z, w = arm[:, 3:].T
                turned = [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), 2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)]
                rotation = np.array(turned).T
            hand = parts[f"{side}_hand"]
            joints = columns[hand["start"] : hand["end"]]
            there = [place for place, joint in enumerate(joints) if not joint.endswith("_at_rest")]
            names = [joints[place].removeprefix(f"{side}_") for place in there]
            fingers = np.asarray(data[f"action.{side}_hand"])[kept][:, there]
            check.numbers(number, side, times, arm[:, :3], rotation, fingers, f"action of episode {number} from {base}", names)
    check.close()
    sample = dataset[0]
    columns = torch.nonzero(sample["action"][1:].abs().sum(0)).flatten()
    assert tuple(sample["video"].shape) == (3, 13, 480, 640) and tuple(sample["action"].shape) == (12, 384)
    width = max(part["end"] for part in parts.values())
    first, end = (169, 169 + width) if is_own else (58, 101)
    assert first <= columns.min() and columns.max() < end, f"action columns {columns.min()} to {columns.max()}, expected {first} to {end}"
    print(f"actions in slots {int(columns.min())} to {int(columns.max())}")


if __name__ == "__main__":
    robot() if (Path(DATASET) / "meta/info.json").exists() else videos()
    print("OK")
    sys.stdout.flush()
    os._exit(0)
