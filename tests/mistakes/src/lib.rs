//! What the compiler says to those who make one of the likeliest mistakes: in a few lines, and with the way out.
//!
//! Each folder of `likely` has a mistake (`wrong.rs`), what is to be read then (`message.txt`), and the same program without it
//! (`right.rs`), which has to compile. The first lines of `wrong.rs` say what the message must name. After a change that is meant,
//! `STONEWORK_MESSAGES=write` writes the messages anew.
//!
//! The messages are those of one version of the compiler. With another one nothing is compared, and the test says so;
//! `STONEWORK_JUDGES=1` compares all the same.

#[cfg(test)]
mod compiler;
#[cfg(test)]
mod message;

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    use super::compiler::Compiler;
    use super::message;

    /// Whose messages these are.
    const VERSION: &str = "rustc 1.95.";
    /// A message that does not fit into this is not read to its end.
    const MOST_LINES: usize = 14;
    /// Longer ones, of which we write only a part: which, how many lines, why.
    const LONGER: &[(&str, usize, &str)] = &[
        (
            "a_body_that_cannot_be_sent_twice",
            18,
            "rustc lists the bodies that can, and where the type comes from",
        ),
        (
            "a_judge_of_responses_alone",
            16,
            "rustc's own for closures: ours is only the signature that it expects",
        ),
        ("a_layer_that_fails_on_a_router", 20, "eight lines quote the bound of axum's `Router::layer`"),
        ("a_request_that_is_none", 21, "rustc shows for which requests there is such a layer"),
    ];

    #[test]
    fn the_likeliest_mistakes_have_short_messages_that_name_the_way_out() {
        let version = Compiler::version();
        if !version.starts_with(VERSION) && env::var_os("STONEWORK_JUDGES").is_none() {
            println!("skipped: the messages are those of {VERSION}*, and this is {version}");
            return;
        }
        let compiler = Compiler::with_what_programs_need();
        let mistakes = mistakes();
        let long = |folder: &Path| LONGER.iter().find(|(name, ..)| folder.ends_with(name));
        let short = mistakes.iter().filter(|folder| long(folder).is_none()).count();
        assert!(short >= 10, "{short} mistakes have short messages");
        let stale = LONGER.iter().find(|(name, ..)| !mistakes.iter().any(|folder| folder.ends_with(name)));
        assert!(stale.is_none(), "there is no {stale:?}");

        let mut bad = Vec::new();
        for folder in &mistakes {
            let most = long(folder).map_or(MOST_LINES, |(_, lines, _)| *lines);
            let name = folder.file_name().unwrap_or_default().display();
            bad.extend(judge(&compiler, folder, most).into_iter().map(|what| format!("{name}: {what}")));
        }
        assert!(bad.is_empty(), "\n{}\n", bad.join("\n"));
    }

    /// The folders, by name.
    fn mistakes() -> Vec<PathBuf> {
        let likely = Path::new(env!("CARGO_MANIFEST_DIR")).join("likely");
        let entries = fs::read_dir(likely).expect("a folder of mistakes");
        let mut folders: Vec<PathBuf> =
            entries.map(|entry| entry.expect("a readable folder").path()).collect();
        folders.sort();
        folders
    }

    /// What is not as it should be.
    fn judge(compiler: &Compiler, folder: &Path, most: usize) -> Vec<String> {
        let mut bad = Vec::new();
        let wrong = folder.join("wrong.rs");
        let said = message::settled(&compiler.says(&wrong));
        let lines = said.lines().count();
        if lines > most || lines == 0 {
            bad.push(format!("the message has {lines} lines, and may have 1 to {most}"));
        }
        let program = fs::read_to_string(&wrong).expect("a mistake");
        let named = message::named(&program);
        if named.is_empty() {
            bad.push("its first lines do not say what the message must name".to_owned());
        }
        let unnamed = named.iter().filter(|words| !said.contains(**words));
        bad.extend(unnamed.map(|words| format!("the message does not name `{words}`")));

        let snapshot = folder.join("message.txt");
        if env::var("STONEWORK_MESSAGES").is_ok_and(|what| what == "write") {
            fs::write(&snapshot, &said).expect("a message that can be written");
        }
        if fs::read_to_string(&snapshot).ok().as_ref() != Some(&said) {
            bad.push(format!("the message is another one by now:\n{said}"));
        }
        let right = compiler.says(&folder.join("right.rs"));
        if !right.is_empty() {
            bad.push(format!("without the mistake it does not compile either:\n{right}"));
        }
        bad
    }
}
