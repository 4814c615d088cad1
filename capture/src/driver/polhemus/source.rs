//! An open tracker that sends records.
//!
//! A record has no checksum: it is held against its neighbours, as encoder and
//! force boards are.

use dexumi_episode::{HostTime, TickUnwrapper, schema::suspect};

use super::{
    Setup, patriot,
    record::{Found, Model, Record, Search},
};
use crate::{
    driver::{
        Data, Item, Output, Sample, Source,
        gate::{Lookahead, contradiction},
        order::{Order, Place},
        serial::Port,
    },
    error::CaptureError,
};

/// One tick of a Patriot's stamp [ns].
const TICK_NS: i64 = 1_000_000;
const METRES: f64 = 0.01;
/// A stamp that is further off the line of its neighbours is suspect [ms].
const MAX_OFF_MS: f64 = 3.0;
/// So is a position [cm]: no hand is jerked so within a measurement.
const MAX_OFF_CM: f64 = 5.0;
/// And a component of a quaternion.
const MAX_OFF_TURN: f64 = 0.3;

#[derive(Debug, Clone)]
struct Arrived {
    record: Record,
    arrival: HostTime,
    /// Number of the measurement, or a count made here.
    number: f64,
}

struct Stream {
    station: u8,
    lookahead: Lookahead<Arrived>,
    order: Order,
    clock: TickUnwrapper,
    arrived: u64,
    released: u64,
    error: u8,
}

pub(super) struct PolhemusSource {
    port: Port,
    model: Model,
    search: Search,
    streams: Vec<Stream>,
    about: Vec<(String, String)>,
}

impl PolhemusSource {
    pub fn new(port: Port, model: Model, setup: Setup, about: Vec<(String, String)>) -> Self {
        Self {
            port,
            model,
            search: Search::new(model, setup.format),
            streams: setup.stations.iter().map(|&s| Stream::new(s)).collect(),
            about,
        }
    }

    fn release(&mut self, flush: bool, out: &mut Output) {
        for (index, stream) in self.streams.iter_mut().enumerate() {
            while let Some((arrived, doubt)) = stream.lookahead.judge(flush, judge) {
                stream.release(index, self.model, &arrived, doubt, out);
            }
            if flush {
                stream.lookahead.clear();
            }
        }
    }
}

/// `suspect` bits of the middle one of five records in a row.
fn judge(window: [Option<&Arrived>; 5]) -> u32 {
    let Some(this) = window[2] else {
        return 0;
    };
    let off = |value: &dyn Fn(&Arrived) -> f64| {
        let window = window.map(|arrived| arrived.map(|arrived| (arrived.number, value(arrived))));
        contradiction(window, |a, b| a - b).unwrap_or(0.0)
    };
    let mut doubt = 0;
    if this.record.time_ms.is_some()
        && off(&|a| f64::from(a.record.time_ms.unwrap_or(0))) > MAX_OFF_MS
    {
        doubt |= suspect::TICKS;
    }
    let jumps = (0..3).any(|axis| off(&|a| a.record.position_cm[axis]) > MAX_OFF_CM);
    // A quaternion and its negative are one rotation.
    let q = this.record.rotation_xyzw;
    let turn = |a: &Arrived, axis: usize| {
        let other = a.record.rotation_xyzw;
        let dot: f64 = q.iter().zip(other).map(|(a, b)| a * b).sum();
        other[axis] * if dot < 0.0 { -1.0 } else { 1.0 }
    };
    if jumps || (0..4).any(|axis| off(&|a| turn(a, axis)) > MAX_OFF_TURN) {
        doubt |= suspect::POSE;
    }
    doubt
}

impl Stream {
    fn new(station: u8) -> Self {
        Self {
            station,
            lookahead: Lookahead::default(),
            order: Order::new(32),
            clock: TickUnwrapper::new(32, TICK_NS),
            arrived: 0,
            released: 0,
            error: b' ',
        }
    }

    fn push(&mut self, record: Record, arrival: HostTime) {
        let number = record.count.map_or(self.arrived as f64, f64::from);
        self.arrived += 1;
        self.lookahead.push(Arrived {
            record,
            arrival,
            number,
        });
    }

