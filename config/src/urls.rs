//! The addresses to paste into the identity providers, under their own words.

use crate::{File, IdpProtocol, Preset, UserSource};

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
        match &idp.protocol {
            IdpProtocol::Oidc(_) => {
                urls.push((of(words.redirect), ours(&format!("callback/{}", idp.name))));
                urls.push((of(words.initiate), ours(&login)));
                urls.push((of(words.logged_out), ours("logged-out")));
                if let Some(word) = words.back_channel {
                    urls.push((of(word), ours(&format!("backchannel-logout/{}", idp.name))));
                }
            }
            IdpProtocol::Saml(saml) => {
                let at = |page: &str| ours(&format!("saml/{}/{page}", idp.name));
                let entity_id = saml.block.entity_id.as_ref().map(|id| id.as_str().to_owned());
                let [acs, audience, logout] = saml_words(idp.preset);
                urls.push((of(acs), at("acs")));
                urls.push((of(audience), entity_id.unwrap_or_else(|| at("metadata"))));
                urls.push((of(logout), at("slo")));
                urls.push((of("metadata of this service provider"), at("metadata")));
                urls.push((of("start URL"), ours(&login)));
            }
        }
    }
    if let UserSource::Scim(scim) = &file.provisioning {
        let fed_by =
            file.idps.iter().find(|idp| scim.idps.as_ref().is_none_or(|named| named.contains(&idp.name)));
        let words = UrlWords::of_preset(fed_by.map_or(Preset::Generic, |idp| idp.preset));
        urls.push((words.scim.to_owned(), format!("{}/scim/v2", scim.public_url)));
        urls.push((format!("{} of SCIM 1.1", words.scim), format!("{}/scim/v1", scim.public_url)));
    }
    urls
}

/// The product's words for the address of responses, our entity ID, and single logout.
fn saml_words(preset: Preset) -> [&'static str; 3] {
    match preset {
        Preset::Okta => ["single sign-on URL", "audience URI (SP Entity ID)", "single logout URL"],
        Preset::Entra => {
            ["reply URL (Assertion Consumer Service URL)", "identifier (Entity ID)", "logout URL"]
        }
        Preset::Google => ["ACS URL", "entity ID", "logout URL (Google knows none)"],
        Preset::Adfs => {
            ["SAML assertion consumer endpoint", "relying party trust identifier", "SAML logout endpoint"]
        }
        Preset::Onelogin => ["ACS (Consumer) URL", "audience (EntityID)", "single logout URL"],
        Preset::Keycloak => {
            ["assertion consumer service POST binding URL", "client ID", "logout service POST binding URL"]
        }
        _ => ["ACS URL", "audience (entity ID)", "single logout URL"],
    }
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
            Preset::Okta => OKTA,
            Preset::Entra => ENTRA,
            Preset::Google => GOOGLE,
            _ => GENERIC,
        }
    }
}

const GENERIC: UrlWords = UrlWords {
    redirect: "redirect URI",
    initiate: "initiate login URI",
    logged_out: "post-logout redirect URI",
    back_channel: Some("back-channel logout URI"),
    scim: "SCIM base URL",
};

const OKTA: UrlWords = UrlWords {
    redirect: "sign-in redirect URI",
    initiate: "initiate login URI",
    logged_out: "sign-out redirect URI",
    back_channel: None,
    scim: "SCIM connector base URL",
};

const ENTRA: UrlWords = UrlWords {
    redirect: "redirect URI (platform Web)",
    initiate: "home page URL",
    logged_out: "redirect URI (platform Web), for the return after a logout",
    back_channel: None,
    scim: "tenant URL (provisioning)",
};

const GOOGLE: UrlWords = UrlWords {
    redirect: "authorized redirect URI",
    initiate: "application home page",
    logged_out: "post-logout redirect URI (Google asks for none)",
    back_channel: None,
    scim: "SCIM base URL",
};
