"""Makes the arrays beside it with the real zarr (2.18) and numcodecs, whose defaults are those
that DexUMI's recorder wrote with: python make.py FOLDER. The values are formulas that the test knows."""
import sys

import numpy as np
import zarr
from numcodecs import Blosc, Zlib

root = zarr.open(sys.argv[1], mode="w")
group = root.require_group("episode_0").require_group("numeric_0")
# As the recorder saves: a list assigned to a key, compressed by default.
group["receive_time"] = [1000.0 + k / 64 for k in range(40000)]  # several blocks, the last shorter
group["fsr_values"] = [np.array([k, -k, 3 * k]) for k in range(200)]
group["pose"] = [np.arange(16.0).reshape(4, 4) + k for k in range(50)]
group["odd"] = np.arange(7, dtype=np.int64)  # too short to be compressed
group.array("tiles", np.arange(15 * 22, dtype="<i4").reshape(15, 22), chunks=(4, 9), compressor=Zlib())
group.array("whole", np.arange(500, dtype="<f4"), compressor=None)
group.array("copied", np.arange(100, dtype="<f4") ** 0.5, compressor=Blosc("lz4", shuffle=Blosc.NOSHUFFLE))
group.array("tiled", np.tile(np.arange(10, dtype="<f4"), 500), compressor=Blosc("lz4hc", shuffle=Blosc.NOSHUFFLE))
group.array("zlib", np.arange(5000, dtype="<i8"), compressor=Blosc("zlib", shuffle=Blosc.SHUFFLE))
group.full("sparse", 2.5, shape=(10, 3), chunks=(5, 3), dtype="<f8")
