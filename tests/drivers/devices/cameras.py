"""Cameras with a list of every image."""

import time
from dataclasses import dataclass

from .boards import Packet
from .jpeg import image, number_of_image
from .uvc import UvcCamera

CONTROLS = {"exposure_s": 0.008, "gain": 64, "white_balance_k": 4500, "power_line_hz": 50}
# What the camera must have been told, in its own numbers.
SETTINGS = {
    "exposure_mode": 1, "exposure_100us": 80, "gain": 64, "white_balance_auto": 0,
    "white_balance_k": 4500, "power_line": 1, "exposure_priority": 0,
}


@dataclass
class Exposure(Packet):
    """One image."""

    # When its first part went to the guest [s, CLOCK_MONOTONIC].
    first_left: float | None = None
    # Spoilt by leaving away its second half; or by the mark that data is missing.
    is_cut: bool = False
    is_marked: bool = False


class Camera:
    """A camera at a USB port. The numbers of its images go on when it is plugged in anew."""

    # What a camera could not send has no number: nobody behind it can know.
    counts_overrun = False

    def __init__(self, stream: str, serial: str, size: tuple[int, int], rate_hz: int, socket_path):
        self.stream = stream
        self.serial = serial
        self.size = size
        self.rate_hz = rate_hz
        self.period_s = 1 / rate_hz
        self.socket_path = socket_path
        self.packets: list[Exposure] = []
        self.adapter: UvcCamera | None = None
        self.by_usb = False
        # A frozen camera goes on answering, but gives no image.
        self.is_frozen = False
        # Every so many images one is cut; one is marked as damaged. 0: none.
        self.cut_every = 0
        self.mark_every = 0
        # The scenes are coded here, not when an image is due.
        for number in range(4):
            image(*size, number)

    @property
    def link(self) -> str:
        return f"/dev/v4l/by-id/usb-dexumi_Test_Camera_{self.serial}-video-index0"

    @property
    def address(self) -> str:
        """How the rig names it."""
        return f"usb:1bcf:2281:{self.serial}" if self.by_usb else self.link

    def rig(self) -> str:
        width, height = self.size
        controls = ", ".join(f"{key} = {value}" for key, value in CONTROLS.items())
        return (
            f'[[device]]\nstream = "{self.stream}"\ndriver = "v4l2"\naddress = "{self.address}"\n'
            f"camera = {{ width = {width}, height = {height}, fps = {self.rate_hz}.0, "
            f"controls = {{ {controls} }} }}\n"
        )

    def plug(self) -> None:
        self.adapter = UvcCamera(self.serial, self._stream)
        self.adapter.plug(self.socket_path)

    def unplug(self) -> None:
        if self.adapter is not None:
            self.adapter.unplug()
            self.adapter = None

    def number_of(self, message) -> int:
        """The number of an image in the file, -1 where it is not, byte by byte, one of ours."""
        number = number_of_image(message.data)
        return number if number >= 0 and message.data == image(*self.size, number) else -1

    def _stream(self, camera: UvcCamera, stream: int, mode, rate_hz: int) -> None:
        began = time.monotonic()
        step = 0
        while True:
            step += 1
            due = began + step / rate_hz
            delay = due - time.monotonic()
            if delay > 0:
                time.sleep(delay)
            if not camera.is_streaming(stream):
                return
            if self.is_frozen:
                continue
            exposure = Exposure(len(self.packets), step, due)
            self.packets.append(exposure)
            if delay < -1 / rate_hz:
                continue  # the one before is still on its way: this one is never sent
            number = exposure.number
            data = image(mode.width, mode.height, number)
            exposure.is_cut = bool(self.cut_every) and number % self.cut_every == 0
            exposure.is_marked = bool(self.mark_every) and number % self.mark_every == 1
            exposure.spoilt = exposure.is_cut or exposure.is_marked
            if exposure.is_cut:
                data = data[: len(data) // 2]
            times = camera.send(stream, data, exposure.is_marked)
            if times is not None:
                exposure.first_left, exposure.left = times
