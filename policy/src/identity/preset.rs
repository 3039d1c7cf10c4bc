//! Presets: the names by which applications, and proxies of other products, know a person's headers. Each is from the
//! documentation of the product it is called after.

use std::net::IpAddr;

use http::HeaderName;

use super::encoding::HeaderEncoding;
use super::source::HeaderSource as From;
use crate::shown::{has_hidden_end, is_blank, is_seen};

/// A set of names for the headers of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderPreset {
    /// `X-Forwarded-User`, `-Email`, `-Groups`, `-Roles`, `-Preferred-Username`.
    XForwarded,
    /// What oauth2-proxy sends to an application, and what it answers to `auth_request`.
    OAuth2Proxy,
    /// What Authelia answers: `Remote-User`, `-Groups`, `-Name`, `-Email`.
    Authelia,
    /// `Remote-User` and `X-Remote-User`, which servers turn into CGI variables.
    RemoteUser,
    /// Grafana's `[auth.proxy]`.
    Grafana,
    /// Gitea's and Forgejo's reverse proxy authentication.
    Gitea,
    /// Jenkins' plugin `reverse-proxy-auth-plugin`; groups are separated by `|`.
    Jenkins,
    /// Nexus Repository's Rut Auth.
    Nexus,
    /// SonarQube's HTTP header authentication.
    SonarQube,
    /// Radicale's `http_x_remote_user`.
    Radicale,
    /// Superset's `AUTH_REMOTE_USER`, with `AUTH_REMOTE_USER_ENV_VAR = "HTTP_X_REMOTE_USER"`.
    Superset,
    /// MediaWiki's extension Auth_remoteuser.
    MediaWiki,
    /// None: only what is set by name.
    None,
}

/// One header of a preset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresetHeader {
    /// Its name, lower case.
    pub name: &'static str,
    /// What it says.
    pub source: From,
}

const fn row(name: &'static str, source: From) -> PresetHeader {
    PresetHeader { name, source }
}

