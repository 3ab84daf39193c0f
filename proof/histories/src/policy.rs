//! Offload policies, as histories mean them: judged here without the code that is under test.

use crate::word::{Dest, Terms};

/// How destinations are asked at the moment of deletion, from the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asking {
    /// Not at all.
    Offline,
    /// Whether each object is there.
    Quick,
    /// For every byte.
    Full,
}

/// A policy in plain terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    /// All of these vouch.
    pub(crate) require: Vec<Dest>,
    /// And so many of these.
    pub(crate) at_least: Option<(usize, Vec<Dest>)>,
    /// These stand in one place: of `at_least` they count as one.
    pub(crate) together: Vec<Dest>,
    /// Evidence is no older than so many milliseconds.
    pub(crate) age_ms: i64,
    /// How they are asked.
    pub(crate) asking: Asking,
    /// How long files wait.
    pub(crate) grace_ms: i64,
}

/// An hour.
pub(crate) const HOUR: i64 = 3_600_000;
/// A day.
pub(crate) const DAY: i64 = 24 * HOUR;

impl Terms {
    /// What is meant; nothing where there is no policy.
    pub(crate) fn spec(self) -> Option<Spec> {
        let base = Spec {
            require: vec![Dest::Vault],
            at_least: None,
            together: Vec::new(),
            age_ms: 30 * DAY,
            asking: Asking::Quick,
            grace_ms: 0,
        };
        let two_of_three = Spec { require: Vec::new(), at_least: Some((2, Dest::ALL.to_vec())), ..base.clone() };
        let both = Spec { require: vec![Dest::Vault, Dest::Cloud], ..base.clone() };
        Some(match self {
            Self::Vault => base,
            Self::Both => both,
            Self::BothFull => Spec { asking: Asking::Full, ..both },
            Self::TwoOfThree => two_of_three,
            Self::TwoPlaces => Spec { together: vec![Dest::Cloud, Dest::Far], ..two_of_three },
            Self::VaultAndOne => Spec { at_least: Some((1, vec![Dest::Cloud, Dest::Far])), ..base },
            Self::Offline => Spec { asking: Asking::Offline, ..base },
            Self::BothGrace => Spec { grace_ms: DAY, ..both },
            Self::VaultGrace => Spec { grace_ms: DAY, ..base },
            Self::VaultFresh => Spec { age_ms: HOUR, ..base },
            Self::Nothing => return None,
        })
    }
}

impl Spec {
    /// In how many places some destinations stand.
    pub(crate) fn places(&self, dests: &[Dest]) -> usize {
        let together = dests.iter().filter(|dest| self.together.contains(dest)).count();
        dests.len() - together.saturating_sub(1)
    }

    /// In what it lets something pass that `old` stops: found by trying every set of destinations that may vouch. That somebody is no longer
    /// required by name is weaker, even where the count cannot be reached without them: places change sooner than names.
    pub(crate) fn weaker_than(&self, old: &Self) -> Option<String> {
        let passes = |spec: &Self, vouching: &[Dest]| {
            let vouches = |of: &[Dest]| of.iter().copied().filter(|dest| vouching.contains(dest)).collect::<Vec<_>>();
            spec.require.iter().all(|dest| vouching.contains(dest))
                && spec.at_least.as_ref().is_none_or(|(least, of)| spec.places(&vouches(of)) >= *least)
        };
        if let Some(dropped) = old.require.iter().find(|dest| !self.require.contains(dest)) {
            return Some(format!("{dropped:?} is no longer required"));
        }
        for set in 0..1_u8 << Dest::ALL.len() {
            let vouching: Vec<_> =
                Dest::ALL.iter().enumerate().filter(|(place, _)| set & 1 << place != 0).map(|(_, dest)| *dest).collect();
            if passes(self, &vouching) && !passes(old, &vouching) {
                return Some(format!("it lets pass what {vouching:?} vouch for"));
            }
        }
        let ways = [
            (self.age_ms > old.age_ms, "older evidence counts"),
            (self.asking < old.asking, "less is asked"),
            (self.grace_ms < old.grace_ms, "files wait less"),
        ];
        ways.iter().find(|(weaker, _)| *weaker).map(|(_, what)| (*what).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_weaker() {
        #[track_caller]
        fn check(new: Terms, old: Terms, weaker: bool) {
            let found = new.spec().zip(old.spec()).and_then(|(new, old)| new.weaker_than(&old));
            assert_eq!(found.is_some(), weaker, "{new:?} after {old:?}: {found:?}");
        }
        check(Terms::Vault, Terms::Both, true);
        check(Terms::Both, Terms::Vault, false);
        check(Terms::Both, Terms::BothFull, true);
        check(Terms::Both, Terms::TwoOfThree, false);
        check(Terms::TwoOfThree, Terms::Vault, true);
        check(Terms::VaultAndOne, Terms::TwoOfThree, false);
        check(Terms::TwoOfThree, Terms::TwoPlaces, true);
        check(Terms::TwoPlaces, Terms::TwoOfThree, false);
        check(Terms::VaultAndOne, Terms::TwoPlaces, false);
        // Two of these places are always the vault and another one; but nobody says so by name.
        check(Terms::TwoPlaces, Terms::Vault, true);
        check(Terms::Offline, Terms::Vault, true);
        check(Terms::Vault, Terms::VaultGrace, true);
        check(Terms::Vault, Terms::VaultFresh, true);
        check(Terms::VaultFresh, Terms::Vault, false);
    }
}
