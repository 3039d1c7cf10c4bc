//! The ways to the applications, with the files that a configuration names.

use portcullis_config::{File, ServerNameText, UpstreamBlock, UpstreamUrl};
use portcullis_proxy::{AppTls, AppTlsError, AppTlsFiles, TlsFiles, UpstreamPlace, UpstreamSettings};

/// The ways to the applications of a configuration.
pub(crate) struct AppWays {
    /// To the app's own.
    pub(crate) main: UpstreamSettings,
    /// To those that rules lead to, by name.
    pub(crate) others: Vec<(String, UpstreamSettings)>,
}

/// Reads what the ways to the applications need, anew with every configuration: a file may have other contents.
///
/// # Errors
/// [`AppTlsError`] with the first file that is wrong.
pub(crate) fn read_ways(file: &File) -> Result<AppWays, AppTlsError> {
    let others = file.upstreams.0.iter().map(|(name, upstream)| Ok((name.clone(), read_way(upstream)?)));
    Ok(AppWays { main: read_way(&file.upstream)?, others: others.collect::<Result<_, _>>()? })
}

fn read_way(upstream: &UpstreamBlock) -> Result<UpstreamSettings, AppTlsError> {
    let at = match &upstream.url {
        UpstreamUrl::Http { at, .. } => UpstreamPlace::Http(at.clone()),
        UpstreamUrl::H2c { at, .. } => UpstreamPlace::H2c(at.clone()),
        UpstreamUrl::Unix(path) => UpstreamPlace::Unix(path.as_path().into()),
        UpstreamUrl::Https { at, .. } => {
            let client = upstream.certificate.clone().zip(upstream.key.clone());
            let named = upstream.server_name.as_ref().map(|ServerNameText(name)| name.clone());
            let files = AppTlsFiles {
                ca_file: upstream.ca_file.clone(),
                client: client.map(|(certificate, key)| TlsFiles { certificate, key }),
                server_name: named.unwrap_or_else(|| at.host().to_owned()),
            };
            UpstreamPlace::Https(at.clone(), AppTls::load(&files)?)
        }
    };
    Ok(UpstreamSettings {
        at,
        connect_timeout: upstream.connect_timeout,
        first_byte_timeout: upstream.first_byte_timeout,
        host: upstream.host.clone(),
        header_case: upstream.header_case,
        path: upstream.path(),
    })
}
