//! Good files and what they come to: the examples, the documentation, what is watched, what is warned of.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use portcullis_config::{
    Checked, Domains, Environment, File, IdpProtocol, Loaded, Preset, UserSource, check_file, check_text,
    find_default_path, list_urls, load_file,
};
use portcullis_policy::{
    HeaderEncoding, HostSent, LinkTo, LogClient, LogIdentity, LogTarget, RulesVersion, UserFrom,
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const DAY: i64 = 24 * 3600;
/// 2026-01-01.
const NEW_YEAR: i64 = 1_767_225_600;

/// A certificate for a host, good in the year 2026, and its key.
fn certificate(host: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Writes a file that nobody else may read.
fn write_secret(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn environment() -> Environment {
    Environment::with_variables([
        ("HOME", "/home/nora"),
        ("OIDC", "hunter2-oidc"),
        ("SCIM", TOKEN),
        ("SHORT", "hunter2"),
    ])
    .at_time(NEW_YEAR + 100 * DAY)
}

/// The folders in which the examples have their secrets and certificates.
const FOLDERS_OF_SECRETS: [&str; 5] = [
    "/run/secrets",
    "/run/credentials/portcullis.service",
    "/run/credentials/portcullis@wiki.service",
    "/run/credentials/portcullis@tickets.service",
    "/etc/portcullis/tls",
];

/// A folder with the secrets the examples name, and the examples pointed at it.
fn folder_of_examples() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().display().to_string();
    let (chain, key) = certificate("wiki.example.com");
    let (scim_chain, scim_key) = certificate("scim.wiki.example.com");
    for (name, content) in [
        ("oidc", "hunter2-oidc\n"),
        ("scim", TOKEN),
        ("master-key", &TOKEN.repeat(2)),
        ("tls.crt", &chain),
        ("tls.key", &key),
        ("wiki.crt", &chain),
        ("wiki.key", &key),
        ("scim.crt", &scim_chain),
        ("scim.key", &scim_key),
    ] {
        write_secret(&folder.path().join(name), content);
    }
    let examples = root().join("examples");
    for path in files_below(&examples) {
        if path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = FOLDERS_OF_SECRETS.iter().fold(text, |text, there| text.replace(there, &secrets));
            let copy = folder.path().join(path.strip_prefix(&examples).unwrap());
            std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
            std::fs::write(copy, text).unwrap();
        }
    }
    folder
}

/// All files of a folder and of those in it.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Tells whether a file is a configuration: beside those there are files for other programs.
fn is_configuration(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "yaml")
        && std::fs::read_to_string(path).unwrap().lines().any(|line| line.starts_with("public_url:"))
}

