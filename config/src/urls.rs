//! The addresses to paste into the identity providers, under their own words.

use crate::{File, Preset, UserSource};

/// Every address that the identity providers have to know, each with the vendors' word for it; of several providers each
/// word is followed by the name of its own.
pub fn list_urls(file: &File) -> Vec<(String, String)> {
    let ours = |page: &str| format!("{}{}/{page}", file.public_url, file.prefix);
    let mut urls = Vec::new();
    for idp in &file.idps {
        let words = UrlWords::of_preset(idp.preset);
        let of =
            |word: &str| if file.idps.len() == 1 { word.to_owned() } else { format!("{}: {word}", idp.name) };
        let login = if file.idps.len() == 1 { "login".to_owned() } else { format!("login?idp={}", idp.name) };
        urls.push((of(words.redirect), ours(&format!("callback/{}", idp.name))));
        urls.push((of(words.initiate), ours(&login)));
        urls.push((of(words.logged_out), ours("logged-out")));
        if let Some(word) = words.back_channel {
            urls.push((of(word), ours(&format!("backchannel-logout/{}", idp.name))));
        }
    }
    if let UserSource::Scim(scim) = &file.provisioning {
        let fed_by =
            file.idps.iter().find(|idp| scim.idps.as_ref().is_none_or(|named| named.contains(&idp.name)));
        let words = UrlWords::of_preset(fed_by.map_or(Preset::Generic, |idp| idp.preset));
        urls.push((words.scim.to_owned(), format!("{}/scim/v2", scim.public_url)));
    }
    urls
}

struct UrlWords {
    redirect: &'static str,
    initiate: &'static str,
    logged_out: &'static str,
    /// `None` where the product sends no logout tokens.
    back_channel: Option<&'static str>,
    scim: &'static str,
}

impl UrlWords {
    fn of_preset(preset: Preset) -> Self {
        match preset {
            Preset::Generic => Self {
                redirect: "redirect URI",
                initiate: "initiate login URI",
                logged_out: "post-logout redirect URI",
                back_channel: Some("back-channel logout URI"),
                scim: "SCIM base URL",
            },
            Preset::Okta => Self {
                redirect: "sign-in redirect URI",
                initiate: "initiate login URI",
                logged_out: "sign-out redirect URI",
                back_channel: None,
                scim: "SCIM connector base URL",
            },
            Preset::Entra => Self {
                redirect: "redirect URI (platform Web)",
                initiate: "home page URL",
                logged_out: "redirect URI (platform Web), for the return after a logout",
                back_channel: None,
                scim: "tenant URL (provisioning)",
            },
            Preset::Google => Self {
                redirect: "authorized redirect URI",
                initiate: "application home page",
                logged_out: "post-logout redirect URI (Google asks for none)",
                back_channel: None,
                scim: "SCIM base URL",
            },
        }
    }
}
