//! Reads Rust text closely enough to judge it: comments, strings and test code are told apart from code.
//!
//! This is a scanner, not a parser. Whatever it removes is replaced by spaces, so that line numbers hold.

use std::fs;
use std::path::{Path, PathBuf};

/// One source file: its path below the folder it was read from, and its text.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// With `/` between the parts, such as `retry/service.rs`.
    pub(crate) path: String,
    /// As it stands in the file.
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The last part of the path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// `retry/service.rs` is `["retry", "service"]`, `retry/mod.rs` is `["retry"]`, `lib.rs` is `[]`.
    pub(crate) fn module(&self) -> Vec<&str> {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let mut parts: Vec<&str> = stem.split('/').collect();
        if matches!(parts.last(), Some(&"mod" | &"lib")) {
            parts.pop();
        }
        parts
    }

    /// The code that ships: no comments, no text inside quotes, nothing that only tests see.
    pub(crate) fn code(&self) -> String {
        if self.name() == "tests.rs" {
            return self.text.chars().filter(|c| *c == '\n').collect();
        }
        without_tests(&without_comments(&self.text, Quotes::Blank))
    }
}

/// Whether the text inside quotes is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quotes {
    Blank,
    Keep,
}

/// The crate's own folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// One file of the crate, by its path from the crate's own folder.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// All files below `folder` that end in `.{extension}`, sorted; none if there is no such folder.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<Source> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.expect("a readable folder entry").path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let top = root().join(folder);
    let mut found = Vec::new();
    walk(&top, &mut found);
    found.sort();
    found
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .map(|path| {
            let short = path.strip_prefix(&top).expect("below the top").to_string_lossy().replace('\\', "/");
            Source { path: short, text: fs::read_to_string(path).expect("a readable text file") }
        })
        .collect()
}

