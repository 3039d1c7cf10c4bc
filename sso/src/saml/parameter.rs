//! The name under which a message travels, in a query as in a form.

/// The parameter that a message travels in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamlParameter {
    /// `SAMLRequest`.
    Request,
    /// `SAMLResponse`.
    Response,
}

impl SamlParameter {
    /// The name in a query and of a form's field.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "SAMLRequest",
            Self::Response => "SAMLResponse",
        }
    }
}
