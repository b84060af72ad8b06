#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ws_tests::fuzz::frame_header(bytes));
