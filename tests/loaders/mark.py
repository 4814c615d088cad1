"""Reads the mark that the emulated cameras draw into their images: the true capture time in units of 100 µs.

Two rows of 24 square cells at the top of the recorded image, centred, a cell being one eighteenth of its height:
4 guards at the corners, 32 bits of time, 12 check bits (CRC-12, polynomial 0x80F, from all ones).
"""
import cv2
import numpy as np

COLUMNS, ROWS, CELLS_IN_HEIGHT = 24, 2, 18
GUARDS = {0: 1, 23: 0, 24: 0, 47: 1}
BITS = [cell for cell in range(ROWS * COLUMNS) if cell not in GUARDS]


def crc12(units):
    crc = 0xFFF
    for at in range(31, -1, -1):
        feedback = (crc >> 11 & 1) ^ (units >> at & 1)
        crc = (crc << 1 & 0xFFF) ^ (0x80F if feedback else 0)
    return crc


def read(gray, recorded, kept=None, placed=None):
    """Time [s] on the emulated scene's clock, or None where the mark is not whole or not to be read.

    gray: (H, W); recorded: width and height of the image as recorded, of which `kept` (x, y, w, h) was put at
    `placed` (x, y, w, h) of this one; without them, all of it."""
    width, height = recorded
    kept = kept or (0, 0, width, height)
    placed = placed or (0, 0, gray.shape[1], gray.shape[0])
    cell = height / CELLS_IN_HEIGHT
    left = (width - COLUMNS * cell) / 2
    levels = []
    for index in range(ROWS * COLUMNS):
        column, row = index % COLUMNS, index // COLUMNS
        edges = []
        for axis, start in ((0, left + column * cell), (1, row * cell)):
            scale = placed[axis + 2] / kept[axis + 2]
            # The inner 60 %: neighbours bleed in when an image is scaled.
            ends = [placed[axis] + (start + share * cell - kept[axis]) * scale for share in (0.2, 0.8)]
            first = int(round(max(ends[0], placed[axis])))
            edges.append((first, max(int(round(ends[1])), first + 1)))
        (x0, x1), (y0, y1) = edges
        if x1 > placed[0] + placed[2] or y1 > placed[1] + placed[3] or ends[1] < placed[1]:
            return None
        levels.append(float(gray[y0:y1, x0:x1].mean()))
    bright = min(levels[at] for at, is_bright in GUARDS.items() if is_bright)
    dark = max(levels[at] for at, is_bright in GUARDS.items() if not is_bright)
    if bright - dark < 48:
        return None
    middle = (bright + dark) / 2
    word = 0
    for at in BITS:
        if abs(levels[at] - middle) < 0.1 * (bright - dark):
            return None
        word = word << 1 | (levels[at] > middle)
    units = word >> 12
    return units * 1e-4 if crc12(units) == word & 0xFFF else None


def session_offset_ns(truth, anchor):
    """What to add to a mark's time [ns] to have it on an episode's session clock: `truth` is the header of the emulator's
    list of true values, `anchor` the pair of times in the episode's own metadata."""
    return truth["host_start_ns"] - anchor["host_time_ns"] + anchor["unix_time_ns"]


def gray(rgb):
    return cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
