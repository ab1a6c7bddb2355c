//! No layer is forgotten: the table is compared with the source text.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::rows;

/// Every type named `…Layer` that a module exports or declares as public.
fn exported(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the source is beside the tests") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            exported(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(layers(&fs::read_to_string(&path).expect("text")));
        }
    }
}

fn layers(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).fold(
        String::new(),
        |mut code, line| {
            code.push_str(line);
            code.push('\n');
            code
        },
    );
    let starts = ["pub use ", "pub struct ", "pub enum ", "pub type "];
    let items = starts.iter().flat_map(|start| {
        code.match_indices(start).map(|(at, _)| {
            let item = &code[at + start.len()..];
            &item[..item.find([';', '<', '(']).unwrap_or(item.len())]
        })
    });
    let words = items.flat_map(|item| item.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.filter(|word| word.ends_with("Layer") && *word != "Layer").map(str::to_owned).collect()
}

#[test]
fn every_public_layer_has_a_row_in_the_script() {
    let mut public = BTreeSet::new();
    exported(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut public);
    let rows: BTreeSet<String> = rows::http().iter().map(|row| row.layer.to_owned()).collect();
    assert_eq!(public, rows, "public layers in the source (left), rows of the script (right)");
}

#[test]
fn a_layer_is_found_however_it_is_exported() {
    let text = "pub use self::layer::{ALayer, Other};\npub struct BLayer<M = Http> {}\n// pub struct CLayer;\n\
                pub(crate) struct DLayer;\nuse tower::ELayer;\npub use self::f::FLayer;\n";
    let names: Vec<_> = layers(text).into_iter().collect();
    assert_eq!(names, ["ALayer", "BLayer", "FLayer"]);
}
