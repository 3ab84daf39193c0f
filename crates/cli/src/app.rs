//! What every command works with: configuration, index, destinations, output, and the wish to stop.

use crate::args::Global;
use crate::commands::Driven;
use crate::config::{
    self, Config, DestinationConfig, KopiaConfig, KopiaPlace, MirrorConfig, PolicyConfig, Secret, VolumeConfig, Way,
};
use crate::error::{CliError, Code, Exit, Result};
use crate::excluded::Excluded;
use crate::needed::needed_files;
use crate::output::Output;
use crate::progress;
use crate::words::Names;
use lastcopy_fs::{Cancel, Dir, Mounts, Progress, RelPath};
use lastcopy_index::{LeaveOut, WalkOptions};
use lastcopy_store::{
    AtLeast, DestinationId, DestinationRecord, Policy, Store, StoreOptions, Volume, VolumeError, VolumeId, Weakening, system_clock,
};
use lastcopy_sync::{Context, Destination};
use lastcopy_sync_cas::Cas;
use lastcopy_sync_kopia::{Kopia, Storage};
use lastcopy_sync_mirror::{Mirror, Options};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// How long `--wait` sleeps between two attempts.
const WAIT: Duration = Duration::from_millis(500);

/// The surroundings of one command.
pub(crate) struct App {
    pub(crate) global: Global,
    pub(crate) output: Output,
    pub(crate) cancel: Cancel,
    pub(crate) progress: Arc<dyn Progress>,
    runtime: tokio::runtime::Runtime,
    config: OnceLock<Config>,
    store: OnceLock<Store>,
    without_index: WithoutIndex,
    nothing: OnceLock<TempDir>,
    connected: Mutex<BTreeMap<String, Arc<dyn Destination>>>,
}

/// What a command does where there is no index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithoutIndex {
    /// A question makes none: it is answered from an empty one, which goes with the command.
    FindsNothing,
    /// A change makes it, unless a tree shows that there is another one.
    MakesTheFirst,
    /// A tree that another index knows is taken over, or its index rebuilt.
    Makes,
}

