//! A copy of the crate in which each mutant has a switch, and what the compiler says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::message::{self, Said};
use crate::mutant::Mutant;
use crate::paste::{Pasted, paste};
use crate::refused::Refused;
use crate::wraps::wraps;

/// Tests that see what the crate does, and need nothing that has to be installed.
pub(crate) const SUITES: &[&str] =
    &["--lib", "--test=promises", "--test=properties", "--test=contract", "--test=stacks"];

pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    original: PathBuf,
    wrapper: PathBuf,
    memory: PathBuf,
}

/// What a build made: the programs with tests, and which mutants are in them.
pub(crate) struct Built {
    pub(crate) programs: Vec<PathBuf>,
    pub(crate) inside: BTreeSet<usize>,
}

impl Tree {
    /// Copies what git knows of. What is there already is left alone, so that little is built anew.
    pub(crate) fn copy(original: &Path, work: &Path, mutants: &[Mutant]) -> io::Result<Self> {
        let root = work.join("tree");
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(original)
            .output()?;
        let listed = String::from_utf8(listed.stdout).map_err(io::Error::other)?;
        let names: BTreeSet<&str> =
            listed.split_terminator('\0').filter(|name| original.join(name).is_file()).collect();
        let changed: BTreeSet<&str> =
            mutants.iter().map(|mutant| mutant.file.as_str()).chain(["src/lib.rs"]).collect();
        for name in names.iter().filter(|name| !changed.contains(*name)) {
            replace(&root.join(name), &fs::read(original.join(name))?)?;
        }
        let gone: BTreeSet<String> =
            files(&root, &root)?.into_iter().filter(|name| !names.contains(name.as_str())).collect();
        for name in gone {
            fs::remove_file(root.join(name))?;
        }
        // `const fn` with a switch in it is for unstable compilers only, and what is changed is full of warnings.
        let wrapper = work.join("rustc");
        replace(
            &wrapper,
            b"#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec \"$@\" --cap-lints allow -Copt-level=0 -Cdebuginfo=0\n",
        )?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
        Ok(Self { root, original: original.to_owned(), wrapper, memory: work.join("refused") })
    }

    /// Builds with all mutants that the compiler takes, which it takes a few rounds to find out.
    pub(crate) fn build(&self, mutants: &[Mutant]) -> io::Result<Built> {
        let mut memory = Refused::read(&self.original, &self.memory, mutants)?;
        let mut inside: BTreeSet<usize> =
            (0..mutants.len()).filter(|number| !memory.has(&mutants[*number])).collect();
        loop {
            let pasted = self.write(mutants, &mut inside)?;
            // What the compiler refuses it refuses in the library already, and then the rest need not wait for it.
            let mut said = self.compile(&SUITES[..1])?;
            if said.succeeded {
                said = self.compile(SUITES)?;
            }
            if said.succeeded {
                return Ok(Built { programs: said.programs, inside });
            }
            let refused = message::refused(&said.errors, &pasted);
            if refused.is_empty() {
                return Err(io::Error::other(format!(
                    "the compiler is unhappy with what no mutant brought:\n{}",
                    said.rendered()
                )));
            }
            println!("{} errors: {} mutants do not compile here", said.errors.len(), refused.len());
            memory.add(refused.iter().map(|number| &mutants[*number]))?;
            inside.retain(|number| !refused.contains(number));
        }
    }

    fn write(
        &self,
        mutants: &[Mutant],
        inside: &mut BTreeSet<usize>,
    ) -> io::Result<BTreeMap<String, Pasted>> {
        let mut files: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
        for (number, mutant) in mutants.iter().enumerate() {
            let file = files.entry(&mutant.file).or_default();
            if inside.contains(&number) {
                file.push((number, mutant));
            }
        }
        let mut all = BTreeMap::new();
        for (file, here) in files {
            let text = fs::read_to_string(self.original.join(file))?;
            let pasted = paste(
                &text,
                &wraps(&text, &here).map_err(|error| io::Error::other(format!("{file}: {error}")))?,
            );
            let placed: BTreeSet<usize> = pasted.own.iter().map(|(_, number)| *number).collect();
            for (number, _) in here.iter().filter(|(number, _)| !placed.contains(number)) {
                inside.remove(number);
            }
            replace(&self.root.join(file), pasted.text.as_bytes())?;
            all.insert(file.to_owned(), pasted);
        }
        let root = fs::read_to_string(self.original.join("src/lib.rs"))?;
        let switch = include_str!("switch.txt").replace("COUNT", &mutants.len().to_string());
        replace(
            &self.root.join("src/lib.rs"),
            format!("#![feature(core_intrinsics, const_eval_select)]\n{root}{switch}").as_bytes(),
        )?;
        Ok(all)
    }

    fn compile(&self, suites: &[&str]) -> io::Result<Said> {
        let mut cargo = Command::new("cargo");
        cargo
            .args(["test", "--no-run", "--locked", "--message-format=json"])
            .args(suites)
            .current_dir(&self.root);
        cargo
            .env("RUSTC_WORKSPACE_WRAPPER", &self.wrapper)
            .env("CARGO_INCREMENTAL", "1")
            .stderr(Stdio::inherit());
        if env::var_os("CARGO_TARGET_DIR").is_none() {
            cargo.env("CARGO_TARGET_DIR", self.original.join("target"));
        }
        let output = cargo.output()?;
        Ok(message::read(&String::from_utf8_lossy(&output.stdout), output.status.success()))
    }
}

/// Cargo looks at times: what is as it was keeps its own.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, content)
}

/// Their names, as git writes them.
fn files(folder: &Path, root: &Path) -> io::Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in folder.read_dir().into_iter().flatten() {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            all.extend(files(&entry.path(), root)?);
        } else if let Ok(name) = entry.path().strip_prefix(root) {
            all.extend(name.to_str().map(str::to_owned));
        }
    }
    Ok(all)
}
