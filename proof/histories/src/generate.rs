//! Histories at random, weighted so that what is rare in life happens often here.

use crate::op::Op;
use crate::policy::{DAY, HOUR};
use crate::random::Random;
use crate::word::{At, Dest, FILES, Lying, Moment, Storing, Terms, Vol};

/// Most operations are about the first volume: things come together there.
fn volume(random: &mut Random) -> Vol {
    if random.one_in(6) { Vol::Music } else { Vol::Photos }
}

fn dest(random: &mut Random) -> Dest {
    Dest::ALL[random.weighted(&[6, 4, 1])]
}

fn file(random: &mut Random) -> At {
    let places = if random.one_in(4) { FILES } else { 4 };
    At::file(random.below(places))
}

fn content(random: &mut Random) -> u8 {
    u8::try_from(if random.one_in(12) { 0 } else { 1 + random.below(8) }).unwrap_or(1)
}

/// A history.
pub fn history(random: &mut Random) -> Vec<Op> {
    let mut ops = Vec::new();
    if !random.one_in(3) {
        let volume = volume(random);
        ops.push(Op::Policy { volume, terms: random.of(Terms::ALL) });
    }
    for _ in 0..2 + random.below(4) {
        ops.push(Op::Write { volume: volume(random), at: file(random), content: content(random) });
    }
    ops.push(Op::Index { volume: Vol::Photos, accept_loss: false });
    if !random.one_in(4) {
        push_all(random, &mut ops, Vol::Photos);
    }
    for _ in 0..1 + random.weighted(&[3, 2, 1]) {
        for _ in 0..random.below(3) {
            let op = anything(random);
            add(random, &mut ops, op);
        }
        story(random, &mut ops);
    }
    for _ in 0..random.below(4) {
        let op = anything(random);
        add(random, &mut ops, op);
    }
    if random.one_in(2) {
        let volume = volume(random);
        add(random, &mut ops, Op::Offload { volume, full: false });
    }
    if random.one_in(4) {
        ops.push(Op::Finish);
    }
    ops
}

fn push_all(random: &mut Random, ops: &mut Vec<Op>, volume: Vol) {
    for to in [Dest::Vault, Dest::Cloud] {
        add(random, ops, Op::Sync { volume, to });
    }
    if random.one_in(4) {
        ops.push(Op::Sync { volume, to: Dest::Far });
    }
}

/// An operation, perhaps with something that happens within it.
fn add(random: &mut Random, ops: &mut Vec<Op>, op: Op) {
    if op.is_command() {
        let offload = matches!(op, Op::Offload { .. });
        while random.one_in(if offload { 3 } else { 7 }) {
            ops.push(during(random, offload));
        }
    }
    ops.push(op);
}

fn during(random: &mut Random, offload: bool) -> Op {
    let moments: &[Moment] = if offload {
        &[Moment::Clock, Moment::Call, Moment::Progress, Moment::Confirm, Moment::Confirm, Moment::Told, Moment::Planned]
    } else {
        &[Moment::Clock, Moment::Call, Moment::Call, Moment::Progress]
    };
    let moment = random.of(moments);
    let most = match moment {
        Moment::Clock => 14,
        Moment::Call => 12,
        Moment::Progress => 8,
        Moment::Confirm => 2,
        Moment::Told => 3,
        Moment::Planned => 1,
    };
    let number = u16::try_from(1 + random.below(most)).unwrap_or(1);
    let op = match random.weighted(&[4, 4, 4, 1]) {
        0 => Op::Crash,
        1 => edit(random),
        2 => fault(random),
        _ => command(random),
    };
    Op::During { moment, number, op: Box::new(op) }
}

pub(crate) fn anything(random: &mut Random) -> Op {
    match random.weighted(&[6, 5, 8, 1]) {
        0 => edit(random),
        1 => fault(random),
        2 => command(random),
        _ => index_as_a_whole(random),
    }
}

fn edit(random: &mut Random) -> Op {
    let (volume, at) = (volume(random), file(random));
    match random.weighted(&[8, 4, 2, 2, 3, 3, 2, 1, 2, 2, 2, 1, 2]) {
        0 => Op::Write { volume, at, content: content(random) },
        1 => Op::Replace { volume, at, content: content(random) },
        2 => Op::Append { volume, at },
        3 => Op::Truncate { volume, at },
        4 => {
            let all = random.one_in(2);
            let name = |random: &mut Random| if all { At::any(random.below(100)) } else { At::directory(random.below(3)) };
            Op::Rename { volume, at: name(random), to: name(random) }
        }
        5 => Op::Delete { volume, at: At::any(random.below(100)) },
        6 => Op::Link { volume, at: At::any(random.below(100)) },
        7 => Op::Age { volume, at },
        8 => Op::Rot { volume, at },
        9 => Op::Open { volume, at },
        10 => Op::WriteOpen { content: content(random) },
        11 => Op::Close,
        _ => Op::Overwrite { volume, at },
    }
}

