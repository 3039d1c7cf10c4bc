//! What identity providers really send, rewritten into what the standard says (`Rule`).

/// One rewrite that an identity provider's habit needs; counted, so that an operator sees which dialect is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// `"Replace"` for `"replace"`.
    OperationCase,
    /// `remove` of `members` with a list of the ones to remove.
    RemoveListed,
    /// `"True"` for `true`.
    BooleanText,
    /// A PATCH value whose keys are paths.
    KeysAsPaths,
    /// A manager that is text, a list of one, or empty.
    ManagerShape,
    /// `add` on an element that may not exist yet.
    AddToElement,
    /// A schema this service does not know, or one object where a list is due.
    LooseShape,
    /// An attribute of an extension without its URN.
    BareExtension,
}
