/// What a message must name: what stands in backticks behind `//! *Named:*`, in the first lines of a program.
pub(crate) fn named(program: &str) -> Vec<&str> {
    let line = program.lines().find_map(|line| line.strip_prefix("//! *Named:* "));
    line.unwrap_or_default().split('`').skip(1).step_by(2).collect()
}

/// As the compiler is told to call them.
const PROGRAMS: [&str; 2] = ["src/right.rs:", "src/wrong.rs:"];

/// A message without what differs from one day or machine to the next: line numbers of other files than the program's, and the folders
/// of other people's crates. And without the lines that only count what was said.
pub(crate) fn settled(said: &str) -> String {
    let mut settled = String::new();
    let mut elsewhere = false;
    for line in said.lines().filter(|line| !only_counts(line)) {
        let bare = line.trim_start();
        if let Some((arrow, place)) = bare.split_once(' ').filter(|(arrow, _)| ["-->", ":::"].contains(arrow))
        {
            elsewhere = !PROGRAMS.iter().any(|name| place.starts_with(name));
            let place = if elsewhere { file(place) } else { place.to_owned() };
            settled += &format!("  {arrow} {place}\n");
        } else if let Some((number, code)) = bare.split_once('|').filter(|(number, _)| is_number(number)) {
            let number = if elsewhere { "" } else { number.trim() };
            settled += &format!("{number:>3} |{code}\n");
        } else if let Some((words, _)) = bare.split_once(" written to '") {
            settled += &format!("    {words} written to a file\n");
        } else if bare.starts_with("= ") {
            settled += &format!("    {bare}\n");
        } else {
            settled += &format!("{line}\n");
        }
    }
    let settled = settled.trim_end();
    if settled.is_empty() { String::new() } else { format!("{settled}\n") }
}

fn only_counts(line: &str) -> bool {
    let begins = ["For more information about ", "Some errors have detailed ", "error: aborting due to "];
    line.ends_with(" emitted") || begins.iter().any(|words| line.starts_with(words))
}

/// Nothing is one, too: the margin of a line that shows no code.
fn is_number(text: &str) -> bool {
    text.trim().bytes().all(|byte| byte.is_ascii_digit())
}

/// `/home/…/registry/src/…/axum-0.8.9/src/routing/mod.rs:308:50` is `axum/src/routing/mod.rs`.
fn file(place: &str) -> String {
    let path = place.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == ':');
    let Some((_, inside)) = path.split_once("/registry/src/") else { return path.to_owned() };
    let mut parts = inside.splitn(3, '/').skip(1);
    let package = parts.next().and_then(|package| package.rsplit_once('-')).map_or("", |(name, _)| name);
    format!("{package}/{}", parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_one_machine_to_the_next_is_left_out() {
        let said = "error: no\n   --> src/wrong.rs:9:2\n    |\n  9 | f();\n    | ^^^\n    = note: n\nnote: bound\n   --> \
                    /home/u/.cargo/registry/src/index-1/axum-core-0.5.6/src/a.rs:303:50\n    |\n303 |     fn f()\n...\n\nerror: aborting due to 1 \
                    previous error\n\nFor more information about this error, try\n";
        let wanted = "error: no\n  --> src/wrong.rs:9:2\n    |\n  9 | f();\n    | ^^^\n    = note: n\nnote: bound\n  --> \
                      axum-core/src/a.rs\n    |\n    |     fn f()\n...\n";
        assert_eq!(settled(said), wanted);
        assert_eq!(settled("warning: unused\n\nwarning: 1 warning emitted\n\n"), "warning: unused\n");
        assert_eq!(settled("\n"), "");
    }

    #[test]
    fn what_must_be_named_stands_in_backticks() {
        assert_eq!(
            named("//! A mistake.\n//!\n//! *Named:* `.send()`, `await`.\n\nfn main() {}"),
            [".send()", "await"]
        );
        assert!(named("//! A mistake.\nfn main() {}").is_empty());
    }
}