impl App {
    pub(crate) fn new(global: Global, output: Output) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| CliError::new(Code::Internal, format!("cannot start: {error}")))?;
        let cancel = Cancel::new();
        stop_on_signals(&runtime, cancel.clone());
        let (progress, bar) = if output.is_json() && global.progress == progress::Show::Auto && !std::io::stderr().is_terminal() {
            progress::listener(progress::Show::Never)
        } else {
            progress::listener(global.progress)
        };
        let (config, store, connected) = (OnceLock::new(), OnceLock::new(), Mutex::default());
        let (without_index, nothing) = (WithoutIndex::MakesTheFirst, OnceLock::new());
        let output = output.beside(bar);
        Ok(Self { global, output, cancel, progress, runtime, config, store, without_index, nothing, connected })
    }

    /// For a command that does this where there is no index.
    pub(crate) fn without_index(self, without_index: WithoutIndex) -> Self {
        Self { without_index, ..self }
    }

    pub(crate) fn context(&self) -> Context {
        Context::new(self.runtime.handle().clone(), self.cancel.clone(), self.progress.clone())
    }

    pub(crate) fn config(&self) -> Result<&Config> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let path = config::locate(self.global.config.as_deref())?;
        let config = config::load(&path)?;
        Ok(self.config.get_or_init(|| config))
    }

    /// Whether there is a configuration, whatever is in it.
    pub(crate) fn has_config(&self) -> bool {
        config::locate(self.global.config.as_deref()).is_ok_and(|path| path.exists())
    }

    /// The index. If there is none yet, a change makes the first one, and a question finds it empty.
    pub(crate) fn store(&self) -> Result<&Store> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let mut options = self.store_options()?;
        if !self.has_index()? {
            match self.without_index {
                WithoutIndex::FindsNothing => {
                    self.output.warn(&format!("there is no index at {}: nothing is known", options.path.display()));
                    options.path = self.nothing()?.join("index.db");
                }
                WithoutIndex::MakesTheFirst => self.refuse_second_index()?,
                WithoutIndex::Makes => {}
            }
        }
        let (store, news) = Store::open(options)?;
        let news = news.map_or_else(|| store.heed_volumes(), |news| Ok(Some(news)))?;
        if let Some(news) = news {
            self.output.warn(&format!(
                "the index is an old or a second copy ({}): a new epoch begins, and everything will be proven again",
                news.reason
            ));
        }
        Ok(self.store.get_or_init(|| store))
    }

    /// A directory for an index that nobody will look at again.
    fn nothing(&self) -> Result<&Path> {
        if let Some(dir) = self.nothing.get() {
            return Ok(dir.path());
        }
        let dir = temporary_dir()?;
        Ok(self.nothing.get_or_init(|| dir).path())
    }

    /// That there is an index, for what makes no sense without one.
    pub(crate) fn require_index(&self) -> Result<()> {
        if self.has_index()? {
            return Ok(());
        }
        let config = self.config()?;
        let hint = format!(
            "does `db` in [node] of {} name the right place? `lastcopy db restore FILE` puts a backup there, and \
             `lastcopy recover --from URL` rebuilds the index from a destination",
            config.path.display()
        );
        Err(CliError::new(Code::NotFound, format!("there is no index at {}", config.db.display())).hint(hint))
    }

    /// Whether there is an index; one that cannot be looked for is for whoever opens it to complain about.
    pub(crate) fn has_index(&self) -> Result<bool> {
        Ok(!matches!(self.config()?.db.try_exists(), Ok(false)))
    }

    pub(crate) fn store_options(&self) -> Result<StoreOptions> {
        let config = self.config()?;
        Ok(StoreOptions { path: config.db.clone(), node_name: config.node_name.clone(), clock: system_clock(), create: true })
    }

    /// Shows an error; one about the index with its path.
    pub(crate) fn show(&self, error: &CliError) {
        match self.config() {
            Ok(config) if error.about_index => self.output.error(&error.clone().about(&config.db.display().to_string())),
            _ => self.output.error(error),
        }
    }

    /// The names of volumes to work on: those given, or all that are configured.
    pub(crate) fn volume_names(&self, given: &[String]) -> Result<Vec<String>> {
        let config = self.config()?;
        if given.is_empty() {
            if config.volumes.is_empty() {
                let error = CliError::new(Code::Config, format!("{}: no volume is configured", config.path.display()));
                return Err(error.hint("add a section [volumes.NAME], or: `lastcopy volume add NAME PATH`"));
            }
            return Ok(config.volumes.keys().cloned().collect());
        }
        given.iter().try_for_each(|name| self.volume_config(name).map(drop))?;
        let mut names = given.to_vec();
        names.dedup();
        Ok(names)
    }

    pub(crate) fn volume_config(&self, name: &str) -> Result<&VolumeConfig> {
        let config = self.config()?;
        config.volumes.get(name).ok_or_else(|| {
            let known: Vec<_> = config.volumes.keys().map(String::as_str).collect();
            let hint = if known.is_empty() { "none is configured".into() } else { format!("there are: {}", known.join(", ")) };
            CliError::new(Code::NotFound, format!("there is no volume `{name}`")).hint(hint)
        })
    }

    pub(crate) fn destination_config(&self, name: &str) -> Result<&DestinationConfig> {
        let config = self.config()?;
        config.destinations.get(name).ok_or_else(|| {
            let known: Vec<_> = config.destinations.keys().map(String::as_str).collect();
            let hint = if known.is_empty() { "none is configured".into() } else { format!("there are: {}", known.join(", ")) };
            CliError::new(Code::NotFound, format!("there is no destination `{name}`")).hint(hint)
        })
    }

    /// What the index knows of a destination of the configuration. Nobody is asked for it, and no secret is read.
    pub(crate) fn destination_record(&self, name: &str) -> Result<DestinationRecord> {
        let config = self.destination_config(name)?;
        Ok(self.store()?.register_destination(name, config.kind())?)
    }

    /// A destination of the configuration: what the index knows of it, and the way to it, for which its secrets are read.
    pub(crate) fn destination(&self, name: &str) -> Result<(DestinationRecord, Arc<dyn Destination>)> {
        let config = self.destination_config(name)?;
        let record = self.destination_record(name)?;
        // One rclone serves all that a command asks of a mirror.
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(destination) = connected.get(name) {
            return Ok((record, destination.clone()));
        }
        let destination = connect(config)?;
        connected.insert(name.to_owned(), destination.clone());
        Ok((record, destination))
    }

    /// A destination of the configuration that another program serves, with what only that can tell.
    pub(crate) fn driven(&self, name: &str) -> Result<Option<Driven>> {
        driven(self.destination_config(name)?)
    }

    /// Every destination of the configuration from which something could come, and to which there is a way now. One whose secrets cannot
    /// be had is told of, and is in nobody's way: on the worst day, a lost password must not lock the disk that needs none. Only where no
    /// other is left, that is the error.
    pub(crate) fn sources(&self) -> Result<Vec<(DestinationRecord, Arc<dyn Destination>)>> {
        let (mut found, mut failed) = (Vec::new(), Vec::new());
        for name in self.config()?.destinations.keys() {
            match self.source(name) {
                Ok(source) => found.extend(source),
                Err(error) if error.about_index => return Err(error),
                Err(error) => failed.push((name, error)),
            }
        }
        if found.is_empty()
            && let Some((_, error)) = failed.pop()
        {
            return Err(error);
        }
        failed.iter().for_each(|(name, error)| self.output.warn(&format!("destination `{name}` is left out: {error}")));
        Ok(found)
    }

    /// A destination, if something could come from it: nobody types a password for one that never held anything.
    fn source(&self, name: &str) -> Result<Option<(DestinationRecord, Arc<dyn Destination>)>> {
        let takes_secrets = !self.destination_config(name)?.secrets().is_empty();
        if takes_secrets && self.store()?.count_receipts(self.destination_record(name)?.id)? == (0, 0, 0) {
            return Ok(None);
        }
        self.destination(name).map(Some)
    }

    /// Why a secret of a destination cannot be had, as far as that can be seen: no program is asked for one.
    pub(crate) fn missing_secret(&self, name: &str) -> Result<Option<String>> {
        let unreadable = |(key, secret): (String, &Secret)| match secret {
            Secret::File(file) => std::fs::File::open(file).err().map(|error| format!("`{key}`: {}: {error}", file.display())),
            Secret::Env(_) | Secret::Command(_) => None,
        };
        Ok(self.destination_config(name)?.secrets().into_iter().find_map(unreadable))
    }

    /// Names of all destinations that the index ever knew.
    pub(crate) fn names(&self) -> Result<Names> {
        Ok(Names::new(self.store()?.destinations()?))
    }

    /// The same, for telling of a volume's files: with those that a destination cannot have.
    pub(crate) fn names_for(&self, volume: &str) -> Result<Names> {
        let store = self.store()?;
        let Some(volume) = store.volume_record(volume)? else { return self.names() };
        let destinations = store.destinations()?;
        let excluded = |record: &DestinationRecord| Ok((record.id, Excluded::by_last_push(store, volume.id, record.id)?));
        let excluded = destinations.iter().map(excluded).collect::<Result<_>>()?;
        Ok(Names::new(destinations).excluding(excluded))
    }

    /// Opens a volume with its configured policy. An index that finds itself to be an old copy begins a new epoch, and tries again.
    pub(crate) fn volume(&self, name: &str) -> Result<Volume> {
        let config = self.volume_config(name)?;
        let policy = config.offload.as_ref().map(|policy| self.policy(policy)).transpose()?;
        let open = || {
            let opened = self.store()?.open_volume(name, &config.path, policy.clone());
            opened.map_err(|error| match error {
                VolumeError::NewEpoch(news) => CliErrorOrEpoch::Epoch(news.reason),
                error => self.of_volume(error).into(),
            })
        };
        match open() {
            Ok(volume) => Ok(volume),
            Err(CliErrorOrEpoch::Epoch(reason)) => {
                self.output.warn(&format!(
                    "the index is an old or a second copy ({reason}): a new epoch begins, and everything will be proven again"
                ));
                open().map_err(CliErrorOrEpoch::into_error)
            }
            Err(CliErrorOrEpoch::Error(error)) => Err(*error),
        }
    }

    /// A configured policy, by rows.
    pub(crate) fn policy(&self, policy: &PolicyConfig) -> Result<Policy> {
        let id = |name: &String| self.destination_record(name).map(|record| record.id);
        let ids = |names: &[String]| -> Result<Vec<DestinationId>> {
            let mut ids = names.iter().map(id).collect::<Result<Vec<_>>>()?;
            ids.sort_unstable();
            Ok(ids)
        };
        let at_least = match &policy.at_least {
            Some((count, of)) => Some(AtLeast { count: *count, of: ids(of)? }),
            None => None,
        };
        let mut built = Policy {
            require: ids(&policy.require)?,
            at_least,
            max_evidence_age_ms: policy.max_evidence_age.ms,
            confirm: policy.confirm,
            grace_ms: policy.grace.ms,
            methods: policy.methods.clone(),
            any_filesystem: policy.any_filesystem,
            domains: std::collections::BTreeMap::new(),
            same_device: Vec::new(),
            unknown_device: Vec::new(),
        };
        self.add_domains(&mut built)?;
        Ok(built)
    }

    /// In what a policy is weaker than the one that was accepted last for its volume.
    pub(crate) fn weakenings(&self, volume: VolumeId, policy: &Policy) -> Result<Vec<Weakening>> {
        let accepted = self.store()?.accepted_policy(volume)?;
        Ok(accepted.map_or_else(Vec::new, |accepted| policy.weaker_than(&accepted.policy)))
    }

    /// Labels of the configuration, devices that are found to be shared, and those that cannot be told. The configuration says where a
    /// local destination lies: nobody is asked for it, because a policy is needed also where a destination is out of reach.
    fn add_domains(&self, policy: &mut Policy) -> Result<()> {
        let mut devices: Vec<(u64, DestinationId)> = Vec::new();
        let counted = policy.counted();
        for (name, config) in &self.config()?.destinations {
            let Some(record) = self.store()?.destination_record(name)?.filter(|record| counted.contains(&record.id)) else {
                continue;
            };
            if let Some(label) = &config.failure_domain {
                policy.domains.insert(record.id, label.clone());
            }
            // At a mount point whose disk is away lies an empty directory of another disk.
            match config.device().filter(|_| config.is_seen()) {
                Some(device) => {
                    let shared = devices.iter().filter(|(other, _)| *other == device).map(|(_, id)| (*id, record.id));
                    policy.same_device.extend(shared);
                    devices.push((device, record.id));
                }
                None => policy.unknown_device.push(record.id),
            }
        }
        Ok(())
    }

    /// That enough of the destinations that `at_least` counts lie apart, as far as can be told now: else the gate would be shut for ever.
    pub(crate) fn satisfiable(&self, volume: &str, policy: &Policy) -> Result<()> {
        let Some(at_least) = &policy.at_least else { return Ok(()) };
        let names = self.names()?;
        let name = |id| names.get(id).unwrap_or("?").to_owned();
        // One that is away now is perhaps on a disk of its own; one that is there, and does not tell, never will.
        let destinations = &self.config()?.destinations;
        let untold = |id: &DestinationId| destinations.get(&name(*id)).is_some_and(DestinationConfig::never_tells_its_disk);
        let untold: Vec<_> = policy.unknown_device.iter().copied().filter(untold).collect();
        let known = Policy { unknown_device: untold.clone(), ..policy.clone() };
        let apart = known.domains_among(&at_least.of);
        if apart >= at_least.count {
            return Ok(());
        }
        let untold: Vec<_> = untold.iter().filter(|id| at_least.of.contains(id)).map(|id| format!("`{}`", name(*id))).collect();
        if !untold.is_empty() {
            let message = format!(
                "volume `{volume}`: `at_least` counts to {}, and nobody can tell which disk holds {}",
                at_least.count,
                untold.join(", ")
            );
            return Err(CliError::new(Code::Config, message).hint(
                "give each of them a `failure_domain`: a label that those share which fail together; no file could ever pass",
            ));
        }
        let counted = policy.same_device.iter().filter(|(left, right)| at_least.of.contains(left) && at_least.of.contains(right));
        let sharing: Vec<_> = counted.map(|(left, right)| format!("`{}` and `{}`", name(*left), name(*right))).collect();
        let message = format!(
            "volume `{volume}`: `at_least` counts to {}, of {apart} that can count: {} share a device, and count once",
            at_least.count,
            sharing.join(", ")
        );
        Err(CliError::new(Code::Config, message)
            .hint("keep one of them on another device, name more destinations, or lower the count; no file could ever pass"))
    }

    /// How to walk a volume: its excludes, and everything that is none of its data.
    pub(crate) fn walk_options(&self, name: &str) -> Result<WalkOptions> {
        let config = self.config()?;
        let volume = self.volume_config(name)?;
        let mut leave_out = Vec::new();
        let mut add = |path: &Path, kind| {
            if let Ok(stat) = std::fs::canonicalize(path).and_then(|path| Dir::open(&path)?.own_stat()) {
                leave_out.push(LeaveOut { device: stat.device, inode: stat.inode, kind });
            }
        };
        config.volumes.iter().filter(|(other, _)| *other != name).for_each(|(_, other)| add(&other.path, "volume"));
        config.destinations.values().filter_map(|destination| destination.path.as_ref()).for_each(|path| add(path, "destination"));
        Ok(WalkOptions { exclude: volume.exclude.clone(), cross_mounts: volume.cross_mounts, leave_out })
    }

    pub(crate) fn mounts(&self, name: &str) -> Result<Mounts> {
        Ok(if self.volume_config(name)?.cross_mounts { Mounts::Cross } else { Mounts::Stay })
    }

    /// Files that this node needs to reach its destinations, by device and inode: index, configuration, keys, and whatever else
    /// [`needed_files`] names.
    pub(crate) fn needed(&self) -> Result<Vec<(u64, u64)>> {
        let config = self.config()?;
        let mut needed: Vec<_> = self.store()?.own_files()?.iter().map(|stat| (stat.device, stat.inode)).collect();
        for path in needed_files(config) {
            // Through links: what is needed is the file that they lead to.
            match std::fs::metadata(&path) {
                Ok(found) => needed.push((found.dev(), found.ino())),
                Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {}
                // It may lie in the volume, and nobody would know.
                Err(error) => return Err(CliError::new(Code::Io, format!("{}: {error}", path.display()))),
            }
        }
        Ok(needed)
    }

    /// Does something, again and again while a contradicting run is in the way, if `--wait` says so.
    pub(crate) fn waiting<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        let mut told = false;
        loop {
            match work() {
                Err(error) if error.until_a_run_ends && self.global.wait => {
                    if !std::mem::replace(&mut told, true) {
                        self.output.note(&format!("waiting: {}", error.message));
                    }
                    if self.cancel.is_cancelled() {
                        return Err(crate::error::interrupted());
                    }
                    std::thread::sleep(WAIT);
                }
                answer => return answer,
            }
        }
    }

    /// Asks before something is deleted or forgotten. Without a terminal, only `--yes` will do.
    pub(crate) fn confirm(&self, question: &str) -> Result<()> {
        if self.global.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(CliError::new(Code::Usage, format!("{question} Nobody is there to answer"))
                .hint("give --yes to do it without asking"));
        }
        self.output.clear();
        let asked = dialoguer::Confirm::new().with_prompt(question).default(false).interact();
        match asked {
            Ok(true) => Ok(()),
            Ok(false) => Err(CliError::new(Code::Declined, "nothing was changed")),
            Err(error) => Err(CliError::new(Code::Io, format!("cannot ask: {error}"))),
        }
    }

    /// A reason for the audit trail: given, or asked for on a terminal.
    pub(crate) fn reason(&self, given: Option<&str>) -> Result<String> {
        match given.map(str::trim) {
            Some("") => Err(CliError::new(Code::Usage, "the reason is empty").hint("say in a few words why")),
            Some(reason) => Ok(reason.to_owned()),
            None if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() => {
                self.output.clear();
                let asked = dialoguer::Input::<String>::new().with_prompt("Reason, for the audit trail").interact_text();
                asked.map_err(|error| CliError::new(Code::Io, format!("cannot ask: {error}")))
            }
            None => Err(CliError::new(Code::Usage, "a reason is needed, for the audit trail").hint("give --reason TEXT")),
        }
    }

    /// A path that a person wrote beside a volume: relative to its root, or absolute and in it.
    pub(crate) fn path_in(&self, root: &Path, written: &std::ffi::OsStr) -> Result<RelPath> {
        let path = Path::new(written);
        let inside = if path.is_absolute() {
            let outside = || {
                CliError::new(Code::Usage, format!("{} is not in the volume at {}", path.display(), root.display()))
                    .hint("beside a volume, a path is relative to its root, or absolute and in it")
            };
            match path.strip_prefix(root) {
                Ok(rest) => rest.to_owned(),
                Err(_) => resolve(path).strip_prefix(root).map_err(|_| outside())?.to_owned(),
            }
        } else {
            path.to_owned()
        };
        normal(&inside)
    }

    /// The volume of the configuration in which an absolute path lies, and the path in it.
    pub(crate) fn volume_of(&self, written: &Path) -> Result<(String, RelPath)> {
        let absolute =
            std::path::absolute(written).map_err(|error| CliError::new(Code::Usage, format!("{}: {error}", written.display())))?;
        let resolved = resolve(&absolute);
        let config = self.config()?;
        for (name, volume) in &config.volumes {
            let root = std::fs::canonicalize(&volume.path).unwrap_or_else(|_| volume.path.clone());
            if let Ok(rest) = resolved.strip_prefix(&root) {
                return Ok((name.clone(), normal(rest)?));
            }
        }
        Err(CliError::new(Code::NotFound, format!("{} lies in no volume", written.display()))
            .hint("`lastcopy volume list` shows the volumes"))
    }
}

