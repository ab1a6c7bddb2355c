//! The rules, each a function from text to complaints, so that each can be shown to fail on a small bad text.

use crate::source::{self, Quotes, Source, Use, leaves, line, places, uses};

/// The names of what a module may not do, each with its file and line.
pub(crate) type Complaints = Vec<String>;

fn complain(file: &Source, text: &str, at: usize, what: &str) -> String {
    format!("{}:{}: {what}", file.path, line(text, at))
}

// ───────────────────────────────────────────────────────────────────────────── who may import whom

/// The module that every other may use.
const BASE: &str = "base";
/// The modules that put others together.
const ASSEMBLIES: &[&str] = &["client", "reqwest", "server"];
/// The test kit, which knows the `Service` contract and nothing of the layers.
const KIT: &str = "testing";

/// `base` uses only itself, a module only `base`, an assembly anything but another assembly and the test kit.
pub(crate) fn imports(file: &Source) -> Complaints {
    let module = file.module();
    let Some(home) = module.first().copied() else {
        return Vec::new();
    };
    let allowed = |head: &str| {
        let free = ASSEMBLIES.contains(&home) && !ASSEMBLIES.contains(&head) && head != KIT;
        head == home || head == BASE || (free && head.starts_with(char::is_alphabetic))
    };
    let code = file.code();
    crate_heads(&code, module.len())
        .into_iter()
        .filter(|(_, head)| !allowed(head))
        .map(|(at, head)| complain(file, &code, at, &format!("`{home}` may not use `{head}`")))
        .collect()
}

/// The first path segment of everything that `code`, `depth` modules below the root, names from the crate root.
fn crate_heads(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut roots: Vec<(usize, usize)> = Vec::new();
    for word in ["crate", "stonework"] {
        roots.extend(places(code, word).into_iter().map(|at| (at, at + word.len())));
    }
    for at in places(code, "super") {
        if code[..at].ends_with("::") {
            continue;
        }
        let mut end = at + "super".len();
        let mut steps = 1;
        while code[end..].starts_with("::super") {
            end += "::super".len();
            steps += 1;
        }
        if steps >= depth {
            roots.push((at, end));
        }
    }
    let mut heads = Vec::new();
    for (at, end) in roots {
        // `pub(crate)` and the like name no module.
        let Some(rest) = code[end..].trim_start().strip_prefix("::") else {
            continue;
        };
        let rest = rest.trim_start();
        let tree = if rest.starts_with('{') {
            &rest[..source::item_end(rest, 0)]
        } else {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*'));
            &rest[..end.unwrap_or(rest.len())]
        };
        heads.extend(leaves(tree).into_iter().map(|(path, _)| {
            let head = path.split("::").next().unwrap_or_default().trim();
            (at, head.to_owned())
        }));
    }
    heads
}

// ───────────────────────────────────────────────────────────────────────────── what decides is pure

const IMPURE: &[&str] = &[
    "async",
    ".await",
    "Mutex",
    "RwLock",
    "Instant::now",
    "SystemTime::now",
    "std::thread",
    "thread_local",
    "Waker",
    "Context<",
    "poll_",
    "tokio::spawn",
    "sleep",
];

/// What decides has no async code, no lock, no waker and no clock: `now` goes in, a decision comes out.
pub(crate) fn pure(file: &Source) -> Complaints {
    let code = file.code();
    let found = |needle: &'static str| {
        let whole = if needle == "poll_" {
            code.match_indices(needle).map(|(at, _)| at).collect()
        } else {
            places(&code, needle)
        };
        whole.into_iter().map(move |at| (at, needle)).collect::<Vec<_>>()
    };
    IMPURE
        .iter()
        .flat_map(|needle| found(needle))
        .map(|(at, needle)| complain(file, &code, at, &format!("a deciding file may not say `{needle}`")))
        .collect()
}

/// A module with a service has a deciding file too, or stands in the table of those that decide nothing.
pub(crate) fn decides(files: &[Source], deciders: &[&str], nothing_to_decide: &[(&str, &str)]) -> Complaints {
    files
        .iter()
        .filter(|f| f.name() == "service.rs")
        .filter_map(|f| f.path.split('/').next())
        .filter(|home| *home != BASE && *home != KIT && !ASSEMBLIES.contains(home))
        .filter(|home| {
            let listed = deciders.iter().any(|d| d.split('/').next() == Some(home));
            !listed && !nothing_to_decide.iter().any(|(module, _)| module == home)
        })
        .map(|home| format!("`{home}` has a service and no deciding file in the table"))
        .collect()
}

// ───────────────────────────────────────────────────────────────────────────── clock and chance

