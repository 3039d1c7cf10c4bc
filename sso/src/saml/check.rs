//! The checks of one message in the order in which they were made, for whoever looks into a login that fails.

use crate::{Class, LoginRefusal};

/// A check that was made of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamlCheck {
    /// The name, one word for a person and a program: `audience`.
    pub name: &'static str,
    /// The kind of fault; `None` where it passed.
    pub fault: Option<Class>,
    /// The value that would have been right; empty where it passed and there is nothing to compare.
    pub expected: String,
    /// The value that came.
    pub got: String,
    /// The advice; empty where it passed.
    pub remedy: &'static str,
}

impl SamlCheck {
    /// Tells whether it passed.
    pub fn is_passed(&self) -> bool {
        self.fault.is_none()
    }
}

/// The checks of a message while they are made. Those of the profile are all made, though one has failed: an operator
/// mends all settings at once.
pub(crate) struct CheckList<'a> {
    made: &'a mut Vec<SamlCheck>,
    first_fault: Option<LoginRefusal>,
}

impl<'a> CheckList<'a> {
    pub(crate) fn new(made: &'a mut Vec<SamlCheck>) -> Self {
        Self { made, first_fault: None }
    }

    /// Keeps the outcome of a check that others stand on, and hands it on.
    pub(crate) fn require<T>(
        &mut self,
        name: &'static str,
        outcome: Result<T, LoginRefusal>,
        got: impl FnOnce(&T) -> String,
    ) -> Result<T, LoginRefusal> {
        match outcome {
            Ok(value) => {
                self.pass(name, got(&value));
                Ok(value)
            }
            Err(refusal) => {
                self.fail(name, &refusal);
                Err(refusal)
            }
        }
    }

    /// Keeps the outcome of a check; a fault is found again by [`Self::finish`].
    pub(crate) fn note<T>(&mut self, name: &'static str, outcome: Result<T, LoginRefusal>) -> Option<T>
    where
        T: ToString,
    {
        match outcome {
            Ok(value) => {
                self.pass(name, value.to_string());
                Some(value)
            }
            Err(refusal) => {
                self.fail(name, &refusal);
                self.first_fault.get_or_insert(refusal);
                None
            }
        }
    }

    /// Gives the first fault, if there was one.
    pub(crate) fn finish(self) -> Result<(), LoginRefusal> {
        self.first_fault.map_or(Ok(()), Err)
    }

    fn pass(&mut self, name: &'static str, got: String) {
        let got = portcullis_policy::shown(&got).into_owned();
        self.made.push(SamlCheck { name, fault: None, expected: String::new(), got, remedy: "" });
    }

    fn fail(&mut self, name: &'static str, refusal: &LoginRefusal) {
        let LoginRefusal { class, expected, got, remedy, .. } = refusal.clone();
        self.made.push(SamlCheck { name, fault: Some(class), expected, got, remedy });
    }
}
