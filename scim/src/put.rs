//! A resource that takes the place of another: by a PUT (RFC 7644 §3.5.1), or by a POST that brings somebody back.

use crate::conform;
use crate::error::ScimError;
use crate::resource::Resource;
use crate::schema::Schemas;

impl Resource {
    /// Makes the resource that a PUT of this one leaves in the place of the stored one: itself, except that a user
    /// whose `active` was left out or null stays as they are: neither put out nor brought back (RFC 7644 §3.5.1
    /// leaves it open), and that what an operator wrote stays.
    ///
    /// # Errors
    /// `invalidValue` where an extension requires what is not there.
    pub fn replacing(&self, schemas: &Schemas, before: &Resource) -> Result<Self, ScimError> {
        let mut after = self.restoring(schemas, before);
        if self.active().is_none()
            && let Some(active) = before.active()
        {
            after.set_active(active);
        }
        conform::check_extensions(schemas, &after, Some(before))?;
        Ok(after)
    }

    /// Makes the resource that this one becomes where it brings back `before`: itself, with what an operator wrote of the
    /// other and what is set aside of it.
    #[must_use]
    pub fn restoring(&self, schemas: &Schemas, before: &Resource) -> Self {
        let mut after = before.with_tree(self.tree.clone());
        after.keep_read_only(schemas, before);
        after
    }
}
