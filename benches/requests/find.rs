//! Programs of the machine that are measured.

use std::path::PathBuf;

/// Where a program of the machine is, or of Debian's packages unpacked by `benches/peers`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let unpacked = std::env::var_os("PORTCULLIS_BENCH_PEERS").map(PathBuf::from);
    let unpacked = unpacked.into_iter().flat_map(|root| [root.join("usr/sbin"), root.join("usr/bin")]);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    on_path.into_iter().chain(system).chain(unpacked).map(|of| of.join(program)).find(|path| path.is_file())
}
