//! The host's side of a connection to a board: descriptions, sequences, the
//! clock, questions and answers. No input or output.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use dexumi_episode::{Delta, Device, DeviceTime, HostTime, StreamKind, TickUnwrapper};

use super::{
    describe::{Board, Channel, Feeds, VERSION},
    protocol::{CRC_BYTES, Deframer, Found, HEADER_BYTES, Kind, Packet},
};
use crate::{
    driver::{Item, Output, Sample, options::failed, serial::Chunk},
    error::CaptureError,
};

/// Samples kept until the description is complete.
const MAX_HELD: usize = 4096;
/// Between two requests for the description.
const DESCRIBE_EVERY: Delta = Delta::from_millis(300);
/// Between two questions for the time: at first, as usual, and where nobody
/// answers.
const PING_FIRST: Delta = Delta::from_millis(50);
const PING_EVERY: Delta = Delta::from_millis(100);
/// Up to so much later, another time each time: an adapter that collects bytes for 16 ms
/// must not keep step with the answers, so that some of them come at once.
const PING_SPREAD_NS: i64 = 20_000_000;
const PING_IN_VAIN: Delta = Delta::from_millis(10_000);
/// So many questions come quickly, so that the clock is known at once.
const FIRST_PINGS: u32 = 30;
/// An answer that takes longer is none.
const ANSWER_WITHIN: Delta = Delta::from_millis(2_000);
/// So many in a row without an answer, and the board has none.
const IN_VAIN: u32 = 40;
/// A longer gap is counted by its length: the sequence has but 16 bits.
const MAX_GAP: Delta = Delta::from_millis(1_000);
/// A question and its answer, each: header, id, CRC, stuffing, delimiter.
const EXCHANGE_BYTES: usize = HEADER_BYTES + 4 + CRC_BYTES + 2;
/// Lines for people in any ten seconds.
const MAX_TEXTS: usize = 20;

/// A stream of the rig and the channel that feeds it.
#[derive(Debug)]
struct Taken {
    channel: u8,
    feeds: Feeds,
    last: Option<Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    device: DeviceTime,
    wrapped: u16,
    sequence: u64,
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    deframer: Deframer,
    board: Option<Board>,
    channels: BTreeMap<u8, Channel>,
    clock: TickUnwrapper,
    /// By stream of the connection, once the description is complete.
    taken: Vec<Taken>,
    held: VecDeque<(Packet, HostTime)>,
    /// Samples that did not fit there, by channel.
    unheld: BTreeMap<u8, u64>,
    /// Damaged packets that no gap has claimed yet, and when the last came.
    corrupt: Option<(u64, HostTime)>,
    sent: u16,
    next_request: HostTime,
    /// Questions without an answer yet.
    asked: VecDeque<(u32, HostTime)>,
    pings: u32,
    in_vain: u32,
    texts: VecDeque<HostTime>,
    /// All bytes, for people when nothing is understood.
    pub bytes: u64,
    /// Why it cannot go on as it began.
    pub ended: Option<String>,
}

impl Link {
    /// A connection that has just been opened.
    pub fn new(now: HostTime) -> Self {
        Self {
            deframer: Deframer::default(),
            board: None,
            channels: BTreeMap::new(),
            clock: TickUnwrapper::new(32, 1_000),
            taken: Vec::new(),
            held: VecDeque::new(),
            unheld: BTreeMap::new(),
            corrupt: None,
            sent: 0,
            next_request: now,
            asked: VecDeque::new(),
            pings: 0,
            in_vain: 0,
            texts: VecDeque::new(),
            bytes: 0,
            ended: None,
        }
    }

    /// Whether the board has described itself and all of its channels.
    pub fn is_described(&self) -> bool {
        let channels = self.board.as_ref().map(|board| board.channels);
        channels.is_some_and(|count| (1..=count).all(|number| self.channels.contains_key(&number)))
    }

    fn request(&mut self, kind: Kind, payload: Vec<u8>) -> Vec<u8> {
        let packet = Packet {
            kind,
            channel: 0,
            sequence: self.sent,
            time_us: 0,
            payload,
        };
        self.sent = self.sent.wrapping_add(1);
        packet.encode()
    }

