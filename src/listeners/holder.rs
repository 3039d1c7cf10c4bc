//! Who holds a port, as far as the kernel tells it to this user: for one message, when a start finds it taken.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The process that listens where `address` cannot be listened on: `nginx (pid 123)`. `None` where it is another
/// user's, or another container's.
pub(crate) fn process_listening(address: SocketAddr) -> Option<String> {
    let table = |name: &str| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    let text = table("tcp") + &table("tcp6");
    let inode = text.lines().filter_map(parse_listener).find(|(at, _)| is_in_the_way(*at, address))?.1;
    let link = format!("socket:[{inode}]");
    let holds = |process: &Path| {
        let files = fs::read_dir(process.join("fd")).ok()?;
        files
            .flatten()
            .find(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == link.as_str()))
    };
    // Processes are numbers there; what else there is are names for them.
    let is_process =
        |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let mut processes = fs::read_dir("/proc").ok()?.flatten().filter(is_process);
    let process = processes.find(|entry| holds(&entry.path()).is_some())?;
    let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
    Some(format!("{} (pid {})", name.trim().escape_debug(), process.file_name().to_string_lossy()))
}

/// The address and the inode of a line of the kernel's table, if it is of a listener (proc_net_tcp in the kernel's
/// documentation).
fn parse_listener(line: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_whitespace();
    let (local, state) = (fields.nth(1)?, fields.nth(1)?);
    let inode = fields.nth(5)?.parse().ok()?;
    (state == "0A").then_some((socket_address(local)?, inode))
}

/// `0100007F:1F90`: words of 32 bits in the machine's own order, the port as it is read.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (nth, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(nth * 8)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

fn is_in_the_way(there: SocketAddr, wanted: SocketAddr) -> bool {
    let every = |ip: IpAddr, other: IpAddr| ip.is_unspecified() && (ip.is_ipv6() || other.is_ipv4());
    let (one, other) = (there.ip(), wanted.ip());
    there.port() == wanted.port() && (one == other || every(one, other) || every(other, one))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_of_our_own_is_found_and_a_free_port_is_nobody_s() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(any).unwrap();
            let address = listener.local_addr().unwrap();
            let holder = process_listening(address).unwrap();
            assert!(holder.ends_with(&format!("(pid {})", std::process::id())), "{holder}");
            drop(listener);
            assert_eq!(process_listening(address), None);
        }
    }

    #[test]
    fn lines_of_the_kernel_are_read_and_only_listeners_count() {
        let line = |state: &str, local: &str| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100"
            )
        };
        let word = u32::from_ne_bytes([127, 0, 0, 1]);
        let local = format!("{word:08X}:1F90");
        assert_eq!(parse_listener(&line("0A", &local)), Some(("127.0.0.1:8080".parse().unwrap(), 4711)));
        assert_eq!(parse_listener(&line("01", &local)), None);
        assert_eq!(parse_listener("  sl  local_address rem_address   st tx_queue"), None);
        assert_eq!(parse_listener(&line("0A", "ü:1")), None);
    }

    #[test]
    fn a_listener_on_every_address_is_in_the_way() {
        let way = |there: &str, wanted: &str| is_in_the_way(there.parse().unwrap(), wanted.parse().unwrap());
        assert!(
            way("0.0.0.0:1", "127.0.0.1:1") && way("127.0.0.1:1", "0.0.0.0:1") && way("[::]:1", "10.0.0.1:1")
        );
        assert!(
            !way("0.0.0.0:1", "127.0.0.1:2")
                && !way("127.0.0.1:1", "127.0.0.2:1")
                && !way("0.0.0.0:1", "[::1]:1")
        );
    }
}
