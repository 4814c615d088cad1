#!/usr/bin/env python3
"""Bridge to an Intel RealSense D400 by librealsense 2 (pip install pyrealsense2).

Streams: color (raw YUYV: these cameras have no JPEG; the rig's camera needs raw =
true), infrared (raw, left imager), depth (in the camera's own unit). Stamps are the
device's clock in the middle of the exposure, from the frames' metadata; without
metadata (a kernel without the patch) images have none and are dated by arrival. Not
tried on hardware by its authors.
"""

import pyrealsense2 as rs

import dexumi_bridge as bridge

STREAMS = [
    bridge.stream("color", "raw", sequence="device", encoding="yuyv"),
    bridge.stream("infrared", "raw", sequence="device", encoding="mono8"),
    bridge.stream("depth", "depth", sequence="device"),
]
FORMATS = {
    "color": (rs.stream.color, 0, rs.format.yuyv),
    "infrared": (rs.stream.infrared, 1, rs.format.y8),
    "depth": (rs.stream.depth, 0, rs.format.z16),
}


class Clock:
    """The device's microseconds have 32 bits: they begin anew every 71.6 minutes. Its
    streams have one clock, but arrive in any order."""

    def __init__(self):
        self.last = None

    def nanoseconds(self, micros):
        micros %= 1 << 32
        if self.last is not None:
            ahead = (micros - self.last + (1 << 31)) % (1 << 32) - (1 << 31)
            micros = self.last + ahead
        self.last = micros if self.last is None else max(self.last, micros)
        return micros * 1000


def stamps(frame, clock):
    known = {}
    if frame.supports_frame_metadata(rs.frame_metadata_value.sensor_timestamp):
        micros = frame.get_frame_metadata(rs.frame_metadata_value.sensor_timestamp)
        known["device_ns"] = clock.nanoseconds(micros)
    if frame.supports_frame_metadata(rs.frame_metadata_value.actual_exposure):
        known["exposure_us"] = frame.get_frame_metadata(rs.frame_metadata_value.actual_exposure)
    return known


def send(link, name, frame, unit_m, clock):
    frame = frame.as_video_frame()
    intrinsics = frame.get_profile().as_video_stream_profile().get_intrinsics()
    fixed = dict(sequence=frame.get_frame_number(), width=frame.get_width(),
                 height=frame.get_height(), **stamps(frame, clock),
                 intrinsics=(intrinsics.fx, intrinsics.fy, intrinsics.ppx, intrinsics.ppy))
    # Copied row by row: without what stands between the rows.
    pixels = bytes(frame.get_data())
    if name == "depth":
        link.depth(name, pixels, unit_m=unit_m, **fixed)
    else:
        link.raw(name, pixels, step=frame.get_width() * frame.get_bytes_per_pixel(), **fixed)


def main():
    parser = bridge.arguments("Bridge to an Intel RealSense D400.")
    parser.add_argument("--serial", help="serial number; the first camera found else")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--exposure-us", type=float, help="fixed exposure; automatic else")
    options = parser.parse_args()

    def source(link, wanted):
        config = rs.config()
        if options.serial:
            config.enable_device(options.serial)
        for name in wanted:
            stream, index, pixels = FORMATS[name]
            config.enable_stream(stream, index, options.width, options.height, pixels, options.fps)
        names = {(stream, index): name for name, (stream, index, _) in FORMATS.items()}
        pipeline, queue, clock = rs.pipeline(), rs.frame_queue(32, True), Clock()
        device = pipeline.start(config, queue).get_device()
        try:
            for sensor in device.query_sensors():
                # The library's own conversion to the host's clock would hide the device's.
                if sensor.supports(rs.option.global_time_enabled):
                    sensor.set_option(rs.option.global_time_enabled, 0)
                if options.exposure_us and sensor.supports(rs.option.exposure):
                    sensor.set_option(rs.option.enable_auto_exposure, 0)
                    # The colour sensor counts in units of 100 µs.
                    unit = 100 if sensor.is_color_sensor() else 1
                    sensor.set_option(rs.option.exposure, options.exposure_us / unit)
                    exposure = f"exposure of {sensor.get_info(rs.camera_info.name)}"
                    link.about(**{exposure: sensor.get_option(rs.option.exposure)})
            unit_m = device.first_depth_sensor().get_depth_scale() if "depth" in wanted else 0.0
            link.about(serial=device.get_info(rs.camera_info.serial_number),
                       firmware=device.get_info(rs.camera_info.firmware_version),
                       product=device.get_info(rs.camera_info.name), depth_unit_m=unit_m,
                       exposure_us=options.exposure_us or "automatic")
            while not link.closed:
                # Fails after five seconds without an image: the camera has gone.
                frame = queue.wait_for_frame()
                for part in frame.as_frameset() if frame.is_frameset() else [frame]:
                    profile = part.get_profile()
                    name = names.get((profile.stream_type(), profile.stream_index()))
                    if name is not None:
                        send(link, name, part, unit_m, clock)
        finally:
            pipeline.stop()

    bridge.serve("realsense.py", STREAMS, source, listen=options.listen,
                 clock="device clock, middle of the exposure")


if __name__ == "__main__":
    main()
