#!/usr/bin/env python3
"""Bridge to a Luxonis OAK by DepthAI 3 (pip install "depthai>=3").

Streams: color (JPEG from the device's own encoder), depth (millimetres, from the
stereo pair), imu. Stamps are the device's own monotonic clock, in the middle of the
exposure; sequences are the device's. Not tried on hardware by its authors.
"""

import datetime
import threading
import time

import depthai as dai

import dexumi_bridge as bridge

STREAMS = [
    bridge.stream("color", "jpeg", sequence="device", frame="CAM_A, x right, y down"),
    bridge.stream("depth", "depth", sequence="device", frame="StereoDepth's rectified camera"),
    bridge.stream("imu", "imu", sequence="device", frame="IMU chip"),
]
WAIT = datetime.timedelta(milliseconds=200)


def nanoseconds(time):
    """A timedelta, without a detour through floating point."""
    return (time.days * 86400 + time.seconds) * 1_000_000_000 + time.microseconds * 1000


def stamps(image):
    # DepthAI stamps the end of the exposure.
    exposure = image.getExposureTime()
    return dict(device_ns=nanoseconds(image.getTimestampDevice() - exposure / 2),
                exposure_us=nanoseconds(exposure) // 1000)


def send_color(link, image):
    (fx, _, cx), (_, fy, cy), _ = image.getTransformation().getIntrinsicMatrix()
    link.jpeg("color", image.getData(), image.getSequenceNum(), image.getWidth(),
              image.getHeight(), (fx, fy, cx, cy), **stamps(image))


def send_depth(link, image):
    (fx, _, cx), (_, fy, cy), _ = image.getTransformation().getIntrinsicMatrix()
    link.depth("depth", image.getData(), image.getSequenceNum(), image.getWidth(),
               image.getHeight(), 0.001, (fx, fy, cx, cy), **stamps(image))


def send_imu(link, message):
    for packet in message.packets:
        turn, push = packet.gyroscope, packet.acceleroMeter
        link.imu("imu", (push.x, push.y, push.z), (turn.x, turn.y, turn.z),
                 turn.getSequenceNum(), device_ns=nanoseconds(turn.getTimestampDevice()))


def forward(link, queue, send):
    """Sends what a queue brings, on a thread of its own."""
    try:
        while not link.closed:
            message = queue.get(WAIT)
            if message is not None:
                send(link, message)
    except bridge.Closed:
        pass
    except RuntimeError as error:
        # A queue is closed when the device goes.
        if not link.closed:
            link.log(f"{queue.getName()}: {error}", warning=True)


def build(pipeline, wanted, options):
    """What is wanted: a queue and how to send what it brings."""
    if "color" in wanted:
        camera = pipeline.create(dai.node.Camera).build(dai.CameraBoardSocket.CAM_A)
        if options.exposure_us:
            camera.initialControl.setManualExposure(options.exposure_us, options.iso)
        if options.focus is not None:
            camera.initialControl.setManualFocus(options.focus)
        pixels = camera.requestOutput((options.width, options.height), dai.ImgFrame.Type.NV12,
                                      fps=options.fps)
        encoder = pipeline.create(dai.node.VideoEncoder).build(
            pixels, frameRate=options.fps, quality=options.quality,
            profile=dai.VideoEncoderProperties.Profile.MJPEG)
        yield encoder.out.createOutputQueue(maxSize=8, blocking=False), send_color
    if "depth" in wanted:
        stereo = pipeline.create(dai.node.StereoDepth).build(
            autoCreateCameras=True, size=(640, 400), fps=options.fps)
        yield stereo.depth.createOutputQueue(maxSize=8, blocking=False), send_depth
    if "imu" in wanted:
        imu = pipeline.create(dai.node.IMU)
        imu.enableIMUSensor([dai.IMUSensor.ACCELEROMETER_RAW, dai.IMUSensor.GYROSCOPE_RAW],
                            options.imu_hz)
        imu.setBatchReportThreshold(1)
        imu.setMaxBatchReports(10)
        yield imu.out.createOutputQueue(maxSize=50, blocking=False), send_imu


def main():
    parser = bridge.arguments("Bridge to a Luxonis OAK.")
    parser.add_argument("--device", help="id or address; the first one found else")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--quality", type=int, default=95, help="of the JPEGs, 1 to 100")
    parser.add_argument("--exposure-us", type=int, help="fixed exposure; automatic else")
    parser.add_argument("--iso", type=int, default=800, help="with a fixed exposure")
    parser.add_argument("--focus", type=int, help="fixed lens position, 0 to 255")
    parser.add_argument("--imu-hz", type=int, default=400)
    options = parser.parse_args()

    def source(link, wanted):
        device = dai.Device(options.device) if options.device else dai.Device()
        with dai.Pipeline(device) as pipeline:
            link.about(serial=device.getDeviceId(), product=device.getProductName(),
                       platform=device.getPlatformAsString(), depthai=dai.__version__,
                       exposure_us=options.exposure_us or "automatic")
            sources = list(build(pipeline, wanted, options))
            pipeline.start()
            for queue, send in sources:
                threading.Thread(target=forward, args=(link, queue, send), daemon=True).start()
            while pipeline.isRunning() and not link.closed:
                time.sleep(0.1)
        if not link.closed:
            raise RuntimeError("the pipeline has stopped: is the camera still plugged in?")

    bridge.serve("oak.py", STREAMS, source, listen=options.listen,
                 clock="device monotonic clock; images in the middle of the exposure")


if __name__ == "__main__":
    main()