enum CliErrorOrEpoch {
    Error(Box<CliError>),
    Epoch(String),
}

impl From<CliError> for CliErrorOrEpoch {
    fn from(error: CliError) -> Self {
        Self::Error(Box::new(error))
    }
}

impl CliErrorOrEpoch {
    fn into_error(self) -> CliError {
        match self {
            Self::Error(error) => *error,
            Self::Epoch(reason) => CliError::new(Code::IdentityChanged, format!("the index is an old or a second copy: {reason}")),
        }
    }
}

/// The way to a configured destination. Nothing is asked of it yet, but the secrets that it takes.
pub(crate) fn connect(config: &DestinationConfig) -> Result<Arc<dyn Destination>> {
    Ok(match driven(config)? {
        Some(driven) => driven.destination(),
        None => Arc::new(Cas::local(config.path.as_deref().unwrap_or(Path::new("/")))),
    })
}

fn driven(config: &DestinationConfig) -> Result<Option<Driven>> {
    Ok(match &config.way {
        Way::Cas => None,
        Way::Mirror(mirror) => Some(Driven::Mirror(Mirror::new(mirror_options(mirror)?))),
        Way::Kopia(kopia) => Some(Driven::Kopia(Kopia::new(kopia_options(kopia, &config.url)?))),
    })
}

