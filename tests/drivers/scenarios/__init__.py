"""What is done to the recorder, one file per kind of trouble."""

from . import clock, disk, power, serial

SCENARIOS = [*serial.SCENARIOS, *power.SCENARIOS, *disk.SCENARIOS, *clock.SCENARIOS]
