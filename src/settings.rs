//! From what the file says to what the parts use. Two types and the functions between them, nothing else: no check is
//! made here (the crate `config` made them), nothing is read or parsed, and nothing can fail.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use portcullis_config::{
    DeclaredAttribute, Domains, File, IdpEntry, IdpInitiated, IdpProtocol, LogLevel, MetadataText, Oidc,
    Preset, ScimExtensions, SecretHeader, UpstreamBlock, UpstreamUrl, UserSource, ValueType, WritableName,
};
use portcullis_keys::{Keyring, Purpose, Secret};
use portcullis_policy::{LogFormat, LogTarget, Policy, UserFrom};
use portcullis_proxy as proxy;
use portcullis_scim::schema::{Attribute, Mutability, Returned, Schema, Type, Uniqueness};
use portcullis_scim::{BulkLimits, Schemas, Service};
use portcullis_sso::{ClaimNames, Fetch, Idp, OidcIdp, OidcSettings, SubjectClaim, Uses};
use portcullis_store as store;
use tracing::level_filters::LevelFilter;

use crate::app_health::AppHealth;
use crate::application::AppWays;
use crate::fetch::FetchReach;
use crate::log::Format;
use crate::operator::Terms;
use crate::own::admission::Admission;
use crate::own::{OwnSite, SiteIdp};
use crate::person::People;
use crate::saml;
use crate::scim_clients::{ScimClients, ScimToken};
use crate::scim_rate::ScimRateLimit;

/// Joins the app as its own pages need it.
pub(crate) fn own_site(file: &File, fetch: Fetch, keys: Option<&Arc<saml::SamlKeys>>) -> OwnSite {
    let path = file.public_url.path();
    OwnSite {
        name: file.app_name.clone(),
        support: file.support.clone(),
        host: file.public_url.host().to_owned(),
        origin: file.public_url.origin().to_owned(),
        home: format!("{path}/"),
        ours: format!("{path}{}", file.prefix),
        cookie: proxy::session_cookie(&file.public_url),
        flow_bytes: file.limits.head.bytes() / 4,
        signs: file.identity.signed.is_some(),
        idps: file
            .idps
            .iter()
            .filter_map(|idp| site_idp(file, idp, fetch.clone(), keys).map(Arc::new))
            .collect(),
    }
}

/// `None` for an IdP of SAML where there are no keys for it, which a start refuses.
fn site_idp(
    file: &File,
    idp: &IdpEntry,
    fetch: Fetch,
    keys: Option<&Arc<saml::SamlKeys>>,
) -> Option<SiteIdp> {
    let may_sign_in = match &file.provisioning {
        UserSource::Scim(scim) => scim.idps.as_ref().is_none_or(|named| named.contains(&idp.name)),
        UserSource::Invited | UserSource::None => true,
    };
    let (made, trust_email, unsolicited) = match &idp.protocol {
        IdpProtocol::Oidc(oidc) => {
            let made = OidcIdp::new(oidc_settings(file, idp, oidc), fetch);
            (Idp::Oidc(made), oidc.trust_email, IdpInitiated::Off)
        }
        IdpProtocol::Saml(entry) => {
            let block = &entry.block;
            (saml::make_idp(file, idp, entry, keys?, fetch), block.trust_email, block.idp_initiated)
        }
    };
    Some(SiteIdp {
        idp: Arc::new(made),
        unsolicited,
        admission: Admission {
            directory: !matches!(file.provisioning, UserSource::None),
            may_sign_in,
            invited: matches!(file.provisioning, UserSource::Invited),
            replaces: idp.replaces.as_deref().map(Arc::from),
            claim: idp.link.claim.clone(),
            to: idp.link.to,
            domains: spoken_domains(file, idp),
            is_one_of_several: file.idps.len() > 1,
            trust_email,
            absolute_ms: to_ms(file.session.absolute),
        },
    })
}

/// The domains that an IdP may speak for: any means those that no other one lists.
fn spoken_domains(file: &File, idp: &IdpEntry) -> store::EmailDomains {
    match &idp.domains {
        Domains::Only(listed) => store::EmailDomains::Only(listed.clone()),
        Domains::Any => {
            let others = file.idps.iter().filter(|other| other.name != idp.name);
            store::EmailDomains::AnyBut(others.flat_map(email_domains).cloned().collect())
        }
    }
}

fn email_domains(idp: &IdpEntry) -> &[String] {
    match &idp.domains {
        Domains::Any => &[],
        Domains::Only(domains) => domains,
    }
}

