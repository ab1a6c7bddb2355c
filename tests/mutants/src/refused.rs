//! What the compiler has refused stays refused while its file is the same: a second run has no rounds.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::path::Path;

use crate::mutant::Mutant;

pub(crate) struct Refused {
    /// Of each file what it holds, in short.
    files: BTreeMap<String, u64>,
    lines: BTreeSet<String>,
    log: File,
}

impl Refused {
    pub(crate) fn read(original: &Path, log: &Path, mutants: &[Mutant]) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for mutant in mutants {
            if !files.contains_key(&mutant.file) {
                let mut hasher = DefaultHasher::new();
                fs::read(original.join(&mutant.file))?.hash(&mut hasher);
                files.insert(mutant.file.clone(), hasher.finish());
            }
        }
        let lines = fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect();
        Ok(Self { files, lines, log: OpenOptions::new().create(true).append(true).open(log)? })
    }

    pub(crate) fn has(&self, mutant: &Mutant) -> bool {
        self.lines.contains(&self.line(mutant))
    }

    pub(crate) fn add<'a>(&mut self, mutants: impl Iterator<Item = &'a Mutant>) -> io::Result<()> {
        let text: String = mutants.map(|mutant| self.line(mutant) + "\n").collect();
        self.log.write_all(text.as_bytes())
    }

    fn line(&self, mutant: &Mutant) -> String {
        format!("{:x} {}", self.files[&mutant.file], mutant.name)
    }
}
