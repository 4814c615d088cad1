//! Emulated USB cameras for a program that opens `/dev/video*`: the C file beside
//! this one, preloaded, and the folder that tells it what is plugged in.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use dexumi_capture::driver::pixels::{Layout, Pixel};

const FLAGS: &[&str] = &[
    "-O1",
    "-g",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Wno-format-truncation",
];

/// The library, built once; `None`, with a word, where there is no C compiler.
fn library() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let has_compiler = Command::new("cc").arg("--version").output().is_ok();
        if !has_compiler {
            eprintln!("skipped: no C compiler (cc) to build the emulated cameras with");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let library = folder.path().join("v4l2_shim.so");
        // This file is part of the tests of two packages.
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let places = [package.join("tests/shim"), package.join("../tests/shim")];
        let is_there = |place: &&PathBuf| place.join("v4l2_shim.c").exists();
        let sources = places.iter().find(is_there).expect("the shim's sources");
        let output = Command::new("cc")
            .args(FLAGS)
            .arg("-o")
            .arg(&library)
            .args([sources.join("v4l2_shim.c"), sources.join("camera.c")])
            .args(["-ldl", "-lpthread"])
            .output()
            .expect("cc should start");
        let says = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the shim does not build:\n{says}");
        Some((folder, library))
    });
    built.as_ref().map(|(_, library)| library.as_path())
}

/// A camera to be emulated.
#[derive(Clone)]
pub struct Spec {
    /// Name of its folder.
    pub name: &'static str,
    /// USB serial number; empty for a camera without.
    pub serial: &'static str,
    /// USB port, such as `1-2`.
    pub port: &'static str,
    /// Lines of its file `camera`, beside who it is.
    pub lines: String,
    /// What becomes of its images.
    pub plan: String,
    /// What it gives in turn.
    pub images: Vec<Vec<u8>>,
}

/// Modes and controls of an ordinary webcam, with a control of a kind that older
/// libraries do not know.
pub const WEBCAM: &str = "\
mode MJPG 640 480 1/30
mode MJPG 640 480 1/15
mode MJPG 320 240 1/30
mode YUYV 320 240 1/30
mode YUYV 160 120 1/30
mode GREY 160 120 1/30
mode NV12 160 120 1/30
control 980900 int 0 255 1 128 Brightness
control 98090c bool 0 1 1 1 White Balance, Automatic
control 980913 int 0 255 1 64 Gain
control 980918 menu 0 2 1 2 Power Line Frequency
item 980918 0 Disabled
item 980918 1 50 Hz
item 980918 2 60 Hz
control 98091a int 2800 6500 10 4600 White Balance Temperature
control 9a0901 menu 0 3 1 3 Auto Exposure
item 9a0901 1 Manual Mode
item 9a0901 3 Aperture Priority Mode
control 9a0902 int 3 2047 1 250 Exposure Time, Absolute
control 9a0903 bool 0 1 1 1 Exposure, Dynamic Framerate
control 9a1a01 rect 0 0 0 0 Region of Interest Rectangle
";

/// JPEGs of very different lengths, so that buffers hold the ends of longer ones.
pub fn jpegs(width: u32, height: u32) -> Vec<Vec<u8>> {
    let layout = Layout::new(Pixel::Grey, (width, height), 0, true);
    (0..7_usize)
        .map(|number| {
            let coarse = 1 + (number * 5) % 7;
            let pixels: Vec<u8> = (0..layout.image_bytes())
                .map(|at| ((at / coarse).wrapping_mul(2_654_435_761) >> 7) as u8 & (0xFF >> number))
                .collect();
            layout.to_jpeg(&pixels).expect("a JPEG")
        })
        .collect()
}

impl Spec {
    /// A webcam with these images.
    pub fn webcam(name: &'static str, images: Vec<Vec<u8>>) -> Self {
        Self {
            name,
            serial: name,
            port: "1-2",
            lines: WEBCAM.to_owned(),
            plan: String::new(),
            images,
        }
    }
}

