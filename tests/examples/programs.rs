//! Which examples there are, where cargo has built them, and whether it did so from the source as it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    /// The file with its `main`.
    pub(crate) source: PathBuf,
    pub(crate) built: PathBuf,
    /// What of cargo builds it.
    pub(crate) by: String,
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The examples of this package, and the programs of the packages that stand beside them.
pub(crate) fn programs() -> Vec<Program> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let asked = std::process::Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo, which runs this");
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let metadata: Value = serde_json::from_slice(&asked.stdout).expect("JSON");
    // This test is `…/deps/examples-…`.
    let own = std::env::current_exe().expect("a path");
    let profile = own.ancestors().nth(2).expect("a folder of the profile").to_owned();

    let mut programs = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let home = Path::new(text(&package["manifest_path"])).parent().expect("a folder").to_owned();
        let (kind, folder, by) = if home == root() {
            ("example", profile.join("examples"), "--examples".to_owned())
        } else if home.starts_with(root().join("examples")) {
            ("bin", profile.clone(), format!("--package {}", text(&package["name"])))
        } else {
            continue;
        };
        for target in package["targets"].as_array().expect("targets") {
            if target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind)) {
                let name = text(&target["name"]).to_owned();
                let built = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
                programs.push(Program {
                    name,
                    source: text(&target["src_path"]).into(),
                    built,
                    by: by.clone(),
                });
            }
        }
    }
    programs
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// Whether it was built from the source as it is: cargo writes down beside it what it was built of.
pub(crate) fn is_current(built: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    let (Some(at), Ok(list)) = (changed(built), fs::read_to_string(built.with_extension("d"))) else {
        return false;
    };
    // `program: source source`, where a space within a path has a backslash before it.
    let list = list.replace("\\ ", "\0");
    let mut sources = list.split_whitespace().skip(1).map(|path| PathBuf::from(path.replace('\0', " ")));
    sources.all(|source| changed(&source).is_some_and(|changed| changed <= at))
}

/// The files below it that have a `main`.
pub(crate) fn with_a_main(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            found.extend(with_a_main(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a readable text");
            if text.lines().any(|line| line.starts_with("fn main(") || line.starts_with("async fn main(")) {
                found.insert(path);
            }
        }
    }
    found
}