/// Makes the settings of one OpenID provider.
pub(crate) fn oidc_settings(file: &File, idp: &IdpEntry, oidc: &Oidc) -> OidcSettings {
    let path = file.public_url.path();
    let redirect_uri = format!("{}{path}{}/callback/{}", file.public_url.origin(), file.prefix, idp.name);
    OidcSettings {
        client_secret: Some(Secret::new(oidc.client_secret.expose())),
        client_auth: oidc.client_auth,
        scopes: oidc.scopes.clone(),
        claims: ClaimNames {
            email: oidc.claims.email.clone(),
            groups: oidc.claims.groups.clone(),
            name: oidc.claims.name.clone(),
        },
        uses: match file.provisioning {
            UserSource::None => Uses::Person {
                email: file.identity.user == UserFrom::Email
                    || !email_domains(idp).is_empty()
                    || file.idps.len() > 1,
                groups: !file.bindings.known_roles().is_empty(),
            },
            UserSource::Scim(_) | UserSource::Invited => Uses::Link { claim: idp.link.claim.clone() },
        },
        trust_email: oidc.trust_email,
        skew_ms: to_ms(oidc.skew),
        subject: match idp.preset {
            Preset::Entra => SubjectClaim::Entra,
            Preset::Google => SubjectClaim::Google { domains: email_domains(idp).to_vec() },
            _ => SubjectClaim::Sub,
        },
        allow: file.http_client.allow.clone(),
        loopback: file.public_url.is_loopback(),
        ..OidcSettings::new(&idp.name, oidc.issuer.as_str(), &oidc.client_id, &redirect_uri)
    }
}

/// Makes the SCIM clients that may write to the directory.
pub(crate) fn scim_clients(file: &File, keys: &Keyring) -> Option<ScimClients> {
    let UserSource::Scim(scim) = &file.provisioning else { return None };
    let configured = scim.token.iter().flat_map(|tokens| tokens.iter());
    let tokens = configured.enumerate().map(|(place, token)| {
        ScimToken::new(place, keys.hash(Purpose::ScimToken, token.expose().as_bytes()))
    });
    let url = &scim.public_url;
    let public_url = format!("{}{}", url.origin(), url.path());
    Some(ScimClients {
        tokens: tokens.collect(),
        service: Service::new(&public_url, scim.groups.patch_answer).with_bulk(BulkLimits {
            operations: usize::try_from(scim.bulk.operations.0).unwrap_or(usize::MAX),
            body: scim.bulk.body.0.bytes(),
        }),
        allow: scim.allow.as_ref().map(|allow| proxy::Networks::new(allow.0.clone())),
        trusted: proxy::Networks::new(file.trusted_proxies.clone()),
        rate: ScimRateLimit { per_second: scim.rate.per_second.0, burst: scim.rate.burst.0 },
        detail: log_detail(file),
    })
}

/// Makes the schemas of the directory: the standard's, and the extensions that the file declares.
pub(crate) fn scim_schemas(file: &File) -> Schemas {
    match &file.provisioning {
        UserSource::Scim(scim) => declared_schemas(&scim.extensions),
        _ => Schemas::core_schemas(),
    }
}

/// The same of extensions alone.
pub(crate) fn declared_schemas(extensions: &ScimExtensions) -> Schemas {
    let declared = extensions.0.iter().map(|extension| Schema {
        urn: extension.urn.as_str().into(),
        name: extension.name.clone().into(),
        description: format!("What {} adds to a person", extension.name).into(),
        attributes: extension.attributes.iter().map(|row| scim_attribute(&extension.name, row)).collect(),
    });
    Schemas::with_extensions(declared.collect())
}

fn scim_attribute(extension: &str, declared: &DeclaredAttribute) -> Arc<Attribute> {
    let (kind, references): (_, &[_]) = match declared.kind {
        ValueType::String => (Type::String, &[]),
        ValueType::Boolean => (Type::Boolean, &[]),
        ValueType::Integer => (Type::Integer, &[]),
        ValueType::Decimal => (Type::Decimal, &[]),
        ValueType::DateTime => (Type::DateTime, &[]),
        ValueType::Reference => (Type::Reference, &["uri"]),
        ValueType::Complex => (Type::Complex, &[]),
    };
    Arc::new(Attribute {
        name: declared.name.clone().into(),
        kind,
        multi: declared.multi_valued,
        required: declared.required,
        // A reference is compared byte for byte (RFC 7643 §2.3.7).
        case_exact: declared.case_exact || kind == Type::Reference,
        mutability: if declared.read_only { Mutability::ReadOnly } else { Mutability::ReadWrite },
        returned: Returned::Default,
        uniqueness: if declared.unique { Uniqueness::Server } else { Uniqueness::None },
        canonical: declared.canonical.iter().cloned().map(Cow::Owned).collect(),
        references,
        description: format!("{} of {extension}", declared.name).into(),
        subs: declared.parts.iter().map(|part| scim_attribute(extension, part)).collect(),
    })
}

/// Reads what logs say of people.
fn log_detail(file: &File) -> proxy::LogDetail {
    proxy::LogDetail { identity: file.log.identity, client: file.log.client }
}

/// Gives the identity providers that an operator may move links to: those that are configured.
pub(crate) fn relink_to(file: &File) -> Vec<store::RelinkTo> {
    let to = |idp: &IdpEntry| {
        let issuer = saml::known_issuer(&file.state, idp)?;
        Some(store::RelinkTo { idp: idp.name.clone(), issuer })
    };
    file.idps.iter().filter_map(to).collect()
}