/// The options of a repository of kopia's, with its secrets.
fn kopia_options(config: &KopiaConfig, address: &str) -> Result<lastcopy_sync_kopia::Options> {
    let value = |name: &str, secret: &Secret| {
        let failed = |reason| CliError::new(Code::Config, format!("`{name}` of `{address}`: {reason}"));
        secret_value(secret).map_err(failed)
    };
    let storage = match &config.place {
        KopiaPlace::ConfigFile(file) => Storage::of_file(file.clone()),
        KopiaPlace::Storage { repository, options, secrets } => {
            let mut all = options.clone();
            for (name, secret) in secrets {
                all.insert(name.clone(), value(&format!("options.{name}"), secret)?);
            }
            Storage::new(repository, all).map_err(|error| CliError::new(Code::Config, format!("`{address}`: {error}")))?
        }
    };
    let mut options = lastcopy_sync_kopia::Options::at(storage, value("password", &config.password)?);
    (options.program, options.parallel, options.stall) = (config.program.clone(), config.parallel, config.stall);
    Ok(options)
}

/// The options of a mirror, with its secrets.
fn mirror_options(config: &MirrorConfig) -> Result<Options> {
    let mut options = config.options.clone();
    let value = |name: &str, secret: &Secret| {
        let failed = |reason| CliError::new(Code::Config, format!("`{name}` of `{}`: {reason}", config.options.remote));
        secret_value(secret).map_err(failed)
    };
    for (name, secret) in &config.secrets {
        options.settings.insert(name.clone(), value(&format!("rclone.{name}"), secret)?);
    }
    options.index_password = config.index_password.as_ref().map(|secret| value("index_password", secret)).transpose()?;
    if options.index_password.as_ref().is_some_and(|password| password.is_empty()) {
        return Err(CliError::new(Code::Config, format!("`index_password` of `{}` is empty", options.remote)));
    }
    Ok(options)
}

