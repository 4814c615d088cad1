#!/usr/bin/env python3
"""Ours against dex-retargeting and mink: objective, CPU time and quality, in one run on one machine.

    python3 -m venv venv
    venv/bin/pip install dex-retargeting==0.5.0 torch six mink mujoco daqp
    cargo build --release --examples -p dexumi_retarget
    venv/bin/python retarget/bench/compare.py --keypoints hand.npy --urdf DIR

`--keypoints` is an array [n, 21, 3] in metres, right hand, in the hand's axes (x out of the palm, y towards
the thumb, z wrist to fingers); `--urdf` the folder of dex-urdf's hands (and xhand1/, sharpa_wave/). Each step
of dex-retargeting is recorded with what it started from, what it was asked and what it answered, in the form
that the examples score_reference and score_quality read; they solve the same steps right after it. Times are
CPU times of one thread.

`--pinches N` adds, before everything else, N pinches made by rule: from frames of the clip spread evenly, the tips
of the thumb and of one finger (in turn) are drawn together along the line between them, to their middle, within
10 steps, held there for 5 and let go within 10.
"""

import argparse
import json
import os
import subprocess
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np  # noqa: E402

HANDS = ["xhand", "inspire", "ability", "svh", "allegro", "leap", "sharpa", "shadow"]
KINDS = ["vector", "dexpilot", "position"]
# Hands that dex-retargeting has no configuration for: URDF, wrist, tips from thumb to little finger, scale.
OWN = {
    "xhand": (
        "xhand1/xhand_right.urdf",
        "right_hand_link",
        [f"right_hand_{name}_tip" for name in ("thumb_rota", "index_rota", "mid", "ring", "pinky")],
        1.2,
    ),
    "sharpa": (
        "sharpa_wave/right_sharpa_wave.urdf",
        "right_hand_C_MC",
        [f"right_{name}_fingertip" for name in ("thumb", "index", "middle", "ring", "pinky")],
        1.2,
    ),
}
TIPS = [4, 8, 12, 16, 20]
FPS = 30.0


