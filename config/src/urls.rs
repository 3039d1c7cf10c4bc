//! The addresses to paste into the identity provider, under its own words.

use crate::{File, Preset, UserSource};

/// Every address the identity provider has to know, each with the vendors' word for it.
pub fn list_urls(file: &File) -> Vec<(&'static str, String)> {
    let ours = |page: &str| format!("{}{}/{page}", file.public_url, file.prefix);
    let words = UrlWords::of_preset(file.idp.preset);
    let mut urls = vec![
        (words.redirect, ours(&format!("callback/{}", file.idp.name))),
        (words.initiate, ours("login")),
        (words.logged_out, ours("logged-out")),
    ];
    if let UserSource::Scim(scim) = &file.provisioning {
        urls.push((words.scim, format!("{}/scim/v2", scim.public_url)));
    }
    urls
}

struct UrlWords {
    redirect: &'static str,
    initiate: &'static str,
    logged_out: &'static str,
    scim: &'static str,
}

impl UrlWords {
    fn of_preset(preset: Preset) -> Self {
        match preset {
            Preset::Generic => Self {
                redirect: "redirect URI",
                initiate: "initiate login URI",
                logged_out: "post-logout redirect URI",
                scim: "SCIM base URL",
            },
            Preset::Okta => Self {
                redirect: "sign-in redirect URI",
                initiate: "initiate login URI",
                logged_out: "sign-out redirect URI",
                scim: "SCIM connector base URL",
            },
            Preset::Entra => Self {
                redirect: "redirect URI (platform Web)",
                initiate: "home page URL",
                logged_out: "redirect URI (platform Web), for the return after a logout",
                scim: "tenant URL (provisioning)",
            },
            Preset::Google => Self {
                redirect: "authorized redirect URI",
                initiate: "application home page",
                logged_out: "post-logout redirect URI (Google asks for none)",
                scim: "SCIM base URL",
            },
        }
    }
}
