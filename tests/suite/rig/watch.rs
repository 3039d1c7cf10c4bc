//! The secrets of a run, and the look-out for them: what a test knows to be secret must never stand in a page, an error
//! or a log line.

use std::sync::{Arc, Mutex};

/// The secrets that one test has met so far. Cheap to clone; everybody in a test shares one.
#[derive(Clone, Default)]
pub struct Watch(Arc<Mutex<Vec<(String, String)>>>);

impl Watch {
    /// From now on, this is secret. `what` names it in the message of a test that finds it.
    pub fn secret(&self, what: &str, value: &str) {
        assert!(value.len() >= 8, "{what} is too short to look for");
        let mut all = self.0.lock().unwrap();
        if !all.iter().any(|(_, known)| known == value) {
            all.push((what.to_owned(), value.to_owned()));
        }
    }

    /// Panics if `text` holds any of them.
    pub fn check(&self, place: &str, text: &str) {
        for (what, value) in self.0.lock().unwrap().iter() {
            if let Some(at) = text.find(value.as_str()) {
                let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
                let line: String = text[start..]
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .replace(value.as_str(), "█")
                    .chars()
                    .take(400)
                    .collect();
                panic!("{place} holds a secret, {what}: {line}");
            }
        }
    }

    /// How many secrets it looks for: a look-out for nothing proves nothing.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}
