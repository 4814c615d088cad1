#![no_main]

#[path = "../src/hands.rs"]
#[allow(dead_code, reason = "one of its targets")]
mod hands;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    hands::urdf(bytes);
});
