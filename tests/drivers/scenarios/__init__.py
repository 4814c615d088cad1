"""What is done to the recorder, one file per kind of trouble."""

from . import camera, clock, disk, power, serial

SCENARIOS = [*serial.SCENARIOS, *camera.SCENARIOS, *power.SCENARIOS, *disk.SCENARIOS, *clock.SCENARIOS]
