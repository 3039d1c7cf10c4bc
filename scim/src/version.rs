//! The versions of SCIM that are spoken, each below an address of its own.

/// A version of SCIM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScimVersion {
    /// 1.1, below `/scim/v1`: what older connectors speak.
    One,
    /// 2.0, below `/scim/v2`.
    Two,
}

impl ScimVersion {
    /// Both, the newest first.
    pub const ALL: [ScimVersion; 2] = [ScimVersion::Two, ScimVersion::One];

    /// The path of its base URL, without a slash at its end.
    pub fn base_path(self) -> &'static str {
        match self {
            ScimVersion::One => "/scim/v1",
            ScimVersion::Two => "/scim/v2",
        }
    }

    /// The version whose base URL a path is below, and what of the path comes behind it: empty, or from `/` or `?` on.
    pub fn of_target(target: &str) -> Option<(Self, &str)> {
        ScimVersion::ALL.into_iter().find_map(|version| {
            let below = target.strip_prefix(version.base_path())?;
            (below.is_empty() || below.starts_with(['/', '?'])).then_some((version, below))
        })
    }
}