/// Makes the terms that an operator's orders go by.
pub(crate) fn order_terms(file: &File) -> Terms {
    let people = match file.provisioning {
        UserSource::Scim(_) => People::Directory,
        UserSource::Invited => People::Invited,
        UserSource::None => People::Login,
    };
    let address = format!("{}{}/", file.public_url.origin(), file.public_url.path());
    let (log, relink_to) = (log_detail(file), relink_to(file));
    Terms { people: Some(people), address: Some(address), log, relink_to, knows_headers: true }
}

/// Milliseconds, as the parts count them.
pub(crate) fn to_ms(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The host that an IdP is asked at, as it is written.
fn asked_host(idp: &IdpEntry) -> Option<String> {
    match &idp.protocol {
        IdpProtocol::Oidc(oidc) => Some(oidc.issuer.host().host().to_owned()),
        IdpProtocol::Saml(entry) => match &entry.block.metadata {
            MetadataText::Address(address) => Some(url::Url::parse(address).ok()?.host_str()?.to_owned()),
            MetadataText::Document(_) => None,
        },
    }
}

/// Makes the hosts that requests of our own may go to.
pub(crate) fn fetch_reach(file: &File) -> FetchReach {
    FetchReach {
        issuers: file.idps.iter().filter_map(asked_host).collect(),
        allow: file.http_client.allow.clone(),
        loopback: file.public_url.is_loopback(),
    }
}

/// Makes the app's health check, where the file names one.
pub(crate) fn app_health(file: &File, ways: &AppWays) -> Option<AppHealth> {
    let path = file.upstream.health.as_ref()?.path().clone();
    let secret = secret_header(&file.upstream);
    Some(AppHealth {
        upstream: proxy::Upstream::new(&ways.main),
        public: file.public_url.authority().clone(),
        path,
        secret,
    })
}

/// Lists the addresses of all applications, the app's own first.
pub(crate) fn upstream_urls(file: &File) -> Vec<UpstreamUrl> {
    let others = file.upstreams.0.iter().map(|(_, upstream)| upstream.url.clone());
    std::iter::once(file.upstream.url.clone()).chain(others).collect()
}

/// The header by which the application knows its gate.
fn secret_header(upstream: &UpstreamBlock) -> Option<(HeaderName, HeaderValue)> {
    let SecretHeader { name: WritableName(name), value } = upstream.secret_header.as_ref()?;
    // What a header cannot carry was refused with the file.
    let mut value = HeaderValue::from_str(value.expose()).ok()?;
    value.set_sensitive(true);
    Some((name.clone(), value))
}

/// The log's level.
pub(crate) fn log_level(file: &File) -> LevelFilter {
    match file.log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// The log's form; where the file says nothing, text on a terminal.
pub(crate) fn log_format(file: &File) -> Format {
    match file.log.format {
        Some(LogFormat::Json) => Format::Json,
        Some(LogFormat::Text) => Format::text(),
        None => Format::for_this_terminal(),
    }
}

/// Joins everything that the data plane goes by.
pub(crate) fn proxy_rules(
    file: &File,
    policy: Arc<Policy>,
    pages: proxy::Pages,
    ways: &AppWays,
) -> proxy::Rules {
    let accept = proxy::Accept {
        trusted: proxy::Networks::new(file.trusted_proxies.clone()),
        strip: proxy::Strip::new(&file.stripped),
        head: file.limits.head.bytes(),
    };
    proxy::Rules::new(policy, accept, log_detail(file), pages, |app| {
        let main = proxy::Upstream::new(&ways.main);
        let site = proxy::Site::new(app, "default", "default", &file.public_url, main)
            .with_secret(secret_header(&file.upstream));
        let others = ways.others.iter().zip(&file.upstreams.0);
        others.fold(site, |site, ((name, way), (_, block))| {
            site.with_upstream(name, proxy::Upstream::new(way), secret_header(block))
        })
    })
}

/// Bounds on what a client may take.
pub(crate) fn proxy_limits(file: &File, sockets: Option<usize>) -> proxy::Limits {
    proxy::Limits {
        head: file.limits.head.bytes(),
        head_time: file.limits.head_time,
        idle: file.limits.idle,
        send_buffer: file.limits.send_buffer.bytes(),
        sockets,
    }
}

/// Gives the target of the access log, and its format.
pub(crate) fn access_log(file: &File) -> (LogTarget, LogFormat) {
    let format = match log_format(file) {
        Format::Json => LogFormat::Json,
        Format::Text { .. } => LogFormat::Text,
    };
    (file.log.access.clone(), format)
}

/// Everything that decides, compiled.
pub(crate) fn compile_policy(file: &File, version: u64) -> Arc<Policy> {
    Arc::new(file.compile_policy(portcullis_policy::RulesVersion(version)))
}