fn loaded(text: &str) -> Loaded {
    portcullis_config::load_text(Path::new("portcullis.yaml"), text.as_bytes(), &environment())
        .unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn smallest() -> String {
    std::fs::read_to_string(root().join("examples/smallest.yaml"))
        .unwrap()
        .replace("${file:/run/secrets/oidc}", "${env:OIDC}")
}

#[test]
fn every_example_loads_without_a_warning() {
    let folder = folder_of_examples();
    let mut seen = 0;
    for path in files_below(folder.path()).iter().filter(|path| is_configuration(path)) {
        let loaded = load_file(path, &environment()).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(loaded.warnings, [], "{}", path.display());
        seen += 1;
    }
    assert_eq!(seen, 9, "examples");
}

#[test]
fn the_smallest_file_has_every_default() {
    let Loaded { file, warnings, watched, .. } = loaded(&smallest());
    assert_eq!(warnings, []);
    assert_eq!(watched, [std::path::absolute("portcullis.yaml").unwrap()]);
    assert_eq!(file.public_url.to_string(), "https://wiki.example.com");
    assert_eq!(file.upstream.url.to_string(), "http://127.0.0.1:3000");
    assert_eq!(file.upstream.connect_timeout, Duration::from_secs(5));
    assert_eq!(file.upstream.first_byte_timeout, Duration::from_secs(300));
    assert_eq!((&file.upstream.health, &file.upstream.host), (&None, &HostSent::Public));
    assert_eq!((file.app.host.as_str(), file.app.base.as_str()), ("wiki.example.com", ""));
    assert_eq!((file.app.prefix.as_str(), file.prefix.as_str()), ("/.portcullis", "/.portcullis"));
    assert!(file.bindings.is_empty());
    assert_eq!(file.identity.user, UserFrom::Email);
    assert_eq!((file.idps[0].name.as_str(), file.idps[0].preset), ("okta", Preset::Generic));
    assert_eq!((file.idps[0].link.claim.as_str(), file.idps[0].link.to), ("sub", LinkTo::ExternalId));
    assert_eq!(file.idps[0].domains, Domains::Any);
    let IdpProtocol::Oidc(oidc) = &file.idps[0].protocol else { panic!("not OpenID Connect") };
    assert_eq!(oidc.client_secret.expose(), "hunter2-oidc");
    assert_eq!(oidc.scopes, ["openid", "profile", "email"]);
    assert_eq!(oidc.skew, Duration::from_secs(60));
    assert!(!oidc.trust_email);
    assert!(matches!(file.provisioning, UserSource::None));
    assert_eq!(file.session.idle, Duration::from_secs(2 * 3600));
    assert_eq!(file.session.absolute, Duration::from_secs(12 * 3600));
    assert_eq!(file.listen.proxy.address.to_string(), "127.0.0.1:8080");
    assert_eq!(file.listen.scim.address.to_string(), "127.0.0.1:8081");
    assert_eq!(file.listen.health.address.to_string(), "127.0.0.1:8082");
    assert!(file.listen.proxy.tls.is_none());
    assert_eq!(file.state, Path::new("/home/nora/.local/state/portcullis"));
    assert_eq!(file.database, file.state.join("portcullis.db"));
    assert_eq!((file.log.identity, file.log.client), (LogIdentity::Id, LogClient::Full));
    assert_eq!((file.log.format, &file.log.access), (None, &LogTarget::Stdout));
    assert_eq!((file.limits.head.bytes(), file.limits.send_buffer.bytes()), (65536, 65536));
    assert_eq!((file.limits.head_time, file.limits.idle), (Duration::from_secs(10), Duration::from_secs(75)));
    assert_eq!(file.stop_grace, Duration::from_secs(30));
    assert!(file.trusted_proxies.is_empty() && file.http_client.allow.is_empty() && file.keys.is_none());
    assert_eq!(file.compile_policy(RulesVersion(7)).rules_version(), RulesVersion(7));
}

/// Where a pipeline checks the file, its folder is another than where it will run.
#[test]
fn a_state_folder_beside_the_file_is_as_long_as_it_is_there() {
    let file = Path::new("/builds/").join("a".repeat(120)).join("c.yaml");
    let text = format!("{}state: st\n", smallest());
    check_text(&file, text.as_bytes(), &environment().text_only()).unwrap();
    let said = check_text(&file, text.as_bytes(), &environment()).unwrap_err().to_string();
    assert!(said.contains("/st: a path of 13") && said.contains("at most 96 bytes"), "{said}");
}

/// A preset knows how its product reads values; what the file says comes before it.
#[test]
fn headers_are_written_as_the_product_reads_them() {
    use HeaderEncoding::{Latin1, Percent, Utf8};
    for (words, encoding) in [
        ("preset: superset", Percent),
        ("preset: gitea", Utf8),
        ("preset: mediawiki", Utf8),
        ("preset: sonarqube", Latin1),
        ("preset: gitea, encoding: percent", Percent),
        ("preset: x-forwarded, encoding: latin1", Latin1),
    ] {
        let file = loaded(&format!("{}\nheaders: {{ {words} }}\n", smallest())).file;
        assert!(file.identity.rules.iter().all(|rule| rule.encoding == encoding), "{words}");
    }
}

/// A name that ends in a blank of another kind is another name, to a group as to a directory.
#[test]
fn a_group_is_bound_by_its_whole_name() {
    let folder = tempfile::tempdir().unwrap();
    let bindings =
        "version: 1\nroles: [a]\nconflicts: []\nbindings:\n  - group: \"admins\\u00a0\"\n    role: a\n";
    let path = folder.path().join("b.yml");
    std::fs::write(&path, bindings).unwrap();
    let file = loaded(&format!("{}\nbindings: {}\n", smallest(), path.display())).file;
    let roles = |group: &str| file.bindings.resolve_stated([group], None).roles.names().len();
    assert_eq!((roles("admins"), roles("admins\u{a0}")), (0, 1));
}

#[test]
fn the_example_with_a_directory_says_it_all() {
    let folder = folder_of_examples();
    let at = |name: &str| folder.path().join(name);
    let Loaded { file, watched, .. } = load_file(&at("directory.yaml"), &environment()).unwrap();
    let UserSource::Scim(scim) = &file.provisioning else { panic!("no directory") };
    let tokens = scim.token.as_ref().unwrap();
    assert_eq!(tokens.iter().map(|token| token.expose()).collect::<Vec<_>>(), [TOKEN]);
    assert_eq!((scim.rate.per_second.0, scim.rate.burst.0), (100, 1000));
    assert_eq!(file.identity.user, UserFrom::UserName);
    assert_eq!(file.idps[0].domains, Domains::Only(vec!["example.com".into()]));
    assert_eq!(
        (file.idps[0].link.claim.as_str(), file.idps[0].link.to),
        ("preferred_username", LinkTo::UserName)
    );
    let roles: Vec<&str> = file.bindings.known_roles().iter().map(|role| &**role).collect();
    assert_eq!(roles, ["workspace.member", "workspace.admin", "org.audit"]);
    let both = file.bindings.resolve_stated(["engineering", "Wiki owners", "Auditors"], None);
    assert_eq!(
        both.roles.names().iter().map(|role| &**role).collect::<Vec<_>>(),
        ["workspace.member", "org.audit"]
    );
    assert_eq!(file.listen.proxy.tls.unwrap().certificates[0].key, at("tls.key"));
    assert_eq!((file.log.identity, file.log.client), (LogIdentity::Name, LogClient::Prefix));
    let mut watched = watched;
    watched.sort();
    let mut expected = ["directory.yaml", "oidc", "scim", "scim.bindings.yml", "tls.crt", "tls.key"].map(at);
    expected.sort();
    assert_eq!(watched, expected);
}

#[test]
fn addresses_are_printed_under_the_vendors_words() {
    let folder = folder_of_examples();
    let file = load_file(&folder.path().join("directory.yaml"), &environment()).unwrap().file;
    assert_eq!(
        list_urls(&file).iter().map(|(word, url)| (word.as_str(), url.clone())).collect::<Vec<_>>(),
        [
            ("redirect URI (platform Web)", "https://wiki.example.com/.portcullis/callback/entra".to_owned()),
            ("home page URL", "https://wiki.example.com/.portcullis/login".to_owned()),
            (
                "redirect URI (platform Web), for the return after a logout",
                "https://wiki.example.com/.portcullis/logged-out".to_owned()
            ),
            ("tenant URL (provisioning)", "https://scim.wiki.example.com/scim/v2".to_owned()),
            ("tenant URL (provisioning) of SCIM 1.1", "https://scim.wiki.example.com/scim/v1".to_owned()),
        ]
    );
    let below = smallest().replace("wiki.example.com", "example.com:8443/wiki/") + "prefix: /.gate/way\n";
    let urls: Vec<String> = list_urls(&loaded(&below).file).into_iter().map(|(_, url)| url).collect();
    assert_eq!(urls[0], "https://example.com:8443/wiki/.gate/way/callback/okta");
    assert_eq!(urls[3], "https://example.com:8443/wiki/.gate/way/backchannel-logout/okta");
    assert_eq!(urls.len(), 4);
}

#[test]
fn a_check_needs_no_secret_where_it_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["directory.yaml", "scim.bindings.yml", "smallest.yaml"] {
        std::fs::copy(root().join("examples").join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("directory.yaml");
    let elsewhere = environment().text_only();
    let Checked { urls, warnings, .. } = check_file(&path, &elsewhere).unwrap();
    assert_eq!((urls.len(), warnings.len()), (5, 0));
    let here = check_file(&path, &environment()).unwrap_err().to_string();
    assert!(here.ends_with("\n4 problems."), "{here}");
    // A configuration that is to be used is never read without its secrets.
    assert!(load_file(&path, &elsewhere).is_err());
}

#[test]
fn what_works_and_deserves_a_look_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = "version: 1\nroles: [a, b]\nconflicts: []\nbindings:\n  - group: A\n    role: a\n";
    std::fs::write(folder.path().join("b.yml"), bindings).unwrap();
    let (chain, key) = certificate("app.localhost");
    write_secret(&folder.path().join("c.pem"), &(chain + &key));
    let text = "\
public_url: http://app.localhost:8080
upstream: http://127.0.0.1:3000
session:
  idle: 13h
idps:
  e:
    preset: entra
    oidc:
      issuer: http://idp.localhost:8084
      client_id: x
      client_secret: ${env:OIDC}
scim:
  public_url: http://localhost:8081
  token: ${env:SHORT}
bindings: b.yml
listen:
  proxy:
    address: 127.0.0.1:8080
    tls:
      - certificate: c.pem
        key: c.pem
";
    let path = folder.path().join("c.yaml");
    let warned = portcullis_config::load_text(&path, text.as_bytes(), &environment()).unwrap();
    let beside = format!("{}/", folder.path().display());
    let said: Vec<String> = warned.warnings.iter().map(|w| w.to_string().replace(&beside, "")).collect();
    assert_eq!(
        said,
        [
            "c.yaml:4: session.idle: longer than session.absolute, so it never ends a session. Write at most 12h.",
            "c.yaml:6: idps.e: Entra does not send its immutable id by itself, and oid is looked for in externalId. Map \
         objectId to externalId in Entra's provisioning, or write link: with claim: preferred_username and to: userName.",
            "c.yaml:14: scim.token: the token has fewer than 24 characters, and whoever guesses it owns the directory. Make \
         one with `openssl rand -hex 32`.",
            "c.yaml:19: listen.proxy.tls: the listener speaks TLS, but public_url says http, so browsers would not. Write \
         public_url as https://.",
            "b.yml:2: roles[1]: nothing gives \"b\". Bind it, or leave it out.",
        ]
    );
}

/// A configuration with a certificate, and what is warned of so many days after the beginning of 2026.
fn warned_on(day: i64, host: &str, chain: &str, key: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    write_secret(&folder.path().join("tls.crt"), chain);
    write_secret(&folder.path().join("tls.key"), key);
    let text = smallest().replace("wiki.example.com", host)
        + "listen:\n  proxy:\n    address: 127.0.0.1:8443\n    tls:\n      - certificate: tls.crt\n        key: tls.key\n";
    let path = folder.path().join("c.yaml");
    let environment = environment().at_time(NEW_YEAR + day * DAY);
    let loaded = portcullis_config::load_text(&path, text.as_bytes(), &environment);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let [expiry] = loaded.file.expires.as_slice() else { panic!("{:?}", loaded.file.expires) };
    assert_eq!((expiry.kind, expiry.name.as_str()), ("certificate", "listen.proxy.tls[0]"));
    assert_eq!(expiry.at, NEW_YEAR + 365 * DAY);
    let beside = format!("{}/", folder.path().display());
    loaded.warnings.iter().map(|warning| warning.to_string().replace(&beside, "")).collect()
}

#[test]
fn certificates_that_end_or_are_anothers_are_warned_of() {
    let (chain, key) = certificate("wiki.example.com");
    let on = |day| warned_on(day, "wiki.example.com", &chain, &key);
    let place = "listen.proxy.tls[0].certificate: tls.crt";
    let line = on(400)[0].split(' ').next().unwrap().to_owned();
    assert_eq!(on(334), Vec::<String>::new(), "31 days before");
    assert_eq!(
        on(336),
        [format!(
            "{line} {place} ends in 29 days, on 2027-01-01. Renew it: the new one is served within seconds."
        )]
    );
    assert_eq!(
        on(364),
        [format!(
            "{line} {place} ends in a day, on 2027-01-01. Renew it: the new one is served within seconds."
        )]
    );
    assert_eq!(
        on(365),
        [format!(
            "{line} {place} has expired on 2027-01-01: browsers refuse it. Renew it: the new one is served within seconds."
        )]
    );
    assert_eq!(
        on(-1),
        [format!(
            "{line} {place} is not valid before 2026-01-01: browsers refuse it. Look at the clock of this machine, or \
             wait."
        )]
    );
    assert_eq!(
        warned_on(100, "other.example.com", &chain, &key),
        [format!(
            "{line} {place} is for wiki.example.com, and not for other.example.com, the host of public_url. Browsers \
             refuse it, unless something before Portcullis has one of its own."
        )]
    );
    assert_eq!(warned_on(100, "other.example.com:8443/wiki", &chain, &key).len(), 1);
}

#[test]
fn secrets_that_everybody_may_read_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(folder.path(), 0o755);
    let parents = folder.path().ancestors().skip(1);
    let closed_above = parents.map(|path| std::fs::metadata(path).unwrap().permissions().mode());
    assert!(closed_above.into_iter().all(|mode| mode & 0o001 != 0), "tests run below an open folder");
    let secret = folder.path().join("oidc");
    std::fs::write(&secret, "hunter2").unwrap();
    let path = folder.path().join("c.yaml");
    let text = smallest().replace("${env:OIDC}", "${file:oidc}");
    let warned = || {
        let loaded = portcullis_config::load_text(&path, text.as_bytes(), &environment()).unwrap();
        let beside = format!("{}/", folder.path().display());
        loaded.warnings.iter().map(|warning| warning.to_string().replace(&beside, "")).collect::<Vec<_>>()
    };
    open(&secret, 0o644);
    assert_eq!(warned().len(), 1);
    assert!(warned()[0].contains("every user of this machine may read oidc"), "{:?}", warned());
    assert!(warned()[0].ends_with("chmod o= oidc."), "{:?}", warned());
    open(&secret, 0o640);
    assert_eq!(warned(), Vec::<String>::new(), "a group is somebody's choice");
    // In a folder that is closed to others nobody reads it, whatever its own mode.
    open(&secret, 0o644);
    open(folder.path(), 0o700);
    assert_eq!(warned(), Vec::<String>::new());
}

