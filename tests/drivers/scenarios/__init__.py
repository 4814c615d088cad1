"""What is done to the recorder, one file per kind of trouble."""

from . import power, serial

SCENARIOS = [*serial.SCENARIOS, *power.SCENARIOS]
