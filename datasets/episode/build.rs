//! Compiles `proto/dexumi.proto` with protox, so that no protoc is needed.

use std::{env, fs, path::PathBuf};

use protox::prost::Message as _;

fn main() {
    println!("cargo::rerun-if-changed=proto/dexumi.proto");
    let descriptors = protox::compile(["proto/dexumi.proto"], ["proto"])
        .expect("proto/dexumi.proto should compile");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("dexumi.fds"), descriptors.encode_to_vec())
        .expect("the descriptor set should be writable");
    prost_build::Config::new()
        .compile_fds(descriptors)
        .expect("prost should generate code for proto/dexumi.proto");
}
