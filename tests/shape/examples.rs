//! Every public item has an example or leads to one, and every example is compiled.

use std::collections::BTreeMap;

use crate::rules::Complaints;
use crate::source::{Source, attribute, places, uses};

/// A public item of a file, with what is said of it.
#[derive(Debug)]
struct Item<'a> {
    file: &'a Source,
    line: usize,
    /// `struct`, `fn` and so on.
    kind: String,
    name: String,
    /// The type whose method it is.
    owner: Option<String>,
    /// Whether it is a function of a type that needs no value of it.
    makes: bool,
    docs: String,
}

impl Item<'_> {
    /// `Backoff`, or `Backoff::exponential`.
    fn path(&self) -> String {
        self.owner.as_ref().map_or_else(|| self.name.clone(), |owner| format!("{owner}::{}", self.name))
    }

    fn has_example(&self) -> bool {
        !compiled(&self.docs).is_empty()
    }
}

/// The module of the crate in whose folder a file stands.
fn home(file: &Source) -> &str {
    file.module().first().copied().unwrap_or_default()
}

/// Items that a reader can do nothing with who sees them for the first time, since neither they, nor what they link to, nor the page of
/// their module show them in use.
///
/// * An item of a module has an example, or the page of its module has one in which its name stands; or one word of its docs links to an
///   item of which that is true, or to a page that has an example.
/// * For a trait its name on a page is not enough, since somebody has to implement it.
/// * A method is shown with its type. But how a type is made is shown in an example of its module: `Type::name`.
///
/// What a macro declares is not seen.
pub(crate) fn without_example(files: &[Source]) -> Complaints {
    let library = Library::read(files);
    let bad = library.items.iter().filter(|item| !library.shows(item));
    bad.map(|item| {
        format!("{}:{}: `{}` has no example, and leads to none", item.file.path, item.line, item.path())
    })
    .collect()
}

/// What users can read.
struct Library<'a> {
    items: Vec<Item<'a>>,
    /// The examples of the page of each module.
    pages: BTreeMap<String, String>,
    /// The examples of all items of a module of the crate.
    examples: BTreeMap<String, String>,
}

impl<'a> Library<'a> {
    fn read(files: &'a [Source]) -> Self {
        let mut exported = BTreeMap::<&str, Vec<String>>::new();
        for file in files {
            let leaves =
                uses(&file.code()).into_iter().filter(|found| found.public).flat_map(|found| found.leaves);
            exported.entry(home(file)).or_default().extend(leaves.map(|(_, name)| name));
        }
        // Others are named in signatures, and no reader has a page of them.
        let has_page = |item: &Item<'_>| {
            let name = item.owner.as_ref().unwrap_or(&item.name);
            is_page(item.file, files)
                || exported.get(home(item.file)).is_some_and(|names| names.contains(name))
        };
        let items: Vec<Item<'_>> = files.iter().flat_map(items).filter(has_page).collect();
        let pages = files.iter().filter(|file| is_page(file, files));
        let pages = pages.map(|file| (file.module().join("::"), compiled(&prose(file)))).collect();
        let mut examples = BTreeMap::<String, String>::new();
        for item in &items {
            examples.entry(home(item.file).to_owned()).or_default().push_str(&compiled(&item.docs));
        }
        Self { items, pages, examples }
    }

    fn shows(&self, item: &Item<'_>) -> bool {
        let is_enough = match (&item.owner, item.kind.as_str()) {
            (Some(_), _) => !item.makes || self.has_on_page(item) || self.has_in_module(item),
            (None, "trait") => false,
            (None, _) => self.has_on_page(item),
        };
        is_enough || item.has_example() || links(&item.docs).iter().any(|to| self.leads(item, to))
    }

    fn leads(&self, from: &Item<'_>, to: &str) -> bool {
        let page = page_of(from.file, to).and_then(|module| self.pages.get(&module));
        let mut others = self.items.iter().filter(|other| other.has_example() || self.has_on_page(other));
        page.is_some_and(|page| !page.is_empty()) || others.any(|other| is_named(other, from, to))
    }

    fn has_on_page(&self, item: &Item<'_>) -> bool {
        let module = item.file.module();
        let mut pages = (1..=module.len()).filter_map(|depth| self.pages.get(&module[..depth].join("::")));
        pages.any(|page| !places(page, &item.path()).is_empty())
    }

    fn has_in_module(&self, item: &Item<'_>) -> bool {
        self.examples.get(home(item.file)).is_some_and(|all| !places(all, &item.path()).is_empty())
    }
}