/// Calendar time, thread time and randomness come in through one file each; tokio's clock is read only by shells.
pub(crate) fn clocks(file: &Source, readers: &[(&str, &str)]) -> Complaints {
    let code = file.code();
    let mut bad = Vec::new();
    let mut forbid = |needle: &str, home: &str| {
        if file.path != home {
            for at in places(&code, needle) {
                bad.push(complain(file, &code, at, &format!("`{needle}` has its one home in `{home}`")));
            }
        }
    };
    for needle in
        ["SystemTime::now", "std::time::Instant", "std::time::{Duration, Instant", "UNIX_EPOCH.elapsed"]
    {
        forbid(needle, "base/clock.rs");
    }
    for needle in ["fastrand", "rand", "getrandom", "RandomState"] {
        forbid(needle, "base/rng.rs");
    }
    let reads = readers
        .iter()
        .any(|(place, _)| file.path.starts_with(place) || (!place.contains('/') && file.name() == *place));
    if !reads {
        for at in places(&code, "Instant::now") {
            bad.push(complain(file, &code, at, "only a shell reads the clock; take `now` as an argument"));
        }
    }
    bad
}

// ───────────────────────────────────────────────────────────────────────────── unsafe code

/// The crate root forbids unsafe code.
pub(crate) fn forbids_unsafe(lib: &Source) -> Complaints {
    let code = source::without_comments(&lib.text, Quotes::Keep);
    if code.contains("#![forbid(unsafe_code)]") {
        Vec::new()
    } else {
        vec![format!("{}: the attribute that forbids unsafe code is gone", lib.path)]
    }
}

/// Whoever writes something else where a table belongs is told what belongs there, and not the name of a type that nobody sees.
pub(crate) fn tables_have_names(file: &Source) -> Complaints {
    let code = source::without_comments(&file.text, Quotes::Keep);
    let nameless = |row: &&str| row.contains("deny_unknown_fields") && !row.contains("expecting = \"");
    let rows = code.lines().enumerate().filter(|(_, row)| nameless(row));
    rows.map(|(row, _)| format!("{}:{}: a table of settings does not say what it is", file.path, row + 1))
        .collect()
}

// ───────────────────────────────────────────────────────────────────────────── modules and their front pages

/// Every module of `lib.rs` that users see, with the features that its `cfg` names.
pub(crate) fn public_modules(lib: &Source) -> Vec<(String, Option<String>, bool)> {
    let code = source::without_comments(&lib.text, Quotes::Keep);
    let mut found = Vec::new();
    let mut attributes = String::new();
    for row in code.lines().map(str::trim) {
        if row.starts_with("#[") {
            attributes.push_str(row);
        } else if let Some(name) = row.strip_prefix("pub mod ").and_then(|r| r.strip_suffix(';')) {
            // Of several that each switch it on, the first is that of its name.
            let feature = ["#[cfg(feature = \"", "#[cfg(any(feature = \""]
                .iter()
                .find_map(|start| attributes.split_once(start))
                .and_then(|(_, rest)| rest.split('"').next())
                .map(str::to_owned);
            found.push((name.to_owned(), feature, attributes.contains("doc(cfg(")));
            attributes.clear();
        } else if !row.is_empty() {
            attributes.clear();
        }
    }
    found
}

/// A module stands behind the feature of its own name, and its page says so.
pub(crate) fn gated(lib: &Source, manifest: &str, always: &[&str]) -> Complaints {
    public_modules(lib)
        .into_iter()
        .filter(|(name, _, _)| !always.contains(&name.as_str()))
        .filter_map(|(name, feature, badge)| {
            if feature.as_ref() != Some(&name) {
                Some(format!("`pub mod {name}` does not stand behind a feature named `{name}`"))
            } else if !section(manifest, "features")
                .any(|row| row.split('=').next().unwrap_or("").trim() == name)
            {
                Some(format!("the manifest has no feature `{name}`"))
            } else if !badge {
                Some(format!("`pub mod {name}` has no `doc(cfg)`, so its page does not name its feature"))
            } else {
                None
            }
        })
        .collect()
}

/// Every public module has a page: the file starts with prose.
pub(crate) fn has_page(file: &Source) -> Complaints {
    let first = file.text.lines().next().unwrap_or("");
    if first.strip_prefix("//!").is_some_and(|prose| prose.trim().len() >= 8) {
        Vec::new()
    } else {
        vec![format!("{}: a public module starts with a line of `//!` that says what it is", file.path)]
    }
}

/// A `mod.rs` holds prose and exports; logic has a file named for its idea.
pub(crate) fn no_logic(file: &Source) -> Complaints {
    let code = file.code();
    let mut bad = Vec::new();
    let mut at = 0;
    loop {
        at += code[at..].len() - code[at..].trim_start().len();
        if at >= code.len() {
            return bad;
        }
        if code[at..].starts_with("#[") || code[at..].starts_with("#![") {
            at += source::attribute(&code[at..]);
            continue;
        }
        let end = code[at..].find(';').map_or(code.len(), |semi| at + semi + 1);
        let mut words = code[at..end].split_whitespace().filter(|w| !w.starts_with("pub"));
        let item = words.next().unwrap_or("");
        if !matches!(item, "mod" | "type" | "use") || (item == "mod" && code[at..end].contains('{')) {
            bad.push(complain(file, &code, at, "a `mod.rs` holds only prose, `mod`, `use` and `type`"));
            return bad;
        }
        at = end;
    }
}

