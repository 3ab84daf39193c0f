//! The offload gate alone.

use super::{Bench, Row};
use crate::cargo::{output, program};
use anyhow::{Context, Result};

const GOAL: f64 = 500_000.0;

pub(crate) fn measure(bench: &mut Bench) -> Result<()> {
    bench.say("gate decisions");
    let text = output(program(&bench.decisions))?;
    let rate: f64 = text.split_whitespace().rev().nth(3).and_then(|rate| rate.parse().ok()).with_context(|| text.clone())?;
    bench.record(Row::number(
        "gate decisions on one core, two required destinations, evidence loaded",
        format!("{rate:.0} files/s"),
        format!("at least {GOAL:.0}"),
        rate >= GOAL,
    ));
    Ok(())
}
