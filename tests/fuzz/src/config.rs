//! What the configuration's fuzzer holds to be true of any input. The same function replays the corpus on the stable
//! compiler (`config/tests/corpus.rs`).

use std::path::Path;

use portcullis_config::{Environment, check_text};

/// A file is accepted or has problems, the same ones each time: by line, one line each, and counted. No secret is
/// followed and no command run.
pub fn file(data: &[u8]) {
    let path = Path::new("/fuzz/portcullis.yaml");
    let environment = Environment::with_variables([("HOME", "/fuzz")]).text_only();
    // A lone carriage return ends a line too (YAML 1.2 §5.4).
    let lines = data.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    match check_text(path, data, &environment) {
        Ok(checked) => {
            assert!(checked.urls.len() >= 3);
            assert!(checked.urls.iter().all(|(_, url)| url.starts_with("http")), "{:?}", checked.urls);
        }
        Err(problems) => {
            let printed = problems.to_string();
            let count = problems.iter().count();
            assert!(count > 0);
            assert_eq!(printed.lines().count(), count + 1, "{printed}");
            assert!(!printed.contains(|c: char| c.is_control() && c != '\n'), "{printed:?}");
            let mut before = None;
            for problem in problems.iter().filter(|problem| &*problem.file == "/fuzz/portcullis.yaml") {
                assert!(problem.line >= before && problem.line.is_none_or(|line| line <= lines), "{printed}");
                before = problem.line;
            }
            assert_eq!(
                check_text(path, data, &environment).err().map(|again| again.to_string()),
                Some(printed)
            );
        }
    }
}