def made_pinches(clip, count):
    """Pinches by the rule above; the steps of each, one after the other."""
    closing = np.concatenate([np.linspace(0, 1, 11)[1:], np.ones(5), np.linspace(1, 0, 11)[1:]])
    steps = []
    for index in range(count):
        frame = clip[index * len(clip) // count]
        finger = TIPS[1 + index % 4]
        middle = (frame[4] + frame[finger]) / 2
        for part in closing:
            step = frame.copy()
            for tip in (4, finger):
                step[tip] = frame[tip] + part * (middle - frame[tip])
            steps.append(step)
    return np.array(steps)


def build(hand, kind, urdf):
    """A retargeting of theirs, or None where it has no such configuration."""
    from dex_retargeting.constants import HandType, RetargetingType, RobotName, get_default_config_path
    from dex_retargeting.retargeting_config import RetargetingConfig

    RetargetingConfig.set_default_urdf_dir(urdf)
    if hand in OWN:
        path, wrist, tips, scale = OWN[hand]
        settings = dict(type=kind, urdf_path=path, scaling_factor=scale, low_pass_alpha=0.2)
        if kind == "vector":
            settings.update(
                target_origin_link_names=[wrist] * len(tips),
                target_task_link_names=tips,
                target_link_human_indices=[[0] * len(tips), TIPS],
            )
        elif kind == "dexpilot":
            settings.update(wrist_link_name=wrist, finger_tip_link_names=tips)
        else:
            return None
        return RetargetingConfig.from_dict(settings).build()
    path = get_default_config_path(RobotName[hand], RetargetingType[kind], HandType.right)
    if path is None or not os.path.exists(path):
        return None
    return RetargetingConfig.load_from_file(path).build()


def record(retargeting, hand, kind, clip):
    """Runs theirs over a clip; the arrays and the description of its problems, step by step."""
    optimizer = retargeting.optimizer
    human = np.asarray(optimizer.target_link_human_indices)
    is_position = kind == "position"
    if is_position:
        from dex_retargeting.constants import HandType

        # Axes of the clip are those of the hand, in which their wrist stands upright.
        retargeting.warm_start(clip[0, 0], np.array([1.0, 0, 0, 0]), HandType.right, False)
    limits = retargeting.joint_limits
    rows = {name: [] for name in ("ref", "w", "q_last", "q_opt", "q_out", "t_cpu")}
    for points in clip:
        asked = points[human] if is_position else points[human[1]] - points[human[0]]
        last = np.clip(retargeting.last_qpos, limits[:, 0], limits[:, 1]).astype(np.float64)
        start = time.thread_time()
        given = retargeting.retarget(asked)
        rows["t_cpu"].append(time.thread_time() - start)
        reference, weights = problem(optimizer, kind, asked)
        rows["ref"].append(reference)
        rows["w"].append(weights)
        rows["q_last"].append(last)
        rows["q_opt"].append(np.asarray(retargeting.last_qpos, np.float64))
        rows["q_out"].append(np.asarray(given, np.float64))
    robot = optimizer.robot
    links = optimizer.target_link_indices if is_position else optimizer.computed_link_indices
    lower_upper = robot.joint_limits[optimizer.idx_pin2target]
    scaling = 1.0 if is_position else float(optimizer.scaling)
    meta = dict(
        hand=hand,
        type=kind,
        fps=FPS,
        urdf=os.path.basename(OWN[hand][0]) if hand in OWN else urdf_name(hand),
        scaling=scaling,
        huber_delta=float(optimizer.huber_loss.beta),
        lam=float(optimizer.norm_delta),
        target_joint_names=list(optimizer.target_joint_names),
        full_joint_names=list(retargeting.joint_names),
        links=[robot.link_names[link] for link in links],
        origin_idx=None if is_position else optimizer.origin_link_indices.tolist(),
        task_idx=list(range(len(links))) if is_position else optimizer.task_link_indices.tolist(),
        lower=lower_upper[:, 0].tolist(),
        upper=lower_upper[:, 1].tolist(),
    )
    arrays = {name: np.array(values) for name, values in rows.items()}
    return dict(keypoints=clip, meta=json.dumps(meta), **arrays)


def urdf_name(hand):
    return "schunk_svh_hand_right.urdf" if hand == "svh" else f"{hand}_hand_right.urdf"


def problem(optimizer, kind, asked):
    """Targets and weights as their optimizer has just used them."""
    if kind == "position":
        return asked, np.ones(len(asked))
    if kind == "vector":
        return asked * optimizer.scaling, np.full(len(asked), 1 / len(asked))
    pairs, fingers = len(optimizer.projected), optimizer.num_fingers
    thumb = fingers - 1
    lengths = np.linalg.norm(asked[:pairs], axis=1, keepdims=True)
    drawn = asked[:pairs] / (lengths + 1e-6) * optimizer.projected_dist[:, None]
    projected = optimizer.projected.copy()
    between = np.where(projected[:, None], drawn, asked[:pairs] * optimizer.scaling)
    heavy = np.array([200.0] * thumb + [400.0] * (pairs - thumb))
    weights = np.concatenate([np.where(projected, heavy, 1.0), np.full(fingers, pairs + fingers)])
    return np.concatenate([between, asked[pairs:] * optimizer.scaling]), weights / (pairs + fingers)


def mink_times(hand, urdf, clip, scale, steps):
    """CPU times of mink following wrist to tip, `steps` ticks a frame; None where MuJoCo cannot load the hand."""
    import re

    import mink
    import mujoco

    folder = {"svh": "schunk_hand"}.get(hand, f"{hand}_hand")
    path = os.path.join(urdf, OWN[hand][0] if hand in OWN else f"{folder}/{urdf_name(hand)}")
    text = open(path).read()
    # Meshes are not at hand, and nothing here looks at them.
    text = re.sub(r"<(visual|collision)\b.*?</\1>", "", text, flags=re.S)
    text = re.sub(r"<robot([^>]*)>", r'<robot\1><mujoco><compiler balanceinertia="true" fusestatic="false" discardvisual="false"/></mujoco>', text, count=1)
    try:
        model = mujoco.MjModel.from_xml_string(text)
    except ValueError as error:
        print(f"mink: {hand}: {error}", file=sys.stderr)
        return None
    tips = OWN[hand][2] if hand in OWN else {
        "allegro": ["link_15.0_tip", "link_3.0_tip", "link_7.0_tip", "link_11.0_tip"],
        "leap": ["thumb_tip_head", "index_tip_head", "middle_tip_head", "ring_tip_head"],
        "shadow": ["thtip", "fftip", "mftip", "rftip", "lftip"],
        "svh": ["thtip", "fftip", "mftip", "rftip", "lftip"],
    }.get(hand, [f"{name}_tip" for name in ("thumb", "index", "middle", "ring", "pinky")])
    configuration = mink.Configuration(model)
    tasks = [mink.FrameTask(tip, "body", position_cost=1.0, orientation_cost=0.0, lm_damping=1.0) for tip in tips]
    tasks.append(mink.PostureTask(model, cost=1e-2))
    tasks[-1].set_target(configuration.q)
    limits = [mink.ConfigurationLimit(model)]
    times = []
    for points in clip:
        start = time.thread_time()
        for task, tip in zip(tasks[: len(tips)], TIPS):
            task.set_target(mink.SE3.from_translation((points[tip] - points[0]) * scale))
        for _ in range(steps):
            velocity = mink.solve_ik(configuration, tasks, 0.02, "daqp", damping=1e-5, limits=limits)
            configuration.integrate_inplace(velocity, 0.02)
        times.append(time.thread_time() - start)
    return np.array(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keypoints", required=True)
    parser.add_argument("--urdf", required=True)
    parser.add_argument("--out", default="compare-out")
    parser.add_argument("--examples", default="target/release/examples", help="where the examples were built")
    parser.add_argument("--hands", nargs="+", default=HANDS)
    parser.add_argument("--kinds", nargs="+", default=KINDS)
    parser.add_argument("--pinches", type=int, default=0)
    parser.add_argument("--noise-mm", type=float, default=0.0, help="seeded noise on every coordinate")
    parser.add_argument("--stride", type=int, default=1, help="every so many frames: faster motion")
    parser.add_argument("--no-mink", action="store_true")
    arguments = parser.parse_args()
    clip = np.load(arguments.keypoints).astype(np.float64)[:: arguments.stride]
    if arguments.noise_mm:
        clip = clip + np.random.default_rng(1).normal(0, arguments.noise_mm * 1e-3, clip.shape)
    if arguments.pinches:
        clip = made_pinches(clip, arguments.pinches)
    os.makedirs(arguments.out, exist_ok=True)
    files = []
    print(f"{'hand':8} {'kind':9} {'dof':>3} {'theirs, ms CPU p50':>19} {'p99':>8}")
    for hand in arguments.hands:
        for kind in arguments.kinds:
            retargeting = build(hand, kind, arguments.urdf)
            if retargeting is None:
                continue
            arrays = record(retargeting, hand, kind, clip)
            file = os.path.join(arguments.out, f"{hand}__{kind}.npz")
            np.savez_compressed(file, **arrays)
            files.append(file)
            times = arrays["t_cpu"][1:] * 1e3
            print(
                f"{hand:8} {kind:9} {arrays['q_last'].shape[1]:>3} {np.median(times):>19.3f}"
                f" {np.percentile(times, 99):>8.3f}",
                flush=True,
            )
        if not arguments.no_mink and "vector" in arguments.kinds:
            scale = json.loads(arrays["meta"])["scaling"] if kind != "position" else 1.2
            for steps in (1, 5):
                times = mink_times(hand, arguments.urdf, clip, scale, steps)
                if times is not None:
                    times = times[1:] * 1e3
                    print(f"{hand:8} mink, {steps} step(s) {np.median(times):>16.3f} {np.percentile(times, 99):>8.3f}", flush=True)
    for example in ("score_reference", "score_quality"):
        program = os.path.join(arguments.examples, example)
        print(f"\n{example}", flush=True)
        command = [program, "--urdf", arguments.urdf, *files]
        if subprocess.run(command).returncode:
            print(f"{example}: not all well", file=sys.stderr)


if __name__ == "__main__":
    main()
