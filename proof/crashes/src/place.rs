//! Where one worker runs: a home at a fixed path, and prepared states to fill it with.

use crate::home::{Home, Step};
use crate::oracle::Expected;
use crate::workload::{FINISH, Goal, Preparing, Workload};
use crate::{ProofError, Result};
use lastcopy_scene::tree::{self, Tree};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A worker's directory.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    home: Home,
    prepared: HashMap<&'static str, Expected>,
}

impl Place {
    /// A place in a directory that is the worker's own, for a built program.
    pub fn new(dir: &Path, binary: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(ProofError::at(dir))?;
        // As the kernel shows it.
        let dir = std::fs::canonicalize(dir).map_err(ProofError::at(dir))?;
        Ok(Self { home: Home::new(&dir.join("home"), binary), prepared: HashMap::new(), dir })
    }

    /// The home. It holds what the last call left.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Fills the home with the state in which a workload's command begins. Says what must be kept.
    pub fn begin(&mut self, workload: &Workload) -> Result<&Expected> {
        let base = self.dir.join(workload.name);
        if !self.prepared.contains_key(workload.name) {
            tree::remove(self.home.root())?;
            self.home.make(workload.policy, workload.second)?;
            let mut preparing = Preparing { home: &self.home, originals: Tree::new(), besides: Vec::new() };
            (workload.prepare)(&mut preparing)?;
            let Preparing { originals, besides, .. } = preparing;
            let mut expected = Expected::of(&self.home, originals, &workload.leaving, workload.second)?;
            expected.keep_besides(besides);
            if workload.releases {
                expected.keep_originals_alone();
            }
            std::fs::rename(self.home.root(), &base).map_err(ProofError::at(&base))?;
            self.prepared.insert(workload.name, expected);
        }
        tree::remove(self.home.root())?;
        tree::copy(&base, self.home.root())?;
        for step in workload.lead {
            if let Err(ran) = self.home.run(step)? {
                return Err(ProofError::Preparation(format!("`{}` ended with {}: {}", ran.line, ran.exit, ran.said)));
            }
        }
        // It was put there above, if it was missing.
        self.prepared.get(workload.name).ok_or_else(|| ProofError::Preparation("was not prepared".into()))
    }

    /// What must be kept of a workload that was begun here.
    pub fn expected(&self, workload: &Workload) -> Result<&Expected> {
        self.prepared.get(workload.name).ok_or_else(|| ProofError::Preparation("was not prepared".into()))
    }

    /// What is wrong at the very moment at which the command ended.
    pub fn look(&self, workload: &Workload) -> Result<Vec<String>> {
        let mut wrong = self.expected(workload)?.check(&self.home)?;
        let gone = workload.stays.iter().filter(|file| !self.home.root().join(file).exists());
        wrong.extend(gone.map(|file| format!("{file} is gone")));
        if let Some(file) = workload.whole.map(|file| self.home.root().join(file))
            && file.exists()
        {
            let words = ["db".into(), "restore".into(), file.into_os_string(), "--dry-run".into()];
            let ran = self.home.run_words(&words)?;
            if ran.exit != 0 {
                wrong.push(format!("what was copied is not whole: {}", ran.said.trim()));
            }
        }
        Ok(wrong)
    }

    /// Whether a goal is reached: what is wrong, if anything.
    pub fn look_for(&self, workload: &Workload, goal: Goal) -> Result<Vec<String>> {
        let expected = self.expected(workload)?;
        match goal {
            Goal::Nothing => Ok(Vec::new()),
            Goal::Pushed => expected.check_pushed(&self.home),
            Goal::Left => expected.check_left(&self.home),
            Goal::Home => expected.check_home(&self.home, false),
            Goal::Aside => expected.check_aside(&self.home),
        }
    }

    /// Runs the next ordinary commands, and looks at what they come to.
    pub fn recover(&self, workload: &Workload, finish: bool) -> Result<Vec<String>> {
        let mut wrong = self.run(workload.recover)?;
        wrong.extend(self.look(workload)?);
        if wrong.is_empty() {
            wrong.extend(self.expected(workload)?.check_settled(&self.home)?);
            wrong.extend(self.look_for(workload, workload.goal)?);
        }
        if wrong.is_empty() && finish {
            wrong.extend(self.run(FINISH)?);
            wrong.extend(self.look(workload)?);
            wrong.extend(self.expected(workload)?.check_home(&self.home, true)?);
            wrong.extend(self.look_for(workload, Goal::Pushed)?);
        }
        Ok(wrong)
    }

    /// Runs commands one after the other; what is wrong is the first that does not end as it should.
    pub fn run(&self, steps: &[Step]) -> Result<Vec<String>> {
        for step in steps {
            if let Err(ran) = self.home.run(step)? {
                return Ok(vec![format!("`{}` ended with {}, not {:?}: {}", ran.line, ran.exit, step.exits, ran.said.trim())]);
            }
        }
        Ok(Vec::new())
    }
}