/// The library's source.
pub(crate) fn library() -> Vec<Source> {
    let found = files("src", "rs");
    assert!(found.iter().any(|f| f.path == "lib.rs"), "the source was not found, so nothing would be proved");
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// `text` with comments blanked, and what stands inside quotes too if asked for.
pub(crate) fn without_comments(text: &str, quotes: Quotes) -> String {
    let from = text.as_bytes();
    let mut to = from.to_vec();
    let mut blank = |range: std::ops::Range<usize>| {
        for byte in &mut to[range] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    };
    let mut at = 0;
    while at < from.len() {
        let rest = &from[at..];
        let end = if rest.starts_with(b"//") {
            let end = at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
            blank(at..end);
            end
        } else if rest.starts_with(b"/*") {
            let end = at + block_comment(rest);
            blank(at..end);
            end
        } else if let Some((open, close)) = quoted(from, at) {
            if quotes == Quotes::Blank {
                blank(open..close.saturating_sub(1).max(open));
            }
            close
        } else {
            at + 1
        };
        at = end;
    }
    String::from_utf8(to).expect("whole characters are blanked")
}

/// The length of the block comment at the start of `rest`; block comments nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// If a string or a character literal starts at `at`: where its content starts, and where the literal ends.
fn quoted(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let fresh = at == 0 || !is_word(text[at - 1]);
    match text[at] {
        b'"' => Some((at + 1, escaped(text, at + 1, b'"'))),
        b'r' if fresh
            || (at >= 1 && matches!(text[at - 1], b'b' | b'c') && (at < 2 || !is_word(text[at - 2]))) =>
        {
            let hashes = text[at + 1..].iter().take_while(|b| **b == b'#').count();
            let open = at + 1 + hashes;
            (text.get(open) == Some(&b'"')).then(|| {
                let fence: Vec<u8> = std::iter::once(b'"').chain(vec![b'#'; hashes]).collect();
                let inside = &text[open + 1..];
                let length = inside.windows(fence.len()).position(|w| w == fence).unwrap_or(inside.len());
                (open + 1, (open + 1 + length + fence.len()).min(text.len()))
            })
        }
        b'\'' => {
            if text.get(at + 1) == Some(&b'\\') {
                // The escaped character itself may be a quote.
                return Some((at + 1, escaped(text, at + 1, b'\'')));
            }
            // One whole character, then a quote; anything else is a lifetime.
            let width = match text.get(at + 1)? {
                0xF0.. => 4,
                0xE0.. => 3,
                0xC0.. => 2,
                _ => 1,
            };
            (text.get(at + 1 + width) == Some(&b'\'')).then_some((at + 1, at + 2 + width))
        }
        _ => None,
    }
}

/// Where a literal ends whose content starts at `from` and which knows backslash escapes.
fn escaped(text: &[u8], from: usize, close: u8) -> usize {
    let mut at = from;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            byte if byte == close => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Where the item that starts at `from` ends: after its `;`, or after the brace that closes its block.
pub(crate) fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0i32;
    for (offset, byte) in code.as_bytes()[from..].iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth -= 1,
            b'}' => {
                depth -= 1;
                if depth <= 0 {
                    return from + offset + 1;
                }
            }
            b';' if depth == 0 => return from + offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// `code` with every `#[cfg(test)]` and `#[cfg(all(test, …))]` item blanked.
fn without_tests(code: &str) -> String {
    let mut kept = code.to_owned();
    let mut at = 0;
    while let Some(found) = kept[at..].find("#[cfg(") {
        let start = at + found;
        let condition = &kept[start + "#[cfg(".len()..];
        let mut item = start + attribute(&kept[start..]);
        at = item;
        let test = condition.starts_with("test)") || condition.starts_with("all(test");
        if test {
            // Further attributes belong to the same item.
            while kept[item..].trim_start().starts_with("#[") {
                item += kept[item..].find("#[").expect("just seen");
                item += attribute(&kept[item..]);
            }
            let end = item_end(&kept, item);
            let spaces: String =
                kept[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
            // Blanked text is ASCII, so the bytes are replaced one for one only if the original was; pad otherwise.
            let pad = kept[start..end].len() - spaces.len();
            kept.replace_range(start..end, &(spaces + &" ".repeat(pad)));
            at = end;
        }
    }
    kept
}

/// The length of the attribute at the start of `text`.
pub(crate) fn attribute(text: &str) -> usize {
    let mut depth = 0;
    for (offset, byte) in text.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => {
                depth -= 1;
                if depth == 0 {
                    return offset + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Where `needle` stands in `text` as whole words: `now` is not found in `known`.
pub(crate) fn places(text: &str, needle: &str) -> Vec<usize> {
    let (bytes, first, last) = (text.as_bytes(), needle.as_bytes()[0], needle.as_bytes()[needle.len() - 1]);
    text.match_indices(needle)
        .map(|(at, _)| at)
        .filter(|at| {
            let before = *at == 0 || !is_word(first) || !is_word(bytes[at - 1]);
            let after = !is_word(last) || bytes.get(at + needle.len()).is_none_or(|b| !is_word(*b));
            before && after
        })
        .collect()
}

/// The line, counted from 1, on which `at` stands.
pub(crate) fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The leaves of a use tree such as `a::{b, c::{self, d as e}}`: the path to each, and the name it goes by here.
pub(crate) fn leaves(tree: &str) -> Vec<(String, String)> {
    fn visit(prefix: &str, tree: &str, found: &mut Vec<(String, String)>) {
        let tree = tree.trim();
        if let Some(open) = tree.find('{') {
            let inside = tree[open + 1..].trim_end().trim_end_matches('}');
            // Only one closing brace belongs to this group.
            let inside = if tree.ends_with('}') { &tree[open + 1..tree.len() - 1] } else { inside };
            let prefix = format!("{prefix}{}", tree[..open].trim());
            let (mut depth, mut start) = (0, 0);
            for (at, byte) in inside.bytes().enumerate() {
                match byte {
                    b'{' => depth += 1,
                    b'}' => depth -= 1,
                    b',' if depth == 0 => {
                        visit(&prefix, &inside[start..at], found);
                        start = at + 1;
                    }
                    _ => {}
                }
            }
            visit(&prefix, &inside[start..], found);
        } else if !tree.is_empty() {
            let (path, alias) =
                tree.split_once(" as ").map_or((tree, None), |(p, a)| (p.trim(), Some(a.trim())));
            let full = format!("{prefix}{path}");
            let full = full.strip_suffix("::self").unwrap_or(&full).trim_start_matches("::").to_owned();
            let name = alias.unwrap_or_else(|| full.rsplit("::").next().unwrap_or(&full)).to_owned();
            found.push((full, name));
        }
    }
    let mut found = Vec::new();
    visit("", tree, &mut found);
    found
}

/// One `use` of a file.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub(crate) at: usize,
    pub(crate) public: bool,
    /// The path to each leaf, and the name it goes by here.
    pub(crate) leaves: Vec<(String, String)>,
}

/// Every `use` of `code`.
pub(crate) fn uses(code: &str) -> Vec<Use> {
    places(code, "use")
        .into_iter()
        .filter(|at| {
            let before = code[..*at].rsplit(['\n', ';', '{', '}', ']']).next().unwrap_or("").trim();
            before.is_empty() || before.starts_with("pub")
        })
        .map(|at| {
            let before = code[..at].trim_end();
            let end = at + code[at..].find(';').unwrap_or(code.len() - at);
            Use { at, public: before.ends_with("pub"), leaves: leaves(&code[at + "use".len()..end]) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_quotes_are_blanked_and_lines_kept() {
        let text = "a // b \"c\"\n/* d /* e */ f */ g \"h \\\" // i\" 'j' '\\'' &'k l r#\"m\"# r#type 'ß'\nn";
        let code = without_comments(text, Quotes::Blank);
        assert_eq!(code.len(), text.len());
        assert_eq!(code.matches('\n').count(), 2);
        for gone in ["b", "d", "e", "f", "h", "i", "j", "m", "ß"] {
            assert!(places(&code, gone).is_empty(), "{gone} should be gone from {code}");
        }
        for kept in ["a", "g", "k", "l", "type", "n"] {
            assert_eq!(places(&code, kept).len(), 1, "{kept} should stand in {code}");
        }
        assert!(without_comments(text, Quotes::Keep).contains("h \\\" // i"));
    }

    #[test]
    fn test_code_is_not_code_that_ships() {
        let text = "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests { fn b() { c[0]; } }\n#[cfg(not(test))]\nfn d() {}\n\
                    #[cfg(test)]\nuse e;\n#[cfg(feature = \"f\")] fn g() {}";
        let code = Source::new("x.rs", text).code();
        for gone in ["b", "c", "e"] {
            assert!(places(&code, gone).is_empty(), "{gone} in {code}");
        }
        for kept in ["a", "d", "g"] {
            assert_eq!(places(&code, kept).len(), 1, "{kept} in {code}");
        }
        assert_eq!(Source::new("retry/tests.rs", "fn a() {}\n").code(), "\n");
    }

    #[test]
    fn a_use_tree_is_read_to_its_leaves() {
        let names = |tree| leaves(tree).into_iter().map(|(p, n)| format!("{p}={n}")).collect::<Vec<_>>();
        assert_eq!(
            names(" crate::{a, b::{self, C as D}, e::*} "),
            ["crate::a=a", "crate::b=b", "crate::b::C=D", "crate::e::*=*"]
        );
        let found = uses("pub use a::B;\nfn f() { use c::d; let reuse = 1; }\npub(crate) use g::h;");
        let seen: Vec<_> = found.iter().map(|u| (u.public, u.leaves[0].0.as_str())).collect();
        assert_eq!(seen, [(true, "a::B"), (false, "c::d"), (false, "g::h")]);
    }

    #[test]
    fn a_path_names_its_module() {
        let module = |path| Source::new(path, "").module().join("::");
        assert_eq!(module("retry/service.rs"), "retry::service");
        assert_eq!(module("base/body/mod.rs"), "base::body");
        assert_eq!(module("lib.rs"), "");
    }
}