    /// What is to be written to the board now, if anything.
    pub fn outgoing(&mut self, now: HostTime, out: &mut Output) -> Option<Vec<u8>> {
        if now < self.next_request {
            return None;
        }
        if !self.is_described() || self.taken.is_empty() {
            self.next_request = now + DESCRIBE_EVERY;
            // A delimiter first: it ends whatever the board has half received.
            return Some([&[0][..], &self.request(Kind::Describe, Vec::new())].concat());
        }
        let too_old = |&&(_, sent): &&(u32, HostTime)| now - sent > ANSWER_WITHIN;
        while self.asked.front().filter(too_old).is_some() {
            self.asked.pop_front();
            self.in_vain += 1;
            if self.in_vain == IN_VAIN {
                let text = format!(
                    "board `{}` does not answer questions for its time: the declared least delay \
                     dates its samples",
                    self.board.as_ref().map_or("", |board| &board.name)
                );
                let warning = true;
                out.push(0, Item::Note { warning, text });
            }
        }
        self.next_request =
            now + match () {
                () if self.in_vain >= IN_VAIN => PING_IN_VAIN,
                () if self.pings < FIRST_PINGS => PING_FIRST,
                () => PING_EVERY,
            } + self.spread();
        // An answer to a question of an earlier connection must not be taken.
        let id = (now.nanos() / 1_000) as u32;
        self.pings = self.pings.saturating_add(1);
        self.asked.push_back((id, now));
        Some(self.request(Kind::Ping, id.to_le_bytes().to_vec()))
    }

    /// The multiples of the golden ratio are spread over a turn more evenly than any
    /// others, wherever one stops.
    fn spread(&self) -> Delta {
        const GOLDEN: f64 = 0.618_033_988_749_895;
        let share = (f64::from(self.pings) * GOLDEN).fract();
        Delta::from_nanos((share * PING_SPREAD_NS as f64) as i64)
    }

    /// Takes the bytes of one read.
    pub fn push(&mut self, chunk: &Chunk<'_>, out: &mut Output) {
        self.bytes += chunk.bytes.len() as u64;
        let mut found = Vec::new();
        self.deframer.push(chunk.bytes, |item| found.push(item));
        for item in found {
            match item {
                Found::Packet { packet, after } => {
                    let wire_time = chunk.wire_time(EXCHANGE_BYTES);
                    self.take(packet, chunk.arrival_before(after), wire_time, out);
                }
                Found::Unknown(bytes) => out.push(
                    0,
                    Item::Discarded {
                        bytes: bytes as u64,
                    },
                ),
                Found::Corrupt(bytes) => {
                    out.push(
                        0,
                        Item::Discarded {
                            bytes: bytes as u64,
                        },
                    );
                    let before = self.unclaimed(chunk.arrival);
                    self.corrupt = Some((before + 1, chunk.arrival));
                }
            }
        }
    }

    /// Damaged packets that may be those that a gap lacks.
    fn unclaimed(&self, now: HostTime) -> u64 {
        self.corrupt
            .filter(|&(_, at)| now - at < MAX_GAP)
            .map_or(0, |(count, _)| count)
    }

    fn take(&mut self, packet: Packet, arrival: HostTime, wire_time: Delta, out: &mut Output) {
        match packet.kind {
            Kind::Board => self.board(&packet.payload, out),
            Kind::Channel => self.channel(packet.channel, &packet.payload),
            Kind::Sample if self.taken.is_empty() => self.hold(packet, arrival),
            Kind::Sample => self.sample(&packet, arrival, out),
            Kind::Pong => self.pong(&packet, arrival, wire_time, out),
            Kind::Text => self.text(&packet.payload, arrival, out),
            // Our own, come back: a line that echoes.
            Kind::Describe | Kind::Ping => {
                self.ended = Some("it sends our own packets back; is RX connected to TX?".into());
            }
        }
    }

    fn board(&mut self, payload: &[u8], out: &mut Output) {
        let board = match Board::decode(payload) {
            Some(Ok(board)) => board,
            Some(Err(version)) => {
                self.ended = Some(format!(
                    "it speaks version {version} of the protocol, expected {VERSION}"
                ));
                return;
            }
            None => {
                self.ended = Some("its description ends too early".into());
                return;
            }
        };
        if board.started && !self.taken.is_empty() {
            let text = format!("board `{}` has started anew by itself", board.name);
            let warning = true;
            out.push(0, Item::Note { warning, text });
            self.clock = TickUnwrapper::new(32, 1_000);
            self.taken.iter_mut().for_each(|taken| taken.last = None);
            self.asked.clear();
            // Its clock is to be known at once again.
            self.pings = 0;
            self.in_vain = 0;
        }
        self.board = Some(board);
    }

    fn channel(&mut self, number: u8, payload: &[u8]) {
        let Some(channel) = Channel::decode(payload) else {
            self.ended = Some(format!("its description of channel {number} is broken"));
            return;
        };
        let before = self.channels.insert(number, channel);
        let taken = self.taken.iter().any(|taken| taken.channel == number);
        if taken && before.is_some_and(|before| before != self.channels[&number]) {
            self.ended = Some(format!("it describes channel {number} anew, and otherwise"));
        }
    }

    fn hold(&mut self, packet: Packet, arrival: HostTime) {
        if self.held.len() == MAX_HELD
            && let Some((lost, _)) = self.held.pop_front()
        {
            *self.unheld.entry(lost.channel).or_default() += 1;
        }
        self.held.push_back((packet, arrival));
    }