// ───────────────────────────────────────────────────────────────────────────── public signatures

/// Crates whose types may stand in public signatures.
const PUBLIC: &[&str] = &["bytes", "http", "http_body", "serde", "tower_layer", "tower_service"];
/// Crates that only lend attributes.
const ATTRIBUTES: &[&str] = &["pin_project", "thiserror"];

/// The lines of one section of a manifest, and of sections such as `[target.'…'.dependencies]`.
fn section<'a>(manifest: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let mut inside = false;
    manifest.lines().filter(move |row| {
        if row.starts_with('[') {
            let title = row.trim_matches(['[', ']']);
            inside = title == name || (title.starts_with("target.") && title.ends_with(&format!(".{name}")));
            return false;
        }
        inside && !row.starts_with('#') && row.contains('=') && !row.starts_with(char::is_whitespace)
    })
}

fn keys(manifest: &str, name: &str) -> Vec<String> {
    section(manifest, name).map(|row| row.split('=').next().unwrap_or("").trim().replace('-', "_")).collect()
}

/// The dependencies that stay out of public signatures: all but the agreed few and those behind a feature of
/// their own name.
pub(crate) fn private_crates(manifest: &str) -> Vec<String> {
    let features = keys(manifest, "features");
    keys(manifest, "dependencies")
        .into_iter()
        .filter(|name| !PUBLIC.contains(&name.as_str()) && !ATTRIBUTES.contains(&name.as_str()))
        .filter(|name| !features.contains(name))
        .collect()
}

/// Of `tokio`, `tokio::time` alone is public.
fn is_private(path: &str, private: &[String]) -> bool {
    let mut parts = path.split("::");
    let head = parts.next().unwrap_or("").trim();
    private.iter().any(|name| name == head) && !(head == "tokio" && parts.next() == Some("time"))
}

/// Public items name no type of a private crate, by path or by an imported name, and re-export none.
/// `exposed` lists what is let through: file, the words complained of, why.
pub(crate) fn signatures(file: &Source, private: &[String], exposed: &[(&str, &str, &str)]) -> Complaints {
    let code = file.code();
    let mut needles: Vec<String> = Vec::new();
    let mut bad = Vec::new();
    let excused = |needle: &str| exposed.iter().any(|(path, word, _)| *path == file.path && *word == needle);
    for Use { at, public, leaves } in uses(&code) {
        for (path, name) in leaves {
            let foreign = is_private(&path, private);
            if foreign && public && !excused(&path) {
                bad.push(complain(file, &code, at, &format!("`{path}` is re-exported")));
            } else if foreign && name != "_" && name != "*" {
                let module = name.starts_with(|c: char| c.is_lowercase());
                needles.push(if module { format!("{name}::") } else { name });
            }
        }
    }
    for (at, header) in public_headers(&code) {
        for name in private {
            for place in places(header, &format!("{name}::")) {
                let path: String = header[place..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':'))
                    .collect();
                let inner = header[..place].ends_with("::");
                if !inner && is_private(&path, private) && !excused(&path) {
                    bad.push(complain(file, &code, at + place, &format!("a public item names `{path}`")));
                }
            }
        }
        for needle in &needles {
            if let Some(place) = places(header, needle).into_iter().find(|p| !header[..*p].ends_with("::")) {
                if !excused(needle) {
                    bad.push(complain(file, &code, at + place, &format!("a public item names `{needle}`")));
                }
            }
        }
    }
    bad
}

/// The parts of `code` that users can see: heads of items, public fields, variants, trait items, associated types.
fn public_headers(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut start = 0;
    for row in code.split_inclusive('\n') {
        let at = start + row.len() - row.trim_start().len();
        start += row.len();
        let text = row.trim_start();
        let indented = row.len() > text.len();
        let public = text.strip_prefix("pub ").map(str::trim_start);
        let word = public.unwrap_or(text).split(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
        match (public.is_some(), word) {
            (true, "fn" | "async" | "const" | "static" | "type" | "unsafe" | "extern") => {
                found.push((at, head(&code[at..], &['{', ';', '='])));
                if word == "type" {
                    found.push((at, head(&code[at..], &[';'])));
                }
            }
            (true, "struct") => {
                let shell = head(&code[at..], &['{', ';', '(']);
                found.push((at, shell));
                let body = at + shell.len();
                let end = source::item_end(code, body);
                for place in places(&code[body..end], "pub ") {
                    found.push((body + place, head(&code[body + place..end], &[',', '\n', ')', '}'])));
                }
            }
            (true, "enum") => found.push((at, &code[at..source::item_end(code, at)])),
            (true, "trait") => {
                let end = source::item_end(code, at);
                found.push((at, head(&code[at..], &['{', ';'])));
                for word in ["fn", "type", "const"] {
                    for place in places(&code[at..end], word) {
                        found.push((at + place, head(&code[at + place..end], &['{', ';'])));
                    }
                }
            }
            (false, "impl") => found.push((at, head(&code[at..], &['{', ';']))),
            // An associated type.
            (false, "type") if indented => found.push((at, head(&code[at..], &[';']))),
            _ => {}
        }
    }
    found
}

/// `text` up to the first of `stops`, not counting those inside `<>`, `()` or `[]`.
fn head<'a>(text: &'a str, stops: &[char]) -> &'a str {
    let mut depth = 0i32;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        if depth == 0 && stops.contains(&c) {
            return &text[..at];
        }
        match c {
            '<' | '(' | '[' => depth += 1,
            '>' if before == '-' || before == '=' => {}
            '>' | ')' | ']' => depth -= 1,
            _ => {}
        }
        before = c;
    }
    text
}

