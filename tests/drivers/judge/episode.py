"""Reads an episode: with the Python package `mcap`, which shares no code with dexumi,
and with `dexumi info`."""

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

try:
    from mcap.reader import make_reader
    from mcap_protobuf.decoder import DecoderFactory

    HAS_MCAP = True
except ImportError:
    HAS_MCAP = False


@dataclass
class Sample:
    """One message of a stream: its content, and its times [ns]."""

    message: object
    log_ns: int
    publish_ns: int


def read(path: Path, topics: list[str]) -> dict[str, list[Sample]]:
    """All messages of some topics, in the file's order."""
    samples: dict[str, list[Sample]] = {topic: [] for topic in topics}
    with open(path, "rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        decoded = reader.iter_decoded_messages(topics=topics, log_time_order=False)
        for _, channel, message, content in decoded:
            samples[channel.topic].append(Sample(content, message.log_time, message.publish_time))
    return samples


def dexumi(program: Path, *arguments) -> tuple[int, str, str]:
    """Runs the program on this host: status, output, messages."""
    result = subprocess.run(
        [str(program), *map(str, arguments)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )
    return result.returncode, result.stdout, result.stderr


def info(program: Path, path: Path) -> dict:
    """`dexumi info --json` of one episode."""
    status, output, messages = dexumi(program, "info", path, "--json")
    if status not in (0, 3):
        raise AssertionError(f"dexumi info {path} ended with {status}: {messages.strip()}")
    return json.loads(output)[0]


def rerun_problem(path: Path) -> str | None:
    """What Rerun's own reader says against an episode; nothing where it reads it, or where
    there is no Rerun."""
    beside = Path(sys.executable).with_name("rerun")
    program = str(beside) if beside.exists() else shutil.which("rerun")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "episode.rrd"
        result = subprocess.run(
            [program, "mcap", "convert", str(path), "-o", str(target)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )
        said = (result.stderr + result.stdout).strip()
        if result.returncode != 0 or not target.exists():
            return f"cannot convert {path.name} ({result.returncode}): {said[-300:]}"
        if "ERROR" in said:
            return f"{path.name}: {said[-300:]}"
    return None
