//! PUT (RFC 7644 §3.5.1): a resource and the one it takes the place of make a resource.

use crate::conform;
use crate::error::ScimError;
use crate::resource::Resource;
use crate::schema::{ResourceKind, Schemas};

impl Resource {
    /// Makes the resource that a PUT of this one leaves in the place of the stored one: itself, except that a user
    /// whose `active` was left out or null stays as they are: neither put out nor brought back (RFC 7644 §3.5.1
    /// leaves it open), and that what an operator wrote stays.
    ///
    /// # Errors
    /// `invalidValue` where an extension requires what is not there.
    pub fn replacing(&self, schemas: &Schemas, before: &Resource) -> Result<Self, ScimError> {
        let mut after = before.with_tree(self.tree.clone());
        after.keep_read_only(schemas, before);
        if self.kind() == ResourceKind::User && self.active().is_none() {
            after.set_active(before.active().unwrap_or(true));
        }
        conform::check_extensions(schemas, &after, Some(before))?;
        Ok(after)
    }
}