/// An example that nobody compiles goes wrong one day.
pub(crate) fn uncompiled(page: &Source) -> Complaints {
    let fences = page.text.lines().enumerate().filter_map(|(at, line)| {
        let line = line.trim_start().trim_start_matches("//!").trim_start_matches("///");
        line.trim_start().strip_prefix("```").map(|words| (at, words))
    });
    fences
        .filter(|(_, words)| words.split([',', ' ']).any(|word| word.starts_with("ignore")))
        .map(|(at, _)| format!("{}:{}: an example that is not compiled", page.path, at + 1))
        .collect()
}

/// The public items of the modules of a file, and the methods of their types.
fn items(file: &Source) -> Vec<Item<'_>> {
    let code = file.code();
    let mut found = Vec::new();
    let (mut docs, mut owner) = (String::new(), None);
    let (mut attribute_ends, mut is_hidden) = (0, false);
    let mut start = 0;
    for (at, (line, bare)) in file.text.lines().zip(code.lines()).enumerate() {
        let begins = start;
        start += bare.len() + 1;
        if let Some(words) = line.trim_start().strip_prefix("///") {
            docs.push_str(words.strip_prefix(' ').unwrap_or(words));
            docs.push('\n');
            continue;
        }
        if bare.trim().is_empty() || begins < attribute_ends {
            continue;
        }
        if bare.trim_start().starts_with("#[") {
            let indent = bare.len() - bare.trim_start().len();
            attribute_ends = begins + indent + attribute(&code[begins + indent..]);
            let hides = |words: &&str| code[begins..attribute_ends].contains(*words);
            is_hidden |= ["doc(hidden)", "unnameable_types"].iter().any(hides);
            continue;
        }
        if !bare.starts_with([' ', '}']) {
            owner = bare.starts_with("impl").then(|| type_of(&code[begins..])).flatten();
        }
        let is_public = bare.starts_with("pub ") || (bare.starts_with("    pub ") && owner.is_some());
        if let Some((kind, name)) = declared(bare.trim_start()).filter(|_| is_public && !is_hidden) {
            let owner = owner.clone().filter(|_| bare.starts_with(' '));
            let rest = &code[begins..];
            let makes = kind == "fn"
                && places(&rest[..rest.find(['{', ';']).unwrap_or(rest.len())], "self").is_empty();
            found.push(Item {
                file,
                line: at + 1,
                kind,
                name,
                owner,
                makes,
                docs: std::mem::take(&mut docs),
            });
        }
        docs.clear();
        is_hidden = false;
    }
    found
}

/// Kind and name of what a line that begins with `pub` declares.
fn declared(line: &str) -> Option<(String, String)> {
    const KINDS: [&str; 8] = ["const", "enum", "fn", "static", "struct", "trait", "type", "union"];
    let words: Vec<&str> = line.strip_prefix("pub ")?.split_whitespace().collect();
    let at = words.iter().position(|word| KINDS.contains(word))?;
    // `const fn`
    let at = if words.get(at + 1) == Some(&"fn") { at + 1 } else { at };
    if words[..at].iter().any(|word| !["async", "const", "unsafe"].contains(word)) {
        return None;
    }
    let name: String = words.get(at + 1)?.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then(|| (words[at].to_owned(), name))
}

