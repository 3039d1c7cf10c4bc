//! The turn that imports take: one file at a time.

use std::sync::Arc;

use portcullis_policy::ResourceId;
use tokio::sync::Mutex;

/// The turn of a process, held while a file is imported. It remembers the people who were put out and had not gone in
/// time, so that whoever repeats the file waits for them like the first (R5).
pub(crate) type Imports = Arc<Mutex<Vec<ResourceId>>>;