    fn release(
        &mut self,
        index: usize,
        model: Model,
        arrived: &Arrived,
        doubt: u32,
        out: &mut Output,
    ) {
        let (record, arrival) = (&arrived.record, arrived.arrival);
        let counter_holds = doubt & suspect::TICKS == 0;
        if let Some(count) = record.count {
            if counter_holds {
                let time_ns = record.time_ms.map(|ms| i64::from(ms) * TICK_NS);
                match self.order.place(u64::from(count), time_ns) {
                    Place::Next { missing } => out.missing(index, missing, arrival),
                    Place::Repeated => return out.lost(index, "repeated", 1, arrival),
                    Place::Late => return out.lost(index, "late", 1, arrival),
                    Place::Restarted => {
                        let text = "the tracker counts its measurements anew".to_owned();
                        out.push(
                            index,
                            Item::Note {
                                warning: true,
                                text,
                            },
                        );
                    }
                }
            } else {
                // One of its number and its time is wrong; it is there all the same.
                self.order.unreadable();
            }
        }
        if record.error != std::mem::replace(&mut self.error, record.error) {
            out.push(index, error_note(self.station, model, record.error));
        }
        let valid = model == Model::Fastrak || !patriot::is_blind(record.error);
        let time = record.time_ms.filter(|_| counter_holds);
        out.sample(
            index,
            Sample {
                arrival,
                device: time.map(|ms| self.clock.unwrap(ms.into(), arrival)),
                sent: None,
                ticks: record.time_ms.map(u64::from),
                sequence: self.released,
                captured: None,
                suspect: doubt,
                data: Data::Pose {
                    position_m: record.position_cm.map(|v| v * METRES),
                    rotation_xyzw: record.rotation_xyzw,
                    valid,
                    mean_error_m: 0.0,
                },
                raw: None,
            },
        );
        self.released += 1;
    }
}

/// Counts damaged records. Of which station they were is not known, where there are
/// several; a Patriot's own count then tells where they are missing.
fn skipped(
    streams: &mut [Stream],
    model: Model,
    (bytes, records): (usize, u64),
    at: HostTime,
    out: &mut Output,
) {
    let bytes = bytes as u64;
    out.push(0, Item::Discarded { bytes });
    match (streams, model) {
        ([only], _) => {
            (0..records).for_each(|_| only.order.unreadable());
            out.lost(0, "corrupt", records, at);
        }
        (_, Model::Fastrak) => out.lost(0, "corrupt", records, at),
        (_, Model::Patriot) => {}
    }
}

/// What a changed error letter says.
fn error_note(station: u8, model: Model, error: u8) -> Item {
    let letter = char::from(error);
    let text = match (model, error) {
        (_, b' ' | 0) => format!("station {station} has no error any more"),
        // It stays until the test is cleared, whatever comes after.
        (Model::Fastrak, _) => {
            format!("station {station}: the last error of its built-in test is `{letter}`")
        }
        (Model::Patriot, _) => {
            let name = patriot::error_name(error).unwrap_or("an error");
            format!("station {station}: {name} (`{letter}`)")
        }
    };
    Item::Note {
        warning: !matches!(error, b' ' | 0),
        text,
    }
}

impl Source for PolhemusSource {
    fn read(&mut self, out: &mut Output) -> Result<(), CaptureError> {
        self.port.greet(self.streams.len(), out);
        if !self.about.is_empty() {
            let about = std::mem::take(&mut self.about);
            for (index, stream) in self.streams.iter().enumerate() {
                let station = ("station".to_owned(), stream.station.to_string());
                let about = about.iter().cloned().chain([station]).collect();
                out.push(index, Item::About(about));
            }
        }
        let (model, streams) = (self.model, &mut self.streams);
        let chunk = match self.port.read() {
            Ok(Some(chunk)) => chunk,
            Ok(None) => {
                let now = HostTime::now();
                self.search.flush(|found| {
                    if let Found::Skipped { bytes, records } = found {
                        skipped(streams, model, (bytes, records), now, out);
                    }
                });
                self.release(true, out);
                return Ok(());
            }
            Err(gone) => {
                self.release(true, out);
                return Err(gone);
            }
        };
        self.search.push(chunk.bytes, |found| match found {
            Found::Record(record, after) => {
                let arrival = chunk.arrival_before(after);
                let mut known = streams.iter_mut();
                if let Some(stream) = known.find(|stream| stream.station == record.station) {
                    stream.push(record, arrival);
                }
            }
            Found::Skipped { bytes, records } => {
                skipped(streams, model, (bytes, records), chunk.arrival, out);
            }
        });
        self.release(false, out);
        Ok(())
    }
}