/// The type whose methods the `impl` at the start of `code` has. None, if they are a trait's.
fn type_of(code: &str) -> Option<String> {
    let header = code[..code.find('{')?].strip_prefix("impl")?.replace("->", "  ");
    let mut depth = 0i32;
    let generics = header.find(|letter: char| {
        depth += i32::from(letter == '<') - i32::from(letter == '>');
        depth == 0 && letter != '>'
    })?;
    let rest = header[generics..].trim_start();
    if !places(rest.split(" where").next()?, "for").is_empty() {
        return None;
    }
    let path = rest.split(['<', ' ', '\n']).next()?;
    path.rsplit("::").next().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Whether users can read what this file says of itself: each module above it is public, and so is its own.
fn is_page(file: &Source, files: &[Source]) -> bool {
    let module = file.module();
    let Some((name, above)) = module.split_last() else { return true };
    let mut parents = files
        .iter()
        .filter(|parent| parent.module() == above && ["mod.rs", "lib.rs"].contains(&parent.name()));
    parents.any(|parent| parent.code().contains(&format!("pub mod {name};")) && is_page(parent, files))
}

/// What the page of a module says.
fn prose(file: &Source) -> String {
    let lines = file.text.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
}

/// The examples of a text that show how it is done: not those of another language, and not those that are wrong.
fn compiled(docs: &str) -> String {
    let blocks = docs.split("```").skip(1).step_by(2);
    let shows = |block: &&str| {
        let words = block.lines().next().unwrap_or_default();
        words.split(',').all(|word| ["", "rust", "no_run", "should_panic"].contains(&word.trim()))
    };
    blocks.filter(shows).collect()
}

/// What the docs outside of examples link to, as it is written there.
fn links(docs: &str) -> Vec<String> {
    let text: String = docs.split("```").step_by(2).collect();
    let mut found = Vec::new();
    for (at, _) in text.match_indices('[') {
        let Some((words, rest)) = text[at + 1..].split_once(']') else { continue };
        let target =
            rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(words, |(target, _)| target);
        found.push(target.trim_matches('`').trim_end_matches("()").to_owned());
    }
    found
}

/// The module that a link leads to, if it is one.
fn page_of(file: &Source, link: &str) -> Option<String> {
    let mut module: Vec<&str> = file.module();
    let steps: Vec<&str> = link.split('#').next()?.split("::").collect();
    for (at, step) in steps.iter().enumerate() {
        match (*step, at) {
            ("crate", 0) => module.clear(),
            ("self", 0) => {}
            ("super", _) => _ = module.pop(),
            (_, 0) => return None,
            (step, _) => module.push(step),
        }
    }
    Some(module.join("::"))
}

/// Whether a link in the docs of `from` leads to this one: by its name, in the same module, or elsewhere where that is said.
fn is_named(item: &Item<'_>, from: &Item<'_>, link: &str) -> bool {
    let bare = link.trim_start_matches("super::").trim_start_matches("self::");
    if let Some(elsewhere) = bare.strip_prefix("crate::") {
        let (module, rest) = elsewhere.split_once("::").unwrap_or(("", elsewhere));
        let rest = rest.strip_prefix("body::").or(rest.strip_prefix("deadline::")).unwrap_or(rest);
        return (module.is_empty() || module == home(item.file)) && names(item, rest, from);
    }
    home(item.file) == home(from.file) && names(item, bare, from)
}

/// `Type::method` leads to the type, too, which is above it on the page.
fn names(item: &Item<'_>, path: &str, from: &Item<'_>) -> bool {
    let path = path.replace("Self", from.owner.as_deref().unwrap_or(&from.name));
    item.path() == path || path.split_once("::").is_some_and(|(owner, _)| item.path() == owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(files: &[(&str, &str)]) -> Vec<String> {
        let root = ("lib.rs", "pub mod base;\n");
        let files: Vec<Source> =
            files.iter().chain([&root]).map(|(path, text)| Source::new(path, text)).collect();
        let name = |line: String| line.split('`').nth(1).map(str::to_owned).unwrap_or_default();
        without_example(&files).into_iter().map(name).collect()
    }

    const EXPORTS: &str = "mod backoff;\npub use self::backoff::{Backoff, Delays, Jitter, made};\n";

    #[test]
    fn an_item_without_an_example_is_seen_and_one_that_leads_to_an_example_is_not() {
        let page = |page: &str| format!("{page}{EXPORTS}");
        let with = |first: &str, second: &str| {
            let text = format!(
                "{first}pub struct Backoff;\n\n{second}#[derive(\n    Debug\n)]\npub enum Jitter {{ A }}\n"
            );
            bad(&[("base/mod.rs", &page("//! A page.\n")), ("base/backoff.rs", &text)])
        };
        let example = "/// ```\n/// f();\n/// ```\n";
        assert_eq!(with("/// Pauses.\n", "/// Spread.\n"), ["Backoff", "Jitter"]);
        assert_eq!(with(example, "/// Of a [`Backoff`].\n"), [""; 0]);
        assert_eq!(with(example, "/// Of [pauses](super::Backoff).\n"), [""; 0]);
        // Two steps are one too many, and so is one to somebody else's.
        assert_eq!(with("/// See [`Jitter`].\n", "/// See [`Backoff`].\n"), ["Backoff", "Jitter"]);
        assert_eq!(with(example, "/// Of a [`Backoff`](crate::retry::Backoff).\n"), ["Jitter"]);
        for other in ["text", "compile_fail", "ignore"] {
            assert_eq!(
                with(&example.replacen("```", &format!("```{other}"), 1), example),
                ["Backoff"],
                "{other}"
            );
        }
        // An example on the page is one for what it names.
        let text = "/// Pauses.\npub struct Backoff;\n/// Spread.\npub enum Jitter {}\n/// Of a [page](super).\npub fn made() {}\n";
        let shown = page("//! ```\n//! Backoff::new();\n//! ```\n");
        assert_eq!(bad(&[("base/mod.rs", &shown), ("base/backoff.rs", text)]), ["Jitter"]);
    }

    #[test]
    fn a_trait_and_a_constructor_want_more_than_a_name_on_the_page() {
        let page = format!("//! ```\n//! use base::{{Backoff, Delays}};\n//! ```\n{EXPORTS}");
        let text = "/// Pauses.\npub struct Backoff;\n/// Of them.\npub trait Delays {}\nimpl<T: Fn() -> u8> Backoff<T> {\n    /// Made.\n    \
                    #[must_use]\n    pub const fn new(all: u8) -> Self {}\n    /// Changed.\n    pub fn factor(\n        self,\n    ) -> Self {}\n}\n\
                    impl Delays for Backoff {\n}\n";
        assert_eq!(bad(&[("base/mod.rs", &page), ("base/backoff.rs", text)]), ["Delays", "Backoff::new"]);
        let page = page.replace("//! use", "//! Backoff::new(1); use");
        assert_eq!(bad(&[("base/mod.rs", &page), ("base/backoff.rs", text)]), ["Delays"]);
    }

    #[test]
    fn what_has_no_page_wants_no_example() {
        let text = "pub struct Hidden;\nmod sealed {\n    pub trait Backoff {}\n}\n#[allow(unnameable_types, reason = \"r\")]\npub struct Jitter;\n\
                    pub(crate) struct Delays;\n#[cfg(test)]\nmod tests {\n    pub struct Backoff;\n}\n";
        assert_eq!(bad(&[("base/mod.rs", EXPORTS), ("base/backoff.rs", text)]), [""; 0]);
        // The file of a public module is a page.
        let (page, text) = ("pub mod backoff;\n", "//! See below.\n/// Pauses.\npub struct Backoff;\n");
        assert_eq!(bad(&[("base/mod.rs", page), ("base/backoff.rs", text)]), ["Backoff"]);
    }

    #[test]
    fn an_example_that_is_not_compiled_is_seen() {
        let seen = |text: &str| uncompiled(&Source::new("docs/page.md", text)).len();
        assert_eq!(seen("```rust\n```\n/// ```no_run\n/// ```\n    //! ```text\nignore it\n"), 0);
        assert_eq!(seen("```ignore\n```\n/// ```rust,ignore\n    //! ```ignore-wasm,rust\n"), 3);
    }
}
