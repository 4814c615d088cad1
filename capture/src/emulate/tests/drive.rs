//! Emulated devices read by their drivers, as the recorder reads them.

use super::*;
use crate::{
    driver::{self, Item, Output, Source},
    error::CaptureError,
};

/// The moving sines with images that are JPEGs for any reader: grey, 8x8, the time
/// in a comment (ITU T.81).
pub struct Jpegs;

impl Scene for Jpegs {
    fn joint_angles_rad(&self, t_s: f64) -> Vec<f64> {
        Sines.joint_angles_rad(t_s)
    }

    fn force_counts(&self, finger: usize, t_s: f64) -> [f64; 3] {
        Sines.force_counts(finger, t_s)
    }

    fn world_from_wrist(&self, t_s: f64) -> Isometry3<f64> {
        Sines.world_from_wrist(t_s)
    }

    fn image(&self, camera: &str, t_s: f64, _: Option<Mark>) -> Result<Vec<u8>, String> {
        let mut jpeg = vec![0xFF, 0xD8];
        let mut segment = |marker: u8, data: &[u8]| {
            jpeg.extend([0xFF, marker]);
            jpeg.extend((data.len() as u16 + 2).to_be_bytes());
            jpeg.extend(data);
        };
        segment(0xFE, format!("{camera} {t_s:.6}").as_bytes());
        segment(0xDB, &[&[0][..], &[1; 64]].concat());
        segment(0xC0, &[8, 0, 8, 0, 8, 1, 1, 0x11, 0]);
        let one_code = [&[1][..], &[0; 16]].concat();
        segment(0xC4, &[&[0x00][..], &one_code].concat());
        segment(0xC4, &[&[0x10][..], &one_code].concat());
        segment(0xDA, &[1, 1, 0, 0, 63, 0]);
        jpeg.extend([0x3F, 0xFF, 0xD9]);
        Ok(jpeg)
    }
}

/// A rig of these parts.
pub fn start(parts: Vec<Part>, faults: &str) -> (EmulatedRig, TempDir) {
    start_scene(Arc::new(Sines), parts, faults)
}

/// A rig of these parts in a scene of its own.
pub fn start_scene(
    scene: Arc<dyn Scene>,
    parts: Vec<Part>,
    faults: &str,
) -> (EmulatedRig, TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    let options = RigOptions {
        parts,
        faults: Faults::parse(faults).expect("faults"),
        truth: Some(folder.path().join("truth.jsonl")),
        ..RigOptions::default()
    };
    let rig = EmulatedRig::start(scene, options).expect("start");
    (rig, folder)
}

/// Opens the rig's devices as one connection.
pub fn open(rig: &EmulatedRig) -> Result<Box<dyn Source>, CaptureError> {
    let devices = &rig.rig().device;
    let driver = driver::driver_of(&devices[0]).expect("a driver that can feed it");
    assert!(
        devices
            .iter()
            .all(|device| device.address == devices[0].address)
    );
    (driver.open)(devices)
}

/// Reads until it is enough.
pub fn read(
    source: &mut dyn Source,
    enough: impl Fn(&[(usize, Item)]) -> bool,
) -> Vec<(usize, Item)> {
    let end = Instant::now() + Duration::from_secs(30);
    let mut output = Output::default();
    while !enough(&output.items) {
        assert!(Instant::now() < end, "not enough within 30 s");
        source.read(&mut output).expect("the device is there");
    }
    output.items
}

/// Reads until the device is gone, and why.
pub fn read_to_the_end(source: &mut dyn Source) -> CaptureError {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < end, "still there after 30 s");
        if let Err(error) = source.read(&mut Output::default()) {
            return error;
        }
    }
}

/// Samples of a stream.
pub fn samples(items: &[(usize, Item)], stream: usize) -> Vec<&driver::Sample> {
    let of_stream = items.iter().filter(|(of, _)| *of == stream);
    of_stream
        .filter_map(|(_, item)| match item {
            Item::Sample(sample) => Some(sample),
            _ => None,
        })
        .collect()
}

/// What became of the samples from a stream's first to its last one that arrived.
#[derive(Debug, Default)]
pub struct Account {
    /// As the driver says.
    pub received: u64,
    pub lost: u64,
    pub missing: u64,
    /// As the truth says.
    pub sent: u64,
    pub corrupt: u64,
    pub dropped: u64,
}

impl Account {
    pub fn of(items: &[(usize, Item)], stream: usize, truth: &[&Sample]) -> Self {
        let mut account = Self::default();
        let items: Vec<&Item> = items
            .iter()
            .filter(|(of, _)| *of == stream)
            .map(|(_, item)| item)
            .collect();
        let is_sample = |item: &&Item| matches!(item, Item::Sample(_));
        let first = items.iter().position(is_sample).expect("a sample");
        let last = items.iter().rposition(is_sample).expect("a sample");
        let (mut from, mut to) = (u64::MAX, 0);
        for item in &items[first..=last] {
            match item {
                Item::Sample(sample) => {
                    account.received += 1;
                    from = from.min(sample.sequence);
                    to = to.max(sample.sequence);
                }
                Item::Lost { count, .. } => account.lost += count,
                Item::Missing { count, .. } => account.missing += count,
                _ => {}
            }
        }
        for sample in truth
            .iter()
            .filter(|sample| (from..=to).contains(&sample.seq))
        {
            match sample.fate {
                Fate::Sent => account.sent += 1,
                Fate::Corrupt => account.corrupt += 1,
                Fate::Dropped => account.dropped += 1,
                Fate::Unsent => {}
            }
        }
        account
    }
}
