//! Making a failing history smaller: what can be left out, while it still fails, is left out.

use crate::op::Op;

/// Leaves out ever smaller pieces, as long as `fails` says so of what is left; then makes what happens within others happen earlier.
pub fn shrink(ops: &[Op], fails: &mut dyn FnMut(&[Op]) -> bool) -> Vec<Op> {
    let mut ops = ops.to_vec();
    let mut piece = (ops.len() / 2).max(1);
    loop {
        let mut from = 0;
        let mut smaller = false;
        while from < ops.len() {
            let to = (from + piece).min(ops.len());
            let candidate: Vec<_> = ops[..from].iter().chain(&ops[to..]).cloned().collect();
            if fails(&candidate) {
                ops = candidate;
                smaller = true;
            } else {
                from = to;
            }
        }
        if piece > 1 {
            piece = piece.div_ceil(2);
        } else if !smaller {
            break;
        }
    }
    for place in 0..ops.len() {
        while let Op::During { moment, number, op } = &ops[place] {
            let mut candidate = ops.clone();
            candidate[place] = Op::During { moment: *moment, number: number.saturating_sub(1), op: op.clone() };
            if *number <= 1 || !fails(&candidate) {
                break;
            }
            ops = candidate;
        }
    }
    ops
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{parse, print};

    #[test]
    fn what_does_not_matter_is_left_out() {
        let ops =
            parse("close\nbackup\nend\nduring call 5 crash\noffload photos no\nclone\nswitch\nend\nabort").expect("a history");
        let mut tried = 0;
        let small = shrink(&ops, &mut |ops| {
            tried += 1;
            let text = print(ops);
            text.contains("backup") && text.contains("during") && text.contains("switch")
        });
        assert_eq!(print(&small), "backup\nduring call 1 crash\nswitch\n");
        assert!(tried < 60, "{tried}");
    }
}