fn secret_value(secret: &Secret) -> std::result::Result<std::ffi::OsString, String> {
    match secret {
        Secret::Env(variable) => std::env::var_os(variable).ok_or_else(|| format!("the variable `{variable}` is not set")),
        Secret::File(file) => {
            let value = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            Ok(std::os::unix::ffi::OsStringExt::from_vec(without_line_end(value)))
        }
        Secret::Command(command) => {
            let (program, arguments) = command.split_first().ok_or("its command is empty")?;
            let ran = std::process::Command::new(program).args(arguments).stderr(std::process::Stdio::inherit()).output();
            let output = ran.map_err(|error| format!("{program}: {error}"))?;
            if !output.status.success() {
                return Err(format!("{program}: {}", output.status));
            }
            Ok(std::os::unix::ffi::OsStringExt::from_vec(without_line_end(output.stdout)))
        }
    }
}

fn without_line_end(mut value: Vec<u8>) -> Vec<u8> {
    while value.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        value.pop();
    }
    value
}

/// A path without symbolic links, as far as it exists: the file itself may be offloaded, or be a link.
fn resolve(path: &Path) -> std::path::PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => std::fs::canonicalize(parent).unwrap_or_else(|_| resolve(parent)).join(name),
        _ => path.to_owned(),
    }
}

