//! The configuration file: read, checked, and resolved against the environment before anything else happens.

mod check;
mod diagnostic;
mod edit;
mod file;
mod reference;
mod template;

pub use check::{Config, parse};
pub(crate) use check::{
    DestinationConfig, HookConfig, KopiaConfig, KopiaPlace, MirrorConfig, PolicyConfig, Secret, VolumeConfig, Way, check_name,
    load, local_path, locate, resolved,
};
pub use diagnostic::ConfigError;
pub(crate) use edit::{add_destination, add_volume, set_volume_path, write_new};
pub use edit::{with_destination, with_volume};
pub(crate) use reference::render as reference;
pub(crate) use template::{Answers, render as render_template};