    /// The board read its clock after the question had come over the wire, and
    /// before the answer set out.
    fn pong(&mut self, packet: &Packet, arrival: HostTime, wire_time: Delta, out: &mut Output) {
        let asked = |(id, _): &(u32, HostTime)| packet.payload == id.to_le_bytes();
        let Some(index) = self.asked.iter().position(asked) else {
            return;
        };
        let Some((_, sent)) = self.asked.remove(index) else {
            return;
        };
        self.in_vain = 0;
        let device = self.clock.unwrap(packet.time_us.into(), arrival);
        for stream in 0..self.taken.len() {
            out.push(
                stream,
                Item::Echo {
                    sent: sent + wire_time,
                    device,
                    received: arrival - wire_time,
                },
            );
        }
    }

    fn text(&mut self, payload: &[u8], now: HostTime, out: &mut Output) {
        let Some((&level, text)) = payload.split_first() else {
            return;
        };
        self.texts
            .retain(|&at| now - at < Delta::from_millis(10_000));
        if self.texts.len() < MAX_TEXTS {
            self.texts.push_back(now);
            let name = self.board.as_ref().map_or("", |board| &board.name);
            out.push(
                0,
                Item::Note {
                    warning: level > 0,
                    text: format!("board `{name}`: {}", String::from_utf8_lossy(text)),
                },
            );
        }
    }

    fn sample(&mut self, packet: &Packet, arrival: HostTime, out: &mut Output) {
        let device = self.clock.unwrap(packet.time_us.into(), arrival);
        let unclaimed = self.unclaimed(arrival);
        let stream = self
            .taken
            .iter()
            .position(|taken| taken.channel == packet.channel);
        let Some(stream) = stream else {
            return;
        };
        let taken = &mut self.taken[stream];
        let channel = &self.channels[&packet.channel];
        let mut sequence = u64::from(packet.sequence);
        if let Some(last) = taken.last {
            let step = packet.sequence.wrapping_sub(last.wrapped);
            let elapsed = device - last.device;
            if step == 0 && elapsed == Delta::ZERO {
                out.lost(stream, "repeated", 1, arrival);
                return;
            }
            // Faster than twice the nominal rate nobody can have counted.
            let most = match channel.rate_mhz {
                0 => f64::INFINITY,
                rate_mhz => 2.0 + elapsed.secs_f64() * f64::from(rate_mhz) * 2e-3,
            };
            let told = (Delta::ZERO..MAX_GAP).contains(&elapsed) && f64::from(step) <= most;
            sequence = last.sequence + if told { u64::from(step.max(1)) } else { 1 };
            if told && step > 1 {
                let missing = u64::from(step) - 1;
                let corrupt = missing.min(unclaimed);
                self.corrupt = self
                    .corrupt
                    .map(|(count, at)| (count.saturating_sub(corrupt), at));
                out.lost(stream, "corrupt", corrupt, arrival);
                out.missing(stream, missing - corrupt, arrival);
            }
        }
        taken.last = Some(Last {
            device,
            wrapped: packet.sequence,
            sequence,
        });
        let Some(data) = channel.read(taken.feeds, &packet.payload) else {
            out.lost(stream, "malformed", 1, arrival);
            return;
        };
        let raw = channel
            .drops()
            .then(|| Bytes::copy_from_slice(&packet.payload));
        out.sample(
            stream,
            Sample {
                arrival,
                captured: None,
                device: Some(device),
                sent: None,
                ticks: Some(packet.time_us.into()),
                sequence,
                suspect: 0,
                data,
                raw,
            },
        );
    }

    /// Gives each stream its channel, once the board is described, and hands over
    /// the samples that came before.
    ///
    /// # Errors
    /// The board has no such channel, or it feeds another kind of stream.
    pub fn attach(&mut self, devices: &[Device], out: &mut Output) -> Result<(), CaptureError> {
        let mut all = Vec::new();
        for device in devices {
            let number = self.find(device)?;
            if all.iter().any(|taken: &Taken| taken.channel == number) {
                let problem = format!("channel {number} is taken by another stream");
                return Err(failed(device, problem, &self.known()));
            }
            let channel = &self.channels[&number];
            let feeds = channel.feeds().map_err(|problem| {
                let name = &channel.name;
                failed(
                    device,
                    format!("the board's channel `{name}` {problem}"),
                    "correct its description in the firmware (docs/board-protocol.md)",
                )
            })?;
            if wanted(device) != Some(feeds) {
                let problem = format!("the board's channel `{}` is of another kind", channel.name);
                return Err(failed(device, problem, &self.known()));
            }
            all.push(Taken {
                channel: number,
                feeds,
                last: None,
            });
        }
        self.taken = all;
        for (stream, device) in devices.iter().enumerate() {
            let channel = &self.channels[&self.taken[stream].channel];
            out.push(stream, Item::About(self.about(channel)));
            if let Some(text) = unsaid_scan(device, channel) {
                let warning = true;
                out.push(stream, Item::Note { warning, text });
            }
        }
        let now = HostTime::now();
        for (stream, taken) in self.taken.iter().enumerate() {
            let unheld = self.unheld.get(&taken.channel).copied().unwrap_or(0);
            out.lost(stream, "undescribed", unheld, now);
        }
        for (packet, arrival) in std::mem::take(&mut self.held) {
            self.sample(&packet, arrival, out);
        }
        self.next_request = now;
        Ok(())
    }

