//! Orders that do not compile. For each there is a companion that differs in the forbidden thing alone and does compile, so that none
//! of them fails for another reason.

#[test]
fn the_wrong_order_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile_pass/*.rs");
    cases.compile_fail("tests/compile_fail/*.rs");
}
