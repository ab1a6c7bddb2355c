use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// What the programs may name.
const CRATES: [&str; 6] = ["axum", "http", "hyper", "stonework", "tokio", "tower"];

/// The compiler, and where the crates are that programs name. A program is checked by itself, in half a second: one that is wrong does
/// not keep the others from being built, as it would in a package.
pub(crate) struct Compiler {
    rustc: PathBuf,
    crates: Vec<(&'static str, PathBuf)>,
    /// For what it writes, which nobody wants.
    out: PathBuf,
}

impl Compiler {
    /// As it says it itself.
    pub(crate) fn version() -> String {
        let said = run(Command::new(rustc()).arg("--version"));
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }

    /// Has cargo check the crates, with the features that the manifest names.
    pub(crate) fn with_what_programs_need() -> Self {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut check = Command::new(cargo);
        check.args(["check", "--quiet", "--locked", "--features", "programs", "--message-format", "json"]);
        let checked = run(check.current_dir(env!("CARGO_MANIFEST_DIR")));
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let said = String::from_utf8_lossy(&checked.stdout);
        let messages: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let crates = CRATES.map(|name| (name, metadata(&messages, name))).to_vec();
        let out = crates[0].1.with_file_name("mistakes");
        Self { rustc: rustc(), crates, out }
    }

    /// What it says of a program. Nothing, if that is as it should be.
    pub(crate) fn says(&self, program: &Path) -> String {
        let mut rustc = Command::new(&self.rustc);
        rustc.args(["--edition", "2024", "--crate-name", "program", "--color", "never"]);
        rustc.args(["--emit", "metadata", "--out-dir"]).arg(&self.out);
        for (name, path) in &self.crates {
            rustc.arg("--extern").arg(format!("{name}={}", path.display()));
            rustc.arg("-L").arg(format!("dependency={}", path.parent().expect("a folder").display()));
        }
        // Where cargo compiles from, or what messages quote of the crate is not found; and with a name as short as a user's programs have.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace");
        let program = program.strip_prefix(&root).expect("a program of the workspace");
        let folder = program.parent().expect("a folder").display();
        let said =
            run(rustc.arg(format!("--remap-path-prefix={folder}=src")).arg(program).current_dir(&root));
        String::from_utf8_lossy(&said.stderr).into_owned()
    }
}

/// What cargo has compiled of the library of that name, of which there may be one version only.
fn metadata(messages: &[Value], name: &str) -> PathBuf {
    let libraries = messages.iter().filter(|message| {
        message["reason"] == "compiler-artifact"
            && message["target"]["name"] == name
            && message["target"]["kind"][0] == "lib"
    });
    let files = libraries.flat_map(|library| library["filenames"].as_array().into_iter().flatten());
    let mut files = files.filter_map(Value::as_str).filter(|file| file.ends_with(".rmeta"));
    let file = files.next().unwrap_or_else(|| panic!("cargo did not say where `{name}` is"));
    assert_eq!(files.next(), None, "`{name}` is there twice");
    file.into()
}

fn rustc() -> PathBuf {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()).into()
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