/// A relative path without `.`; one with `..` is refused.
fn normal(path: &Path) -> Result<RelPath> {
    let mut normal = RelPath::root();
    for component in path.components() {
        match component {
            std::path::Component::CurDir => {}
            std::path::Component::Normal(name) => {
                normal = normal.join(name.as_bytes()).map_err(|error| CliError::new(Code::Usage, error.to_string()))?;
            }
            _ => {
                let error = CliError::new(Code::Usage, format!("`{}` is no path in a volume", path.display()));
                return Err(error.hint("write it from the volume's root, without `..`"));
            }
        }
    }
    Ok(normal)
}

/// The first SIGINT or SIGTERM asks everything to stop after the item in hand; a second one exits at once.
fn stop_on_signals(runtime: &tokio::runtime::Runtime, cancel: Cancel) {
    use tokio::signal::unix::{SignalKind, signal};
    let _guard = runtime.enter();
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return;
    };
    runtime.spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if cancel.is_cancelled() {
                std::process::exit(i32::from(Exit::Failed.code()));
            }
            cancel.cancel();
        }
    });
}

/// A directory that goes with the command.
pub(crate) fn temporary_dir() -> Result<TempDir> {
    tempfile::tempdir().map_err(|error| {
        CliError::new(Code::Io, format!("a temporary directory: {error}")).hint("is there space where temporary files go (TMPDIR)?")
    })
}
