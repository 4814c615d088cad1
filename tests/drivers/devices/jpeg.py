"""JPEGs that carry a number and are cheap to make.

A few baseline images (ITU-T T.81) in YCbCr 4:2:2, as USB cameras send them, are
coded once; every image sent is one of them with its number in a comment segment.
So each is unlike all others in its bytes, and known by them.
"""

import random
import struct
from functools import lru_cache

COMMENT = b"dexumi driver tests %010d"
# Few are enough: the comment makes them differ.
SCENES = 4

# Codes of our own, all of one length: the DC categories with 4 bits, and of the AC
# symbols the end of a block and values of 1 to 5 bits without a run, with 3 bits.
DC_SYMBOLS = list(range(12))
AC_SYMBOLS = [0x00, 0x01, 0x02, 0x03, 0x04, 0x05]
DC_BITS, AC_BITS = 4, 3


class Bits:
    """A bit stream with a zero after each byte FF, as T.81 wants it."""

    def __init__(self):
        self.bytes = bytearray()
        self.value = 0
        self.count = 0

    def put(self, value: int, count: int) -> None:
        self.value = self.value << count | value
        self.count += count
        while self.count >= 8:
            self.count -= 8
            byte = self.value >> self.count & 0xFF
            self.bytes.append(byte)
            if byte == 0xFF:
                self.bytes.append(0)
        self.value &= (1 << self.count) - 1

    def signed(self, value: int, bits: int) -> None:
        """A coefficient: of a negative one, its value less one."""
        self.put(value if value >= 0 else value + (1 << bits) - 1, bits)

    def end(self) -> bytes:
        if self.count:
            self.put((1 << 8 - self.count) - 1, 8 - self.count)
        return bytes(self.bytes)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def huffman_table(kind: int, symbols: list[int], bits: int) -> bytes:
    lengths = bytes(len(symbols) if length == bits else 0 for length in range(1, 17))
    return bytes([kind << 4]) + lengths + bytes(symbols)


@lru_cache(maxsize=None)
def scene(width: int, height: int, number: int) -> bytes:
    """A coded image without its start marker: a slope with noise, other from scene to scene."""
    chance = random.Random(number)
    bits = Bits()
    last = [0, 0, 0]

    def block(component: int, level: int, noise: int) -> None:
        difference = level - last[component]
        last[component] = level
        category = abs(difference).bit_length()
        bits.put(category, DC_BITS)
        if category:
            bits.signed(difference, category)
        for _ in range(noise):
            value = chance.choice((-3, -2, -1, 1, 2, 3))
            size = abs(value).bit_length()
            bits.put(AC_SYMBOLS.index(size), AC_BITS)
            bits.signed(value, size)
        bits.put(0, AC_BITS)

    columns, rows = width // 16, height // 8
    for row in range(rows):
        for column in range(columns):
            # Two blocks of brightness side by side share their colour.
            level = (column * 100 // columns + row * 60 // rows + 40 * number) % 200 - 100
            block(0, level, chance.randrange(3))
            block(0, level + 1, chance.randrange(3))
            block(1, 20 * number % 60 - 30, 0)
            block(2, row % 8 - 4, 0)
    quantisation = bytes([0]) + bytes([8] * 64)
    size = struct.pack(">BHHB", 8, height, width, 3) + bytes([1, 0x21, 0, 2, 0x11, 0, 3, 0x11, 0])
    tables = huffman_table(0, DC_SYMBOLS, DC_BITS) + huffman_table(1, AC_SYMBOLS, AC_BITS)
    scan = bytes([3, 1, 0, 2, 0, 3, 0, 0, 63, 0])
    return (
        segment(0xDB, quantisation) + segment(0xC0, size) + segment(0xC4, tables)
        + segment(0xDA, scan) + bits.end() + b"\xff\xd9"
    )


def image(width: int, height: int, number: int) -> bytes:
    """The image of this number, always the same bytes."""
    comment = segment(0xFE, COMMENT % number)
    return b"\xff\xd8" + comment + scene(width, height, number % SCENES)


def number_of_image(data: bytes) -> int:
    """The number in an image, -1 where there is none."""
    start, tail = (COMMENT % 0)[:-10], data[6:]
    digits = tail[len(start) : len(start) + 10]
    return int(digits) if tail.startswith(start) and digits.isdigit() else -1
