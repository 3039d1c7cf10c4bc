//! The way to the application, with the files that a configuration names.

use portcullis_config::{File, ServerNameText, UpstreamUrl};
use portcullis_proxy::{AppTls, AppTlsError, AppTlsFiles, TlsFiles, UpstreamPlace, UpstreamSettings};

/// Reads what the way to the application needs, anew with every configuration: a file may have other contents.
///
/// # Errors
/// [`AppTlsError`] with the first file that is wrong.
pub(crate) fn read_way(file: &File) -> Result<UpstreamSettings, AppTlsError> {
    let upstream = &file.upstream;
    let at = match &upstream.url {
        UpstreamUrl::Http(at) => UpstreamPlace::Http(at.clone()),
        UpstreamUrl::Unix(path) => UpstreamPlace::Unix(path.as_path().into()),
        UpstreamUrl::Https(at) => {
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
    })
}
