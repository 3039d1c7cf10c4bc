//! Values that a declared extension wants unique among the users of a directory. The writer is one, so what is looked up in
//! the transaction that writes is so until it commits.

use std::collections::HashSet;

use portcullis_scim::{Resource, ScimError, SearchRow};

use super::DirectoryWrite;
use crate::engine::Tx;
use crate::resource;
use crate::{StoreError, attr};

impl DirectoryWrite<'_> {
    /// The refusal where another user has a value that this one gets. What it had before is not asked again: people who
    /// shared a value before it was declared unique can still be changed, and put out. `but` is its own row number.
    pub(super) async fn check_values_free(
        &self,
        tx: &mut Tx,
        before: Option<&Resource>,
        after: &Resource,
        but: Option<i64>,
    ) -> Result<Option<ScimError>, StoreError> {
        let had: HashSet<SearchRow> =
            before.map(|before| before.unique_rows(self.schemas)).into_iter().flatten().collect();
        let kind = after.kind();
        for row in after.unique_rows(self.schemas).into_iter().filter(|row| !had.contains(row)) {
            let Some(holder) = attr::value_holder(tx, self.place, kind, &row, but).await? else { continue };
            let found = resource::by_rids(tx, self.place, &[holder]).await?;
            let with = found.first().map(|holder| resource::unique_name(&holder.resource).to_owned());
            let with = with.unwrap_or_default();
            return Ok(Some(ScimError::Uniqueness { kind, attribute: row.path.into(), with }));
        }
        Ok(None)
    }
}
