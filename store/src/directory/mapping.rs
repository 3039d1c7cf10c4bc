//! Mapping sheets: what an application calls one person, whole or not at all.
//!
//! It writes attributes that no client writes, so it is as right in a directory that a SCIM client feeds.

use portcullis_policy::{DirectoryId, OrgId, ResourceId, Timestamp};
use portcullis_roster::{Column, MappedChange, MappingStep, person_key};
use portcullis_scim::schema::Uniqueness;
use portcullis_scim::{Resource, ResourceKind, ScimError, ScimType};
use portcullis_session::Committed;
use serde_json::json;

use super::DirectoryWrite;
use crate::engine::Tx;
use crate::log::{Origin, commit_unchanged};
use crate::resource::{self, DirectoryKey};
use crate::writer::Lane;
use crate::{Store, StoreError, attr};

impl Store {
    /// Gives a person the values of a mapping sheet.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn apply_mapping(
        &self,
        org: OrgId,
        directory: DirectoryId,
        id: ResourceId,
        step: MappingStep,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<Result<(), ScimError>>, StoreError> {
        let (schemas, origin) = (self.schemas.clone(), origin.clone());
        self.write_in(Lane::Ordinary, move |tx| {
            Box::pin(async move {
                let (place, ended) = (DirectoryKey { org, directory }, Default::default());
                let write = DirectoryWrite::of_operator(place, &schemas, &origin, now, &ended);
                write.map_person(tx, &id, &step).await
            })
        })
        .await
    }
}

impl DirectoryWrite<'_> {
    async fn map_person(
        &self,
        tx: &mut Tx,
        id: &ResourceId,
        step: &MappingStep,
    ) -> Result<Committed<Result<(), ScimError>>, StoreError> {
        const USER: ResourceKind = ResourceKind::User;
        let found =
            resource::by_id(tx, self.place, USER, id).await?.filter(|stored| stored.deleted.is_none());
        let Some(mut stored) = found else {
            return commit_unchanged(tx, Err(ScimError::NotFound { kind: USER, id: id.clone() })).await;
        };
        stored.resource.set_aside(self.schemas);
        if !is_named(&stored.resource, &step.person) {
            let column = step.person.0.name();
            let detail = format!("{column} has changed since the sheet was read: import it again");
            return commit_unchanged(tx, Err(ScimError::of_type(ScimType::InvalidValue, detail))).await;
        }
        let after = match self.mapped(&stored.resource, &step.changes) {
            Ok(after) => after,
            Err(refusal) => return commit_unchanged(tx, Err(refusal)).await,
        };
        if after == stored.resource {
            return commit_unchanged(tx, Ok(())).await;
        }
        let (before, own) = (Some(&stored.resource), Some(stored.rid));
        if let Some(refusal) = self.check_values_free(tx, before, &after, own).await? {
            return commit_unchanged(tx, Err(refusal)).await;
        }
        let log = self.change_stored(tx, &mut stored, after, json!({})).await?;
        log.seal(tx, Ok(())).await
    }

    fn mapped(&self, before: &Resource, changes: &[MappedChange]) -> Result<Resource, ScimError> {
        let (known, mut after) = (self.schemas.read_only_attributes(), before.clone());
        for MappedChange { path, to, .. } in changes {
            let path = known.iter().find(|known| known.as_str() == path);
            // It was declared when the sheet was read.
            after.set_read_only(path.ok_or(ScimError::Internal)?, to.as_deref())?;
        }
        Ok(after)
    }

    /// Leaves out what an operator gave somebody who comes back, where it is unique and somebody else has it since: the
    /// client that brings them back can do nothing about it.
    pub(super) async fn leave_taken(&self, tx: &mut Tx, resource: &mut Resource) -> Result<(), StoreError> {
        for path in self.schemas.read_only_attributes() {
            if path.leaf().uniqueness != Uniqueness::Server {
                continue;
            }
            let rows = resource.unique_rows(self.schemas);
            let Some(row) = rows.iter().find(|row| row.path == path.as_str()) else { continue };
            if attr::value_holder(tx, self.place, resource.kind(), row, None).await?.is_some() {
                resource.drop_read_only(&path);
            }
        }
        Ok(())
    }
}

/// Tells whether somebody is still whom a sheet named.
fn is_named(user: &Resource, (column, person): &(Column, String)) -> bool {
    let text = match column {
        Column::UserName => user.user_name(),
        Column::ExternalId => user.external_id(),
        _ => user.email(),
    };
    text.is_some_and(|text| person_key(*column, text) == person_key(*column, person))
}
