//! TLS of a core listener.

use std::sync::Arc;

use portcullis_proxy::{Certificates, ClientAuthorities};
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

/// Makes what shakes hands: HTTP/2 and HTTP/1.1, TLS 1.2 and 1.3. Without authorities every client is heard.
///
/// # Errors
/// The library's, where it refuses its own settings.
pub(crate) fn acceptor(
    certificates: Arc<Certificates>,
    clients: Option<&ClientAuthorities>,
) -> Result<TlsAcceptor, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificates);
    if let Some(clients) = clients {
        clients.forget_sessions(&mut config);
    }
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
