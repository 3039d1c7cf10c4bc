//! How a browser is sent to an identity provider with a message.

use std::fmt;

/// The way in which a message goes to the identity provider, through the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Departure {
    /// By a redirect to this address.
    Redirect(String),
    /// By a form that the browser posts.
    Post(PostForm),
}

/// A form that the browser is to post.
#[derive(Clone, PartialEq, Eq)]
pub struct PostForm {
    /// The address that it is posted to.
    pub action: String,
    /// The hidden fields, unescaped.
    pub fields: Vec<(&'static str, String)>,
}

impl fmt::Debug for PostForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostForm({})", self.action)
    }
}
