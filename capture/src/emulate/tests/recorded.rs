//! What comes out of a driver that is connected to an emulated device.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dexumi_episode::Device;

use super::EmulatedRig;
use crate::driver::{Item, Output, Sample, Source, driver_of};

/// By stream of the connection.
#[derive(Default)]
pub struct Recorded {
    pub samples: Vec<Vec<Sample>>,
    pub lost: Vec<BTreeMap<&'static str, u64>>,
    pub missing: Vec<u64>,
    pub about: Vec<BTreeMap<String, String>>,
    pub echoes: Vec<Vec<Item>>,
    pub notes: Vec<String>,
}

impl Recorded {
    pub fn new(streams: usize) -> Self {
        Self {
            samples: vec![Vec::new(); streams],
            lost: vec![BTreeMap::new(); streams],
            missing: vec![0; streams],
            about: vec![BTreeMap::new(); streams],
            echoes: vec![Vec::new(); streams],
            notes: Vec::new(),
        }
    }

    /// Fewest samples of a stream.
    pub fn fewest(&self) -> usize {
        self.samples.iter().map(Vec::len).min().unwrap_or(0)
    }

    pub fn take(&mut self, output: &mut Output) {
        for (stream, item) in output.items.drain(..) {
            match item {
                Item::Sample(sample) => self.samples[stream].push(sample),
                Item::Lost { kind, count, .. } => {
                    *self.lost[stream].entry(kind).or_default() += count;
                }
                Item::Missing { count, .. } => self.missing[stream] += count,
                Item::About(about) => self.about[stream].extend(about),
                Item::Note { text, .. } => self.notes.push(text),
                Item::Echo { .. } => self.echoes[stream].push(item),
                Item::Discarded { .. } => {}
            }
        }
    }
}

/// Entries of the connection that the first of a rig's devices has.
pub fn entries(rig: &EmulatedRig) -> Vec<Device> {
    let address = &rig.rig().device[0].address;
    let same = |device: &&Device| device.address == *address;
    rig.rig().device.iter().filter(same).cloned().collect()
}

/// Opens a connection as the recorder does, waiting for a device that comes.
pub fn open(devices: &[Device]) -> Box<dyn Source> {
    let driver = driver_of(&devices[0]).expect("a driver");
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match (driver.open)(devices) {
            Ok(source) => return source,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Reads a connection until `enough`, opening it anew where it is gone.
pub fn record(devices: &[Device], enough: impl Fn(&Recorded) -> bool) -> Recorded {
    let mut source = open(devices);
    let mut recorded = Recorded::new(devices.len());
    let mut output = Output::default();
    let end = Instant::now() + Duration::from_secs(30);
    while !enough(&recorded) {
        assert!(
            Instant::now() < end,
            "not within 30 s: {} samples, lost {:?}, notes {:?}",
            recorded.fewest(),
            recorded.lost,
            recorded.notes
        );
        let result = source.read(&mut output);
        recorded.take(&mut output);
        if let Err(error) = result {
            recorded.notes.push(error.to_string());
            drop(source);
            source = open(devices);
        }
    }
    recorded
}
