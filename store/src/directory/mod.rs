//! The directory: SCIM users and groups, read and written. `portcullis-scim` says what a request means and what a
//! resource becomes; here is what that takes in transactions: who is touched, what it means for access, tombstones.
//!
//! The rule it protects: a write is applied whole with its event, audit and revocation, or it is refused and nothing has
//! changed; and a write that leaves its user inactive or gone always names them, changed or not (R5).

mod find;
mod group;
mod user;

use portcullis_policy::{DirectoryId, OrgId, Timestamp};
use portcullis_scim::{Act, Outcome, Resource, ResourceKind, Schemas, ScimError, Version, Write};
use portcullis_session::Committed;

use self::group::Plan;
use crate::engine::Tx;
use crate::log::{Log, Origin};
use crate::resource::{self, Place};
use crate::writer::Lane;
use crate::{Store, StoreError};

/// What the client is told: an outcome or a refusal of SCIM's.
pub type Answer = Result<Outcome, ScimError>;

impl Store {
    /// Carries out one SCIM write. The answer is inside: also a refusal may have to be enforced before it is told,
    /// such as the 404 of a DELETE that is repeated.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn write(
        &self,
        org: OrgId,
        directory: DirectoryId,
        write: &Write,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<Answer>, StoreError> {
        let place = Place { org, directory };
        let lane = if write.takes_away() { Lane::Removal } else { Lane::Ordinary };
        let plan = self.plan(place, write, origin, now).await;
        let (write, origin, schemas) = (write.clone(), origin.clone(), self.schemas.clone());
        self.write_in(lane, move |tx| {
            Box::pin(async move {
                let desk = Desk { place, schemas: &schemas, origin: &origin, now };
                desk.write(tx, &write, plan).await
            })
        })
        .await
    }

    /// Compares a group's members with what is asked before the writer is taken, which others wait for. Where that
    /// cannot be done, or comes to a refusal, the transaction finds out by itself.
    async fn plan(&self, place: Place, write: &Write, origin: &Origin, now: Timestamp) -> Option<Plan> {
        let (ResourceKind::Group, Act::Replace(id, _) | Act::Patch(_, id, _)) = (write.kind(), &write.act)
        else {
            return None;
        };
        let desk = Desk { place, schemas: &self.schemas, origin, now };
        let mut tx = self.engine.snapshot().await.ok()?;
        desk.plan_group(&mut tx, id, write).await.ok()?.ok()
    }
}

/// One write under way.
#[derive(Clone, Copy)]
pub(crate) struct Desk<'a> {
    pub(crate) place: Place,
    pub(crate) schemas: &'a Schemas,
    pub(crate) origin: &'a Origin,
    pub(crate) now: Timestamp,
}

impl Desk<'_> {
    async fn write(
        &self,
        tx: &mut Tx,
        write: &Write,
        plan: Option<Plan>,
    ) -> Result<Committed<Answer>, StoreError> {
        use ResourceKind::{Group, User};
        match (write.kind(), &write.act) {
            (User, Act::Create(resource)) => self.create_user(tx, resource).await,
            (Group, Act::Create(resource)) => self.create_group(tx, resource).await,
            (User, Act::Delete(_, id)) => self.delete_user(tx, id, write).await,
            (Group, Act::Delete(_, id)) => self.delete_group(tx, id, write).await,
            (User, Act::Replace(id, _) | Act::Patch(_, id, _)) => self.change_user(tx, id, write).await,
            (Group, Act::Replace(id, _) | Act::Patch(_, id, _)) => {
                self.change_group(tx, id, write, plan).await
            }
        }
    }

    fn log(&self) -> Log {
        Log::new(self.place.org, Some(self.place.directory), self.origin, self.now)
    }

    /// The refusal where another resource has the name, or another user the `externalId`. `but` is the resource's own
    /// row number.
    async fn taken(
        &self,
        tx: &mut Tx,
        resource: &Resource,
        but: Option<i64>,
    ) -> Result<Option<ScimError>, StoreError> {
        let kind = resource.kind();
        if let Some(with) = resource::name_holder(tx, self.place, resource, but).await? {
            return Ok(Some(ScimError::Uniqueness { kind, attribute: resource::name_attribute(kind), with }));
        }
        if kind == ResourceKind::User
            && let Some(external_id) = resource.external_id()
            && let Some(with) = resource::external_id_holder(tx, self.place, external_id, but).await?
        {
            return Ok(Some(ScimError::Uniqueness { kind, attribute: "externalId", with }));
        }
        Ok(None)
    }
}

/// The refusal where the resource is not of a version that the write names.
fn precondition(write: &Write, version: Version) -> Result<(), ScimError> {
    match &write.if_match {
        Some(condition) if !condition.admits(version) => {
            Err(ScimError::PreconditionFailed { version: version.to_string() })
        }
        _ => Ok(()),
    }
}

/// The names of the attributes that differ; values stay out of logs.
fn changed_attributes(before: &Resource, after: &Resource) -> Vec<String> {
    type Tree = serde_json::Map<String, serde_json::Value>;
    let tree = |resource: &Resource| serde_json::from_str::<Tree>(&resource.to_json()).unwrap_or_default();
    let (before, after) = (tree(before), tree(after));
    let mut names: Vec<String> = before
        .keys()
        .chain(after.keys().filter(|name| !before.contains_key(*name)))
        .filter(|name| before.get(*name) != after.get(*name))
        .cloned()
        .collect();
    names.sort_unstable();
    names
}
