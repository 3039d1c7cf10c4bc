//! What the documents say of the house is true: every file they name is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All files below a folder, as paths from the root, but for what is built or fetched.
fn files(root: &Path, below: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                found.insert(format!("{}/", path.strip_prefix(root).unwrap().display()));
                files(root, &path, found);
            }
        } else {
            found.insert(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
}

/// The words in backquotes that are names of sources: `src/run.rs`, `proxy/src/wire/`.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|word| {
        let is_path = word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
        let is_source = word.ends_with(".rs") || word.ends_with(".py");
        let is_folder = word.ends_with("/") && word.contains("/src/");
        is_path && (is_source || is_folder)
    })
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut there = BTreeSet::new();
    files(&root, &root, &mut there);
    let documents: Vec<&String> =
        there.iter().filter(|file| file.ends_with(".md") && !file.starts_with("tests/")).collect();
    assert!(documents.len() > 20, "{documents:?}");
    let (mut names, mut gone) = (0, Vec::new());
    for document in documents {
        // What is past is told as it was.
        if document.starts_with("CHANGELOG") || document.starts_with("docs/decisions/") {
            continue;
        }
        let text = fs::read_to_string(root.join(document)).unwrap();
        for name in named(&text) {
            names += 1;
            // In a list of neighbours only the first has its folder.
            let is_there =
                there.contains(name) || there.iter().any(|file| file.ends_with(&format!("/{name}")));
            if !is_there {
                gone.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(names > 60, "{names} names are looked at");
    assert!(gone.is_empty(), "these files are named and are not there: {gone:#?}");
}

#[test]
fn a_name_is_known_in_a_text() {
    let text = "See `src/run.rs`, `wire/`, `proxy/src/wire/`, `Pass`, `a b.rs` and ``, or `src/*.rs`.";
    assert_eq!(named(text).collect::<Vec<_>>(), ["src/run.rs", "proxy/src/wire/"]);
}
