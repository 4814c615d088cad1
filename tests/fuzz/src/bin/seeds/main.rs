//! Writes the corpus anew from the encoders of the drivers and from bytes that
//! their documents give: `cargo run --release --bin seeds -- FOLDER`. A file lies
//! in the folder of its target; its first bytes say how the target reads it
//! (`src/`).

mod cameras;
mod files;
mod network;
mod serial;

use std::path::PathBuf;

/// The folder of all corpora.
struct Seeds(PathBuf);

impl Seeds {
    fn write(&self, target: &str, name: &str, prefix: &[u8], bytes: impl AsRef<[u8]>) {
        let folder = self.0.join(target);
        std::fs::create_dir_all(&folder).expect("a folder");
        let bytes = [prefix, bytes.as_ref()].concat();
        std::fs::write(folder.join(name), bytes).expect("written");
    }
}

fn main() {
    let folder = std::env::args().nth(1).expect("a folder to write to");
    let seeds = Seeds(folder.into());
    serial::serial(&seeds);
    serial::boards(&seeds);
    serial::polhemuses(&seeds);
    network::arkits(&seeds);
    network::natnets(&seeds);
    network::phones(&seeds);
    cameras::cameras(&seeds);
    network::bridges(&seeds);
    network::udps(&seeds);
    network::gloves(&seeds);
    files::texts(&seeds);
    files::episodes(&seeds);
    files::hands(&seeds);
}

/// Behind its length, as the targets take several things.
fn part(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// Several packets in a row, noise before them, and one damaged in between.
fn disturbed(packets: Vec<Vec<u8>>) -> Vec<u8> {
    let mut bytes = vec![0x55, 0xAA, 0xAA];
    for (index, mut packet) in packets.into_iter().enumerate() {
        if index == 2 {
            packet[5] ^= 0x10;
        }
        bytes.extend(packet);
    }
    bytes
}