#[test]
fn rules_that_leave_the_rest_of_the_site_out_are_warned_of() {
    let warned =
        |text: &str| -> Vec<String> { loaded(text).warnings.iter().map(ToString::to_string).collect() };
    let rule = |path: &str| format!("routes:\n  - path: {path}\n    allow: signed-in\n");
    for (base, path, few) in [
        ("wiki.example.com", "/a/**", true),
        ("wiki.example.com", "/*", true),
        ("wiki.example.com", "/**", false),
        ("example.com/wiki", "/wiki/**", false),
        ("example.com/wiki", "/**", false),
        ("example.com/wiki", "/wiki/a/**", true),
    ] {
        let said = warned(&(smallest().replace("wiki.example.com", base) + &rule(path)));
        assert_eq!(said.len(), usize::from(few), "{base} {path}: {said:?}");
        assert!(said.iter().all(|said| said.contains(": routes: no rule is for ")), "{said:?}");
    }
    assert_eq!(
        warned(&smallest()),
        Vec::<String>::new(),
        "without rules the whole site is for signed-in people"
    );
}

/// An address that anybody may have typed in is no good name to find people by.
#[test]
fn matching_people_by_their_address_is_warned_of() {
    let with = |link: &str, oidc: &str| {
        let text = format!(
            "public_url: https://a.example.com\nupstream: http://127.0.0.1:3000\nprovisioning: invited\nidps:\n  op:\n    \
             domains: [example.com]\n{link}    oidc:\n      issuer: https://op.example.com\n      client_id: c\n      \
             client_secret: ${{env:OIDC}}\n{oidc}"
        );
        let read =
            portcullis_config::load_text(&PathBuf::from("c.yaml"), text.as_bytes(), &environment()).unwrap();
        read.warnings.iter().map(ToString::to_string).filter(|said| said.contains("unverified_email")).count()
    };
    let link = |claim: &str| format!("    link: {{ claim: {claim}, to: userName }}\n");
    assert_eq!(with(&link("email"), ""), 1);
    assert_eq!(with(&link("mail"), "      claims: { email: mail }\n"), 1);
    assert_eq!(with(&link("email"), "      trust_email: true\n"), 0);
    assert_eq!(with(&link("sub"), ""), 0);
    assert_eq!(with(&format!("    preset: google\n{}", link("email")), ""), 0, "Google verifies them all");
}

