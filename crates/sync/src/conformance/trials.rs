//! Whole pushes over a real index against a destination that lies or breaks: what the node must not believe, how the run ends, which
//! alarm stands, and that all is well again after the lie.

use super::liar::Lie;
use super::rig::{Checked, Pushing, Rig, Site, expect, gate_is_open, holds, words};
use super::subject::{Cure, Fault, Subject, Tamper};
use crate::confirm::{Answer, Asking};
use crate::contact::{HeadsOf, contact};
use crate::destination::{Context, Depth, Destination};
use crate::manage::Repair;
use crate::verify::Extent;
use lastcopy_fs::{Cancel, Content};
use lastcopy_store::{AlarmKind, FileFacts, Outcome, ReceiptLevel, RunId, RunStatus};

/// A kind on trial.
#[derive(Clone, Copy)]
pub(super) struct Trial<'a> {
    pub(super) subject: &'a dyn Subject,
    pub(super) context: &'a Context,
}

/// How a push against a lie has to end.
pub(super) struct Expected {
    lie: Lie,
    status: RunStatus,
    alarm: Option<AlarmKind>,
    cure: Cure,
}

/// Every lie that a push meets.
pub(super) const PUSHES: [Expected; 17] = {
    use Lie as L;
    use RunStatus as S;
    const fn of(lie: Lie, status: RunStatus) -> Expected {
        Expected { lie, status, alarm: None, cure: Cure::Push }
    }
    const fn alarming(lie: Lie, alarm: AlarmKind) -> Expected {
        Expected { lie, status: S::Refused, alarm: Some(alarm), cure: Cure::Push }
    }
    [
        alarming(L::Gone, AlarmKind::IdentityChanged),
        alarming(L::Replaced, AlarmKind::IdentityChanged),
        alarming(L::ReplacedMidway, AlarmKind::IdentityChanged),
        of(L::CannotTell, S::Failed),
        alarming(L::OlderHead, AlarmKind::RolledBack),
        of(L::OlderHeadOnce, S::Success),
        alarming(L::NoHead, AlarmKind::RolledBack),
        // The run belonged to a life of the index that is over.
        of(L::HeadOfAnotherLife, S::Aborted),
        of(L::ProofsSwapped, S::Failed),
        of(L::Silent, S::Partial),
        of(L::SaysTwice, S::Partial),
        of(L::Excludes, S::Partial),
        of(L::TimesOutAfterStoring, S::Failed),
        of(L::Hangs, S::Aborted),
        of(L::Full, S::Failed),
        of(L::TimesOutAfterSealing, S::Failed),
        Expected { lie: L::SealsNothing, status: S::Success, alarm: None, cure: Cure::Acknowledge },
    ]
};

impl Expected {
    /// The lie.
    pub(super) fn lie(&self) -> Lie {
        self.lie
    }

    /// Whether it only cuts a push short, so that a destination shows whether it can go on.
    pub(super) fn is_cut_short(&self) -> bool {
        matches!(self.lie, Lie::TimesOutAfterStoring | Lie::Full | Lie::TimesOutAfterSealing)
    }
}