fn fault(random: &mut Random) -> Op {
    let (at, content) = (dest(random), content(random));
    match random.weighted(&[3, 3, 2, 3, 4, 2, 1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 2]) {
        0 => Op::Fail { at, call: u16::try_from(1 + random.below(10)).unwrap_or(1), for_ever: random.one_in(2) },
        1 => Op::Lie { at, in_what: random.of(Lying::ALL) },
        2 => Op::Store { at, how: random.of(Storing::ALL) },
        3 => Op::Honest { at },
        4 => Op::Lose { at, content },
        5 => Op::Flip { at, content },
        6 => Op::Shorten { at, content },
        7 => Op::Exchange { at, content },
        8 => Op::Wipe { at },
        9 => Op::Swap { at },
        10 => Op::Unplug { at },
        11 => Op::Plug { at },
        12 => Op::Keep { at },
        13 => Op::RollBack { at },
        14 => Op::MoveInto { at, volume: volume(random) },
        15 => Op::SwapPlaces { at, with: dest(random) },
        _ => Op::Clock { by: random.of(&[HOUR, 2 * HOUR, DAY, DAY + HOUR, 31 * DAY, -HOUR, -DAY]) },
    }
}

fn command(random: &mut Random) -> Op {
    let (volume, at) = (volume(random), dest(random));
    match random.weighted(&[5, 8, 4, 9, 2, 4, 1, 2, 2, 2, 1, 1, 1, 1, 2, 2, 1, 1, 1]) {
        0 => Op::Index { volume, accept_loss: random.one_in(2) },
        1 => Op::Sync { volume, to: at },
        2 => Op::Verify { at, quick: random.one_in(2) },
        3 => Op::Offload { volume, full: random.one_in(6) },
        4 => Op::Undo { volume },
        5 => Op::Restore { volume, in_place: random.one_in(3) },
        6 => Op::RestoreTo { volume },
        7 => Op::Audit { volume, deep: !random.one_in(3) },
        8 => Op::Acknowledge,
        9 => Op::Repair { at },
        10 => Op::Init { at },
        11 => Op::Adopt { at },
        12 => Op::Reset { at },
        13 => Op::Rewind { volume, at, by: u8::try_from(random.below(9)).unwrap_or(0) },
        14 => Op::Policy { volume, terms: random.of(Terms::ALL) },
        15 => Op::AcceptPolicy { volume },
        16 => Op::Begin { volume },
        17 => Op::End,
        _ => Op::Abort,
    }
}

fn index_as_a_whole(random: &mut Random) -> Op {
    match random.weighted(&[4, 2, 2, 2, 2, 1, 2]) {
        0 => Op::Backup,
        1 => Op::RestoreIndex,
        2 => Op::PutIndexBack { keep_beside: random.one_in(2) },
        3 => Op::Clone,
        4 => Op::Switch,
        5 => Op::Recover { from: dest(random) },
        _ => Op::Restart,
    }
}

