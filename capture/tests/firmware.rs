//! `firmware/dexumi_board.h` as a C compiler sees it, against the driver: packets
//! in both directions, and a whole board on a pseudo-terminal.

use std::{
    cell::RefCell,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use dexumi_capture::driver::{
    Data, Item, Output, Source,
    board::protocol::{Kind, MAX_PAYLOAD_BYTES, Packet},
    driver_of,
};
use dexumi_episode::{ClockEstimator, ClockModel, Delta, Device, Echo, HostTime};
use nix::{
    pty::openpty,
    sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr},
    unistd::ttyname,
};
use proptest::prelude::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compiles a C program into a folder; `None`, with a word about it, without a
/// compiler.
fn compile(source: &Path, folder: &Path) -> Option<PathBuf> {
    let program = folder.join("program");
    let compiled = Command::new("cc")
        .args([
            "-std=c99",
            "-pedantic",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-O1",
        ])
        .arg("-I")
        .arg(root().join("firmware"))
        .arg(source)
        .arg("-o")
        .arg(&program)
        .arg("-lm")
        .output();
    match compiled {
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {words}", source.display());
            Some(program)
        }
        Err(error) => {
            eprintln!("skipped: no C compiler `cc` ({error}); the firmware header is not tested");
            None
        }
    }
}

struct Harness(RefCell<Child>);