#[test]
fn every_word_and_long_form_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), certificate("an authority").0).unwrap();
    let text = smallest().replace("upstream: http://127.0.0.1:3000\n", "")
        + "\
upstream:
  url: http://[::1]:3000
  connect_timeout: 500ms
  first_byte_timeout: 10m
  health: /healthz?deep=1
  host: App.Internal:8080
session: { idle: 1s, absolute: 30d, same_site: lax }
headers: { preset: x-forwarded, user: subject }
log: { format: text, level: trace, identity: none, client: none, access: access.log }
limits: { head: 8KiB, head_time: 1s, idle: 1m, send_buffer: 96KiB }
stop_grace: 2m
trusted_proxies: [10.0.0.0/8, '::1']
http_client: { ca_file: ca.pem, allow: ['[fd00::1]:443', idp.internal] }
store: { sqlite: data/wiki.db }
state: state
keys: \"${env:MASTER}\"
routes:
  - { path: /, methods: [GET, HEAD], allow: public, on_change: keep }
";
    let environment = Environment::with_variables([("OIDC", "x"), ("MASTER", &"ab".repeat(32))]);
    let path = folder.path().join("c.yaml");
    let loaded = portcullis_config::load_text(&path, text.as_bytes(), &environment);
    let file: File = loaded.unwrap_or_else(|problems| panic!("{problems}")).file;
    assert_eq!(file.upstream.url.to_string(), "http://[::1]:3000");
    assert_eq!(file.upstream.host, HostSent::Named(HeaderValue::from_static("app.internal:8080")));
    assert_eq!(file.upstream.health.as_ref().unwrap().path(), "/healthz?deep=1");
    assert_eq!(file.log.access, LogTarget::File(folder.path().join("access.log")));
    assert_eq!(file.database, folder.path().join("data/wiki.db"));
    assert_eq!(file.state, folder.path().join("state"));
    assert_eq!(file.keys.as_ref().unwrap().expose(), &[0xab; 32]);
    assert_eq!(file.stop_grace, Duration::from_secs(120));
    assert_eq!(file.http_client.allow[0].port, Some(443));
    assert!(file.trusted_proxies[0].contains("10.1.2.3".parse().unwrap()));
    let shown = format!("{file:?}");
    assert!(!shown.contains("abab"), "a secret is in {shown}");
}