type Run = fn(&Trial<'_>) -> Checked;

/// Every other trial.
pub(super) const OTHERS: [(&str, Run); 15] = [
    ("each call of a push fails once", |trial| trial.each_call_fails()),
    ("a verify is lied to", |trial| trial.verify_is_lied_to()),
    ("what is held cannot be read", |trial| trial.nothing_can_be_read()),
    ("presence is lied about", |trial| trial.presence_is_lied_about()),
    ("a listing is stale", |trial| trial.listing_is_stale()),
    ("a repair is fed false bytes", |trial| trial.repair_is_fed()),
    ("objects are damaged after they were proven", |trial| trial.object_is_damaged()),
    ("a push that proves anew finds damaged objects", |trial| trial.push_finds_damage()),
    ("the place is wiped", |trial| trial.place_is_wiped()),
    ("another repository is in its place", |trial| trial.place_is_replaced()),
    ("the repository goes back to an earlier state", |trial| trial.place_is_rolled_back()),
    ("the repository is exchanged while a push sends", |trial| trial.place_is_replaced_midway()),
    ("another repository answers by the time something was proven", |trial| trial.proven_by_another()),
    ("another command finds lost what was just proven", |trial| trial.lost_meanwhile()),
    ("an offload asks", |trial| trial.offload_asks()),
];

/// Some files of many sizes; other ones for each number, and one that is always the same.
fn fill(rig: &Rig, site: &Site, number: u8) -> Checked {
    for (name, size) in [("small", 1), ("odd", 1500), ("larger", 70_000)] {
        rig.write(format!("{number}/{name}").as_bytes(), &vec![number; size])?;
    }
    rig.write(format!("{number}/not utf8 \u{ff}").as_bytes(), format!("bytes {number}").as_bytes())?;
    let odd: &[u8] = if site.liar.capabilities().any_name { b"d/\xff" } else { b"d/ \xc3\xbf" };
    rig.write(&[odd, &[b'0' + number]].concat(), b"the same everywhere")?;
    rig.write(format!("{number}/twice").as_bytes(), &vec![number; 1500])?;
    rig.write(format!("{number}/empty").as_bytes(), b"")
}

impl Trial<'_> {
    /// A node with a destination that accepted two pushes, and files that wait for a third one. With the horizon of that.
    fn waiting(&self) -> Checked<(Rig, Site, RunId)> {
        let rig = Rig::new(self.context)?;
        let site = rig.site(self.subject, "there")?;
        for number in [1, 2] {
            fill(&rig, &site, number)?;
            rig.index()?;
            ended(&rig.push(&site)?, RunStatus::Success)?;
        }
        fill(&rig, &site, 3)?;
        let horizon = rig.index()?;
        Ok((rig, site, horizon))
    }

    /// A node with a destination that holds everything, and one content that is there once.
    fn settled(&self) -> Checked<(Rig, Site, RunId, FileFacts)> {
        let (rig, site, horizon) = self.waiting()?;
        ended(&rig.push(&site)?, RunStatus::Success)?;
        let victim = file_named(&rig, &site, b"2/larger")?;
        Ok((rig, site, horizon, victim))
    }

    /// Nobody lies: pushes, a verify and a fetch agree with each other and with the storage.
    pub(super) fn whole(&self) -> Checked {
        let (rig, site, horizon) = self.waiting()?;
        heal(&rig, &site, Cure::Push, horizon)
    }

    /// A push against a lie, and the push after it.
    pub(super) fn push(&self, expected: &Expected) -> Checked {
        let (rig, site, horizon) = self.waiting()?;
        let context = Context { cancel: Cancel::new(), ..self.context.clone() };
        site.liar.lie(expected.lie);
        if expected.lie == Lie::Hangs {
            let cancel = context.cancel.clone();
            site.liar.midway(move || cancel.cancel());
        }
        let pushing = rig.push_under(&site, &context)?;
        expect(site.liar.told() > 0, || "nobody lied".into())?;
        ended(&pushing, expected.status)?;
        let alarms: Vec<_> = rig.alarms()?.iter().map(|alarm| alarm.kind).collect();
        expect(alarms == Vec::from_iter(expected.alarm), || format!("these alarms stand: {alarms:?}"))?;
        if expected.alarm.is_some() {
            shut(&rig, &site)?;
        }
        if expected.lie == Lie::Excludes {
            // It has another file with the same bytes, and holds nothing back.
            rig.converged(&site, horizon)?;
        }
        site.liar.lie(Lie::None);
        heal(&rig, &site, expected.cure, horizon)
    }

    /// Another repository answers once a push has proven everything, and the push is stopped there, before it asks at its end; the same
    /// befalls a verify. Who knows which one showed the bytes: nothing of it counts.
    pub(super) fn proven_by_another(&self) -> Checked {
        let (rig, site, horizon) = self.waiting()?;
        let receipts = || rig.store.count_receipts(site.id).map_err(words);
        let verified_at = || -> Checked<Vec<_>> {
            let contents: Vec<_> = rig.evidence(&site)?.iter().map(|(facts, _)| facts.file.content_id).collect();
            let receipts = rig.store.receipts_at(site.id, &contents).map_err(words)?;
            Ok(receipts.into_iter().map(|receipt| (receipt.content.hash, receipt.verified_at)).collect())
        };
        let before = receipts()?;
        let context = Context { cancel: Cancel::new(), ..self.context.clone() };
        let cancel = context.cancel.clone();
        site.liar.lie(Lie::ReplacedMidway);
        site.liar.afterwards(move || cancel.cancel());
        let pushing = rig.push_under(&site, &context)?;
        expect(pushing.outcome.is_err() && context.cancel.is_cancelled(), || format!("{pushing:?}"))?;
        expect(site.liar.told() > 0, || "nobody lied".into())?;
        expect(receipts()? == before, || format!("receipts were {before:?}, and are {:?}", receipts()))?;
        site.liar.lie(Lie::None);
        heal(&rig, &site, Cure::Push, horizon)?;
        let before = verified_at()?;
        site.liar.lie(Lie::ReplacedMidway);
        let verified = rig.verify_only(&site, Extent::All)?;
        expect(site.liar.told() > 0 && verified.is_err(), || format!("{verified:?}"))?;
        expect(verified_at()? == before, || "a verify took for proven what another one showed".into())?;
        site.liar.lie(Lie::None);
        rig.verify_only(&site, Extent::All)?.map_err(words)?;
        // What it finds missing or damaged is not to be counted on, whether or not it answers once more. The calls: probe, heads, verify.
        let victim = file_named(&rig, &site, b"2/larger")?.file.content;
        site.made.tamper(Tamper::Drop(victim))?;
        site.liar.lie(Lie::FailsFrom(4));
        let verified = rig.verify_only(&site, Extent::All)?;
        let lost = rig.store.lost_at(site.id).map_err(words)?;
        expect(verified.is_err() && lost.len() == 1, || format!("{verified:?}, known as lost: {lost:?}"))?;
        site.liar.lie(Lie::None);
        self.mend(&rig, &site, horizon, &[victim])
    }

    /// A push proves everything anew, and another command finds one of them lost before that is recorded: it stays lost.
    pub(super) fn lost_meanwhile(&self) -> Checked {
        let (rig, site, horizon, victim) = self.settled()?;
        let record = rig.record(&site).map_err(words)?;
        crate::manage::reset(&rig.store, &record, site.liar.as_ref(), "a test says so", self.context).map_err(words)?;
        let (store, content, destination) = (rig.store.clone(), victim.file.content_id, site.id);
        site.liar.afterwards(move || {
            let found_lost = || -> Checked {
                let run = store.begin_restore(None).map_err(words)?;
                let probed = run.probed(destination, record.incarnation.as_ref()).map_err(words)?;
                for receipt in store.receipts_at(destination, &[content]).map_err(words)? {
                    run.lost(&probed, content, &receipt.location, "a test says so").map_err(words)?;
                }
                run.finish(&Outcome::Success, None).map_err(words)
            };
            // Had it failed, nothing would be known as lost.
            drop(found_lost());
        });
        let pushing = rig.push(&site)?;
        // One that had recorded its proof by then has nothing to say of it.
        let status = [RunStatus::Success, RunStatus::Partial].contains(&pushing.status);
        expect(status, || format!("{pushing:?}"))?;
        let lost: Vec<_> = rig.store.lost_at(site.id).map_err(words)?.into_iter().map(|receipt| receipt.content_id).collect();
        expect(lost == [content], || format!("known as lost: {lost:?}"))?;
        let alarms: Vec<_> = rig.alarms()?.iter().map(|alarm| alarm.kind).collect();
        expect(alarms == [AlarmKind::LostObject], || format!("these alarms stand: {alarms:?}"))?;
        heal(&rig, &site, Cure::Push, horizon)
    }

    /// What an offload is told at the moment of deletion, and that it believes nothing that another one may have said.
    pub(super) fn offload_asks(&self) -> Checked {
        let (rig, site, _, victim) = self.settled()?;
        let survivor = file_named(&rig, &site, b"1/larger")?;
        let files = [&victim, &survivor].map(|facts| (facts.file.id, facts.file.content));
        let volume = HeadsOf::from(&rig.volume);
        let record = rig.record(&site).map_err(words)?;
        let (store, destination, context) = (&rig.store, site.liar.as_ref(), self.context);
        let ask = |depth| Asking { store, volume: &volume, record: &record, destination, context }.ask(None, &files, depth);
        for depth in [Depth::Presence, Depth::Bytes] {
            let answers = ask(depth).map_err(words)?;
            expect(answers == [Answer::Held, Answer::Held], || format!("{depth:?}: {answers:?}"))?;
            site.liar.lie(Lie::ReplacedMidway);
            let answers = ask(depth).map_err(words)?;
            let believed = answers.iter().any(|answer| !matches!(answer, Answer::Unknown(_)));
            expect(site.liar.told() > 0 && !believed, || format!("{depth:?}: {answers:?}"))?;
            for lie in [Lie::Replaced, Lie::Gone, Lie::CannotTell] {
                site.liar.lie(lie);
                expect(ask(depth).is_err() && site.liar.told() > 0, || format!("{depth:?}, {lie:?}: an answer was believed"))?;
            }
            site.liar.lie(Lie::None);
        }
        site.made.tamper(Tamper::Drop(victim.file.content))?;
        let answers = ask(Depth::Bytes).map_err(words)?;
        expect(matches!(answers[..], [Answer::NotHeld(_), Answer::Held]), || format!("{answers:?}"))?;
        // On behalf of a run, what it does not hold is known as lost from then on; not so what another one lacks.
        let deciding = rig.under_policy(&site)?;
        let run = store.begin_offload(&deciding).map_err(words)?;
        let asking = Asking { store, volume: &volume, record: &record, destination, context };
        let lost = || -> Checked<_> { Ok(store.lost_at(site.id).map_err(words)?.len()) };
        site.liar.lie(Lie::ReplacedMidway);
        let answers = asking.ask(Some(&run), &files, Depth::Bytes).map_err(words)?;
        let believed = answers.iter().any(|answer| !matches!(answer, Answer::Unknown(_)));
        expect(site.liar.told() > 0 && !believed && lost()? == 0, || format!("lost: {:?}, {answers:?}", lost()))?;
        let alarms: Vec<_> = rig.alarms()?.iter().map(|alarm| alarm.kind).collect();
        expect(alarms == [AlarmKind::IdentityChanged], || format!("these alarms stand: {alarms:?}"))?;
        // What it does not hold is not forgotten because it ended after that.
        site.liar.lie(Lie::EndsMidway);
        let answers = asking.ask(Some(&run), &files, Depth::Bytes).map_err(words)?;
        let heard = matches!(answers[..], [Answer::NotHeld(_), Answer::Unknown(_)]) && lost()? == 1;
        expect(site.liar.told() > 0 && heard, || format!("lost: {:?}, {answers:?}", lost()))?;
        site.liar.lie(Lie::None);
        let answers = asking.ask(Some(&run), &files, Depth::Bytes).map_err(words)?;
        expect(matches!(answers[..], [Answer::NotHeld(_), Answer::Held]) && lost()? == 1, || format!("{answers:?}"))?;
        run.finish(&Outcome::Success, None).map_err(words)
    }

    /// Each call of a push fails once.
    pub(super) fn each_call_fails(&self) -> Checked {
        let (rig, site, mut horizon) = self.waiting()?;
        let mut number = 1;
        loop {
            site.liar.lie(Lie::FailsCall(number));
            let pushing = rig.push(&site)?;
            if site.liar.told() == 0 {
                ended(&pushing, RunStatus::Success)?;
                return expect(number > 5, || format!("a push made only {} calls", number - 1));
            }
            site.liar.lie(Lie::None);
            // One that fails to say in the midst of it who it is, is asked again.
            let well = pushing.status == RunStatus::Success && rig.converged(&site, horizon).is_ok();
            expect(well || pushing.status == RunStatus::Failed, || format!("call {number}: {pushing:?}"))?;
            heal(&rig, &site, Cure::Push, horizon).map_err(|why| format!("call {number}: {why}"))?;
            rig.write(format!("after call {number}").as_bytes(), format!("bytes after call {number}").as_bytes())?;
            horizon = rig.index()?;
            number += 1;
        }
    }

    /// A verify that gets no answers, or false ones, does not pass for one that found everything well.
    pub(super) fn verify_is_lied_to(&self) -> Checked {
        let (rig, site, horizon, _) = self.settled()?;
        for (lie, expected) in [(Lie::Silent, RunStatus::Partial), (Lie::ProofsSwapped, RunStatus::Failed)] {
            site.liar.lie(lie);
            let verified = rig.verify(&site, Extent::All)?;
            expect(site.liar.told() > 0, || "nobody lied".into())?;
            let status = rig.store.runs(1).map_err(words)?.first().map(|run| run.status);
            expect(status == Some(expected), || format!("{lie:?}: the run ended as {status:?}: {verified:?}"))?;
            site.liar.lie(Lie::None);
            rig.verify(&site, Extent::All)?.map_err(words)?;
            rig.converged(&site, horizon)?;
        }
        Ok(())
    }

    /// What cannot be read once is read at the second look. What cannot be read then either is not lost, and not counted on, though it is
    /// there with its size: until it was read.
    pub(super) fn nothing_can_be_read(&self) -> Checked {
        let (rig, site, horizon, _) = self.settled()?;
        for lie in [Lie::ReadsNothingOnce, Lie::ReadsNothing] {
            site.liar.lie(lie);
            let found = rig.verify_only(&site, Extent::All)?.map_err(words)?;
            expect(site.liar.told() > 0, || "nobody lied".into())?;
            let (read, unread) = if lie == Lie::ReadsNothing { (0, found.checked) } else { (found.checked, 0) };
            let counted = (found.verified, found.unverifiable, found.lost);
            expect(found.checked > 0 && counted == (read, unread, 0), || format!("{lie:?}: {found:?}"))?;
            if lie == Lie::ReadsNothingOnce {
                rig.converged(&site, horizon)?;
            }
        }
        rig.verify_only(&site, Extent::Quick)?.map_err(words)?;
        shut(&rig, &site)?;
        expect(rig.alarms()?.is_empty(), || "an alarm stands for what may be readable again".into())?;
        site.liar.lie(Lie::None);
        heal(&rig, &site, Cure::Push, horizon)
    }

    /// Presence is no proof: it makes nothing younger, and a look at the bytes finds what it hid.
    pub(super) fn presence_is_lied_about(&self) -> Checked {
        let (rig, site, horizon, victim) = self.settled()?;
        let checked = |file: &FileFacts| -> Checked<_> {
            let evidence = rig.store.evidence(rig.volume.id(), &[file.file.id], &[site.id]).map_err(words)?;
            Ok(evidence.first().and_then(|(_, at)| at.first()?.receipt?.verified_at))
        };
        let before = checked(&victim)?;
        site.made.tamper(Tamper::Drop(victim.file.content))?;
        site.liar.lie(Lie::SeesEverything);
        rig.verify_only(&site, Extent::Quick)?.map_err(words)?;
        expect(site.liar.told() > 0, || "nobody lied".into())?;
        let after = checked(&victim)?;
        expect(before.is_some() && before == after, || format!("presence moved the time of the proof: {before:?} {after:?}"))?;
        let found = rig.verify(&site, Extent::All)?.map_err(words)?;
        expect(found.lost == 1, || format!("{found:?}"))?;
        site.liar.lie(Lie::None);
        self.mend(&rig, &site, horizon, &[victim.file.content])
    }

    /// What a listing names is not proven by it, and what was found lost is not found by it.
    pub(super) fn listing_is_stale(&self) -> Checked {
        let (rig, site, horizon, victim) = self.settled()?;
        let list = || -> Checked<Vec<_>> {
            let mut listed = Vec::new();
            let mut each = |content, location| listed.push((content, location));
            self.context.runtime.block_on(site.liar.list(&mut each)).map_err(words)?;
            Ok(listed)
        };
        list()?;
        site.made.tamper(Tamper::Drop(victim.file.content))?;
        rig.verify(&site, Extent::All)?.map_err(words)?;
        site.liar.lie(Lie::StaleListing);
        let listed = list()?;
        expect(listed.iter().any(|(content, _)| *content == victim.file.content), || "nobody lied".into())?;
        let record = rig.record(&site).map_err(words)?;
        let run = rig.store.begin_evidence_change(Some(site.id), None).map_err(words)?;
        let probed = contact(&run, &record, site.liar.as_ref(), &[], self.context).map_err(words)?;
        run.record_stored(&probed, &listed).map_err(words)?;
        run.finish(&Outcome::Success, None).map_err(words)?;
        site.liar.lie(Lie::None);
        // The alarm is set aside by a person who trusts the listing.
        rig.acknowledge()?;
        rig.judge(&site)?;
        self.mend(&rig, &site, horizon, &[victim.file.content])
    }

    /// A repair takes nothing from another destination but the very bytes.
    pub(super) fn repair_is_fed(&self) -> Checked {
        let (rig, site, _, victim) = self.settled()?;
        let other = rig.site(self.subject, "elsewhere")?;
        ended(&rig.push(&other)?, RunStatus::Success)?;
        site.made.tamper(Tamper::Drop(victim.file.content))?;
        rig.verify(&site, Extent::All)?.map_err(words)?;
        // Only the other destination still has the bytes.
        rig.remove(b"2/larger")?;
        let horizon = rig.index()?;
        let repair = || -> Checked<_> {
            let repair = Repair {
                store: &rig.store,
                record: rig.record(&site).map_err(words)?,
                destination: site.liar.clone(),
                volumes: vec![rig.volume.clone()],
                others: vec![(rig.record(&other).map_err(words)?, other.liar.clone())],
                context: self.context.clone(),
            };
            repair.run(|_| String::new()).map_err(words)
        };
        for lie in [Lie::FetchTruncates, Lie::FetchFlips, Lie::FetchAppends, Lie::FetchSwaps] {
            other.liar.lie(lie);
            let report = repair()?;
            expect(other.liar.told() > 0, || "nobody lied".into())?;
            expect(report.repaired == 0 && report.beyond.len() == 1, || format!("{lie:?}: {report:?}"))?;
            expect(!holds(&site, victim.file.content)?, || format!("{lie:?}: the bytes came from nowhere"))?;
            let lost = rig.store.lost_at(site.id).map_err(words)?;
            expect(lost.len() == 1, || format!("{lie:?}: these are known as lost: {lost:?}"))?;
        }
        other.liar.lie(Lie::None);
        site.liar.lie(Lie::ReplacedMidway);
        let another = repair();
        let lost = rig.store.lost_at(site.id).map_err(words)?;
        expect(site.liar.told() > 0 && another.is_err() && lost.len() == 1, || format!("another one's: {another:?}, {lost:?}"))?;
        site.liar.lie(Lie::None);
        let report = repair()?;
        expect(report.repaired == 1 && holds(&site, victim.file.content)?, || format!("{report:?}"))?;
        heal(&rig, &site, Cure::Push, horizon)
    }

    /// An object is damaged after it was proven: a verify finds it, an alarm stands on it, and the next push stores it again, or claims
    /// nothing of it.
    pub(super) fn object_is_damaged(&self) -> Checked {
        type Of = fn(Content, Content) -> Tamper;
        let (mut settled, apart) = (self.settled()?, self.subject.keeps_apart());
        let tampers: [(Of, u64, bool); 5] = [
            (|one, _| Tamper::Drop(one), 1, true),
            (|one, _| Tamper::Truncate(one), 1, true),
            (|one, _| Tamper::Flip(one), 1, false),
            (|one, _| Tamper::Empty(one), 1, true),
            (Tamper::Swap, 2, true),
        ];
        for (tamper, damaged, by_size) in tampers {
            let (rig, site, horizon, victim) = &settled;
            let other = file_named(rig, site, b"1/small")?;
            let (one, two) = (victim.file.content, other.file.content);
            let tamper = tamper(one, two);
            site.made.tamper(tamper)?;
            let quick = rig.verify_only(site, Extent::Quick)?.map_err(words)?;
            expect(!(by_size && apart) || quick.lost == damaged, || format!("{tamper:?}: presence: {quick:?}"))?;
            let found = rig.verify(site, Extent::All)?.map_err(words)?;
            expect(found.lost == damaged, || format!("{tamper:?}: {found:?}"))?;
            let alarms = rig.alarms()?;
            let right = alarms.len() as u64 == damaged && alarms.iter().all(|alarm| alarm.kind == AlarmKind::LostObject);
            expect(right, || format!("{tamper:?}: these alarms stand: {alarms:?}"))?;
            let hurt = if damaged == 2 { vec![one, two] } else { vec![one] };
            for (facts, evidence) in rig.evidence(site)? {
                let (open, hurt) = (gate_is_open(&facts, &evidence), hurt.contains(&facts.file.content));
                expect(open != hurt, || format!("{tamper:?}: the gate for {} is open: {open}", facts.file.path))?;
            }
            self.mend(rig, site, *horizon, &hurt).map_err(|why| format!("{tamper:?}: {why}"))?;
            if !apart {
                settled = self.settled()?;
            }
        }
        Ok(())
    }

    /// An object is damaged, and nobody verified: a push that has to prove it anew finds it, and stores it again, or claims nothing of it.
    pub(super) fn push_finds_damage(&self) -> Checked {
        let mut settled = self.settled()?;
        for tamper in [Tamper::Drop, Tamper::Truncate, Tamper::Flip, Tamper::Empty] {
            let (rig, site, horizon, victim) = &settled;
            site.made.tamper(tamper(victim.file.content))?;
            let record = rig.record(site).map_err(words)?;
            let reset = crate::manage::reset(&rig.store, &record, site.liar.as_ref(), "a test says so", self.context);
            expect(!reset.map_err(words)?, || "it was taken for gone".into())?;
            rig.judge(site)?;
            self.mend(rig, site, *horizon, &[victim.file.content])?;
            if !self.subject.keeps_apart() {
                settled = self.settled()?;
            }
        }
        Ok(())
    }

    /// After damage: a push heals it; or, where that takes a person, it claims nothing of what is hurt, and everything else is well.
    fn mend(&self, rig: &Rig, site: &Site, horizon: RunId, hurt: &[Content]) -> Checked {
        if self.subject.keeps_apart() {
            return heal(rig, site, Cure::Push, horizon);
        }
        ended(&rig.push(site)?, RunStatus::Partial)?;
        for (facts, evidence) in rig.evidence(site)? {
            let hurt = hurt.contains(&facts.file.content);
            let proven = evidence.receipt.is_some_and(|receipt| receipt.level == ReceiptLevel::Verified);
            expect(proven != hurt, || format!("{} counts as proven: {proven}", facts.file.path))?;
            expect(!hurt || !gate_is_open(&facts, &evidence), || format!("the gate is open for {}", facts.file.path))?;
        }
        Ok(())
    }

    /// The place is empty: nothing is made there, and nothing counts, until a person says so.
    pub(super) fn place_is_wiped(&self) -> Checked {
        let (rig, site, horizon) = self.waiting()?;
        site.made.tamper(Tamper::Wipe)?;
        refused(&rig, &site, AlarmKind::IdentityChanged)?;
        expect(rig.init(&site).is_err(), || "init made a new repository in place of the old one".into())?;
        let record = rig.record(&site).map_err(words)?;
        let gone = crate::manage::reset(&rig.store, &record, site.liar.as_ref(), "a test says so", self.context);
        expect(gone.map_err(words)?, || "it was not taken for gone".into())?;
        shut(&rig, &site)?;
        rig.init(&site).map_err(words)?;
        heal(&rig, &site, Cure::Push, horizon)
    }

    /// Another repository is there: it is not pushed to, and once adopted, all is proven anew.
    pub(super) fn place_is_replaced(&self) -> Checked {
        let (rig, site, horizon) = self.waiting()?;
        site.made.tamper(Tamper::Replace)?;
        refused(&rig, &site, AlarmKind::IdentityChanged)?;
        expect(rig.init(&site).is_err(), || "init took another repository for its own".into())?;
        let record = rig.record(&site).map_err(words)?;
        crate::manage::adopt(&rig.store, &record, site.liar.as_ref(), None, "a test says so", self.context).map_err(words)?;
        shut(&rig, &site)?;
        heal(&rig, &site, Cure::Push, horizon)
    }

    /// The repository goes back to an earlier state: what it accepted since then is not there, and nothing counts until proven anew.
    pub(super) fn place_is_rolled_back(&self) -> Checked {
        let (rig, site, _) = self.waiting()?;
        site.made.tamper(Tamper::Keep)?;
        ended(&rig.push(&site)?, RunStatus::Success)?;
        fill(&rig, &site, 4)?;
        let horizon = rig.index()?;
        site.made.tamper(Tamper::RollBack)?;
        refused(&rig, &site, AlarmKind::RolledBack)?;
        refused(&rig, &site, AlarmKind::RolledBack)?;
        heal(&rig, &site, Cure::Acknowledge, horizon)
    }

    /// The repository is exchanged while a push sends, and comes back later: what the other one took does not count for this one.
    pub(super) fn place_is_replaced_midway(&self) -> Checked {
        let (rig, site, horizon) = self.waiting()?;
        site.made.tamper(Tamper::Keep)?;
        let storage = site.made.clone();
        // If it could not be exchanged, nothing is refused, and the trial fails.
        site.liar.midway(move || drop(storage.tamper(Tamper::Replace)));
        refused(&rig, &site, AlarmKind::IdentityChanged)?;
        site.made.tamper(Tamper::RollBack)?;
        // It answers as itself again; what was proven meanwhile was proven of another.
        heal(&rig, &site, Cure::Push, horizon)
    }

    /// One of the kind's own faults strikes while a push goes on.
    pub(super) fn fault(&self, fault: Fault) -> Checked {
        let (rig, site, horizon) = self.waiting()?;
        site.made.arm(Some(fault.name));
        rig.push(&site)?;
        expect(site.made.struck() > 0, || "the fault never struck".into())?;
        site.made.arm(None);
        heal(&rig, &site, fault.cure, horizon)
    }
}