/// A folder of emulated cameras.
pub struct Shim {
    root: PathBuf,
    /// Removed with this, where it was made here.
    _folder: Option<tempfile::TempDir>,
}

/// What the shim wrote of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// Number since the program began.
    pub due: u64,
    /// The kernel's number, which starts anew with each stream.
    pub sequence: u32,
    /// When it was due, CLOCK_MONOTONIC [ns].
    pub stamp_ns: i64,
    /// What became of it.
    pub fate: String,
}

#[allow(dead_code, reason = "each of the two test programs uses its part")]
impl Shim {
    /// An empty one; `None` where it cannot be built.
    pub fn new() -> Option<Self> {
        library()?;
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        for below in [
            "dev/v4l/by-id",
            "dev/v4l/by-path",
            "sys/class/video4linux",
            "cameras",
        ] {
            fs::create_dir_all(root.join(below)).expect("a folder");
        }
        Some(Self {
            root,
            _folder: Some(folder),
        })
    }

    /// The one that this program runs under.
    pub fn around() -> Option<Self> {
        let root = PathBuf::from(std::env::var_os("V4L2_SHIM")?);
        Some(Self {
            root,
            _folder: None,
        })
    }

    /// Lets a program run under it.
    pub fn preload<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let library = library().expect("built before");
        command
            .env("LD_PRELOAD", library)
            .env("V4L2_SHIM", &self.root)
    }

    /// A file of a camera.
    pub fn file(&self, camera: &str, name: &str) -> PathBuf {
        self.root.join("cameras").join(camera).join(name)
    }

    /// Makes a camera, not plugged in yet.
    pub fn add(&self, spec: &Spec) {
        let images = self.file(spec.name, "images");
        fs::create_dir_all(&images).expect("a folder");
        let head = format!("card Emulated {}\nbus usb-0000:00:14.0-2\n", spec.name);
        fs::write(self.file(spec.name, "camera"), head + &spec.lines).expect("a file");
        fs::write(self.file(spec.name, "plan"), &spec.plan).expect("a file");
        for (number, image) in spec.images.iter().enumerate() {
            fs::write(images.join(format!("{number:03}.jpg")), image).expect("a file");
        }
    }

    /// Plugs a camera in as `/dev/videoN`, with its metadata node beside.
    pub fn plug(&self, spec: &Spec, number: u32) {
        let usb = format!("pci0000:00/0000:00:14.0/usb1/{}", spec.port);
        let device = self.root.join("sys/devices").join(&usb);
        let interface = format!("{}:1.0", spec.port);
        fs::create_dir_all(&device).expect("a folder");
        for (name, text) in [
            ("idVendor", "1d6b"),
            ("idProduct", "0102"),
            ("serial", spec.serial),
            ("product", "Emulated Camera"),
            ("speed", "480"),
        ] {
            if !text.is_empty() {
                fs::write(device.join(name), format!("{text}\n")).expect("a file");
            }
        }
        for (index, node) in [(0, number), (1, number + 1)] {
            let name = format!("video{node}");
            let below = format!("{usb}/{interface}/video4linux/{name}");
            let folder = self.root.join("sys/devices").join(&below);
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join("name"), format!("Emulated {}\n", spec.name)).expect("a file");
            fs::write(folder.join("index"), format!("{index}\n")).expect("a file");
            symlink(format!("../../../{interface}"), folder.join("device")).expect("a link");
            let class = self.root.join("sys/class/video4linux").join(&name);
            symlink(format!("../../devices/{below}"), class).expect("a link");
            let kind = if index == 0 { "" } else { " metadata" };
            // Complete at once: a half-written node would be none.
            let made = self.root.join(format!("dev/.{name}"));
            fs::write(&made, format!("{}{kind}\n", spec.name)).expect("a file");
            fs::rename(&made, self.node(node)).expect("a node");
            for (place, link) in self.links(spec, index) {
                // Of two that want the same link, the last one has it, as with udev.
                let link = self.root.join(place).join(link);
                let _ = fs::remove_file(&link);
                symlink(format!("../../{name}"), link).expect("a link");
            }
        }
    }

    /// Pulls the plug of a camera that is `/dev/videoN`.
    pub fn unplug(&self, spec: &Spec, number: u32) {
        for (index, node) in [(0, number), (1, number + 1)] {
            for (place, link) in self.links(spec, index) {
                let _ = fs::remove_file(self.root.join(place).join(link));
            }
            let class = self.root.join("sys/class/video4linux");
            fs::remove_file(class.join(format!("video{node}"))).expect("a link");
            fs::remove_file(self.node(node)).expect("a node");
        }
        let usb = format!("pci0000:00/0000:00:14.0/usb1/{}", spec.port);
        fs::remove_dir_all(self.root.join("sys/devices").join(usb)).expect("a folder");
    }

    /// Plugs in a USB serial adapter with an FTDI chip as `/dev/ttyUSB0`; there is
    /// nothing to be read from it.
    pub fn plug_serial(&self, serial: &str) {
        let device = self.root.join("sys/devices/pci0000:00/usb2/2-1");
        let port = device.join("2-1:1.0/ttyUSB0");
        fs::create_dir_all(&port).expect("a folder");
        for (name, text) in [
            ("idVendor", "0403"),
            ("idProduct", "6001"),
            ("serial", serial),
            ("manufacturer", "FTDI"),
            ("product", "FT232R"),
            ("2-1:1.0/bInterfaceNumber", "00"),
            ("2-1:1.0/ttyUSB0/latency_timer", "16"),
        ] {
            fs::write(device.join(name), format!("{text}\n")).expect("a file");
        }
        let class = self.root.join("sys/class/tty/ttyUSB0");
        let links = self.root.join("dev/serial/by-id");
        fs::create_dir_all(&class).expect("a folder");
        fs::create_dir_all(&links).expect("a folder");
        symlink(&port, class.join("device")).expect("a link");
        fs::write(self.root.join("dev/ttyUSB0"), "").expect("a node");
        let link = links.join(format!("usb-FTDI_FT232R_{serial}-if00-port0"));
        symlink("../../ttyUSB0", link).expect("a link");
    }

    /// Where a node really is.
    pub fn node(&self, number: u32) -> PathBuf {
        self.root.join(format!("dev/video{number}"))
    }

    fn links(&self, spec: &Spec, index: u32) -> Vec<(&'static str, String)> {
        let serial = match spec.serial {
            "" => String::new(),
            serial => format!("_{serial}"),
        };
        let port = spec.port.replace("1-", "0:");
        vec![
            (
                "dev/v4l/by-id",
                format!("usb-Emulated_Camera{serial}-video-index{index}"),
            ),
            (
                "dev/v4l/by-path",
                format!("pci-0000:00:14.0-usb-{port}:1.0-video-index{index}"),
            ),
        ]
    }

    /// What became of every image that was due so far.
    pub fn truth(&self, camera: &str) -> Vec<Due> {
        let text = fs::read_to_string(self.file(camera, "truth")).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ');
            Some(Due {
                due: words.next()?.parse().ok()?,
                sequence: words.next()?.parse().ok()?,
                stamp_ns: words.next()?.parse().ok()?,
                fate: words.next()?.to_owned(),
            })
        };
        text.lines().filter_map(line).collect()
    }

    /// Controls in the order in which they were set.
    pub fn set(&self, camera: &str) -> Vec<(u32, i64)> {
        let text = fs::read_to_string(self.file(camera, "set")).unwrap_or_default();
        let line = |line: &str| {
            let (id, value) = line.split_once(' ')?;
            Some((u32::from_str_radix(id, 16).ok()?, value.parse().ok()?))
        };
        text.lines().filter_map(line).collect()
    }
}