#[test]
fn the_documentation_is_true() {
    let text = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let base = smallest();
    let folder = tempfile::tempdir().unwrap();
    let (mut whole, mut parts) = (0, 0);
    for block in text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        let text = if block.contains("public_url: https://wiki") && block.contains("upstream") {
            whole += 1;
            block.to_owned()
        } else if block.starts_with("version: 1") {
            std::fs::write(folder.path().join("b.yml"), block).unwrap();
            base.replace("provisioning: none", "scim:\n  public_url: https://scim.wiki.example.com")
                + "bindings: b.yml\n"
        } else {
            parts += 1;
            without_keys_of(&base, block) + block
        };
        let checked = check_text(&folder.path().join("c.yaml"), text.as_bytes(), &environment().text_only());
        if let Err(problems) = checked {
            panic!("{problems}\n{text}");
        }
    }
    assert!(whole >= 1 && parts >= 5, "{whole} {parts}");
}

/// The top-level blocks of `base` that `block` does not write itself.
fn without_keys_of(base: &str, block: &str) -> String {
    let key = |line: &str| line.split(':').next().unwrap().to_owned();
    let written: Vec<String> = block.lines().filter(|line| !line.starts_with([' ', '#'])).map(key).collect();
    let mut kept = String::new();
    let mut keeping = true;
    for line in base.lines() {
        if !line.starts_with([' ', '#']) {
            keeping = !written.contains(&key(line));
        }
        if keeping {
            kept += &format!("{line}\n");
        }
    }
    kept
}

