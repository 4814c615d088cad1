#!/usr/bin/env python3
"""How fast `dexumi export` writes videos, beside lerobot's own writer and beside ffmpeg alone.

    export_speed.py --program target/release/dexumi --session SESSION [--codec h264|av1] [--repeats 3]

Runs under an interpreter with lerobot[dataset]==0.6.1, opencv, mcap and mcap-protobuf-support. One run,
one machine, the same JPEGs and the same settings of the encoder (those that `dexumi export` says that it
uses):

- ffmpeg alone: decodes and encodes each camera's JPEGs, which lie in memory, and does nothing else; as
  many at once as there are cores, each with as many threads as it likes.
- ffmpeg, one thread each: the same with one thread for decoder, filters and, of H.264, encoder. The
  physical limit.
- dexumi: `dexumi export --format lerobot-v3 --keep-idle`, from the MCAP files to the checked dataset.
- lerobot streaming, lerobot: LeRobotDataset.create(streaming_encoding=True or False), whose frames are
  decoded by OpenCV from the same JPEGs in memory; one number beside the images.

Prints Markdown: the median of the repeats. CPU and memory are those of the program and its children.
SSIM is of luma, of every 20th image, against the JPEG that is nearest to it.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CODECS = {
    "h264": dict(vcodec="libx264", g=12, crf=23, preset="veryfast", extra={"bf": "0"}),
    "av1": dict(vcodec="libsvtav1", g=2, crf=30, preset=12, extra={}),
}


def episodes(session: Path) -> list[dict[str, list[bytes]]]:
    """Of each episode the JPEGs of each camera."""
    from mcap.reader import make_reader
    from mcap_protobuf.decoder import DecoderFactory

    found = []
    for path in sorted(session.glob("*.mcap")):
        cameras: dict[str, list[bytes]] = {}
        with path.open("rb") as file:
            reader = make_reader(file, decoder_factories=[DecoderFactory()])
            for schema, channel, _, message in reader.iter_decoded_messages():
                if schema.name == "foxglove.CompressedImage":
                    name = channel.topic.split("/")[2]
                    cameras.setdefault(name, []).append(bytes(message.data))
        found.append(cameras)
    return found


def tree_memory_mb(root: int) -> float:
    """Resident memory of a process and its descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
                parents[int(entry)] = int(stat.rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                pass
    total, todo = 0, [root]
    while todo:
        pid = todo.pop()
        todo += [child for child, parent in parents.items() if parent == pid]
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            pass
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6


def timed(command: list[str], ok=(0,)) -> dict:
    """Wall clock and processor time [s], and the most memory [MB], of a command and its children."""
    before = os.times()
    began = time.monotonic()
    log = tempfile.TemporaryFile()
    child = subprocess.Popen(command, stdout=log, stderr=log)
    most, is_done = [0.0], threading.Event()

    def watch():
        while not is_done.wait(0.05):
            most[0] = max(most[0], tree_memory_mb(child.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = child.wait()
    seconds = time.monotonic() - began
    is_done.set()
    watcher.join()
    after = os.times()
    if code not in ok:
        log.seek(0)
        sys.exit(f"{command[0]} ended with {code}:\n{log.read().decode(errors='replace')[-3000:]}")
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return dict(seconds=seconds, cpu=cpu, memory=most[0])


def ffmpeg_alone(folder: Path, out: Path, codec: str, fps: int, one_thread: bool) -> None:
    """Every camera's JPEGs through ffmpeg, as many at once as there are cores."""
    from concurrent.futures import ThreadPoolExecutor

    settings = CODECS[codec]
    options = ["-c:v", settings["vcodec"], "-preset", str(settings["preset"]), "-g", str(settings["g"])]
    options += ["-crf", str(settings["crf"]), "-pix_fmt", "yuv420p"]
    for key, value in settings["extra"].items():
        options += [f"-{key}", value]

    before = ["-filter_threads", "1", "-threads", "1"] if one_thread else []
    options += ["-threads", "1"] if one_thread and codec == "h264" else []

    def encode(jpegs: Path) -> None:
        command = ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", *before, "-f", "mjpeg"]
        command += ["-framerate", str(fps), "-i", str(jpegs), *options, "-y", str(out / f"{jpegs.stem}.mp4")]
        subprocess.run(command, check=True, env={**os.environ, "SVT_LOG": "1"})

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(encode, sorted(folder.glob("*.mjpeg"))))


def lerobot_writes(folder: Path, out: Path, codec: str, fps: int, is_streaming: bool) -> None:
    """The same images through lerobot's writer."""
    import cv2
    import numpy as np
    from lerobot.configs.video import RGBEncoderConfig
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    settings = CODECS[codec]
    encoder = RGBEncoderConfig(
        vcodec="h264" if codec == "h264" else settings["vcodec"],
        g=settings["g"], crf=settings["crf"], preset=settings["preset"], extra_options=settings["extra"],
    )
    index = json.loads((folder / "index.json").read_text())
    features = {"observation.state": {"dtype": "float32", "shape": (1,), "names": ["x"]}}
    for name, (width, height) in index["sizes"].items():
        key = f"observation.images.{name}"
        features[key] = {"dtype": "video", "shape": (height, width, 3), "names": ["height", "width", "channels"]}
    dataset = LeRobotDataset.create(
        repo_id="speed/speed", fps=fps, features=features, root=out, rgb_encoder=encoder,
        streaming_encoding=is_streaming, encoder_queue_maxsize=100_000 if is_streaming else 30,
        image_writer_threads=0 if is_streaming else 4,
    )
    for episode in index["episodes"]:
        files = {name: (folder / f"{stem}.mjpeg").open("rb") for name, (stem, _) in episode.items()}
        for step in range(min(len(lengths) for _, lengths in episode.values())):
            frame = {"observation.state": np.zeros(1, np.float32), "task": "speed"}
            for name, (_, lengths) in episode.items():
                data = np.frombuffer(files[name].read(lengths[step]), np.uint8)
                frame[f"observation.images.{name}"] = cv2.cvtColor(cv2.imdecode(data, 1), cv2.COLOR_BGR2RGB)
            dataset.add_frame(frame)
        dataset.save_episode()
    dataset.finalize()


def ssim(one, other) -> float:
    """Mean structural similarity of two luma images (Wang et al. 2004: 11 x 11 Gaussian, sigma 1.5)."""
    import cv2
    import numpy as np

    one, other = one.astype(np.float64), other.astype(np.float64)
    blur = lambda image: cv2.GaussianBlur(image, (11, 11), 1.5)
    a, b = blur(one), blur(other)
    va, vb, cov = blur(one * one) - a * a, blur(other * other) - b * b, blur(one * other) - a * b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float((((2 * a * b + c1) * (2 * cov + c2)) / ((a * a + b * b + c1) * (va + vb + c2))).mean())


def similarity(videos: list[Path], sources: list) -> float:
    """Mean SSIM of every 20th image; `sources` are the luma images of the cameras."""
    import av
    import numpy as np

    found = []
    for path in videos:
        with av.open(str(path)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index % 20 != 10:
                    continue
                luma = np.asarray(frame.to_ndarray(format="gray"))
                small = luma[::8, ::8].astype(np.int32)
                same = [s for s in sources if s.shape == luma.shape]
                nearest = min(same, key=lambda s: int(((s[::8, ::8].astype(np.int32) - small) ** 2).sum()))
                found.append(ssim(luma, nearest))
    return statistics.fmean(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--session", type=Path)
    parser.add_argument("--codec", choices=CODECS, default="h264")
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.part and not (given.program and given.session):
        parser.error("expected --program DEXUMI and --session SESSION")
    if given.part:
        part, folder, out = given.part[0], Path(given.part[1]), Path(given.part[2])
        if part.startswith("ffmpeg"):
            out.mkdir()
            ffmpeg_alone(folder, out, given.codec, given.fps, part == "ffmpeg1")
        else:
            lerobot_writes(folder, out, given.codec, given.fps, part == "streaming")
        return

    import cv2
    import numpy as np

    # In memory, so that no disk is measured.
    place = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        index, images, sources = {"sizes": {}, "episodes": []}, 0, []
        for number, cameras in enumerate(episodes(given.session)):
            entry = {}
            for name, jpegs in cameras.items():
                stem = f"{number:04}_{name}"
                (place / f"{stem}.mjpeg").write_bytes(b"".join(jpegs))
                entry[name] = (stem, [len(jpeg) for jpeg in jpegs])
                first = cv2.imdecode(np.frombuffer(jpegs[0], np.uint8), 0)
                index["sizes"][name] = (first.shape[1], first.shape[0])
                images += len(jpegs)
                sources += [cv2.imdecode(np.frombuffer(jpeg, np.uint8), 0) for jpeg in jpegs]
            index["episodes"].append(entry)
        (place / "index.json").write_text(json.dumps(index))
        own = [sys.executable, __file__, "--codec", given.codec, "--fps", str(given.fps), "--part"]
        out = place / "out"
        export = [str(given.program), "export", str(given.session), "--format", "lerobot-v3", "--out", str(out)]
        export += ["--codec", given.codec, "--fps", str(given.fps), "--keep-idle"]
        ways = {
            "ffmpeg alone": [*own, "ffmpeg", str(place), str(out)],
            "ffmpeg, one thread each": [*own, "ffmpeg1", str(place), str(out)],
            "dexumi": export,
            "lerobot, streaming": [*own, "streaming", str(place), str(out)],
            "lerobot": [*own, "default", str(place), str(out)],
        }
        runs = {name: [] for name in ways}
        for _ in range(given.repeats):
            for name, command in ways.items():
                shutil.rmtree(out, ignore_errors=True)
                # 3: done, with cells held over a gap.
                run = timed(command, (0, 3) if name == "dexumi" else (0,))
                videos = sorted(out.rglob("*.mp4"))
                count = 0
                for video in videos:
                    probe = ["ffprobe", "-v", "error", "-count_packets", "-select_streams", "v"]
                    probe += ["-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", str(video)]
                    count += int(re.sub(r"\D", "", subprocess.check_output(probe, text=True)))
                run.update(images=count, bytes=sum(video.stat().st_size for video in videos))
                run["ssim"] = similarity(videos, sources)
                runs[name].append(run)
                print(name, {key: round(value, 4) for key, value in run.items()}, file=sys.stderr)
        sizes = ", ".join(f"{name} {w}x{h}" for name, (w, h) in index["sizes"].items())
        settings = CODECS[given.codec]
        print(f"{images} images of {len(index['episodes'])} episodes ({sizes}); {settings['vcodec']}, "
              f"g {settings['g']}, crf {settings['crf']}, preset {settings['preset']}; {os.cpu_count()} cores\n")
        print("| | images/s | of ffmpeg alone | CPU, ms an image | memory, MB | bytes an image | SSIM |")
        print("|---|---|---|---|---|---|---|")
        limit = None
        for name, found in runs.items():
            middle = lambda value: statistics.median(value(run) for run in found)
            rate = middle(lambda run: run["images"] / run["seconds"])
            limit = limit or rate
            print(f"| {name} | {rate:.0f} | {rate / limit:.2f} | {middle(lambda r: 1e3 * r['cpu'] / r['images']):.2f} | "
                  f"{middle(lambda r: r['memory']):.0f} | {middle(lambda r: r['bytes'] / r['images']):.0f} | "
                  f"{middle(lambda r: r['ssim']):.4f} |")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
