//! What is shipped, made of the release and used where an operator would: the Debian package installed in a Debian 12,
//! the tarball's program with the glibc of Debian 11, the image in a root that nobody can write to.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::needs;
use crate::rig::shipped::{InRoot, judge_bill, printed, sources, unpack_image};

/// The folder of what is shipped, made once for all tests: a release is minutes of work. `PORTCULLIS_SHIPPED` names one that
/// was made before, of the same commit.
fn shipped() -> &'static Path {
    static SHIPPED: OnceLock<PathBuf> = OnceLock::new();
    SHIPPED.get_or_init(|| {
        if let Some(made) = std::env::var_os("PORTCULLIS_SHIPPED") {
            return PathBuf::from(made);
        }
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| sources().join("target"), PathBuf::from);
        let folder = target.join("package");
        let made =
            outside_of_cargo(sources().join("packaging/package")).arg("--out").arg(&folder).status().unwrap();
        assert!(made.success(), "packaging/package: {made}");
        folder
    })
}

/// A command without what cargo tells a test of its own package: ring is built anew for each of these.
fn outside_of_cargo(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "OUT_DIR"]
            .iter()
            .any(|start| told.starts_with(start))
        {
            command.env_remove(&name);
        }
    }
    command
}

/// The one file of what is shipped whose name ends like this.
pub fn shipped_file(end: &str) -> PathBuf {
    let ends = |path: &PathBuf| path.to_string_lossy().ends_with(end);
    let mut found = fs::read_dir(shipped()).unwrap().map(|entry| entry.unwrap().path()).filter(ends);
    let file = found.next().unwrap_or_else(|| panic!("nothing ends in {end}"));
    assert!(found.next().is_none(), "several end in {end}");
    file
}

/// A Debian of its own, with the packages named and what they need.
fn debian(codename: &str, packages: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mirror = Command::new("apt-get").args(["indextargets", "--format", "$(SITE)"]).output().unwrap();
    let mirrors = String::from_utf8_lossy(&mirror.stdout).into_owned();
    let mirror = mirrors.lines().find(|site| site.trim_end_matches('/').ends_with("/debian"));
    // What it mounts is seen by nobody else and goes with it: a folder is removed at the end of a test, mounts and all.
    let mut make = Command::new("unshare");
    make.args(["--mount", "--propagation", "private", "mmdebstrap"]);
    make.args(["--quiet", "--mode=root", "--variant=apt", &format!("--include={packages}"), codename]);
    printed(make.arg(folder.path().join("root")).arg(mirror.unwrap_or("http://deb.debian.org/debian")));
    folder
}