impl Harness {
    fn start(folder: &Path) -> Option<Self> {
        let source = root().join("capture/tests/firmware/harness.c");
        let child = Command::new(compile(&source, folder)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Some(Self(RefCell::new(child.expect("harness"))))
    }

    fn ask(&self, operation: u8, bytes: &[u8]) -> Vec<u8> {
        let mut child = self.0.borrow_mut();
        let input = child.stdin.as_mut().expect("input");
        let [low, high] = (bytes.len() as u16).to_le_bytes();
        let record = [&[operation, low, high], bytes].concat();
        input.write_all(&record).expect("write");
        let output = child.stdout.as_mut().expect("output");
        let mut length = [0; 2];
        output.read_exact(&mut length).expect("length");
        let mut answer = vec![0; u16::from_le_bytes(length).into()];
        output.read_exact(&mut answer).expect("answer");
        answer
    }

    /// The packet as the header writes it.
    fn encode(&self, packet: &Packet) -> Vec<u8> {
        let mut record = vec![packet.kind as u8, packet.channel];
        record.extend(packet.sequence.to_le_bytes());
        record.extend(packet.time_us.to_le_bytes());
        record.extend(&packet.payload);
        self.ask(b'E', &record)
    }

    /// The requests that the header finds among bytes, with their ids.
    fn receive(&self, bytes: &[u8]) -> Vec<(u8, u32)> {
        self.ask(b'R', bytes)
            .chunks_exact(5)
            .map(|r| (r[0], u32::from_le_bytes([r[1], r[2], r[3], r[4]])))
            .collect()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        let child = self.0.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn payload(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    // Zeros and long runs without are what the stuffing is about.
    let byte = prop_oneof![1 => Just(0_u8), 100 => any::<u8>()];
    prop_oneof![
        proptest::collection::vec(byte, 0..longest),
        proptest::collection::vec(1_u8..=255, 230..longest.max(231)),
        proptest::collection::vec(Just(0_u8), 0..40),
    ]
}

fn request(kind: Kind, payload: Vec<u8>) -> Vec<u8> {
    let (channel, sequence, time_us) = (0, 0x1234, 0);
    Packet {
        kind,
        channel,
        sequence,
        time_us,
        payload,
    }
    .encode()
}

#[test]
fn the_header_and_the_driver_write_the_same_bytes_and_read_each_other() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(harness) = Harness::start(folder.path()) else {
        return;
    };
    let mut runner = proptest::test_runner::TestRunner::default();
    let samples = (
        any::<u8>(),
        any::<u16>(),
        any::<u32>(),
        payload(MAX_PAYLOAD_BYTES),
    );
    let kinds = [Kind::Sample, Kind::Board, Kind::Pong];
    runner
        .run(&samples, |(channel, sequence, time_us, payload)| {
            let kind = kinds[usize::from(channel) % 3];
            let packet = Packet {
                kind,
                channel,
                sequence,
                time_us,
                payload,
            };
            let line = harness.encode(&packet);
            prop_assert_eq!(&line, &packet.encode());
            let (&delimiter, stuffed) = line.split_last().expect("bytes");
            prop_assert_eq!(delimiter, 0);
            prop_assert_eq!(Packet::decode(stuffed), Ok(packet));
            Ok(())
        })
        .expect("the same bytes");
    let noise = proptest::collection::vec(any::<u8>(), 0..120);
    runner
        .run(&(any::<u32>(), noise), |(id, noise)| {
            // Whatever came before, a delimiter ends it.
            let ping = request(Kind::Ping, id.to_le_bytes().to_vec());
            let line = [
                &noise[..],
                &[0],
                &ping,
                &request(Kind::Describe, Vec::new()),
            ]
            .concat();
            let got = harness.receive(&line);
            prop_assert_eq!(&got[got.len() - 2..], [(0x82, id), (0x81, id)]);
            // Damage is no request.
            for bit in 0..8 * (ping.len() - 1) {
                let mut damaged = ping.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(harness.receive(&damaged).is_empty());
                harness.receive(&[0]);
            }
            Ok(())
        })
        .expect("requests");
}

#[test]
fn a_buffer_that_is_too_small_is_never_overrun() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(harness) = Harness::start(folder.path()) else {
        return;
    };
    for length in [0, 1, 100, 241, 242, 243, 244, 600] {
        for filler in [0, 7] {
            let payload = vec![filler; length];
            let line = harness.ask(b'S', &payload);
            let packet = Packet {
                kind: Kind::Sample,
                channel: 1,
                sequence: 2,
                time_us: 3,
                payload,
            };
            assert_eq!(line, packet.encode(), "{length} times {filler}");
        }
    }
}

/// The example board with a pseudo-terminal for a cable.
struct Board {
    child: Child,
    port: PathBuf,
    /// Keeps the port up until the driver has it open.
    _slave: std::os::fd::OwnedFd,
}

impl Board {
    fn start(folder: &Path) -> Option<Self> {
        let program = compile(&root().join("firmware/example.c"), folder)?;
        let pair = openpty(None, None).expect("a pseudo-terminal");
        let mut settings = tcgetattr(&pair.slave).expect("settings");
        cfmakeraw(&mut settings);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &settings).expect("raw");
        let child = Command::new(program)
            .stdin(pair.master.try_clone().expect("input"))
            .stdout(pair.master)
            .spawn()
            .expect("board");
        Some(Self {
            child,
            port: ttyname(&pair.slave).expect("name"),
            _slave: pair.slave,
        })
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(source: &mut dyn Source, enough: impl Fn(&Output) -> bool) -> Output {
    let mut out = Output::default();
    while !enough(&out) {
        source.read(&mut out).expect("the board is there");
    }
    out
}

#[test]
fn the_example_board_feeds_three_streams_and_its_clock_is_known() {
    let folder = tempfile::tempdir().expect("folder");
    let Some(board) = Board::start(folder.path()) else {
        return;
    };
    let entry = |stream: &str, source: Option<&str>| Device {
        source: source.map(str::to_owned),
        ..Device::new(stream, "dexumi_board", &board.port.to_string_lossy())
    };
    let devices = [
        entry("/exo/right/encoders", None),
        entry("/exo/right/force/thumb", Some("thumb")),
        entry("/imu/hand", Some("3")),
    ];
    let driver = driver_of(&devices[0]).expect("driver");
    let mut source = (driver.open)(&devices).expect("open");
    let count = |out: &Output, stream: usize| {
        let of = |(of, item): &&(usize, Item)| *of == stream && matches!(item, Item::Sample(_));
        out.items.iter().filter(of).count()
    };
    let out = read(&mut *source, |out| {
        count(out, 0) >= 1000 && count(out, 1) >= 200
    });

    let model: ClockModel = (driver.clock)(&devices[0]).expect("a clock");
    let mut clock = ClockEstimator::new(model, Delta::from_millis(60_000));
    let (mut echoes, mut last, mut abouts) = (0, None, Vec::new());
    for (stream, item) in &out.items {
        match item {
            Item::Sample(sample) => {
                match &sample.data {
                    Data::Encoders {
                        counts, reference, ..
                    } => assert_eq!((counts.len(), *reference, *stream), (6, 5_536_481, 0)),
                    Data::Force { counts, .. } => {
                        assert!(*stream == 1 && counts.iter().all(|c| c.abs() <= 100));
                    }
                    Data::Imu {
                        acceleration_m_s2: [_, _, z],
                        ..
                    } => assert!(*stream == 2 && (z - 9.80665).abs() < 1e-6),
                    other => panic!("{other:?}"),
                }
                if *stream == 0 {
                    clock.push(sample.device.expect("clock"), sample.arrival);
                    last = Some(sample.clone());
                }
            }
            &Item::Echo {
                sent,
                device,
                received,
            } if *stream == 0 => {
                echoes += 1;
                clock.push_echo(Echo {
                    sent,
                    device,
                    received,
                });
            }
            Item::About(about) => abouts.extend(about.clone()),
            // A busy computer may have let the line run over; then it is counted.
            Item::Lost { kind, .. } => assert_eq!(*kind, "corrupt"),
            _ => {}
        }
    }
    let said = |key: &str, value: &str| abouts.contains(&(key.to_owned(), value.to_owned()));
    assert!(said("board", "example board") && said("serial", "POSIX-1") && said("rate_hz", "500"));
    assert!(echoes >= 5, "{echoes} answers");
    // The example's clock is this computer's, without its upper bits: the fit can
    // be held against the truth. Its bound holds however busy the computer is.
    let last = last.expect("a sample");
    let fit = clock.fit(HostTime::now()).expect("a fit");
    let fitted_us = fit.to_host(last.device.expect("clock")).nanos() / 1_000;
    let true_us = last.ticks.expect("ticks") as u32;
    let error_us = i64::from((fitted_us as u32).wrapping_sub(true_us) as i32);
    assert!(
        error_us.abs() <= fit.bound_ns / 1_000 + 1,
        "{error_us} µs, bound {} ns",
        fit.bound_ns
    );
    eprintln!(
        "clock of the example board: error {error_us} µs, bound {} ns",
        fit.bound_ns
    );
}
