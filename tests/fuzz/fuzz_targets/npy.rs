#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    dexumi_fuzz::run("npy", bytes);
});