/// A few operations that belong together. Others may come in between.
pub(crate) fn story(random: &mut Random, ops: &mut Vec<Op>) {
    let volume = Vol::Photos;
    let (at, one, other) = (dest(random), content(random), file(random));
    let index = Op::Index { volume, accept_loss: random.one_in(2) };
    let offload = Op::Offload { volume, full: random.one_in(8) };
    let write = Op::Write { volume, at: other, content: content(random) };
    let happens = |moment, number, op| Op::During { moment, number, op: Box::new(op) };
    let sync = Op::Sync { volume, to: at };
    let told: Vec<Op> = match random.below(32) {
        0 => vec![offload.clone(), Op::Restore { volume, in_place: false }, offload],
        1 => vec![
            Op::Policy { volume, terms: Terms::BothGrace },
            offload.clone(),
            edit(random),
            Op::Clock { by: DAY + HOUR },
            fault(random),
            offload,
        ],
        2 => {
            let ends = if random.one_in(2) { Op::Undo { volume } } else { Op::Clock { by: DAY + HOUR } };
            vec![Op::Policy { volume, terms: Terms::VaultGrace }, offload.clone(), edit(random), ends, offload]
        }
        3 => vec![Op::Keep { at }, write, index, sync.clone(), Op::RollBack { at }, sync.clone(), Op::Acknowledge, sync, offload],
        4 => vec![Op::Keep { at }, write, index, sync, Op::RollBack { at }, offload],
        5 => vec![
            Op::Backup,
            write,
            index.clone(),
            sync.clone(),
            Op::Lose { at, content: one },
            Op::RestoreIndex,
            offload.clone(),
            index,
            sync,
            offload,
        ],
        6 => {
            let verify = Op::Verify { at, quick: false };
            let back = Op::PutIndexBack { keep_beside: random.one_in(2) };
            vec![Op::Backup, Op::Lose { at, content: one }, verify, back, index, offload.clone(), sync, offload]
        }
        7 => vec![
            Op::Clone,
            write.clone(),
            index.clone(),
            sync.clone(),
            Op::Switch,
            write,
            index,
            sync,
            offload.clone(),
            Op::Switch,
            offload,
        ],
        8 => vec![happens(Moment::Confirm, 1 + u16::from(random.one_in(2)), Op::Lose { at, content: one }), offload, index],
        9 => {
            let moment = random.of(&[Moment::Confirm, Moment::Told, Moment::Clock, Moment::Call, Moment::Progress]);
            let number = u16::try_from(1 + random.below(8)).unwrap_or(1);
            vec![happens(moment, number, Op::Crash), offload.clone(), index, offload]
        }
        10 => vec![Op::Open { volume, at: other }, offload.clone(), Op::WriteOpen { content: one }, Op::Close, index, offload],
        11 => {
            let fails = Op::Fail { at, call: 1, for_ever: true };
            vec![happens(Moment::Confirm, 1, write), fails, offload, Op::Honest { at }]
        }
        12 => vec![Op::Wipe { at }, sync.clone(), Op::Reset { at }, Op::Init { at }, offload.clone(), sync, offload],
        13 => vec![Op::Swap { at }, offload.clone(), sync.clone(), Op::Adopt { at }, offload.clone(), sync, offload],
        14 => vec![Op::Policy { volume, terms: random.of(Terms::ALL) }, offload.clone(), Op::AcceptPolicy { volume }, offload],
        15 => vec![offload, Op::Recover { from: at }, Op::Verify { at, quick: false }, Op::Restore { volume, in_place: false }],
        16 => vec![Op::Lie { at, in_what: random.of(Lying::ALL) }, sync.clone(), offload.clone(), Op::Honest { at }, sync, offload],
        17 => vec![Op::Store { at, how: random.of(Storing::ALL) }, write, index, sync.clone(), offload.clone(), sync, offload],
        18 => vec![
            Op::Flip { at, content: one },
            Op::Verify { at, quick: random.one_in(2) },
            offload.clone(),
            Op::Repair { at },
            offload,
        ],
        19 => vec![
            Op::Rot { volume, at: other },
            Op::Audit { volume, deep: true },
            offload.clone(),
            Op::Acknowledge,
            index,
            sync,
            offload,
        ],
        20 => vec![
            Op::Clock { by: random.of(&[HOUR, 31 * DAY, -HOUR]) },
            offload.clone(),
            Op::Verify { at: Dest::Vault, quick: false },
            offload,
        ],
        21 => vec![write, offload.clone(), index, offload.clone(), sync, offload],
        22 => vec![offload, write, Op::Restore { volume, in_place: random.one_in(2) }, index],
        23 => vec![Op::Unplug { at }, offload.clone(), sync, Op::Plug { at }, offload],
        24 => vec![Op::Begin { volume }, offload.clone(), Op::Abort, offload],
        25 => vec![happens(Moment::Call, u16::try_from(1 + random.below(6)).unwrap_or(1), Op::Abort), offload, index],
        27 => {
            let terms = random.of(&[Terms::Vault, Terms::VaultFresh, Terms::Offline]);
            let spoiled = if random.one_in(2) {
                Op::Flip { at: Dest::Vault, content: one }
            } else {
                Op::Lose { at: Dest::Vault, content: one }
            };
            let later = Op::Clock { by: random.of(&[2 * HOUR, 31 * DAY]) };
            vec![Op::Policy { volume, terms }, Op::AcceptPolicy { volume }, spoiled, later, offload]
        }
        28 => vec![Op::Open { volume, at: other }, happens(Moment::Confirm, 1, Op::WriteOpen { content: one }), offload, Op::Close],
        29 => {
            let verify = Op::Verify { at: Dest::Vault, quick: random.one_in(2) };
            vec![
                Op::Policy { volume, terms: Terms::Offline },
                Op::AcceptPolicy { volume },
                Op::Lose { at: Dest::Vault, content: one },
                verify,
                offload,
            ]
        }
        30 => vec![
            Op::Replace { volume, at: other, content: content(random) },
            index,
            Op::Restore { volume, in_place: true },
            offload,
        ],
        26 => vec![Op::MoveInto { at, volume }, index, sync, offload, Op::Plug { at }],
        _ => vec![Op::Rewind { volume, at, by: u8::try_from(random.below(6)).unwrap_or(0) }, offload.clone(), sync, offload],
    };
    for op in told {
        if random.one_in(9) {
            let between = anything(random);
            add(random, ops, between);
        }
        if !random.one_in(12) {
            add(random, ops, op);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{parse, print};

    /// What is found must be replayed exactly: every history is the text that it prints.
    #[test]
    fn histories_are_their_text() {
        for number in 0..500 {
            let ops = history(&mut Random::of_history(1, number));
            assert_eq!(parse(&print(&ops)), Ok(ops));
        }
        assert!(parse("write photos a.txt").is_err());
        assert!(parse("write photos a.txt 1 2").is_err());
        assert_eq!(parse("# a remark\n\n  close  ").map(|ops| ops.len()), Ok(1));
    }
}
