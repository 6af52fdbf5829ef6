//! The packet reader and the verdict.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::verdict(data));
