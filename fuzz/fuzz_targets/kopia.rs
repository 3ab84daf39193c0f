#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lastcopy_decoders::kopia(bytes));
