//! Offload policies: whom they count on, and whether those can ever vouch.

use super::super::file::{self, File};
use super::{Check, DestinationConfig};
use crate::units::Age;
use lastcopy_store::{Confirm, Method};
use std::collections::BTreeMap;
use toml::Spanned;

/// Evidence older than this is stale, unless the configuration says otherwise.
const MAX_EVIDENCE_AGE: Age = Age { ms: 30 * 86_400_000 };
/// An offload policy as configured, by names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyConfig {
    pub(crate) require: Vec<String>,
    pub(crate) at_least: Option<(usize, Vec<String>)>,
    pub(crate) max_evidence_age: Age,
    pub(crate) confirm: Confirm,
    pub(crate) grace: Age,
    pub(crate) methods: Vec<Method>,
    pub(crate) any_filesystem: bool,
}

impl Check {
    pub(super) fn policy(
        &mut self,
        offload: &Spanned<file::Offload>,
        sync_to: &[String],
        file: &File,
        destinations: &BTreeMap<String, DestinationConfig>,
    ) -> PolicyConfig {
        let written = offload.get_ref();
        let require = self.vouchers(&written.require, sync_to, file);
        let at_least = written.at_least.as_ref().map(|at_least| {
            let of = self.vouchers(&at_least.get_ref().of, sync_to, file);
            self.countable(at_least, &of, destinations);
            (at_least.get_ref().count, of)
        });
        let nobody = written.require.is_empty() && at_least.as_ref().is_none_or(|(count, _)| *count == 0);
        if nobody {
            self.wrong(
                offload.span(),
                "the offload policy requires nobody: every file could be deleted",
                "name at least one destination in `require`, or remove the section",
            );
        }
        let methods = self.methods(written.methods.as_ref());
        let vouchers = written.require.iter().chain(written.at_least.iter().flat_map(|at_least| &at_least.get_ref().of));
        for name in vouchers {
            if let Some(destination) = destinations.get(name.get_ref()) {
                self.can_vouch(name, destination, &methods, written.methods.as_ref());
            }
        }
        let confirm = match &written.confirm {
            None => Confirm::Quick,
            Some(confirm) => Confirm::from_name(confirm.get_ref()).unwrap_or_else(|| {
                let message = format!("`{}` is no confirmation", confirm.get_ref());
                self.wrong(confirm.span(), message, "use \"quick\", \"full\" or \"offline\"");
                Confirm::Quick
            }),
        };
        let max_evidence_age = self.age(written.max_evidence_age.as_ref(), MAX_EVIDENCE_AGE);
        if let Some(age) = &written.max_evidence_age
            && max_evidence_age.ms == 0
        {
            self.wrong(age.span(), "no evidence is as young as that: no file could ever pass", "for example \"30d\"");
        }
        PolicyConfig {
            require,
            at_least,
            max_evidence_age,
            confirm,
            grace: self.age(written.grace.as_ref(), Age { ms: 0 }),
            methods,
            any_filesystem: written.any_filesystem,
        }
    }

    /// Destinations that a policy counts on: each known, each pushed to, each named once.
    fn vouchers(&mut self, names: &[Spanned<String>], sync_to: &[String], file: &File) -> Vec<String> {
        let mut vouchers: Vec<String> = Vec::new();
        for name in names {
            let text = name.get_ref();
            if !file.destinations.keys().any(|key| key.get_ref() == text) {
                self.unknown_destination(name);
            } else if !sync_to.contains(text) {
                self.wrong(
                    name.span(),
                    format!("nothing pushes this volume to `{text}`, so it can never vouch"),
                    format!("add \"{text}\" to the volume's `sync_to`"),
                );
            } else if vouchers.contains(text) {
                self.wrong(name.span(), format!("`{text}` stands here twice"), "name each destination once");
            } else {
                vouchers.push(text.clone());
            }
        }
        vouchers
    }

    /// A count that can be reached: by destinations that do not share a label, and of which it can be told that they lie apart.
    fn countable(&mut self, at_least: &Spanned<file::AtLeast>, of: &[String], destinations: &BTreeMap<String, DestinationConfig>) {
        let config = |name: &String| destinations.get(name);
        let (hidden, told): (Vec<_>, Vec<_>) =
            of.iter().partition(|name| config(name).is_some_and(DestinationConfig::hides_its_disk));
        let label = |name: &String| config(name).and_then(|destination| destination.failure_domain.clone());
        let mut domains: Vec<_> = told.iter().map(|name| label(name).unwrap_or_else(|| format!("\0{name}"))).collect();
        domains.sort_unstable();
        domains.dedup();
        let (count, all) = (at_least.get_ref().count, domains.len() + hidden.len());
        // The gate takes all of the hidden ones for one place, and that for one of the others.
        let apart = if domains.is_empty() { hidden.len().min(1) } else { domains.len() };
        if count == 0 {
            self.wrong(at_least.span(), "`at_least` counts to 0: it asks nobody", "give a count of 1 or more, or remove it");
        } else if count > all {
            self.wrong(
                at_least.span(),
                format!("`at_least` asks for {count}, of {all} that can count"),
                "name more destinations, in failure domains of their own, or lower the count",
            );
        } else if count > apart {
            let hidden: Vec<_> = hidden.iter().map(|name| format!("`{name}`")).collect();
            let hidden = hidden.join(" and ");
            self.wrong(
                at_least.span(),
                format!(
                    "`at_least` asks for {count}, of {apart} that can be told apart: nobody here sees which disk holds {hidden}"
                ),
                format!("say so with a `failure_domain` for {hidden}: those with different labels count as apart"),
            );
        }
    }

    fn methods(&mut self, methods: Option<&Spanned<Vec<Spanned<String>>>>) -> Vec<Method> {
        let all = [Method::ReadBack, Method::RemoteHash, Method::Peer, Method::Fingerprint];
        let Some(written) = methods else { return all.to_vec() };
        let mut accepted = Vec::new();
        for name in written.get_ref() {
            match Method::from_name(name.get_ref()) {
                Some(method) if all.contains(&method) => accepted.push(method),
                _ => self.wrong(
                    name.span(),
                    format!("`{}` is no method of proof", name.get_ref()),
                    "use \"read-back\", \"remote-hash\", \"peer\" or \"fingerprint\"",
                ),
            }
        }
        accepted.sort_unstable();
        accepted.dedup();
        accepted
    }

    /// That a destination can give evidence which the policy accepts: else the gate would be shut for ever.
    fn can_vouch(
        &mut self,
        name: &Spanned<String>,
        destination: &DestinationConfig,
        accepted: &[Method],
        written: Option<&Spanned<Vec<Spanned<String>>>>,
    ) {
        let possible = destination.methods();
        if possible.iter().any(|method| accepted.contains(method)) {
            return;
        }
        match (possible.first(), written) {
            (Some(method), Some(written)) => {
                let how = match method {
                    Method::ReadBack => "reading back",
                    Method::Fingerprint => "checksums of the provider",
                    _ => "hashes of the far side",
                };
                let kind = destination.kind();
                self.wrong(
                    written.span(),
                    format!("destinations of kind `{kind}` prove by {how}, which these methods leave out: no file could ever pass"),
                    format!("add \"{}\"", method.name()),
                );
            }
            _ => self.wrong(
                name.span(),
                format!("`{}` is never verified, so it can never vouch: no file could ever pass", name.get_ref()),
                "remove its verify = \"none\", or do not count on it here",
            ),
        }
    }
}
