//! Objects' cameras.
#![no_main]
libfuzzer_sys::fuzz_target!(init: anneal_fuzz::prepare(), |data: &[u8]| anneal_fuzz::run("cameras", data));
