//! What is packed is whole, is what was built, and runs where nothing of the build is: on the program of the tests, packed
//! quickly. `make test-long` does the same with the release, in roots of other Debians (`tests/long/packages.rs`).

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::needs;
use crate::rig::shipped::{
    InRoot, PROGRAM, judge_bill, log_beside, printed, script, sources, unpack_image, write_bill,
};

/// What `--version` prints behind the name, in its parts: version, commit, date, features.
fn version_parts() -> (String, String, String, String) {
    let text = printed(Command::new(PROGRAM).arg("--version"));
    assert_eq!(text, printed(Command::new(PROGRAM).arg("-V")));
    let parts = || {
        let (version, rest) = text.strip_prefix("portcullis ")?.split_once(" (commit ")?;
        let (commit, rest) = rest.split_once(", ")?;
        let (date, features) = rest.strip_suffix(')')?.split_once("; features: ")?;
        Some([version, commit, date, features].map(str::to_owned))
    };
    let [version, commit, date, features] = parts().unwrap_or_else(|| panic!("{text}"));
    (version, commit, date, features)
}

#[test]
fn the_version_has_its_four_parts() {
    let (version, commit, date, features) = version_parts();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let digits = commit.strip_suffix("+changes").unwrap_or(&commit);
    assert!(
        digits == "unknown" || digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_hexdigit()),
        "{commit}"
    );
    assert!(date == "unknown date" || date.len() == 10, "{date}");
    assert_eq!(features, if cfg!(feature = "saml") { "saml" } else { "none, WITHOUT SAML" });
}

/// `build.rs` by itself, in a folder that has what it looks at, asked as cargo asks it for a release.
fn ask_build_script(
    script: &Path,
    folder: &Path,
    profile: &str,
    variables: &[(&str, &str)],
) -> (String, String) {
    let text = printed(
        Command::new(script)
            .current_dir(folder)
            .env("CARGO_MANIFEST_DIR", folder)
            .env("PROFILE", profile)
            .env_remove("PORTCULLIS_COMMIT")
            .env_remove("SOURCE_DATE_EPOCH")
            .envs(variables.iter().copied()),
    );
    let value = |name: &str| {
        let line = format!("cargo::rustc-env=PORTCULLIS_BUILD_{name}=");
        text.lines().find_map(|text| text.strip_prefix(&line)).unwrap().to_owned()
    };
    (value("COMMIT"), value("SECONDS"))
}

#[test]
fn a_build_tells_its_commit_and_no_other_ones() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("build-script");
    printed(
        Command::new("rustc").args(["--edition", "2024", "-o"]).arg(&script).arg(sources().join("build.rs")),
    );
    let repository = folder.path().join("repository");
    let within = repository.join("within");
    fs::create_dir_all(&within).unwrap();
    for file in ["Cargo.toml", "build.rs"] {
        fs::copy(sources().join(file), repository.join(file)).unwrap();
    }
    let nowhere = folder.path();
    let none = (String::new(), String::new());
    assert_eq!(ask_build_script(&script, nowhere, "release", &[]), none, "no repository");
    let told = [("PORTCULLIS_COMMIT", "0123456789ab"), ("SOURCE_DATE_EPOCH", "1700000000")];
    let as_told = ("0123456789ab".to_owned(), "1700000000".to_owned());
    assert_eq!(ask_build_script(&script, nowhere, "release", &told), as_told);
    assert_eq!(ask_build_script(&script, nowhere, "debug", &told), as_told);

    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command
            .current_dir(&repository)
            .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
            .args(words);
        printed(command.env("GIT_COMMITTER_DATE", "1600000000 +0000"))
    };
    git(&["init", "-q"]);
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "one"]);
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let of_git = (commit.clone(), "1600000000".to_owned());
    assert_eq!(ask_build_script(&script, &repository, "release", &[]), of_git);
    assert_eq!(ask_build_script(&script, &repository, "debug", &[]), none, "a development build asks nobody");
    assert_eq!(ask_build_script(&script, &repository, "release", &told), as_told);
    assert_eq!(ask_build_script(&script, &within, "release", &[]), none, "somebody else's repository");
    fs::write(repository.join("Cargo.toml"), "# another\n").unwrap();
    assert_eq!(ask_build_script(&script, &repository, "release", &[]).0, format!("{commit}+changes"));
}