/// After the lie: a push, and what a person has to do before it, brings everything to where it should be.
fn heal(rig: &Rig, site: &Site, cure: Cure, horizon: RunId) -> Checked {
    if cure == Cure::Acknowledge {
        refused(rig, site, AlarmKind::RolledBack)?;
        rig.acknowledge()?;
    }
    ended(&rig.push(site)?, RunStatus::Success).map_err(|why| format!("afterwards: {why}"))?;
    rig.converged(site, horizon).map_err(|why| format!("afterwards: {why}"))?;
    let again = rig.push(site)?;
    ended(&again, RunStatus::Success)?;
    let idle = again.outcome.is_ok_and(|report| report.planned == 0 && report.stored == 0);
    expect(idle, || "afterwards: there is always something left to send".into())?;
    let verified = rig.verify(site, Extent::All)?.map_err(words)?;
    let well = verified.lost == 0 && verified.unverifiable == 0 && verified.verified == verified.checked;
    expect(well, || format!("afterwards: {verified:?}"))
}

/// A push is refused, an alarm stands, no gate is open, and the vector stays where it is.
fn refused(rig: &Rig, site: &Site, alarm: AlarmKind) -> Checked {
    let before = rig.store.own_component(rig.volume.id(), site.id).map_err(words)?;
    ended(&rig.push(site)?, RunStatus::Refused)?;
    let after = rig.store.own_component(rig.volume.id(), site.id).map_err(words)?;
    expect(before == after, || format!("the vector moved from {before:?} to {after:?}"))?;
    let alarms: Vec<_> = rig.alarms()?.iter().map(|alarm| alarm.kind).collect();
    expect(alarms == [alarm], || format!("these alarms stand: {alarms:?}"))?;
    if alarm == AlarmKind::RolledBack {
        unproven(rig, site)?;
    }
    shut(rig, site)
}

/// No receipt counts as verified.
fn unproven(rig: &Rig, site: &Site) -> Checked {
    for (facts, evidence) in rig.evidence(site)? {
        let verified = evidence.receipt.is_some_and(|receipt| receipt.level == ReceiptLevel::Verified);
        expect(!verified, || format!("{} still counts as verified", facts.file.path))?;
    }
    Ok(())
}

/// No gate is open.
fn shut(rig: &Rig, site: &Site) -> Checked {
    for (facts, evidence) in rig.evidence(site)? {
        expect(!gate_is_open(&facts, &evidence), || format!("the gate is open for {}", facts.file.path))?;
    }
    Ok(())
}

fn ended(pushing: &Pushing, expected: RunStatus) -> Checked {
    expect(pushing.status == expected, || format!("the push ended as {}: {:?}", pushing.status, pushing.outcome))
}

fn file_named(rig: &Rig, site: &Site, path: &[u8]) -> Checked<FileFacts> {
    let all = rig.evidence(site)?;
    let found = all.into_iter().map(|(facts, _)| facts).find(|facts| facts.file.path.as_bytes() == path);
    found.ok_or_else(|| "a file of the trial is not in the index".into())
}