// ───────────────────────────────────────────────────────────────────────────── size

/// A file of more than `most` lines needs a reason.
pub(crate) fn short(file: &Source, most: usize, excused: &[(&str, &str)]) -> Complaints {
    let lines = file.text.lines().count();
    if lines <= most || excused.iter().any(|(path, _)| *path == file.path) {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines, and no reason given for more than {most}", file.path)]
}

// ───────────────────────────────────────────────────────────────────────────── words

/// The first of `phrases`, as whole words in any case, on each line of `file`.
pub(crate) fn phrases(file: &Source, phrases: &[&str], why: &str) -> Complaints {
    let lower = file.text.to_ascii_lowercase();
    phrases
        .iter()
        .flat_map(|phrase| {
            places(&lower, &phrase.to_ascii_lowercase()).into_iter().map(move |at| (at, phrase))
        })
        .map(|(at, phrase)| complain(file, &lower, at, &format!("`{phrase}`: {why}")))
        .collect()
}

/// The words that stand for modules and guarantees in the design page, and nowhere else.
pub(crate) const JARGON: &[&str] = &[
    "a room",
    "the room",
    "this room",
    "that room",
    "each room",
    "every room",
    "one room",
    "another room",
    "rooms",
    "room's",
    "the ground",
    "ground trait",
    "ground type",
    "ground module",
    "a law",
    "the law",
    "this law",
    "laws",
    "law 1",
    "law 2",
    "law 3",
    "law 4",
    "law 5",
    "law 6",
    "law 7",
    "law 8",
];

/// Pages that a reader of this repository does not have, and places of one machine.
///
/// Case matters here: "needs" is a word, the name of a page is not.
pub(crate) fn points_outside(file: &Source) -> Complaints {
    // Put together here, so that this file does not name what it looks for.
    let needles = [
        concat!("NEE", "DS"),
        concat!("PIT", "FALLS"),
        concat!("ORA", "CLES"),
        concat!("DESIGN", ".md"),
        concat!("DESIGN", " §"),
        concat!("DEPEN", "DENCIES"),
        concat!("../", "shared"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/tmp/", "spec"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ];
    needles
        .iter()
        .flat_map(|needle| places(&file.text, needle).into_iter().map(move |at| (at, needle)))
        .map(|(at, needle)| complain(file, &file.text, at, &format!("`{needle}` means nothing to a reader")))
        .collect()
}

// ───────────────────────────────────────────────────────────────────────────── versions in prose

/// A manifest snippet in prose names the version that this is.
pub(crate) fn versions(file: &Source, name: &str, version: &str) -> Complaints {
    let short = version.rsplit_once('.').map_or(version, |(short, _)| short);
    let named = |row: &str| -> Option<String> {
        let rest = row.trim_start().strip_prefix(name)?.trim_start().strip_prefix('=')?.trim_start();
        let rest =
            if rest.starts_with('{') { rest.split_once("version")?.1.split_once('=')?.1 } else { rest };
        Some(rest.trim_start().strip_prefix('"')?.split('"').next()?.to_owned())
    };
    file.text
        .lines()
        .enumerate()
        .filter_map(|(at, row)| named(row).map(|found| (at, found)))
        .filter(|(_, found)| found != version && found != short)
        .map(|(at, found)| format!("{}:{}: names {name} {found}, but this is {version}", file.path, at + 1))
        .collect()
}

// ───────────────────────────────────────────────────────────────────────────── extensions

/// Request extensions are inserted in the files of a table only: in `http` 1.x the first one costs three
/// allocations, and every copy of the head three more.
pub(crate) fn insertions(file: &Source, allowed: &[(&str, &str)]) -> Complaints {
    if allowed.iter().any(|(path, _)| *path == file.path) {
        return Vec::new();
    }
    let code = file.code();
    let dense: Vec<(usize, char)> = code.char_indices().filter(|(_, c)| !c.is_whitespace()).collect();
    let text: String = dense.iter().map(|(_, c)| *c).collect();
    [
        "extensions_mut().insert(",
        "extensions.insert(",
        "extensions_mut().get_or_insert",
        "extensions.get_or_insert",
    ]
    .iter()
    .flat_map(|needle| text.match_indices(needle).map(|(at, _)| at).collect::<Vec<_>>())
    .map(|at| {
        let at = dense[text[..at].chars().count()].0;
        complain(file, &code, at, "inserts an extension, and is not in the table of those that do")
    })
    .collect()
}

// ───────────────────────────────────────────────────────────────────────────── clones

/// A service's `Clone` is written by hand: it copies the handle, never a reservation, a waiter or a timer.
pub(crate) fn clones(file: &Source, excused: &[(&str, &str, &str)]) -> Complaints {
    let code = file.code();
    let mut bad = Vec::new();
    for (at, header) in public_headers(&code) {
        // `impl<…> Service<…> for Name<…>`
        let Some(rest) = header.strip_prefix("impl") else { continue };
        let rest = if rest.starts_with('<') { &rest[head(rest, &[' ', '\n']).len()..] } else { rest };
        if !rest.trim_start().trim_start_matches("tower_service::").starts_with("Service<") {
            continue;
        }
        let service = rest.trim_start();
        let subject =
            service[head(service, &[' ', '\n']).len()..].trim_start().trim_start_matches("for").trim_start();
        let name: String = subject.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() || excused.iter().any(|(path, word, _)| *path == file.path && *word == name) {
            continue;
        }
        let local = places(&code, &format!("struct {name}"));
        let derived = local.first().is_some_and(|at| {
            let before = code[..*at].rfind(['}', ';']).map_or(0, |end| end + 1);
            !places(&code[before..*at], "Clone").is_empty()
        });
        if derived {
            bad.push(complain(file, &code, at, &format!("`{name}` derives `Clone`; write it by hand")));
        } else if places(&code, &format!("Clone for {name}")).is_empty() {
            bad.push(complain(
                file,
                &code,
                at,
                &format!("`{name}` is a service with no `Clone` in this file"),
            ));
        }
    }
    bad
}

// ───────────────────────────────────────────────────────────────────────────── indexes

/// Every name of `names` is mentioned in `index`.
pub(crate) fn indexed(index: &Source, names: &[String]) -> Complaints {
    names
        .iter()
        .filter(|name| !index.text.contains(name.as_str()))
        .map(|name| format!("{}: does not mention `{name}`", index.path))
        .collect()
}

/// A page of the guide is read in `docs` and in the documentation of the crate, where a path to a file leads nowhere: so what is linked
/// has a name, which the page defines as a path at its end and the guide as an item.
pub(crate) fn links_from_both_places(page: &Source, guide: &str) -> Complaints {
    let mut bad = Vec::new();
    for (at, row) in page.text.lines().enumerate() {
        let place = format!("{}:{}", page.path, at + 1);
        for target in row.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !target.starts_with("https://") && !target.starts_with('#') {
                bad.push(format!("{place}: `{target}` leads nowhere from the guide; define a name for it"));
            }
        }
        let defined = row.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        if let Some((name, target)) = defined.filter(|(_, target)| !target.starts_with("https://")) {
            if !guide.contains(&format!("[{name}]: ")) {
                bad.push(format!("{place}: `[{name}]` leads to `{target}` here and nowhere from the guide"));
            }
        }
    }
    bad
}

/// The names of metrics that are written out in code.
pub(crate) fn metrics(code: &str) -> Vec<&str> {
    let name = |text: &&str| {
        (text.starts_with("stonework.") || text.starts_with("http.server."))
            && text.chars().all(|letter| letter.is_ascii_lowercase() || matches!(letter, '.' | '_'))
    };
    code.split('"').skip(1).step_by(2).filter(name).collect()
}

/// Each row of the table of gaps says what is wanted, what it waits for, and which issue closes it.
pub(crate) fn gaps(file: &Source) -> Complaints {
    let rows = file.text.lines().enumerate().filter(|(_, row)| row.starts_with('|'));
    rows.skip(2)
        .filter(|(_, row)| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let issue = cells.last().and_then(|c| c.strip_prefix('#')).and_then(|n| n.parse::<u32>().ok());
            cells.len() != 3 || cells.iter().any(|c| c.is_empty()) || issue.is_none()
        })
        .map(|(at, row)| format!("{}:{}: not `proof | waits for | #issue`: {row}", file.path, at + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(path: &str, text: &str, rule: impl Fn(&Source) -> Complaints) -> usize {
        rule(&Source::new(path, text)).len()
    }

    #[test]
    fn imports_across_modules_are_seen_however_they_are_written() {
        for (path, text) in [
            ("base/error.rs", "use crate::retry::Verdict;"),
            ("base/mod.rs", "use super::retry;"),
            ("retry/service.rs", "use crate::{base::Error, timeout::Timeout};"),
            ("retry/service.rs", "fn f() { super::super::timeout::g() }"),
            ("retry/mod.rs", "pub use super::timeout::Timeout;"),
            ("retry/service.rs", "type T = stonework::timeout::Timeout<()>;"),
            ("retry/service.rs", "use crate::*;"),
            ("testing/strict.rs", "use crate::retry::RetryLayer;"),
            ("client/mod.rs", "use crate::server::Server;"),
            ("client/mod.rs", "use crate::testing::Strict;"),
        ] {
            assert_eq!(bad(path, text, imports), 1, "{path}: {text}");
        }
        for (path, text) in [
            ("base/error.rs", "use super::outcome::Outcome; use crate::base::Error; pub(crate) fn f() {}"),
            (
                "retry/service.rs",
                "// crate::timeout is another\nuse crate::base::{Error, Mode}; use super::verdict::V;",
            ),
            ("retry/body/mod.rs", "use super::super::retry::X;"),
            ("retry/service.rs", "#[cfg(test)]\nmod tests { use crate::testing::Strict; }"),
            ("client/mod.rs", "use crate::{base::Error, retry::RetryLayer, timeout::TimeoutLayer};"),
            ("lib.rs", "pub use crate::retry::X;"),
        ] {
            assert_eq!(bad(path, text, imports), 0, "{path}: {text}");
        }
    }

    #[test]
    fn a_deciding_file_that_waits_locks_or_reads_the_clock_is_seen() {
        for text in [
            "pub async fn f() {}",
            "fn f() { g().await }",
            "use std::sync::Mutex;",
            "use std::sync::RwLock;",
            "let now = Instant::now();",
            "std::time::SystemTime::now()",
            "std::thread::yield_now()",
            "fn f(w: &Waker) {}",
            "fn poll_next() {}",
            "fn f() { inner.poll_ready(cx) }",
        ] {
            assert!(bad("retry/verdict.rs", text, pure) > 0, "{text}");
        }
        let fine = "/// Not async, no Mutex.\nfn f(now: Instant) -> &'static str { \"Instant::now\" }";
        assert_eq!(bad("retry/verdict.rs", fine, pure), 0);
    }

    #[test]
    fn a_module_that_decides_nowhere_is_seen() {
        let files = [Source::new("retry/service.rs", ""), Source::new("client/service.rs", "")];
        assert_eq!(decides(&files, &["base/ratio.rs"], &[]).len(), 1);
        assert_eq!(decides(&files, &["retry/verdict.rs"], &[]).len(), 0);
        assert_eq!(decides(&files, &[], &[("retry", "a reason")]).len(), 0);
    }

    #[test]
    fn a_clock_or_a_die_outside_its_home_is_seen() {
        let readers = [("service.rs", "a shell"), ("testing/", "a kit"), ("base/scope.rs", "one reading")];
        let rule = |file: &Source| clocks(file, &readers);
        assert_eq!(bad("base/key.rs", "SystemTime::now()", rule), 1);
        assert_eq!(bad("base/key.rs", "fastrand::u64(..)", rule), 1);
        assert_eq!(bad("base/key.rs", "use std::time::Instant;", rule), 1);
        assert_eq!(bad("base/key.rs", "use std::time::{Duration, Instant};", rule), 1);
        assert_eq!(bad("retry/verdict.rs", "Instant::now()", rule), 1);
        assert_eq!(bad("base/clock.rs", "SystemTime::now()", rule), 0);
        assert_eq!(bad("base/rng.rs", "fastrand::Rng::new()", rule), 0);
        assert_eq!(bad("retry/service.rs", "Instant::now()", rule), 0);
        assert_eq!(bad("testing/chaos.rs", "Instant::now()", rule), 0);
        assert_eq!(bad("base/key.rs", "use tokio::time::Instant; use std::time::Duration;", rule), 0);
    }

    #[test]
    fn a_root_that_allows_unsafe_code_is_seen() {
        assert_eq!(bad("lib.rs", "// #![forbid(unsafe_code)]\n#![deny(unsafe_code)]", forbids_unsafe), 1);
        assert_eq!(bad("lib.rs", "#![forbid(unsafe_code)]", forbids_unsafe), 0);
    }

    #[test]
    fn a_table_that_does_not_say_what_it_is_is_seen() {
        for (attribute, expected) in [
            ("#[serde(deny_unknown_fields, default)]", 1),
            ("#[cfg_attr(feature = \"serde\", serde(deny_unknown_fields))]", 1),
            ("#[serde(deny_unknown_fields, expecting = \"a table of hosts\")]", 0),
        ] {
            assert_eq!(bad("pool/file.rs", attribute, tables_have_names), expected, "{attribute}");
        }
    }

    #[test]
    fn a_module_without_its_own_feature_or_badge_is_seen() {
        let manifest = "[features]\nretry = []\n";
        let rule = |file: &Source| gated(file, manifest, &["base"]);
        assert_eq!(bad("lib.rs", "pub mod base;\npub mod retry;", rule), 1);
        assert_eq!(bad("lib.rs", "#[cfg(feature = \"retry\")]\npub mod retry;", rule), 1);
        let right =
            "#[cfg(feature = \"retry\")]\n#[cfg_attr(docsrs, doc(cfg(feature = \"retry\")))]\npub mod retry;";
        assert_eq!(bad("lib.rs", right, rule), 0);
        assert_eq!(bad("lib.rs", &right.replace("retry", "hedge"), rule), 1);
    }

    #[test]
    fn a_module_without_a_page_is_seen() {
        assert_eq!(bad("retry/mod.rs", "mod layer;\n//! Late.", has_page), 1);
        assert_eq!(bad("retry/mod.rs", "//!", has_page), 1);
        assert_eq!(bad("retry/mod.rs", "//! Repeat what may be repeated.", has_page), 0);
    }

    #[test]
    fn logic_in_a_front_page_is_seen() {
        for text in [
            "fn f() {}",
            "mod a;\nimpl X {}",
            "mod a { fn f() {} }",
            "pub struct S;",
            "mod a;\nmacro_rules! m { () => {} }",
        ] {
            assert_eq!(bad("retry/mod.rs", text, no_logic), 1, "{text}");
        }
        let fine = "//! Prose.\n#![allow(x)]\nmod a;\npub mod b;\n#[cfg(feature = \"c\")]\npub(crate) mod c;\n\
                    pub use a::{A, B};\npub(crate) use self::c::C;\npub type T = Box<C>;\n#[cfg(test)]\nmod tests { fn f() {} }\n";
        assert_eq!(bad("retry/mod.rs", fine, no_logic), 0);
    }

    const MANIFEST: &str = "[features]\nbackoff = [\"dep:backoff\"]\n[dependencies]\nbackoff = \"0.4\"\nhyper = \"1\"\n\
                            hyper-util = { version = \"1\" }\nhttp = \"1\"\ntokio = \"1\"\nthiserror = \"2\"\n\
                            [dev-dependencies]\naxum = \"1\"\n";

    #[test]
    fn a_private_crate_in_a_public_signature_is_seen() {
        let private = private_crates(MANIFEST);
        assert_eq!(private, ["hyper", "hyper_util", "tokio"]);
        let rule = |file: &Source| signatures(file, &private, &[]);
        for text in [
            "pub fn f(e: hyper::Error) {}",
            "pub fn f<F>(\n    a: F,\n) -> hyper_util::rt::X\nwhere\n    F: A,\n{ }",
            "use hyper_util::client::legacy::{self, Client as Inner};\npub struct S { pub inner: Inner }",
            "use hyper::body::Incoming;\npub type B = Incoming;",
            "use hyper::body;\npub fn f(b: body::Incoming) {}",
            "impl From<hyper::Error> for Error {}",
            "impl Service<()> for S {\n    type Error = hyper::Error;\n}",
            "pub trait T {\n    fn f(&self, s: tokio::net::TcpStream);\n}",
            "pub enum E {\n    A(hyper::Error),\n}",
            "pub struct S(pub hyper::Error);",
            "pub use hyper::body::Body;",
            "use tokio::net::TcpListener;\npub async fn serve(l: TcpListener) { }",
        ] {
            assert_eq!(bad("client/mod.rs", text, rule), 1, "{text}");
        }
        for text in [
            "pub fn f(e: http::Request<()>, t: tokio::time::Instant) { hyper::x() }",
            "use tokio::time::{Instant, Sleep};\npub fn f(i: Instant, body: B) {}",
            "use hyper::body;\npub fn f(body: B) {}",
            "pub struct S { inner: hyper::Error }",
            "pub struct S(hyper::Error, u8);",
            "pub(crate) fn f(e: hyper::Error) {}",
            "fn f(e: hyper::Error) {}",
            "impl<T: backoff::backoff::Backoff> Schedule for T {}",
            "type Inner = hyper::Error;",
        ] {
            assert_eq!(bad("client/mod.rs", text, rule), 0, "{text}");
        }
        let excuse = [("client/mod.rs", "hyper::Error", "a reason")];
        let excused = |file: &Source| signatures(file, &private, &excuse);
        assert_eq!(bad("client/mod.rs", "pub fn f(e: hyper::Error) {}", excused), 0);
        assert_eq!(bad("server/mod.rs", "pub fn f(e: hyper::Error) {}", excused), 1);
    }

    #[test]
    fn a_long_file_without_a_reason_is_seen() {
        assert_eq!(bad("a.rs", &"x\n".repeat(11), |f| short(f, 10, &[])), 1);
        assert_eq!(bad("a.rs", &"x\n".repeat(11), |f| short(f, 10, &[("a.rs", "a table")])), 0);
        assert_eq!(bad("a.rs", &"x\n".repeat(10), |f| short(f, 10, &[])), 0);
    }

    #[test]
    fn words_of_the_design_page_are_seen_elsewhere() {
        let rule = |file: &Source| phrases(file, JARGON, "say module");
        assert_eq!(bad("a.rs", "/// What this room does.", rule), 1);
        assert_eq!(bad("a.rs", "//! The Ground.", rule), 1);
        assert_eq!(bad("a.rs", "// see law 4", rule), 1);
        assert_eq!(bad("a.rs", "/// There is room for one more; a lawful background.", rule), 0);
    }

    #[test]
    fn a_page_that_the_reader_does_not_have_is_seen() {
        assert_eq!(bad("a.rs", concat!("// see NEE", "DS 4"), points_outside), 1);
        assert_eq!(bad("a.rs", concat!("// see ../", "shared/x"), points_outside), 1);
        assert_eq!(bad("a.rs", concat!("// TO", "DO later"), points_outside), 1);
        assert_eq!(bad("a.rs", "// what it needs", points_outside), 0);
    }

    #[test]
    fn an_old_version_in_prose_is_seen() {
        let rule = |file: &Source| versions(file, "stonework", "0.2.1");
        assert_eq!(bad("README.md", "stonework = \"0.1\"", rule), 1);
        assert_eq!(bad("README.md", "stonework = { version = \"0.1.0\", features = [] }", rule), 1);
        assert_eq!(bad("README.md", "stonework = \"0.2\"\nstonework = { version = \"0.2.1\" }", rule), 0);
        assert_eq!(bad("README.md", "stonework = { path = \".\" }\nstonework-peers = \"9\"", rule), 0);
    }

    #[test]
    fn an_extension_inserted_elsewhere_is_seen() {
        let allowed = [("base/call.rs", "the one extension")];
        let rule = |file: &Source| insertions(file, &allowed);
        assert_eq!(bad("retry/service.rs", "request\n    .extensions_mut()\n    .insert(1);", rule), 1);
        assert_eq!(bad("retry/service.rs", "parts.extensions.insert(1);", rule), 1);
        assert_eq!(bad("base/call.rs", "request.extensions_mut().insert(1);", rule), 0);
        assert_eq!(bad("retry/service.rs", "map.insert(1); request.extensions_mut().get_mut();", rule), 0);
    }

    #[test]
    fn a_derived_or_missing_clone_of_a_service_is_seen() {
        let service = "impl<S, R> Service<R> for Retry<S>\nwhere\n    S: Service<R>,\n{ }\n";
        let rule = |file: &Source| clones(file, &[("client/mod.rs", "Retry", "a reason")]);
        let text = |before: &str, after: &str| {
            format!("{before}\npub struct Retry<S> {{ inner: S }}\n{after}\n{service}")
        };
        assert_eq!(bad("retry/service.rs", &text("#[derive(Clone, Debug)]", ""), rule), 1);
        assert_eq!(bad("retry/service.rs", &text("#[derive(Debug)]", ""), rule), 1);
        assert_eq!(bad("retry/service.rs", &text("", "impl<S: Clone> Clone for Retry<S> { }"), rule), 0);
        assert_eq!(bad("client/mod.rs", &text("#[derive(Clone)]", ""), rule), 0);
        let future = "#[derive(Clone)]\npub struct RetryFuture<F>(F);\nimpl<S> Layer<S> for L { type Service = A<S>; }\n\
                      impl<S: Service<()>> Future for RetryFuture<S> { }";
        assert_eq!(bad("retry/future.rs", future, rule), 0);
    }

    #[test]
    fn a_metric_is_read_from_code() {
        let code = r#"counter!("stonework.retries", "why" => "the end"); const A: &str = "http.server.a";"#;
        assert_eq!(metrics(code), ["stonework.retries", "http.server.a"]);
    }

    #[test]
    fn a_link_that_leads_nowhere_from_the_guide_is_seen() {
        let guide = "\n[server]: crate::guide::server\n";
        let rule = |page: &Source| links_from_both_places(page, guide);
        assert_eq!(bad("page.md", "see [it](server.md) and [them](https://docs.rs/tower)", rule), 1);
        assert_eq!(bad("page.md", "[server]: server.md\n[proof]: PROOF.md\n", rule), 1);
    }

    #[test]
    fn an_index_that_forgets_and_a_gap_without_an_issue_are_seen() {
        let names = ["a.md".to_owned(), "b.md".to_owned()];
        assert_eq!(bad("README.md", "`a.md`", |f| indexed(f, &names)), 1);
        assert_eq!(bad("README.md", "`a.md` `b.md`", |f| indexed(f, &names)), 0);
        let table = "| proof | waits for | issue |\n|---|---|---|\n";
        assert_eq!(bad("gaps.md", &format!("{table}| p | w | #8 |\n"), gaps), 0);
        assert_eq!(bad("gaps.md", &format!("{table}| p | w | later |\n"), gaps), 1);
        assert_eq!(bad("gaps.md", &format!("{table}| p | #8 |\n"), gaps), 1);
    }
}
