"""Columns of a dataset of one file an episode that say when a row was taken and what of it was measured."""
import json
from pathlib import Path

import numpy as np
import pandas as pd


class Rows:
    def __init__(self, dataset, episode):
        info = json.load(open(Path(dataset) / "meta/info.json"))
        path = Path(dataset) / info["data_path"].format(episode_chunk=episode // info["chunks_size"], episode_index=episode)
        self.frame = pd.read_parquet(path)
        self.parts = info["features"]["observation.valid"]["names"]
        self.grid = self.column("grid_time_ns")

    def column(self, name):
        return np.array([int(np.ravel(value)[0]) for value in self.frame[name]], np.int64)

    def valid(self, part):
        """Whether `part` of each row was measured; parts are `hand.<side>` and `camera.<name>`."""
        return np.stack(self.frame["observation.valid"].to_numpy())[:, self.parts.index(part)]

    def hand_rows(self, side):
        """Rows whose state and action (the next row) were both measured."""
        good = self.valid(f"hand.{side}")
        return np.flatnonzero(good[:-1] & good[1:])