#[test]
fn every_command_has_a_page_and_shells_complete_them() {
    let folder = tempfile::tempdir().unwrap();
    printed(Command::new(PROGRAM).arg("manuals").arg(folder.path()));
    let read = |path: &str| fs::read_to_string(folder.path().join(path)).unwrap();
    let main = read("man1/portcullis.1");
    assert!(main.contains(".TH portcullis 1"), "{main}");
    let named: Vec<&str> =
        main.lines().filter(|line| line.starts_with("portcullis\\-") && line.ends_with("(1)")).collect();
    assert!(named.len() > 10, "{named:?}");
    for line in named {
        let page = line.replace('\\', "").replace("(1)", ".1");
        assert!(read(&format!("man1/{page}")).contains(".SH SYNOPSIS"), "{page}");
    }
    assert!(read("man1/portcullis-user-end-sessions.1").contains("\\-\\-state"));
    assert!(read("zsh/_portcullis").starts_with("#compdef portcullis"));
    assert!(read("fish/portcullis.fish").contains("complete -c portcullis"));

    let complete = "set -u; . \"$0\"; COMP_WORDS=(portcullis user en); COMP_CWORD=2; COMP_LINE='portcullis user en'; \
                    _portcullis portcullis en user; printf '%s ' \"${COMPREPLY[@]}\"";
    let file = folder.path().join("bash/portcullis.bash");
    assert_eq!(printed(Command::new("bash").args(["-c", complete]).arg(file)), "enable end-sessions");
}

#[test]
fn the_unit_is_one_and_leaves_little_open() {
    needs!("packages");
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("portcullis.service");
    let text = fs::read_to_string(sources().join("packaging/portcullis.service")).unwrap();
    let started = "ExecStart=/usr/bin/portcullis ";
    assert!(text.contains(started));
    // What it starts must be there; its manual need not be.
    let text = text.replace(started, &format!("ExecStart={PROGRAM} "));
    let text: String =
        text.lines().filter(|line| !line.starts_with("Documentation=")).map(|l| format!("{l}\n")).collect();
    fs::write(&unit, text).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(&unit).output().unwrap();
    let faults = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !faults.contains("portcullis"), "{faults}");
    // In tenths: 2.0 of 10.
    let mut security = Command::new("systemd-analyze");
    let told =
        printed(security.args(["security", "--offline=true", "--threshold=20", "--no-pager"]).arg(&unit));
    assert!(told.contains("Overall exposure level"), "{told}");
}

