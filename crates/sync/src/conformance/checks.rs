//! The checks, in the order in which a destination lives: nothing there, made, filled, looked at, emptied.

use super::CheckResult;
use super::harness::{EPOCH, Found, Pushed, Sample, VOLUME, fetch, push, verify};
use crate::destination::{Context, Depth, Destination, InitPermit, PlanItem, Probe};
use crate::segment::{FORMAT, HeadDocument, Link, Place, digest_of, hex};
use lastcopy_fs::{Cancel, Content};
use lastcopy_store::{Incarnation, Layout, Location, Method};
use std::collections::BTreeSet;
use std::io::{self, Seek, Write};
use std::sync::Arc;

type Checked = Result<(), String>;

type Check = fn(&mut Suite<'_>) -> Checked;

/// A time that is written into scratch repositories.
const CREATED: &str = "2000-01-01T00:00:00Z";

struct Suite<'a> {
    destination: &'a Arc<dyn Destination>,
    context: &'a Context,
    /// What was stored and proven so far, and where.
    stored: Vec<(Sample, Location)>,
    incarnation: Option<Incarnation>,
}

/// Runs everything against an empty scratch part. A check that fails does not stop the others.
pub(super) fn all(destination: &Arc<dyn Destination>, context: &Context) -> Vec<CheckResult> {
    let mut suite = Suite { destination, context, stored: Vec::new(), incarnation: None };
    let checks: [(&'static str, Check); 15] = [
        ("an empty place is nothing, and stays nothing when it is asked", |suite| suite.probe_creates_nothing()),
        ("init makes a repository that answers with one identity", |suite| suite.init_makes_one_identity()),
        ("contents of every size are stored and proven", |suite| suite.stores_and_proves()),
        ("many small contents are stored and proven", |suite| suite.stores_many()),
        ("what comes back is what was stored", |suite| suite.gives_back()),
        ("a second push of the same contents proves them again", |suite| suite.pushes_again()),
        ("bytes that are not the content get no proof, and are not stored under its name", |suite| suite.refuses_drift()),
        ("a source that fails midway gets no proof", |suite| suite.refuses_short_source()),
        ("presence and bytes can be checked again", |suite| suite.checks_again()),
        ("what was never stored is lost, and does not come back", |suite| suite.misses_what_is_not_there()),
        ("the listing names everything that is held", |suite| suite.lists_everything()),
        ("segments and heads come back as written, and a segment is never replaced", |suite| suite.seals()),
        ("a push that is stopped leaves nothing that is taken for whole", |suite| suite.stops()),
        ("a stopped push can be repeated", |suite| suite.goes_on()),
        ("the identity is still the same", |suite| suite.keeps_identity()),
    ];
    checks.into_iter().map(|(name, check)| CheckResult { name: name.into(), outcome: check(&mut suite) }).collect()
}

fn expect(holds: bool, otherwise: impl Into<String>) -> Checked {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

fn io_failed(error: io::Error) -> String {
    format!("a temporary file of the check: {error}")
}

impl Suite<'_> {
    fn probe(&self) -> Result<Probe, String> {
        self.context.runtime.block_on(self.destination.probe()).map_err(|error| error.to_string())
    }

    fn probe_creates_nothing(&mut self) -> Checked {
        for _ in 0..2 {
            let answer = self.probe()?;
            expect(matches!(answer, Probe::Nothing | Probe::NoPlace), format!("it answers {answer:?}"))?;
        }
        Ok(())
    }

    fn init_makes_one_identity(&mut self) -> Checked {
        let permit = InitPermit::scratch(CREATED.to_owned()).map_err(io_failed)?;
        let made = self.context.runtime.block_on(self.destination.init(&permit)).map_err(|error| error.to_string())?;
        let answer = self.probe()?;
        expect(answer == Probe::Found(made.clone()), format!("init made {made}, and a probe answers {answer:?}"))?;
        self.incarnation = Some(made);
        Ok(())
    }

    fn keeps_identity(&mut self) -> Checked {
        let answer = self.probe()?;
        let expected = self.incarnation.clone().map(Probe::Found);
        expect(Some(&answer) == expected.as_ref(), format!("it answers {answer:?}"))
    }

    fn items(samples: &[Sample]) -> Result<Vec<PlanItem>, String> {
        samples.iter().map(|sample| sample.item_from(&sample.bytes).map_err(io_failed)).collect()
    }

    fn store(&mut self, samples: Vec<Sample>) -> Checked {
        let answers = push(self.destination.as_ref(), Self::items(&samples)?, self.context)?;
        let methods = self.destination.capabilities().methods;
        for (sample, answer) in samples.into_iter().zip(answers) {
            match answer {
                Pushed::Proven(location, proof) if proof.content() == sample.content && methods.contains(&proof.method()) => {
                    self.stored.push((sample, location));
                }
                other => return Err(format!("{} bytes: {other:?}", sample.content.size)),
            }
        }
        Ok(())
    }

    fn stores_and_proves(&mut self) -> Checked {
        let sizes = [0, 1, 1023, 1024, 1025, 65_536, (1 << 20) + 1, 5 << 20];
        self.store((0..).zip(sizes).map(|(number, size)| Sample::new(number, size)).collect())
    }

    fn stores_many(&mut self) -> Checked {
        self.store((100..250).map(|number| Sample::new(number, usize::try_from(number).unwrap_or(100) * 7)).collect())
    }

    fn held(&self) -> Vec<crate::destination::HeldItem> {
        self.stored.iter().map(|(sample, location)| sample.held(location)).collect()
    }

    fn gives_back(&mut self) -> Checked {
        let answers = fetch(self.destination.as_ref(), self.held(), self.context)?;
        for ((sample, _), answer) in self.stored.iter().zip(answers) {
            let bytes = answer?;
            expect(bytes == *sample.bytes, format!("{} bytes came back as {} other ones", sample.content.size, bytes.len()))?;
        }
        Ok(())
    }

    fn pushes_again(&mut self) -> Checked {
        let again: Vec<_> = self.stored.drain(..).map(|(sample, _)| sample).collect();
        let count = again.len();
        self.store(again)?;
        expect(self.stored.len() == count, "some were not proven")
    }

    fn refuses_drift(&mut self) -> Checked {
        let samples = [Sample::new(1000, 3000), Sample::new(1001, 1 << 20)];
        let mut items = Vec::new();
        for sample in &samples {
            let mut other = sample.bytes.to_vec();
            other[1500] ^= 1;
            items.push(sample.item_from(&other).map_err(io_failed)?);
        }
        for answer in push(self.destination.as_ref(), items, self.context)? {
            expect(matches!(answer, Pushed::Drift(_)), format!("{answer:?}"))?;
        }
        self.not_there(&samples)
    }

    fn refuses_short_source(&mut self) -> Checked {
        let sample = Sample::new(1100, 100_000);
        let item = sample.item_from(&sample.bytes[..50_000]).map_err(io_failed)?;
        let longer = Sample::new(1101, 100_000);
        let bytes = [&longer.bytes[..], b"more"].concat();
        let items = vec![item, longer.item_from(&bytes).map_err(io_failed)?];
        for answer in push(self.destination.as_ref(), items, self.context)? {
            expect(!matches!(answer, Pushed::Proven(..)), format!("{answer:?}"))?;
        }
        self.not_there(&[sample, longer])
    }

    /// None of these is held under its name.
    fn not_there(&self, samples: &[Sample]) -> Checked {
        let items = samples.iter().map(|sample| sample.held(&self.any_location())).collect();
        for answer in verify(self.destination.as_ref(), items, Depth::Bytes, self.context)? {
            expect(matches!(answer, Found::Lost(_)), format!("{answer:?}"))?;
        }
        Ok(())
    }

    fn any_location(&self) -> Location {
        self.stored.first().map(|(_, location)| location.clone()).unwrap_or_default()
    }

    fn checks_again(&mut self) -> Checked {
        for answer in verify(self.destination.as_ref(), self.held(), Depth::Presence, self.context)? {
            expect(matches!(answer, Found::Seen | Found::Verified(_)), format!("presence: {answer:?}"))?;
        }
        let answers = verify(self.destination.as_ref(), self.held(), Depth::Bytes, self.context)?;
        for ((sample, _), answer) in self.stored.iter().zip(answers) {
            let right = matches!(&answer, Found::Verified(proof)
                if proof.content() == sample.content && proof.method() != Method::Presence);
            expect(right, format!("bytes: {answer:?}"))?;
        }
        Ok(())
    }

    fn misses_what_is_not_there(&mut self) -> Checked {
        let missing = [Sample::new(2000, 10), Sample::new(2001, 100_000)];
        self.not_there(&missing)?;
        let items: Vec<_> = missing.iter().map(|sample| sample.held(&self.any_location())).collect();
        for answer in verify(self.destination.as_ref(), items.clone(), Depth::Presence, self.context)? {
            expect(matches!(answer, Found::Lost(_)), format!("{answer:?}"))?;
        }
        let by_path = self.destination.layout("any") != Layout::ByContent;
        for answer in fetch(self.destination.as_ref(), items, self.context)? {
            // Where files lie at their paths, something else may lie at this one: whoever receives it hashes it.
            let other = by_path && answer.as_ref().is_ok_and(|bytes| missing.iter().all(|sample| sample.bytes[..] != bytes[..]));
            expect(answer.is_err() || other, "bytes came back that were never stored")?;
        }
        Ok(())
    }

    fn lists_everything(&mut self) -> Checked {
        let mut listed: BTreeSet<Content> = BTreeSet::new();
        let mut each = |content: Content, _: Location| {
            listed.insert(content);
        };
        self.context.runtime.block_on(self.destination.list(&mut each)).map_err(|error| error.to_string())?;
        let missing = self.stored.iter().filter(|(sample, _)| !listed.contains(&sample.content)).count();
        expect(missing == 0, format!("{missing} of {} are not listed", self.stored.len()))
    }

    fn seals(&mut self) -> Checked {
        let place = Place { volume: VOLUME, epoch: EPOCH };
        let mut heads = Vec::new();
        for sequence in 1..=2 {
            let (segment, digest) = segment(sequence)?;
            let head = head(sequence, &digest)?;
            let sealed = self.destination.seal(&place, sequence, segment, &head, self.context);
            self.context.runtime.block_on(sealed).map_err(|error| error.to_string())?;
            heads.push((digest, head));
        }
        let (segment, _) = segment(99)?;
        let again = self.destination.seal(&place, 1, segment, &heads[1].1, self.context);
        expect(self.context.runtime.block_on(again).is_err(), "a segment was written over another one")?;
        let found = self.context.runtime.block_on(self.destination.heads(VOLUME)).map_err(|error| error.to_string())?;
        let digest = *blake3::hash(&heads[1].1).as_bytes();
        let right = matches!(&found[..], [Ok(head)] if head.digest == digest && head.place == place);
        expect(right, format!("heads: {found:?}"))?;
        let places = self.context.runtime.block_on(self.destination.places()).map_err(|error| error.to_string())?;
        expect(places == found, format!("places: {places:?}"))?;
        for (sequence, (expected, _)) in (1..).zip(&heads) {
            let stored = self.context.runtime.block_on(self.destination.segment(&place, sequence));
            let mut stored = stored.map_err(|error| error.to_string())?;
            let digest = digest_of(&mut stored).map_err(io_failed)?;
            expect(hex(&digest) == *expected, format!("segment {sequence} came back different"))?;
        }
        Ok(())
    }

    fn stops(&mut self) -> Checked {
        let samples: Vec<_> = (3000..3060).map(|number| Sample::new(number, 40_000)).collect();
        let stopped = Context { cancel: Cancel::new(), ..self.context.clone() };
        stopped.cancel.cancel();
        let answers = push(self.destination.as_ref(), Self::items(&samples)?, &stopped);
        expect(answers.is_err(), "a push that was stopped before it began reports success")?;
        let items = samples.iter().map(|sample| sample.held(&self.any_location())).collect();
        for (sample, answer) in samples.iter().zip(verify(self.destination.as_ref(), items, Depth::Bytes, self.context)?) {
            let whole = match &answer {
                Found::Lost(_) => true,
                Found::Verified(proof) => proof.content() == sample.content,
                _ => false,
            };
            expect(whole, format!("{answer:?}"))?;
        }
        Ok(())
    }

    fn goes_on(&mut self) -> Checked {
        self.store((3000..3060).map(|number| Sample::new(number, 40_000)).collect())?;
        self.gives_back()
    }
}

fn segment(sequence: i64) -> Result<(std::fs::File, String), String> {
    let mut file = tempfile::tempfile().map_err(io_failed)?;
    file.write_all(format!("segment {sequence} of the conformance test\n").repeat(1000).as_bytes()).map_err(io_failed)?;
    let digest = digest_of(&mut file).map_err(io_failed)?;
    file.rewind().map_err(io_failed)?;
    Ok((file, hex(&digest)))
}

fn head(sequence: i64, segment: &str) -> Result<Vec<u8>, String> {
    let document = HeadDocument {
        format: FORMAT,
        volume: VOLUME.to_string(),
        node: VOLUME.to_string(),
        epoch: EPOCH.to_string(),
        run: sequence,
        sequence,
        segment: Link { sequence, digest: segment.to_owned() },
        previous: None,
        written: CREATED.to_owned(),
    };
    serde_json::to_vec(&document).map_err(|error| error.to_string())
}
