//! Where in a configuration something stands: `routes[2].allow`.

use std::fmt;

use crate::extension_urn::name_in_urn;

/// A value somebody wrote where no secret belongs, as a message repeats it.
pub(crate) fn show_value(value: &str) -> String {
    portcullis_policy::shown(value).into_owned()
}

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyStep {
    Key(String),
    Index(usize),
}

/// A path from the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct At(Vec<KeyStep>);

impl At {
    /// The file as a whole.
    pub(crate) fn root() -> Self {
        Self::default()
    }

    /// The key `name` below it.
    pub(crate) fn below_key(&self, name: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(KeyStep::Key(name.into()));
        Self(steps)
    }

    /// The item `index` below it, counted from 0.
    pub(crate) fn below_index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(KeyStep::Index(index));
        Self(steps)
    }

    pub(crate) fn steps(&self) -> &[KeyStep] {
        &self.0
    }
}

/// A path as this crate writes it itself: keys with a dot between them, indices in brackets.
impl From<&str> for At {
    fn from(path: &str) -> Self {
        let mut steps = Vec::new();
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let (name, indices) = part.split_once('[').unwrap_or((part, ""));
            steps.push(KeyStep::Key(name.into()));
            let indices = indices.split(['[', ']']).filter_map(|index| index.parse().ok());
            steps.extend(indices.map(KeyStep::Index));
        }
        Self(steps)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, step) in self.0.iter().enumerate() {
            match step {
                KeyStep::Key(name) if nth == 0 => f.write_str(&shown_key(name))?,
                KeyStep::Key(name) => write!(f, ".{}", shown_key(name))?,
                KeyStep::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A key somebody wrote, for a message: the part of it that looks like a name. `client_secret=…` is a key too when
/// somebody mistakes the colon, and what follows is not ours to print. The URN of an extension is a name as a whole.
fn shown_key(name: &str) -> String {
    if name_in_urn(name).is_some() {
        return name.to_owned();
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '<');
    let shown: String = name.chars().take_while(|c| fits(*c)).take(40).collect();
    if shown.len() == name.len() { shown } else { format!("{shown}…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_printed_as_they_are_written() {
        for path in ["routes[2].allow", "public_url", "a.b.c[0][1].d"] {
            assert_eq!(At::from(path).to_string(), path);
        }
        assert_eq!(At::root().below_key("a").below_index(3).below_key("b").to_string(), "a[3].b");
    }

    #[test]
    fn what_follows_a_name_in_a_key_is_not_printed() {
        assert_eq!(At::root().below_key("client_secret=hunter2").to_string(), "client_secret…");
        assert_eq!(At::root().below_key(&"x".repeat(99)).to_string().chars().count(), 41);
    }
}