#[test]
fn the_bill_of_materials_keeps_the_schema_and_is_the_same_twice() {
    needs!("packages");
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.json"), folder.path().join("two.json"));
    write_bill(&one);
    write_bill(&two);
    assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
    let bill = judge_bill(&one);
    let names: Vec<&str> =
        bill["components"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names.contains(&"samael"), cfg!(feature = "saml"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_debian_package_has_what_it_needs_and_runs_unpacked() {
    needs!("packages");
    let folder = tempfile::tempdir().unwrap();
    let bill = folder.path().join("bill.json");
    write_bill(&bill);
    let pack = |to: &str| {
        let mut command = script("deb");
        command
            .args(["--fast", "--binary", PROGRAM, "--sbom"])
            .arg(&bill)
            .arg("--out")
            .arg(folder.path().join(to));
        printed(&mut command)
    };
    let package = pack("one");
    assert_eq!(fs::read(&package).unwrap(), fs::read(pack("two")).unwrap(), "the same bytes");

    let field = |name: &str| printed(Command::new("dpkg-deb").args(["-f", &package, name]));
    assert_eq!(field("Package"), "portcullis");
    let depends = field("Depends");
    assert!(depends.starts_with("libc6 (>= "), "{depends}");
    assert_eq!(depends.contains("libxmlsec1-openssl"), cfg!(feature = "saml"), "{depends}");
    let control = folder.path().join("control");
    printed(Command::new("dpkg-deb").args(["-e", &package]).arg(&control));
    assert_eq!(fs::read_to_string(control.join("conffiles")).unwrap(), "/etc/portcullis/portcullis.yaml\n");
    for script in ["postinst", "prerm", "postrm"] {
        printed(Command::new("sh").arg("-n").arg(control.join(script)));
    }

    let root = folder.path().join("root");
    printed(Command::new("dpkg-deb").args(["-x", &package]).arg(&root));
    printed(Command::new("md5sum").arg("-c").arg("--quiet").arg(control.join("md5sums")).current_dir(&root));
    for file in [
        "usr/lib/systemd/system/portcullis.service",
        "usr/lib/sysusers.d/portcullis.conf",
        "usr/share/man/man1/portcullis-run.1.gz",
        "usr/share/bash-completion/completions/portcullis",
        "usr/share/zsh/vendor-completions/_portcullis",
        "usr/share/fish/vendor_completions.d/portcullis.fish",
        "usr/share/doc/portcullis/sbom.cdx.json",
        "usr/share/doc/portcullis/examples/smallest.yaml",
    ] {
        assert!(root.join(file).exists(), "{file}");
    }
    let program = root.join("usr/bin/portcullis");
    let own = InRoot::new();
    let (configuration, secret) =
        (root.join("etc/portcullis/portcullis.yaml"), root.join("etc/portcullis/oidc"));
    let checked = |words: &[&str]| {
        printed(Command::new(&program).arg("-c").arg(&configuration).arg("check").args(words))
    };
    assert!(checked(&["--text-only"]).contains("fine"), "as it is shipped");
    fs::write(&secret, "a-secret").unwrap();
    let state = folder.path().join("state");
    let text = own.configuration(&secret.display().to_string());
    fs::write(&configuration, text.replace("/var/lib/portcullis", &state.display().to_string())).unwrap();
    assert!(checked(&[]).contains("fine"));
    let mut running = Command::new(&program);
    running.arg("-c").arg(&configuration).arg("run").stdout(Stdio::null()).stderr(log_beside(&root));
    let mut running = running.spawn().unwrap();
    own.see_served(&mut running).await;
    running.kill().unwrap();
    running.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_runs_in_a_root_that_nobody_can_write_to() {
    needs!("packages");
    let folder = tempfile::tempdir().unwrap();
    let bill = folder.path().join("bill.json");
    write_bill(&bill);
    let pack = |to: &str| {
        let mut command = script("image");
        command
            .args(["--fast", "--binary", PROGRAM, "--sbom"])
            .arg(&bill)
            .arg("--out")
            .arg(folder.path().join(to));
        printed(&mut command)
    };
    let archive = pack("one");
    assert_eq!(fs::read(&archive).unwrap(), fs::read(pack("two")).unwrap(), "the same bytes");
    let image = unpack_image(Path::new(&archive), folder.path());
    let labels = &image.config["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(labels["org.opencontainers.image.revision"], version_parts().1);
    assert!(image.config["config"].get("Healthcheck").is_none());
    assert!(!image.root.join("bin/sh").exists() && !image.root.join("usr/bin/sh").exists(), "no shell");
    assert!(fs::metadata(image.root.join("etc/ssl/certs/ca-certificates.crt")).unwrap().len() > 10_000);
    assert!(image.root.join("var/lib/dpkg/status.d/libc6").exists());
    image.serve_read_only().await;
}
