#!/usr/bin/env python3
"""Reads the formats that are no LeRobot layouts with the libraries that their loaders stand on, zarr below 3 with imagecodecs,
and h5py, and compares everything with the recording.

usage: read_stores.py DATASET SESSION     DATASET: dexumi-zarr, umi-zarr, egoscale or dreamdojo-mano
"""
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import zarr
from imagecodecs.numcodecs import register_codecs

from recording import Check

register_codecs(verbose=False)


def pixels(image, jpeg):
    """The greatest difference between an image and what another decoder makes of its JPEG."""
    other = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert image.shape == other.shape, f"{image.shape}, expected {other.shape}"
    return int(np.abs(image.astype(int) - other).max())


def dexumi(dataset, check):
    worst = 0
    for store in sorted(dataset.glob("*.zarr")):
        root = zarr.open(str(store), mode="r")
        for number, recording in enumerate(check.recordings):
            group = root[f"episode_{number}"]
            steps = len(group["pose"])
            for name, array in group.arrays():
                assert len(array) == steps and np.isfinite(array[:].astype(float)).all(), name
            cameras = sorted(name for name, _ in group.groups())
            for camera in cameras:
                array, captures = group[f"{camera}/rgb"], group[f"{camera}/capture_time_ns"][:]
                times, jpegs = recording.camera(group[camera].attrs["name"])
                for step in range(steps):
                    worst = max(worst, pixels(array[step], jpegs[int(np.argmin(np.abs(times - captures[step])))]))
                    check.images_checked += 1
                # Two decoders of one JPEG differ by rounding alone, of another image by much more.
                assert worst <= 4, f"{store.name}, episode {number}, {camera}: a pixel is off by {worst}"
    print(f"{check.images_checked} images, every pixel within {worst} of the recorded JPEG")


def umi(dataset, check):
    with zarr.ZipStore(str(dataset / "dataset.zarr.zip"), mode="r") as store:
        root = zarr.group(store)
        rows = int(root["meta/episode_ends"][-1])
        for name, array in root["data"].arrays():
            assert len(array) == rows, f"{name}: {len(array)} rows, expected {rows}"
            if array.dtype == np.uint8:
                means = [float(array[row].mean()) for row in range(rows)]
                assert min(means) > 1, f"{name}: a black image"
            else:
                assert np.isfinite(array[:]).all(), name
        print(f"{rows} rows of {len(list(root['data'].arrays()))} arrays decode")


def files(dataset, check):
    count = arrays = 0
    for path in sorted([*dataset.rglob("*.h5"), *dataset.rglob("*.hdf5")]):
        with h5py.File(path) as file:
            steps = len(file["timestamps/grid_time_ns"])

            def look(name, item):
                nonlocal arrays
                if isinstance(item, h5py.Dataset):
                    values = item[:]
                    assert len(values) in (steps, steps + 1) and np.isfinite(values.astype(float)).all(), f"{path}: {name}"
                    arrays += 1

            file.visititems(look)
            grid = file["timestamps/grid_time_ns"][:]
            with_images = list(file["timestamps/capture_time_ns"])
            assert np.all(np.abs(np.diff(grid) - np.median(np.diff(grid))) <= 1) and with_images, path
            for value in list(file.attrs.values()) + [v for item in file.values() for v in item.attrs.values()]:
                assert isinstance(value, (str, bytes)) and len(value) > 0, f"{path}: attribute {value!r}"
            count += 1
    assert count == len(check.recordings), f"{count} files, {len(check.recordings)} recordings"
    print(f"{count} files of {arrays} arrays read by h5py {h5py.__version__}")


def main():
    dataset, session = Path(sys.argv[1]), sys.argv[2]
    check = Check(session, [], {})
    if (dataset / "dataset.zarr.zip").is_file():
        umi(dataset, check)
    elif list(dataset.glob("*.zarr")):
        dexumi(dataset, check)
    else:
        files(dataset, check)
    print("OK")


if __name__ == "__main__":
    main()