impl HeaderPreset {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::XForwarded,
        Self::OAuth2Proxy,
        Self::Authelia,
        Self::RemoteUser,
        Self::Grafana,
        Self::Gitea,
        Self::Jenkins,
        Self::Nexus,
        Self::SonarQube,
        Self::Radicale,
        Self::Superset,
        Self::MediaWiki,
        Self::None,
    ];

    /// The word of the configuration.
    pub fn config_word(self) -> &'static str {
        match self {
            Self::XForwarded => "x-forwarded",
            Self::OAuth2Proxy => "oauth2-proxy",
            Self::Authelia => "authelia",
            Self::RemoteUser => "remote-user",
            Self::Grafana => "grafana",
            Self::Gitea => "gitea",
            Self::Jenkins => "jenkins",
            Self::Nexus => "nexus",
            Self::SonarQube => "sonarqube",
            Self::Radicale => "radicale",
            Self::Superset => "superset",
            Self::MediaWiki => "mediawiki",
            Self::None => "none",
        }
    }

    /// Its headers, in the order in which they are written.
    pub fn headers(self) -> &'static [PresetHeader] {
        const X_FORWARDED: &[PresetHeader] = &[
            row("x-forwarded-user", From::Name),
            row("x-forwarded-email", From::Email),
            row("x-forwarded-groups", From::Groups),
            row("x-forwarded-roles", From::Roles),
            row("x-forwarded-preferred-username", From::PreferredUsername),
        ];
        const OAUTH2_PROXY: &[PresetHeader] = &[
            row("x-forwarded-user", From::Name),
            row("x-forwarded-email", From::Email),
            row("x-forwarded-groups", From::Groups),
            row("x-forwarded-preferred-username", From::PreferredUsername),
            row("x-auth-request-user", From::Name),
            row("x-auth-request-email", From::Email),
            row("x-auth-request-groups", From::Groups),
            row("x-auth-request-preferred-username", From::PreferredUsername),
        ];
        const AUTHELIA: &[PresetHeader] = &[
            row("remote-user", From::Name),
            row("remote-groups", From::Groups),
            row("remote-name", From::DisplayName),
            row("remote-email", From::Email),
        ];
        const REMOTE_USER: &[PresetHeader] =
            &[row("remote-user", From::Name), row("x-remote-user", From::Name)];
        const GRAFANA: &[PresetHeader] = &[
            row("x-webauth-user", From::Name),
            row("x-webauth-email", From::Email),
            row("x-webauth-name", From::DisplayName),
            row("x-webauth-groups", From::Groups),
        ];
        const GITEA: &[PresetHeader] = &[
            row("x-webauth-user", From::Name),
            row("x-webauth-email", From::Email),
            row("x-webauth-fullname", From::DisplayName),
        ];
        const JENKINS: &[PresetHeader] = &[
            row("x-forwarded-user", From::Name),
            row("x-forwarded-mail", From::Email),
            row("x-forwarded-displayname", From::DisplayName),
            row("x-forwarded-groups", From::Groups),
        ];
        const NEXUS: &[PresetHeader] = &[row("x-sso-user", From::Name)];
        const SONARQUBE: &[PresetHeader] = &[
            row("x-forwarded-login", From::Name),
            row("x-forwarded-name", From::DisplayName),
            row("x-forwarded-email", From::Email),
            row("x-forwarded-groups", From::Groups),
        ];
        const X_REMOTE_USER: &[PresetHeader] = &[row("x-remote-user", From::Name)];
        match self {
            Self::XForwarded => X_FORWARDED,
            Self::OAuth2Proxy => OAUTH2_PROXY,
            Self::Authelia => AUTHELIA,
            Self::RemoteUser => REMOTE_USER,
            Self::Grafana => GRAFANA,
            Self::Gitea => GITEA,
            Self::Jenkins => JENKINS,
            Self::Nexus => NEXUS,
            Self::SonarQube => SONARQUBE,
            Self::Radicale | Self::Superset | Self::MediaWiki => X_REMOTE_USER,
            Self::None => &[],
        }
    }

    /// The sign between the values of a list.
    pub fn separator(self) -> char {
        if self == Self::Jenkins { '|' } else { ',' }
    }

    /// How its values are written where the configuration does not say: as the product reads them, where that was tried.
    /// None of these decodes anything: Gitea and MediaWiki take the bytes for UTF-8, SonarQube's server for ISO 8859-1.
    pub fn encoding(self) -> HeaderEncoding {
        match self {
            Self::Gitea | Self::MediaWiki => HeaderEncoding::Utf8,
            Self::SonarQube => HeaderEncoding::Latin1,
            _ => HeaderEncoding::Percent,
        }
    }

    /// Tells whether the product knows people by this header.
    pub(crate) fn names_by(self, name: &HeaderName) -> bool {
        let mut naming = self.headers().iter().filter(|header| header.source == From::Name);
        naming.any(|header| header.name == name.as_str())
    }

    /// The name of the product, for sentences.
    pub(crate) fn product(self) -> &'static str {
        match self {
            Self::MediaWiki => "MediaWiki",
            _ => "the application",
        }
    }

    /// Tells whether the product takes a name for no other one, as far as that was tried.
    ///
    /// MediaWiki does not for many: a name is the title of a page there. It begins with a capital; `_` and blanks of every kind
    /// are one blank, none at an end; `user:` before it is cut off, in the wiki's own language too; what is not seen is dropped,
    /// and `&amp;` is `&`. `user:admin`, `admin_` and `Admin` are one person.
    pub(crate) fn keeps_name(self, name: &str) -> bool {
        if self != Self::MediaWiki {
            return true;
        }
        let is_bent = |c: char| "_:&#<>[]{}|/%~".contains(c) || !is_seen(c) || (c != ' ' && is_blank(c));
        let first = name.chars().next().unwrap_or(' ');
        let capital: Vec<char> = first.to_uppercase().collect();
        // In a wiki in Turkish `ilker` and `İlker` are one.
        let is_own = (capital == [first] || capital.iter().flat_map(|c| c.to_lowercase()).eq([first]))
            && first.to_lowercase().count() == 1;
        let is_nobody =
            matches!(name, "0" | "." | "..") || name.parse::<IpAddr>().is_ok() || name.len() > 255;
        !name.contains(is_bent) && !name.contains("  ") && !has_hidden_end(name) && is_own && !is_nobody
    }
}

/// Every header of every preset, lower case, none twice. The proxy strips all of them from clients, whatever is configured.
pub const IDENTITY_HEADERS: [&str; 24] = [
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-roles",
    "x-forwarded-preferred-username",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "remote-user",
    "remote-groups",
    "remote-name",
    "remote-email",
    "x-remote-user",
    "x-webauth-user",
    "x-webauth-email",
    "x-webauth-name",
    "x-webauth-groups",
    "x-webauth-fullname",
    "x-forwarded-mail",
    "x-forwarded-displayname",
    "x-sso-user",
    "x-forwarded-login",
    "x-forwarded-name",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_of_every_preset_is_stripped() {
        let listed: HashSet<&str> = IDENTITY_HEADERS.into_iter().collect();
        assert_eq!(listed.len(), IDENTITY_HEADERS.len());
        let used: HashSet<&str> =
            HeaderPreset::ALL.iter().flat_map(|preset| preset.headers()).map(|header| header.name).collect();
        assert_eq!(used, listed);
    }

    #[test]
    fn no_preset_says_one_name_twice() {
        for preset in HeaderPreset::ALL {
            let names: HashSet<&str> = preset.headers().iter().map(|header| header.name).collect();
            assert_eq!(names.len(), preset.headers().len(), "{preset:?}");
        }
    }
}