/// A root that somebody is at home in: a shell command there, which must be fine.
fn told_in(root: &Path, shell: &str) -> String {
    printed(
        Command::new("chroot")
            .arg(root)
            .args(["sh", "-eu", "-c", shell])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// What `--version` prints must say of a release.
fn see_release(version: &str) {
    let commit =
        printed(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).current_dir(sources()));
    assert!(
        version.starts_with(&format!("portcullis {} (commit {commit}", env!("CARGO_PKG_VERSION"))),
        "{version}"
    );
    assert!(version.ends_with("; features: saml)") && !version.contains("unknown"), "{version}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_debian_package_is_installed_run_and_taken_away() {
    needs!("packages");
    needs!("roots");
    let folder = debian("bookworm", "systemd,ca-certificates");
    let root = folder.path().join("root");
    fs::copy(shipped_file(".deb"), root.join("portcullis.deb")).unwrap();
    told_in(&root, "apt-get update -q; apt-get install -y -q --no-install-recommends /portcullis.deb");
    see_release(&told_in(&root, "portcullis --version"));
    assert!(told_in(&root, "portcullis check --text-only").contains("fine"));
    assert!(told_in(&root, "getent passwd portcullis").contains(":/var/lib/portcullis:"));

    // As the user of the service.
    let own = InRoot::new();
    let configuration = root.join("etc/portcullis/portcullis.yaml");
    fs::write(&configuration, own.configuration("/etc/portcullis/secrets/oidc")).unwrap();
    told_in(
        &root,
        "printf secret >/etc/portcullis/secrets/oidc; chown -R portcullis: /etc/portcullis/secrets",
    );
    told_in(&root, "install -d -o portcullis -m 700 /var/lib/portcullis");
    let words = ["portcullis", "run"];
    own.serve(&root, "", "portcullis:portcullis", &words, &[]).await;

    told_in(&root, "apt-get purge -y -q portcullis");
    assert!(!root.join("usr/bin/portcullis").exists() && !configuration.exists());
    assert!(root.join("var/lib/portcullis/master.key").exists(), "what reads the database is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tarball_runs_with_an_older_glibc() {
    needs!("packages");
    needs!("roots");
    let tarball = shipped_file(".tar.gz");
    let folder = debian("bullseye", "ca-certificates");
    let root = folder.path().join("root");
    printed(Command::new("tar").arg("-xzf").arg(&tarball).arg("-C").arg(root.join("opt")));
    let unpacked = fs::read_dir(root.join("opt")).unwrap().next().unwrap().unwrap().path();
    let program = unpacked.join("bin/portcullis");
    let asked = printed(Command::new(sources().join("packaging/asks-for")).arg(&program).arg("2.28"));
    assert!(asked.starts_with("glibc 2."), "{asked}");
    let within = format!("/{}", program.strip_prefix(&root).unwrap().display());
    assert!(told_in(&root, "ldd --version").contains(" 2.31"));
    see_release(&told_in(&root, &format!("{within} --version")));

    let own = InRoot::new();
    fs::create_dir(root.join("etc/portcullis")).unwrap();
    fs::write(root.join("etc/portcullis/portcullis.yaml"), own.configuration("/etc/portcullis/oidc"))
        .unwrap();
    told_in(
        &root,
        "printf secret >/etc/portcullis/oidc; useradd --system portcullis; chown portcullis /etc/portcullis/oidc",
    );
    told_in(&root, "install -d -o portcullis -m 700 /var/lib/portcullis");
    let check = [&within, "check"];
    let as_user =
        |words: &[&str]| printed(Command::new("chroot").arg("--userspec=portcullis").arg(&root).args(words));
    assert!(as_user(&check).contains("fine"));
    own.serve(&root, "", "portcullis:", &[&within, "run"], &[]).await;
}

#[test]
fn the_tarballs_program_knows_saml_as_the_tests_program_does() {
    let folder = tempfile::tempdir().unwrap();
    printed(Command::new("tar").arg("-xzf").arg(shipped_file(".tar.gz")).arg("-C").arg(folder.path()));
    let unpacked = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    // Every response of the corpus, every login by SAML, and what is beside them, with another build of the program.
    let mut suite = outside_of_cargo("cargo");
    suite.args(["test", "--test", "suite", "--", "doctor::", "saml", "sign_in::", "revocation::"]);
    let told =
        printed(suite.env("PORTCULLIS_TEST_PROGRAM", unpacked.join("bin/portcullis")).current_dir(sources()));
    let passed =
        told.lines().find(|line| line.starts_with("test result: ok. ")).unwrap_or_else(|| panic!("{told}"));
    assert!(!passed.contains(" 0 passed"), "{passed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_runs_as_its_user_in_a_root_that_nobody_can_write_to() {
    needs!("packages");
    needs!("roots");
    let folder = tempfile::tempdir().unwrap();
    let archive = shipped_file("-oci-amd64.tar");
    let image = unpack_image(&archive, folder.path());
    let seen =
        printed(Command::new("skopeo").arg("inspect").arg(format!("oci-archive:{}", archive.display())));
    assert!(seen.contains("\"Architecture\": \"amd64\""), "{seen}");
    see_release(&printed(Command::new("chroot").arg(&image.root).args(["/usr/bin/portcullis", "--version"])));
    image.serve_read_only().await;
}

#[test]
fn every_bill_of_materials_keeps_the_schema_and_names_the_c_libraries_that_are_linked_in() {
    needs!("packages");
    let of_debian = judge_bill(&shipped_file("_amd64.cdx.json"));
    let portable = judge_bill(&shipped_file("-linux.cdx.json"));
    for (bill, are_in) in [(of_debian, false), (portable, true)] {
        let components = bill["components"].as_array().unwrap();
        for library in ["openssl", "libxml2", "xmlsec1"] {
            let is_in = components.iter().any(|one| {
                one["name"] == library
                    && one["purl"].as_str().is_some_and(|purl| purl.starts_with("pkg:deb/debian/"))
            });
            assert_eq!(is_in, are_in, "{library}");
        }
    }
    printed(Command::new("sha256sum").args(["-c", "--quiet", "SHA256SUMS"]).current_dir(shipped()));
}

#[test]
fn sources_without_a_repository_build_and_say_that_nothing_is_known() {
    needs!("packages");
    // Not beside the build of a release.
    shipped();
    let folder = tempfile::tempdir().unwrap();
    let unpack = "git archive HEAD | tar -x -C \"$0\"";
    printed(Command::new("sh").args(["-c", unpack]).arg(folder.path()).current_dir(sources()));
    let mut check = outside_of_cargo("cargo");
    check.args([
        "check",
        "--quiet",
        "-p",
        "portcullis",
        "--bin",
        "portcullis",
        "--profile",
        "quick",
        "--no-default-features",
    ]);
    check.env_remove("PORTCULLIS_COMMIT").env_remove("SOURCE_DATE_EPOCH").current_dir(folder.path());
    printed(check.env("CARGO_TARGET_DIR", folder.path().join("target")));
    let of_build = "cat \"$0\"/target/quick/build/portcullis-*/output";
    let told = printed(Command::new("sh").args(["-c", of_build]).arg(folder.path()));
    assert!(told.contains("cargo::rustc-env=PORTCULLIS_BUILD_COMMIT=\n"), "{told}");
    assert!(told.ends_with("cargo::rustc-env=PORTCULLIS_BUILD_SECONDS="), "{told}");
}