#[test]
fn without_a_file_both_places_are_named() {
    // The tests run in the folder of the crate, which has none.
    let said = find_default_path().unwrap_err().to_string();
    assert_eq!(
        said,
        "portcullis.yaml: no configuration: neither here nor at /etc/portcullis/portcullis.yaml. Name one with -c \
         FILE.\n1 problem."
    );
    let missing = load_file(Path::new("/nowhere/c.yaml"), &environment()).unwrap_err().to_string();
    assert_eq!(missing, "/nowhere/c.yaml: cannot be read: No such file or directory.\n1 problem.");
}

proptest::proptest! {
    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = check_text(Path::new("c"), &bytes, &environment().text_only());
    }

    /// A good file with a piece replaced: nearer to what people write than noise is. Where the piece took a secret's
    /// whole key away and left the secret, it stands behind the value of the line above, as a part of that: no reader
    /// can know it for one.
    #[test]
    fn broken_files_never_panic_and_print_no_secret(
        at in 0_usize..2000, length in 0_usize..60, piece in "\\PC{0,12}|[\\[\\]{}:\\-#&*!|>'\"% \n]{0,6}"
    ) {
        let text = std::fs::read_to_string(root().join("examples/directory.yaml")).unwrap()
            .replace("${file:/run/secrets/oidc}", "hunter2")
            .replace("${file:/run/secrets/scim}", "'hunter2'");
        let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        let (start, end) = (floor(at), floor(at + length));
        let moved = ["\n      client_secret:", "\n  token:"].into_iter().any(|key| {
            let key = text.find(key).map(|from| from..from + key.len()).expect("the example's secrets");
            start <= key.start && key.end <= end && text[end..].split('\n').next().is_some_and(|rest| rest.contains("hunter2"))
        });
        proptest::prop_assume!(!moved);
        let broken = format!("{}{piece}{}", &text[..start], &text[end..]);
        let problems = check_text(Path::new("c"), broken.as_bytes(), &environment()).unwrap_err().to_string();
        proptest::prop_assert!(!problems.contains("hunter2"), "{problems}\n{broken}");
        proptest::prop_assert!(problems.lines().count() >= 2);
    }
}
