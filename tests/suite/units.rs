//! The units of `examples/`: systemd takes them without a word and finds them hardened, and they fit the configuration
//! beside them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::needs;
use crate::rig::program::bounded;
use crate::rig::shape::read_example;

/// Each unit with the name under which it is started.
const UNITS: [(&str, &str); 3] = [
    ("systemd/portcullis.service", "portcullis.service"),
    ("systemd/wiki.service", "wiki.service"),
    ("several/portcullis@.service", "portcullis@wiki.service"),
];

/// The most that `systemd-analyze security` may find, in tenths.
const EXPOSURE: &str = "20";

/// Puts the units into a folder, with programs that are there.
fn write_units(folder: &Path) {
    for (example, name) in UNITS {
        let text = read_example(example);
        let text = text.replace("/usr/local/bin/portcullis", env!("CARGO_BIN_EXE_portcullis"));
        let text = text.replace("/usr/local/bin/wiki", "/bin/true");
        fs::write(folder.join(name), text).unwrap();
    }
}

fn analyze(folder: &Path, words: &[&str], unit: &str) -> (bool, String) {
    let mut command = Command::new("systemd-analyze");
    // The machine's own units are found behind them.
    command.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.display()));
    command.args(words).arg(folder.join(unit));
    let output = bounded(command);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

#[test]
fn systemd_takes_them_and_finds_them_hardened() {
    needs!("systemd");
    let folder = tempfile::tempdir().unwrap();
    write_units(folder.path());
    for (_, unit) in UNITS {
        let (is_taken, said) = analyze(folder.path(), &["verify"], unit);
        let of_ours: Vec<&str> =
            said.lines().filter(|line| UNITS.iter().any(|(_, name)| line.contains(name))).collect();
        assert!(is_taken && of_ours.is_empty(), "{unit}: {said}");
        let threshold = format!("--threshold={EXPOSURE}");
        let (is_hardened, said) = analyze(folder.path(), &["security", "--offline=true", &threshold], unit);
        assert!(is_hardened, "{unit}:\n{said}");
    }
}

/// All values of a key of a unit.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// What a unit loads is what the configuration asks for, and what it waits for is enough.
fn fits(unit: &str, configuration: &str, instance: &str) {
    let said: Value = serde_saphyr::from_str(configuration).unwrap();
    let full = if instance.is_empty() {
        "portcullis.service".to_owned()
    } else {
        format!("portcullis@{instance}.service")
    };
    let of_instance = |text: &str| text.replace("%i", instance);
    let mut asked: Vec<&str> = configuration
        .split("${file:")
        .skip(1)
        .map(|rest| rest.split('}').next().unwrap())
        .map(|path| path.strip_prefix(&format!("/run/credentials/{full}/")).unwrap())
        .collect();
    let credentials = values(unit, "LoadCredential");
    let mut loaded: Vec<&str> = credentials.iter().map(|value| value.split(':').next().unwrap()).collect();
    asked.sort_unstable();
    loaded.sort_unstable();
    assert_eq!(asked, loaded, "{full}");
    let state = of_instance(values(unit, "StateDirectory")[0]);
    assert_eq!(said["state"], format!("/var/lib/{state}"));
    assert_eq!(values(unit, "StateDirectoryMode"), ["0700"]);
    let stop: u32 = values(unit, "TimeoutStopSec")[0].parse().unwrap();
    // No file of them says otherwise: `stop_grace` is 30 s.
    assert!(said["stop_grace"].is_null() && stop >= 30 + 20, "{stop}");
    assert_eq!(values(unit, "RestartPreventExitStatus"), ["78"]);
    assert!(values(unit, "LimitNOFILE")[0].parse::<u32>().unwrap() >= 4096);
    // The application is begun first, so that it ends last.
    assert!(values(unit, "After")[0].contains(if instance.is_empty() {
        "wiki.service"
    } else {
        "%i.service"
    }));
}

#[test]
fn they_fit_the_configuration_beside_them() {
    for shape in ["systemd", "nginx", "caddy"] {
        let configuration = read_example(&format!("{shape}/portcullis.yaml"));
        fits(&read_example("systemd/portcullis.service"), &configuration, "");
    }
    for app in ["wiki", "tickets"] {
        fits(
            &read_example("several/portcullis@.service"),
            &read_example(&format!("several/{app}.yaml")),
            app,
        );
    }
}

#[test]
fn the_application_listens_on_loopback_alone() {
    let unit = read_example("systemd/wiki.service");
    let said: Value = serde_saphyr::from_str(&read_example("systemd/portcullis.yaml")).unwrap();
    let upstream = said["upstream"].as_str().unwrap().strip_prefix("http://").unwrap();
    let (host, port) = upstream.split_once(':').unwrap();
    assert_eq!(host, "127.0.0.1");
    assert!(values(&unit, "ExecStart")[0].ends_with(upstream));
    assert_eq!(values(&unit, "IPAddressDeny"), ["any"]);
    assert_eq!(values(&unit, "IPAddressAllow"), ["localhost"]);
    assert_eq!(values(&unit, "SocketBindDeny"), ["any"]);
    assert_eq!(values(&unit, "SocketBindAllow"), [format!("ipv4:tcp:{port}")]);
}