    /// The channel that an entry asks for by name or number, or the only one that
    /// fits its stream.
    fn find(&self, device: &Device) -> Result<u8, CaptureError> {
        let fitting: Vec<u8> = match &device.source {
            Some(source) => {
                let asked = |(number, channel): &(&u8, &Channel)| {
                    channel.name == *source || number.to_string() == *source
                };
                self.channels
                    .iter()
                    .filter(asked)
                    .map(|(&n, _)| n)
                    .collect()
            }
            None => {
                let fits = |channel: &Channel| wanted(device) == channel.feeds().ok();
                let fitting = self.channels.iter().filter(|(_, channel)| fits(channel));
                fitting.map(|(&number, _)| number).collect()
            }
        };
        match (fitting[..].first(), &device.source) {
            (Some(&number), _) if fitting.len() == 1 => Ok(number),
            (_, Some(source)) => Err(failed(
                device,
                format!("the board has no single channel `{source}`"),
                &self.known(),
            )),
            (_, None) => Err(failed(
                device,
                format!("{} channels of the board fit this stream", fitting.len()),
                &self.known(),
            )),
        }
    }

    fn known(&self) -> String {
        let names: Vec<_> = self
            .channels
            .values()
            .map(|channel| {
                let feeds = match channel.feeds() {
                    Ok(Feeds::Encoders) => "encoders",
                    Ok(Feeds::Force) => "force",
                    Ok(Feeds::Imu) => "imu",
                    Err(_) => "unusable",
                };
                format!("source = \"{}\" ({feeds})", channel.name)
            })
            .collect();
        format!("it has: {}", names.join(", "))
    }

    fn about(&self, channel: &Channel) -> Vec<(String, String)> {
        let board = self.board.clone().unwrap_or_default();
        let mut about = vec![
            ("board".to_owned(), board.name),
            ("firmware".to_owned(), board.firmware),
            ("serial".to_owned(), board.serial),
            ("channel".to_owned(), channel.name.clone()),
        ];
        if channel.rate_mhz > 0 {
            let rate_hz = f64::from(channel.rate_mhz) * 1e-3;
            about.push(("rate_hz".to_owned(), rate_hz.to_string()));
        }
        for (index, field) in channel.fields.iter().enumerate() {
            let text = format!(
                "role {}, {} x {:?}, turn {}, scale {} {}",
                field.role, field.count, field.format, field.turn, field.scale, field.unit
            );
            about.push((format!("field_{index}"), text.trim_end().to_owned()));
        }
        about
    }
}

/// What kind of channel a stream needs.
fn wanted(device: &Device) -> Option<Feeds> {
    match StreamKind::of(&device.stream)? {
        StreamKind::Encoders { .. } => Some(Feeds::Encoders),
        StreamKind::Force { .. } => Some(Feeds::Force),
        StreamKind::Imu { .. } => Some(Feeds::Imu),
        _ => None,
    }
}

/// A board that scans its joints one after another, and a rig that does not say so.
fn unsaid_scan(device: &Device, channel: &Channel) -> Option<String> {
    let count = channel.fields.first()?.count;
    let scan_s = f64::from(channel.scan_us) * 1e-6;
    let offsets: Vec<f64> = (0..count)
        .map(|element| scan_s * ((f64::from(element) + 0.5) / f64::from(count) - 1.0))
        .collect();
    let said = super::scan_offsets_s(device);
    let said_s = |element: usize| said.get(element).copied().unwrap_or(0.0);
    let agree = offsets
        .iter()
        .enumerate()
        .all(|(element, offset)| (said_s(element) - offset).abs() < 20e-6);
    if agree || channel.feeds() != Ok(Feeds::Encoders) {
        return None;
    }
    let list: Vec<_> = offsets.iter().map(|s| format!("{s:.6}")).collect();
    Some(format!(
        "`{}`: the board samples its joints one after another; for their times to be right, give \
         this stream options = {{ scan_offsets_s = [{}] }} in rig.toml",
        device.stream,
        list.join(", ")
    ))
}
