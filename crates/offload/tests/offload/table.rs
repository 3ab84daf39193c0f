//! The whole gate as a reviewed file.

/// Every combination of the seven locks, of what stops a file itself, of answers and of policies. A change here is a change of what
/// may be deleted.
#[test]
fn the_whole_gate() {
    insta::assert_snapshot!(lastcopy_offload::offload_gate_table());
}
