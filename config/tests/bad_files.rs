//! Bad files and what is said of them, word for word.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use portcullis_config::{Environment, load_text};

const SMALLEST: &str = "\
public_url: https://wiki.example.com
upstream: http://127.0.0.1:3000
provisioning: none
idps:
  okta:
    oidc:
      issuer: https://example.okta.com
      client_id: 0oa1b2c3
      client_secret: ${env:OIDC}
";

const DIRECTORY: &str = "\
public_url: https://wiki.example.com
upstream: http://127.0.0.1:3000
idps:
  okta:
    oidc:
      issuer: https://example.okta.com
      client_id: 0oa1b2c3
      client_secret: ${env:OIDC}
scim:
  public_url: https://scim.example.com
  token: ${env:SCIM}
";

fn environment() -> Environment {
    Environment::with_variables([
        ("HOME", "/home/nora"),
        ("OIDC", "hunter2-oidc"),
        ("SCIM", "hunter2-scim-0123456789abcdef"),
        ("SCIM2", "hunter2-next-0123456789abcdef"),
        ("SHORT", "hunter2"),
        ("BLANK", "hunter2 with a blank in it"),
    ])
}

/// What is said of a text, without the closing line.
fn said_of(text: &str) -> Vec<String> {
    said_in(Path::new("portcullis.yaml"), text)
}

fn said_in(path: &Path, text: &str) -> Vec<String> {
    let problems = match load_text(path, text.as_bytes(), &environment()) {
        Ok(_) => return Vec::new(),
        Err(problems) => problems.to_string(),
    };
    assert!(!problems.contains("hunter2"), "a secret is in {problems}");
    let mut lines: Vec<String> = problems.lines().map(str::to_owned).collect();
    let count = lines.pop().unwrap();
    let noun = if lines.len() == 1 { "problem" } else { "problems" };
    assert_eq!(count, format!("{} {noun}.", lines.len()), "{problems}");
    let name = path.display().to_string();
    lines.into_iter().map(|line| line.strip_prefix(&format!("{name}:")).unwrap_or(&line).to_owned()).collect()
}

/// Texts that follow one of the two good files, and what is said of the whole.
#[track_caller]
fn table(base: &str, cases: &[(&str, &str)]) {
    assert_eq!(said_of(base), Vec::<String>::new());
    let mut wrong = Vec::new();
    for (added, expected) in cases {
        let said = said_of(&format!("{base}{added}")).join("\n");
        if said != *expected {
            wrong.push(format!("{added}\n  said     {said}\n  expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn custom_attributes_that_nobody_could_use() {
    const OURS: &str = "  extensions:\n    urn:ietf:params:scim:schemas:extension:acme:2.0:User:\n";
    let ours = |attributes: &str| format!("{DIRECTORY}{OURS}{attributes}");
    assert_eq!(said_of(&format!("{DIRECTORY}  extensions: {{}}\n")), Vec::<String>::new());
    let good = "      costCenter: string
      skills: { type: string, multi_valued: true, case_exact: false, required: false, unique: false, canonical: [rust, go] }
      badge: { type: complex, attributes: { number: integer, site: { type: string, canonical: [B] } } }
      since: { type: dateTime, unique: true, required: true }
      page: reference
      score: decimal
      a-b_7: boolean
";
    assert_eq!(said_of(&ours(good)), Vec::<String>::new());
    let bad = "      a.b: string
      7a: string
      level: int
      Level: integer
      level: integer
      blob: binary
      none:
      key: { type: string, caseExact: true }
      no_type: { unique: true }
      flag: { type: boolean, unique: true }
      list: { type: string, unique: true, multi_valued: true }
      whole: { type: complex, unique: true, attributes: { a: string } }
      empty: { type: complex }
      bare: { type: complex, attributes: {} }
      simple: { type: string, attributes: { a: string } }
      nested: { type: complex, attributes: { a: { type: complex, attributes: { b: string } }, b: { type: string, unique: true } } }
      first: { type: complex, multi_valued: true, attributes: { primary: string, A: string, a: string } }
      number: { type: integer, case_exact: true, canonical: [1] }
      nearly: { type: datetyme }
";
    let said = said_of(&ours(bad));
    let at = |line: usize, key: &str, what: &str| {
        format!("{line}: scim.extensions.urn:ietf:params:scim:schemas:extension:acme:2.0:User.{key}: {what}")
    };
    let expected: Vec<String> =
        EXPECTED_CUSTOM.iter().map(|(line, key, what)| at(*line, key, what)).collect();
    assert_eq!(said, expected);

    let mut names = format!("{DIRECTORY}  extensions:\n");
    for urn in [
        "urn:ietf:params:scim:schemas:extension:Enterprise:2.0:User",
        "urn:ietf:params:scim:schemas:core:2.0:User",
        "urn:ietf:params:scim:schemas:extension:acme:2.0:Group",
        "urn:ietf:params:scim:schemas:extension:a:b:2.0:User",
        "urn:ietf:params:scim:schemas:extension::2.0:User",
        "acme",
        "urn:ietf:params:scim:schemas:extension:acme:2.0:User",
        "urn:ietf:params:scim:schemas:extension:ACME:2.0:User",
    ] {
        names.push_str(&format!("    {urn}:\n      a: string\n"));
    }
    let said = said_of(&names);
    assert_eq!(said.len(), 7, "{said:#?}");
    assert!(
        said[0].contains("the standard's own") && said[1].contains("a schema of the standard"),
        "{said:#?}"
    );
    assert!(said[2..6].iter().all(|line| line.contains("not the URN of an extension of User")), "{said:#?}");
    assert!(said[6].contains("written twice, in another case, first on line 25"), "{said:#?}");
    names.push_str("    urn:ietf:params:scim:schemas:extension:c:2.0:User:\n      a: string\n");
    assert!(said_of(&names)[0].contains("more than 8 extensions"));
    let many: String = (0..101).map(|n| format!("      a{n}: string\n")).collect();
    assert!(said_of(&ours(&many))[0].contains("more than 100 attributes"));
    let values: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    let many = format!("      a: {{ type: string, canonical: [{}] }}\n", values.join(", "));
    assert!(said_of(&ours(&many))[0].contains("more than 100 values"));
}

/// The line, the key, and what is said of it.
const EXPECTED_CUSTOM: &[(usize, &str, &str)] = &[
    (
        14,
        "a…",
        "not a name that an attribute may have. Use letters, digits, - and _, at most 64, beginning with a letter.",
    ),
    (
        15,
        "7a",
        "not a name that an attribute may have. Use letters, digits, - and _, at most 64, beginning with a letter.",
    ),
    (16, "level.type", "\"int\" is written integer."),
    (17, "Level", "written twice, in another case, first on line 16. Keep one."),
    (18, "level", "written twice, first on line 16. Keep one."),
    (19, "blob.type", "\"binary\" is nothing that a filter could find, and is not kept here."),
    (20, "none", "nothing stands behind the colon. Write its type, such as string."),
    (21, "key.caseExact", "no such key. Did you mean case_exact?"),
    (
        22,
        "no_type.type",
        "missing. Write string or boolean or integer or decimal or dateTime or reference or complex.",
    ),
    (23, "flag.unique", "of true and false two people would have all there are. Leave unique out."),
    (24, "list.unique", "of a list nobody could say which value is taken. Leave unique out."),
    (25, "whole.unique", "of a complex attribute nobody could say which part is meant. Leave unique out."),
    (
        26,
        "empty",
        "a complex attribute without attributes. Write attributes: { number: integer, site: string } beside it.",
    ),
    (27, "bare.attributes", "no attribute stands below it. Write one, such as costCenter: string."),
    (28, "simple.attributes", "has a meaning for type: complex alone. Write type: complex, or leave it out."),
    (29, "nested.attributes.a.attributes", "has no meaning for a part of a complex attribute. Leave it out."),
    (
        29,
        "nested.attributes.a.type",
        "a complex attribute has no complex parts (RFC 7643 §2.3.8). Write a simple type.",
    ),
    (29, "nested.attributes.b.unique", "has no meaning for a part of a complex attribute. Leave it out."),
    (
        30,
        "first.attributes.primary.type",
        "primary says which element of a list is preferred. Write boolean, or another name.",
    ),
    (30, "first.attributes.a", "written twice, in another case, first on line 30. Keep one."),
    (31, "number.case_exact", "has a meaning for type: string alone. Leave it out."),
    (31, "number.canonical", "has a meaning for type: string alone. Leave it out."),
    (32, "nearly.type", "\"datetyme\" is not known here. Did you mean dateTime?"),
];

#[test]
fn keys_that_are_not_known() {
    table(
        SMALLEST,
        &[
            ("upstrem: x\n", "10: upstrem: no such key. Did you mean upstream?"),
            ("sesion:\n  idle: 1h\n", "10: sesion: no such key. Did you mean session?"),
            ("session:\n  Idle: 1h\n", "11: session.Idle: no such key. Did you mean idle?"),
            ("session:\n  ttl: 1h\n", "11: session.ttl: no such key. Known: idle, absolute, same_site."),
            (
                "client_id: x\n",
                "10: client_id: no such key. Known as idps.*.oidc.client_id: look at the indentation.",
            ),
            (
                "log:\n  level: info\n  level: warn\n",
                "12: log.level: written twice, first on line 11. Keep one.",
            ),
            ("log: {}\nlog: {}\n", "11: log: written twice, first on line 10. Keep one."),
            ("<<: {}\n", "10: <<: merge keys are not read here. Write the keys out."),
            (
                "log: &l\n  level: info\nlimits:\n  <<: *l\n",
                "13: limits.<<: merge keys are not read here. Write the keys out.",
            ),
            (
                "client_secret=hunter2: x\n",
                "10: client_secret…: no such key. Known: public_url, upstream, provisioning, \
          idps, scim, import, bindings, routes, session, headers, listen, store, prefix, log, limits, stop_grace, trusted_proxies, \
          http_client, state, keys.",
            ),
        ],
    );
}

#[test]
fn keys_of_later_versions_are_refused_by_name() {
    let later = [
        "apps:\n  a: {}",
        "organizations: {}",
        "webhooks: []",
        "console:\n  role: x",
        "upstreams: {}",
        "directories: {}",
        "retention: {}",
        "support: x",
        "audit: {}",
        "app: {}",
        "roles_from: assertion",
        "session:\n  bind: [network-prefix]",
        "headers:\n  groups: {}",
        "headers:\n  encoding: {}",
        "headers:\n  strip: []",
        "http_client:\n  proxy: http://p",
        "store:\n  postgres: ${env:OIDC}",
        "listen:\n  proxy:\n    redirect: 0.0.0.0:80",
        "listen:\n  proxy:\n    proxy_protocol: true",
    ];
    for text in later {
        let said = said_of(&format!("{SMALLEST}{text}\n"));
        assert_eq!(said.len(), 1, "{text}: {said:?}");
        assert!(said[0].contains(": not in this version. "), "{text}: {said:?}");
    }
    table(
        SMALLEST,
        &[
            ("webhooks: []\n", "10: webhooks: not in this version. Leave it out."),
            (
                "apps:\n  wiki:\n    public_url: https://a.test\n",
                "10: apps: not in this version. One file fronts one app: write its public_url and upstream at the top.",
            ),
            (
                "store:\n  postgres: x\n  lease: 5s\n",
                "11: store.postgres: not in this version. Write store: sqlite.\n\
          12: store.lease: not in this version. Leave it out.",
            ),
        ],
    );
    // What is missing only because it is said in the words of a later version is not worth a word of its own.
    assert_eq!(
        said_of("organizations:\n  acme: {}\n"),
        [
            "1: organizations: not in this version. One organization is written by its idps: and scim: at the top.",
            "1: scim: users come from the directory (provisioning: scim), and there is no scim: block that feeds it. \
         Write scim: with public_url and token, or provisioning: invited or none.",
        ]
    );
}

/// The smallest file with SAML: what stands below `saml:`, and beside it.
fn saml_file(below: &str, beside: &str) -> String {
    let head = SMALLEST.split("    oidc:").next().unwrap();
    format!("{head}{beside}    saml:\n{below}")
}

#[test]
fn saml_that_could_let_nobody_in_or_too_many() {
    let fine = "      metadata: <x/>\n      trust_email: true\n";
    assert_eq!(said_of(&saml_file(fine, "    domains: [a.test]\n")), [""; 0]);
    let approving = format!("{fine}      keys: approve\n");
    assert_eq!(said_of(&saml_file(&approving, "    domains: [a.test]\n")), [""; 0]);
    for (below, beside, expected) in [
        (
            fine,
            "",
            "8: idps.okta.saml.trust_email: an unverified address would be believed of every domain. List the e-mail \
             domains in idps.okta.domains.",
        ),
        (
            "      metadata: <x/>\n",
            "",
            "6: idps.okta.saml: people are named by their e-mail address, and SAML never says that one was verified: \
             every login would be refused. Write trust_email: true with domains, where nobody chooses an address at \
             the identity provider; or headers.user: subject.",
        ),
        (
            "      metadata: <x/>\n      trust_email: true\n      name_id: transient\n",
            "    domains: [a.test]\n",
            "10: idps.okta.saml.name_id: a transient NameID is another one at each login, and nothing else says who a \
             person is. Name an attribute in saml.subject, or ask for persistent.",
        ),
        (
            "      metadata: http://idp.test/metadata\n      trust_email: true\n",
            "    domains: [a.test]\n",
            "8: idps.okta.saml.metadata: \"http://idp.test/metadata\" is no https address. Write https://, or download \
             the metadata into a file.",
        ),
        (
            "      metadata: http://127.0.0.1/metadata\n      trust_email: true\n",
            "    domains: [a.test]\n",
            "8: idps.okta.saml.metadata: an address on this machine works only where public_url is on this machine \
             too. Write the address as https://.",
        ),
        (
            "      metadata: nothing.xml\n      trust_email: true\n",
            "    domains: [a.test]\n",
            "8: idps.okta.saml.metadata: nothing.xml cannot be read: No such file or directory. Write the path of the \
             metadata, or its https address.",
        ),
        (
            "      metadata: <x/>\n      trust_email: true\n      keys: pin\n",
            "    domains: [a.test]\n",
            "10: idps.okta.saml.keys: \"pin\" is not known here. Known: trust, approve.",
        ),
        (
            "      metadata: <x/>\n      trust_email: true\n      idp_initiated: on\n",
            "    domains: [a.test]\n",
            "10: idps.okta.saml.idp_initiated: \"on\" is not known here. Known: off, restart, accept.",
        ),
        (
            "      metadata: <x/>\n      trust_email: true\n      skew: 10m\n",
            "    domains: [a.test]\n",
            "10: idps.okta.saml.skew: 10m is out of bounds. Write 0ms at least and 5m at most.",
        ),
    ] {
        assert_eq!(said_of(&saml_file(below, beside)).join("\n"), expected, "{below}");
    }
    let neither = SMALLEST.split("    oidc:").next().unwrap().to_owned() + "    domains: [a.test]\n";
    assert_eq!(
        said_of(&neither),
        [
            "5: idps.okta: neither oidc nor saml says how the provider is asked. Write oidc: with issuer, or saml: with \
          metadata."
        ]
    );
    let both = SMALLEST.to_owned() + "    saml:\n      metadata: <x/>\n";
    assert_eq!(
        said_of(&both),
        [
            "5: idps.okta: a provider speaks OpenID Connect (oidc) or SAML (saml), and both stand here. Write two \
          providers, each with a name of its own."
        ]
    );
}

#[test]
fn words_of_later_versions_are_refused_by_name() {
    let base = SMALLEST.replace("provisioning: none\n", "");
    let block = "scim:\n  public_url: https://s.test\n  token: ${env:SCIM}\n";
    assert_eq!(
        said_of(&format!("{base}{block}provisioning: jit\n")),
        ["12: provisioning: \"jit\" is not in this version."]
    );
    table(
        SMALLEST,
        &[
            ("session:\n  same_site: none\n", "11: session.same_site: \"none\" is not in this version."),
            (
                "session:\n  same_site: strict\n",
                "11: session.same_site: \"strict\" cannot work: the identity provider's answer is a navigation from \
             another site.",
            ),
            ("headers:\n  preset: grafana\n", "11: headers.preset: \"grafana\" is not in this version."),
            (
                "headers:\n  preset: x-forward\n",
                "11: headers.preset: \"x-forward\" is not known here. Did you mean \
          x-forwarded?",
            ),
            ("store: postgres\n", "10: store: \"postgres\" is not in this version."),
            // An address may hold a password: nothing of it is repeated.
            ("store: postgres://x:secret@db/y\n", "10: store: \"postgres\" is not in this version."),
            (
                "store: mysql://x:secret@db/y\n",
                "10: store: \"mysql\" is not a store. Write sqlite, or below it sqlite: with the path of a file.",
            ),
            (
                "listen:\n  health: off\n",
                "11: listen.health.address: \"off\" is not an address and a port. Write an \
          address and a port such as 127.0.0.1:8080.",
            ),
            (
                "log:\n  level: loud\n",
                "11: log.level: \"loud\" is not known here. Known: error, warn, info, debug, \
          trace.",
            ),
        ],
    );
    for (from, to, expected) in [
        (
            "      client_id:",
            "      client_auth: private_key_jwt\n      client_id:",
            "8: idps.okta.oidc.client_auth: \"private_key_jwt\" is not in this version.",
        ),
        (
            "      client_id:",
            "      scopes: [email, offline_access, 'a b']\n      client_id:",
            "8: idps.okta.oidc.scopes: without the scope openid there is no login. Add openid.\n\
             8: idps.okta.oidc.scopes[1]: offline_access is not in this version: no token is refreshed. Leave it \
             out.\n8: idps.okta.oidc.scopes[2]: \"a b\" is not a scope. Write one scope an item.",
        ),
        (
            "http://127.0.0.1:3000",
            "https://127.0.0.1:3000",
            "2: upstream.url: an upstream by https is not in this version. Write http://host:port.",
        ),
    ] {
        assert_eq!(said_of(&SMALLEST.replacen(from, to, 1)).join("\n"), expected);
    }
}

#[test]
fn values_of_the_wrong_kind() {
    table(
        SMALLEST,
        &[
            (
                "session: 2h\n",
                "10: session: a plain value where a block of keys belongs. Known: idle, absolute, \
          same_site.",
            ),
            ("session:\n", "10: session: nothing stands below it. Known: idle, absolute, same_site."),
            (
                "session:\n  idle:\n",
                "11: session.idle: nothing stands behind the colon. Write a duration such as 90s, \
          or leave the key out.",
            ),
            ("session:\n  idle: [2h]\n", "11: session.idle: a list where a duration such as 90s belongs."),
            (
                "session:\n  idle: 7200\n",
                "11: session.idle: \"7200\" is not a duration. Write a whole number and its \
          unit: 500ms, 90s, 15m, 12h or 30d.",
            ),
            (
                "limits:\n  head: 64KB\n",
                "11: limits.head: \"64KB\" is not a size. Write a whole number and its unit: \
          512B, 64KiB or 1MiB.",
            ),
            (
                "trusted_proxies: 10.0.0.0/8\n",
                "10: trusted_proxies: a plain value where a list belongs. Write each item \
          on its own line, after a dash and a blank.",
            ),
            (
                "trusted_proxies: [10.0.0.1/8, 0.0.0.0/0, x]\n",
                "10: trusted_proxies[0]: 10.0.0.1/8 has bits behind its \
          length. Write 10.0.0.0/8 for the network, or the address alone.\n10: trusted_proxies[1]: everybody would \
          be believed, and could say to be anybody. Name the addresses of your proxies.\n10: trusted_proxies[2]: \
          \"x\" is not a network. Write an address, a slash and a length, such as 10.0.0.0/8, or one address.",
            ),
            (
                "trusted_proxies: ['::ffff:0:0/96', 10.0.0.0/08]\n",
                "10: trusted_proxies[0]: everybody would be believed, and could say to be anybody. Name the \
          addresses of your proxies.\n10: trusted_proxies[1]: \"10.0.0.0/08\" is not a network. Write an address, a \
          slash and a length, such as 10.0.0.0/8, or one address.",
            ),
            (
                "listen:\n  proxy: 8080\n",
                "11: listen.proxy.address: \"8080\" is not an address and a port. Write \
          127.0.0.1:8080, or 0.0.0.0:8080 for every network.",
            ),
            (
                "listen:\n  proxy: localhost:8080\n",
                "11: listen.proxy.address: \"localhost:8080\" is not an address and a \
          port. Write 127.0.0.1:8080.",
            ),
            (
                "listen:\n  proxy:\n    tls: []\n",
                "11: listen.proxy.address: missing. Write an address and a port such as \
          127.0.0.1:8080.\n12: listen.proxy.tls: an empty list is no certificate. Leave tls out, or name one.",
            ),
            (
                "prefix: portcullis\n",
                "10: prefix: \"portcullis\" cannot be the path of our own pages. Write a slash and \
          a name of letters, digits, dots and dashes, without a final slash.",
            ),
            (
                "state: ${env:OIDC}\n",
                "10: state: a reference stands only where a secret belongs. Write a path.",
            ),
            (
                "headers:\n  user: name\n",
                "11: headers.user: \"name\" is not known here. Known: userName, id, externalId, \
          subject, email.",
            ),
            (
                "http_client:\n  allow: [https://idp.internal]\n",
                "11: http_client.allow[0]: \"https://idp.internal\" is \
          not a host. Write a name or an address, perhaps with a port, without https://.",
            ),
            (
                "keys: 0123hunter2\n",
                "10: keys: a secret is not written in the file; it is referred to. Write \
          ${env:NAME}, ${file:/path} or ${run:command args}.",
            ),
            (
                "keys: ${env:OIDC}\n",
                "10: keys: the master key is not 64 hexadecimal digits. Make one with `openssl rand \
          -hex 32`.",
            ),
            (
                "routes: /admin\n",
                "10: routes: a plain value where a list belongs. Write each item on its own line, after \
          a dash and a blank.",
            ),
            ("bindings: [a]\n", "10: bindings: a list where a text belongs."),
        ],
    );
}

#[test]
fn all_problems_are_said_at_once_by_line() {
    let text = "\
upstream: http://u:hunter2@127.0.0.1:3000
provisioning: scim
session:
  idle: 2 hours
  absolut: 1d
idps:
  Okta:
    oidc:
      issuer: http://okta.example.com
      client_id: \"\"
      client_secret: hunter2
      scopes: [email]
      skew: 1h
scim:
  public_url: http://scim.example.com
  token: hunter2
  idps: [azure]
routes:
  - path: admin
    allow: signed-in
  - path: /x
    methods: [get, TRACE]
    allow: [wiki.admin]
  - path: /y
    allow: everybody
webhooks: []
public_url: https://wiki.example.com/?x=1
";
    assert_eq!(
        said_of(text),
        [
            "1: upstream.url: an address with a name or password inside. Write an address such as http://127.0.0.1:3000.",
            "4: session.idle: \"2 hours\" is not a duration. Write a whole number and its unit: 500ms, 90s, 15m, 12h or \
         30d.",
            "5: session.absolut: no such key. Did you mean absolute?",
            "7: idps.Okta: not a name that can stand in an address. Use lower-case letters, digits and -, at most 40, \
         beginning with a letter.",
            "9: idps.Okta.oidc.issuer: an issuer without https could be anybody's. Write the issuer as https://; plain \
         http is for a rehearsal on this machine only.",
            "10: idps.Okta.oidc.client_id: empty. Write a text.",
            "11: idps.Okta.oidc.client_secret: a secret is not written in the file; it is referred to. Write \
         ${env:NAME}, ${file:/path} or ${run:command args}.",
            "15: scim.public_url: plain http is for localhost, *.localhost and loopback addresses only, since cookies \
         are Secure. Write https:// and end TLS here (listen.proxy.tls) or before.",
            "16: scim.token: a secret is not written in the file; it is referred to. Write ${env:NAME}, ${file:/path} or \
         ${run:command args}.",
            "19: routes[0].path: \"admin\" is not a pattern: a path starts with /. Write /x for one path, /x/* for one \
         segment, /x/** for all below.",
            "22: routes[1].methods[0]: \"get\" is not a method. Methods are written in capitals: GET, HEAD, POST, PUT, \
         PATCH, DELETE, OPTIONS.",
            "22: routes[1].methods[1]: TRACE is refused on every path. Leave it out.",
            "23: routes[1].allow: \"wiki.admin\" is a role, and there is no bindings file that gives roles. Write \
         bindings: with the path of one.",
            "25: routes[2].allow: \"everybody\" is neither public nor signed-in. Write public, signed-in, or the role in \
         a list: [everybody].",
            "26: webhooks: not in this version. Leave it out.",
            "27: public_url: an address with a query or a fragment. Leave what follows ? or # away.",
        ]
    );
}

#[test]
fn what_is_missing() {
    assert_eq!(
        said_of("log:\n  level: info\n"),
        [
            "1: public_url: missing. Write an address such as https://wiki.example.com.",
            "1: upstream: missing. Write an address such as http://127.0.0.1:3000.",
            "1: idps: missing. Write a name and below it the provider: okta: { oidc: … }.",
            "1: scim: users come from the directory (provisioning: scim), and there is no scim: block that feeds it. \
         Write scim: with public_url and token, or provisioning: invited or none.",
        ]
    );
    assert_eq!(
        said_of(""),
        ["portcullis.yaml: the file is empty. docs/configuration.md begins with the smallest one."]
            .map(|line| line.strip_prefix("portcullis.yaml:").unwrap_or(line).to_owned())
    );
    assert_eq!(said_of("# nothing\n"), said_of(""));
    assert_eq!(
        said_of("- a\n"),
        [
            "1: a list where a block of keys belongs. Known: public_url, upstream, provisioning, idps, scim, import, bindings, \
         routes, session, headers, listen, store, prefix, log, limits, stop_grace, trusted_proxies, http_client, state, keys."
        ]
    );
    assert_eq!(said_of("hunter2\n").len(), 1);
}

#[test]
fn keys_that_do_not_fit_each_other() {
    table(
        SMALLEST,
        &[
            (
                "scim:\n  public_url: https://s.test\n  token: ${env:SCIM}\nlisten:\n  scim: 127.0.0.1:9000\n",
                "10: scim: has no meaning with provisioning: none, since no SCIM client feeds users. Leave it out, or \
             write provisioning: scim.",
            ),
            (
                "headers:\n  user: userName\n",
                "11: headers.user: userName is an attribute of a directory, and provisioning: none has none. Write email \
             or subject.",
            ),
            (
                "listen:\n  health: 0.0.0.0:8080\n",
                "11: listen.health: port 8080 is taken by listen.proxy (127.0.0.1:8080). Give one of them another port.",
            ),
            (
                "listen:\n  proxy: '[::]:8082'\n",
                "11: listen.proxy: port 8082 is taken by listen.health (127.0.0.1:8082). Give one of them another port.",
            ),
            (
                "listen:\n  proxy: 127.0.0.1:3000\n",
                "2: upstream.url: this is listen.proxy: Portcullis would forward to itself. Write where the application \
             listens, or move the listener.",
            ),
            (
                "session:\n  idle: 500ms\n  absolute: 400d\n",
                "11: session.idle: 500ms is out of bounds. Write 1s at least and 365d at most.\n12: session.absolute: \
             400d is out of bounds. Write 1s at least and 365d at most.",
            ),
            ("stop_grace: 2h\n", "10: stop_grace: 2h is out of bounds. Write 0ms at least and 1h at most."),
            (
                "limits:\n  head: 1KiB\n  send_buffer: 1MiB\n  head_time: 0s\n",
                "11: limits.head: 1KiB is out of bounds. Write 8KiB at least and 512KiB at most.\n12: \
             limits.send_buffer: 1MiB is out of bounds. Write 16KiB at least and 96KiB at most.\n13: \
             limits.head_time: 0ms is out of bounds. Write 1s at least and 1h at most.",
            ),
            (
                "listen:\n  proxy:\n    address: 0.0.0.0:8443\n    tls:\n      - certificate: /nowhere/crt\n        \
             key: /dev/null\n",
                "14: listen.proxy.tls[0].certificate: /nowhere/crt cannot be read: No such file or directory.\n15: \
             listen.proxy.tls[0].key: /dev/null is not a plain file.",
            ),
            (
                "listen:\n  proxy:\n    address: 0.0.0.0:8443\n    tls:\n      - certificate: a\n        key: b\n      \
             - certificate: c\n        key: d\n",
                "13: listen.proxy.tls: several certificates are not in this version. Keep one.",
            ),
            (
                "routes: []\n",
                "10: routes: an empty list names no path. Leave it out, and the whole site is for signed-in people; or \
             write a rule.",
            ),
        ],
    );
    table(
        DIRECTORY,
        &[
            (
                "  idps: [okta, azure]\n",
                "12: scim.idps[1]: \"azure\" is not a provider of idps. Known: okta.",
            ),
            (
                "  idps: []\n",
                "12: scim.idps: an empty list lets nobody of this directory in. Name a provider, or leave \
          it out.",
            ),
            ("  on_proxy: true\n", "12: scim.on_proxy: not in this version. Leave it out."),
            (
                "  groups:\n    patch_answer: 202\n",
                "13: scim.groups.patch_answer: \"202\" is no such answer. Write 204 or \
          200.",
            ),
            (
                "listen:\n  scim: 0.0.0.0:8081\n",
                "13: listen.scim.address: tokens and people would cross the network in the clear. Listen on 127.0.0.1, name a \
             certificate in listen.scim.tls, or write plaintext: behind-proxy where a proxy before it ends TLS.",
            ),
            ("listen:\n  scim: off\n", "13: listen.scim.address: \"off\" is not in this version."),
            (
                "listen:\n  scim:\n    address: 0.0.0.0:8081\n    tls: []\n",
                "15: listen.scim.tls: an empty list is no certificate. Leave tls out, or name one.",
            ),
            (
                "listen:\n  scim:\n    address: 0.0.0.0:8081\n    plaintext: yes\n",
                "15: listen.scim.plaintext: \"yes\" is not known here. Known: behind-proxy.",
            ),
        ],
    );
    let contradicting =
        "    plaintext: behind-proxy\n    tls:\n      - certificate: none.crt\n        key: none.key\n";
    for (block, expected) in [
        (
            contradicting,
            "listen.scim.plaintext: with tls nothing is in the clear: the two contradict each other.",
        ),
        ("    client_ca: none.pem\n", "listen.scim.client_ca: clients show a certificate over TLS only."),
    ] {
        let said = said_of(&format!("{DIRECTORY}listen:\n  scim:\n    address: 127.0.0.1:8081\n{block}"));
        assert!(said.iter().any(|line| line.contains(expected)), "{said:?}");
    }
    assert_eq!(
        said_of(&format!(
            "{DIRECTORY}listen:\n  scim:\n    address: 0.0.0.0:8081\n    plaintext: \
                                 behind-proxy\n"
        ))
        .len(),
        0
    );
    for (from, to, expected) in [
        (
            "https://scim.example.com",
            "https://scim.example.com/scim/v2/",
            "10: scim.public_url: this is the base URL already: it is public_url and /scim/v2. Leave /scim/v2 away.",
        ),
        (
            "https://scim.example.com",
            "https://scim.example.com/scim/v1",
            "10: scim.public_url: this is the base URL already: it is public_url and /scim/v1. Leave /scim/v1 away.",
        ),
        (
            "${env:SCIM}",
            "[]",
            "11: scim.token: a list of 0 tokens. Write one, or two while it is being changed.",
        ),
        (
            "${env:SCIM}",
            "['${env:SCIM}', '${env:SCIM}']",
            "11: scim.token: both tokens are the same. Keep one, or make the second one new.",
        ),
        (
            "${env:SCIM}",
            "[${env:SCIM}]",
            "11: not valid YAML: while parsing a flow sequence, expected ',' or ']'. `${…}` inside { } or [ ] must be \
             quoted: \"${file:/path}\".",
        ),
        (
            "${env:SCIM}",
            "${env:BLANK}",
            "11: scim.token: the token has a blank or a character outside ASCII, which no header can carry. Make one \
             with `openssl rand -hex 32`.",
        ),
        (
            "${env:SCIM}",
            "${env:SCIM}\n  rate:\n    per_second: 0",
            "13: scim.rate.per_second: \"0\" is not a number of requests. Write a whole number from 1 to 100000.",
        ),
        (
            "${env:SCIM}",
            "${env:SCIM}\n  allow: []",
            "12: scim.allow: an empty list, so nobody could write. Write the networks, or leave the key out.",
        ),
        (
            "${env:SCIM}",
            "${env:SCIM}\n  rate:\n    burst: +5",
            "13: scim.rate.burst: \"+5\" is not a number of requests. Write a whole number from 1 to 100000.",
        ),
        (
            "issuer: https://example.okta.com",
            "issuer: http://idp.localhost:8084",
            "6: idps.okta.oidc.issuer: an issuer on this machine works only where public_url is on this machine too. \
             Write the issuer as https://.",
        ),
        (
            "      client_id",
            "      trust_email: true\n      client_id",
            "7: idps.okta.oidc.trust_email: an unverified address would be believed of every domain. List the \
             e-mail domains in idps.okta.domains.",
        ),
        (
            "    oidc:",
            "    link: { claim: sub, to: mail }\n    domains: [a@b.test, localhost]\n    oidc:",
            "5: idps.okta.link.to: \"mail\" is not known here. Known: externalId, userName.\n6: idps.okta.domains[0]: \
             \"a@b.test\" is not a domain. Write what follows the @ of an address, such as example.com.\n6: \
             idps.okta.domains[1]: \"localhost\" is not a domain. Write what follows the @ of an address, such as \
             example.com.",
        ),
        (
            "idps:\n",
            "idps:\n  entra:\n    oidc:\n      issuer: https://e.test\n      client_id: x\n      client_secret: \
             ${env:OIDC}\n",
            "4: idps.entra: several identity providers, and this one does not say whom it signs in. List its e-mail \
             domains in domains:; one of the providers may write domains: any.\n9: idps.okta: several identity \
             providers, and this one does not say whom it signs in. List its e-mail domains in domains:; one of the \
             providers may write domains: any.",
        ),
    ] {
        assert_eq!(said_of(&DIRECTORY.replacen(from, to, 1)).join("\n"), expected, "{to}");
    }
    let replacing = SMALLEST.replace("    oidc:", "    replaces: entra\n    oidc:");
    assert_eq!(
        said_of(&replacing),
        [
            "6: idps.okta.replaces: has no meaning with provisioning: none, since there is no directory by which \
             anybody could be known again. Leave it out, and see portcullis user relink."
        ]
    );
    let nobody = SMALLEST.replace("    oidc:", "    replaces: Entra.old\n    oidc:");
    assert_eq!(
        said_of(&nobody),
        [
            "6: idps.okta.replaces: \"Entra.old\" is no name that a provider can have had. Write the name under idps: \
             of the provider that was there before."
        ]
    );
    let linked =
        SMALLEST.replace("    oidc:", "    link:\n      claim: sub\n      to: externalId\n    oidc:");
    assert_eq!(
        said_of(&linked),
        [
            "6: idps.okta.link: has no meaning with provisioning: none, since there is no directory to find a user in. \
         Leave it out."
        ]
    );
}

/// The smallest file with a second provider, of other lines.
fn beside(okta: &str, entra: &str, issuer: &str) -> String {
    let first = DIRECTORY.replacen("    oidc:", &format!("{okta}    oidc:"), 1);
    let second = format!(
        "  entra:\n{entra}    oidc:\n      issuer: {issuer}\n      client_id: x\n      client_secret: ${{env:OIDC}}\n"
    );
    first.replacen("idps:\n", &format!("idps:\n{second}"), 1)
}

#[test]
fn providers_that_do_not_fit_each_other() {
    let of = |okta: &str, entra: &str| beside(okta, entra, "https://e.test");
    let fine = of("    domains: [a.test]\n", "    domains: [b.test, c.test]\n");
    assert_eq!(said_of(&fine), [""; 0]);
    assert_eq!(said_of(&of("    domains: any\n", "    domains: [b.test]\n")), [""; 0]);
    for (file, expected) in [
        (
            of("    domains: [a.test, b.test]\n", "    domains: [c.test, B.test]\n"),
            "11: idps.okta.domains: b.test is a domain of entra already. Write each domain at one provider: it decides \
             where people sign in.",
        ),
        (
            of("    domains: any\n", "    domains: any\n"),
            "11: idps.okta.domains: any is that of entra already. Write each domain at one provider: it decides where \
             people sign in.",
        ),
        (
            beside("    domains: [a.test]\n", "    domains: [b.test]\n", "https://example.okta.com"),
            "13: idps.okta.oidc.issuer: the issuer of entra already: the same people would be signed in on two terms. \
             Keep one of the two.",
        ),
        (
            of("    domains: [a.test]\n    replaces: entra\n", "    domains: [b.test]\n    replaces: okta\n"),
            "6: idps.entra.replaces: the two would take each other's people, login by login. Let only the newer one \
             replace the other.\n13: idps.okta.replaces: the two would take each other's people, login by login. Let \
             only the newer one replace the other.",
        ),
        (
            of("    domains: [a.test]\n    replaces: okta\n", "    domains: [b.test]\n"),
            "12: idps.okta.replaces: the two would take each other's people, login by login. Let only the newer one \
             replace the other.",
        ),
    ] {
        assert_eq!(said_of(&file).join("\n"), expected, "{file}");
    }
}

#[test]
fn a_product_that_could_let_nobody_in() {
    let google = SMALLEST.replace("    oidc:", "    preset: google\n    oidc:");
    let none = "idps.okta.domains: with preset: google only accounts of a Workspace that is listed here may sign in, \
                and none is. Write the primary domain of yours: [example.com].";
    assert_eq!(said_of(&google), [format!("5: {none}")]);
    let any = google.replace("    oidc:", "    domains: any\n    oidc:");
    assert_eq!(said_of(&any), [format!("7: {none}")]);
    assert_eq!(said_of(&google.replace("    oidc:", "    domains: [example.com]\n    oidc:")).len(), 0);
    // One problem is one line: what was meant by the domains is not known.
    let unread = said_of(&google.replace("    oidc:", "    domains: [x]\n    oidc:"));
    assert_eq!(unread.len(), 1, "{unread:?}");

    for (issuer, word) in [
        ("https://login.microsoftonline.com/common/v2.0", Some("common")),
        ("https://login.microsoftonline.com/Organizations/v2.0", Some("organizations")),
        ("https://login.microsoftonline.us/consumers/v2.0", Some("consumers")),
        ("https://sts.windows.net/common/", Some("common")),
        ("https://login.microsoftonline.com/5b1c7f9e-0000-4000-8000-000000000000/v2.0", None),
        ("https://idp.example.com/common/v2.0", None),
    ] {
        let said = said_of(&SMALLEST.replace("https://example.okta.com", issuer));
        let expected: Vec<String> = word
            .map(|word| {
                format!(
                    "7: idps.okta.oidc.issuer: {word} is no tenant: whoever has any could sign in, and Entra's documents \
                     name another issuer. Write that of your tenant: https://login.microsoftonline.com/TENANT-ID/v2.0."
                )
            })
            .into_iter()
            .collect();
        assert_eq!(said, expected, "{issuer}");
    }
}

/// What cannot be read is said, and nothing is concluded from the default that stands in its place.
#[test]
fn one_slip_is_one_problem() {
    for (from, to, key) in [
        ("provisioning: none", "provisioning: off", "provisioning"),
        ("provisioning: none", "provisionning: none", "provisionning"),
        ("public_url:", "pubic_url:", "pubic_url"),
        ("      client_id:", "      clientid:", "idps.okta.oidc.clientid"),
        ("provisioning: none", "provisioning: invted\nlisten: { scim: '0.0.0.0:9' }", "provisioning"),
        ("provisioning: none", "provisioning: jit\nheaders: { user: userName }", "provisioning"),
        (
            "provisioning: none",
            "provisioning: none\nlisten:\n  proxy: 8443\n  health: 127.0.0.1:8080",
            "listen.proxy.address",
        ),
        (
            "upstream: http://127.0.0.1:3000",
            "upstream: http://127.0.0.1:8080\nlisten:\n  proxy: localhost:9000",
            "listen.proxy.address",
        ),
        ("    oidc:", "    domains: [x]\n    oidc:\n      trust_email: true", "idps.okta.domains[0]"),
        (
            "provisioning: none",
            "provisioning: none\nprefix: gate\nroutes: [{ path: /.portcullis/x, allow: public }]",
            "prefix",
        ),
    ] {
        let said = said_of(&SMALLEST.replacen(from, to, 1));
        assert_eq!(said.len(), 1, "{to}: {said:#?}");
        assert!(said[0].contains(&format!(" {key}: ")), "{to}: {said:?}");
    }
}

#[test]
fn words_that_are_no_roles() {
    table(
        SMALLEST,
        &[(
            "routes:\n  - path: /**\n    allow: [signed-in]\n  - path: /x\n    allow: [a, public]\n",
            "12: routes[0].allow[0]: signed-in is no role, and stands alone. Write allow: signed-in, or roles only.\n\
             14: routes[1].allow[1]: public is no role, and stands alone. Write allow: public, or roles only.",
        )],
    );
}

/// Files of people put those who are invited into groups; nothing else does.
#[test]
fn people_who_are_invited_are_in_the_groups_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.yaml");
    std::fs::write(
        folder.path().join("b.yml"),
        "version: 1\nroles: [a]\nbindings:\n  - group: A\n    role: a\n",
    )
    .unwrap();
    let warned = |more: &str| -> Vec<String> {
        let text = SMALLEST.replace("provisioning: none", "provisioning: invited");
        let text = format!("{text}bindings: b.yml\nroutes:\n  - path: /**\n    allow: [a]\n{more}");
        let loaded = load_text(&path, text.as_bytes(), &environment()).unwrap();
        loaded.warnings.iter().map(ToString::to_string).filter(|said| said.contains("bindings")).collect()
    };
    let said = warned("");
    assert!(said.len() == 1 && said[0].contains("but by a file of people. Import one"), "{said:?}");
    assert_eq!(warned("import:\n  folder: drop\n"), Vec::<String>::new());
}

#[test]
fn folders_for_files_of_people_that_cannot_be() {
    let folder = "import:\n  folder: drop\n";
    table(
        DIRECTORY,
        &[(
            folder,
            "12: import: never into a directory that a SCIM client feeds (provisioning: scim): each would undo what the \
             other says. Leave it out, or write provisioning: invited.",
        )],
    );
    table(
        SMALLEST,
        &[(
            folder,
            "10: import: has no meaning with provisioning: none, since there is no directory to fill. Leave it out, or \
             write provisioning: invited.",
        )],
    );
    let invited = SMALLEST.replace("provisioning: none", "provisioning: invited");
    table(
        &invited,
        &[
            ("import:\n  full: true\n", "10: import.folder: missing. Write a path."),
            (
                "import:\n  folder: drop\n  max_removals: 10\n",
                "12: import.max_removals: \"10\" is not a share. Write a whole number from 0 to 100 and its sign: 10%.",
            ),
            ("import:\n  folder: drop\n  ful: true\n", "12: import.ful: no such key. Did you mean full?"),
        ],
    );
}

#[test]
fn a_certificate_and_a_key_that_cannot_serve() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.yaml");
    let own = || rcgen::generate_simple_self_signed(["wiki.example.com".to_owned()]).unwrap();
    let (one, other) = (own(), own());
    let fake = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";
    let pem = one.cert.pem();
    let (key, another) = (one.signing_key.serialize_pem(), other.signing_key.serialize_pem());
    for (chain, secret, expected) in [
        (pem.as_str(), key.as_str(), None),
        (&pem, &another, Some("15: listen.proxy.tls[0].key: k.pem is not the key of the certificate c.pem.")),
        (
            fake,
            &key,
            Some("14: listen.proxy.tls[0].certificate: c.pem holds a certificate that cannot be read."),
        ),
        (
            &pem,
            no_key,
            Some("15: listen.proxy.tls[0].key: k.pem holds a private key of a kind that is not supported."),
        ),
        (&key, &pem, Some("14: listen.proxy.tls[0].certificate: c.pem holds no PEM block of a certificate.")),
    ] {
        std::fs::write(folder.path().join("c.pem"), chain).unwrap();
        std::fs::write(folder.path().join("k.pem"), secret).unwrap();
        let listen = "listen:\n  proxy:\n    address: 0.0.0.0:8443\n    tls:\n      - certificate: c.pem\n        key: k.pem\n";
        let said = said_in(&path, &format!("{SMALLEST}{listen}"));
        let beside = format!("{}/", folder.path().display());
        let said: Vec<String> = said.iter().map(|line| line.replace(&beside, "")).collect();
        match expected {
            None => assert_eq!(said, Vec::<String>::new()),
            Some(expected) => assert!(said[0].starts_with(expected), "{said:?}"),
        }
    }
    std::fs::write(folder.path().join("ca.pem"), fake).unwrap();
    let said = said_in(&path, &format!("{SMALLEST}http_client:\n  ca_file: ca.pem\n"));
    assert!(
        said[0].contains("11: http_client.ca_file: ") && said[0].contains("none of an authority"),
        "{said:?}"
    );
}

#[test]
fn an_upstream_that_is_portcullis_itself() {
    for (upstream, proxy, ours) in [
        ("127.0.0.1:8080", "127.0.0.1:8080", true),
        ("localhost:8080", "'[::1]:8080'", true),
        ("127.0.0.1:8080", "0.0.0.0:8080", true),
        ("0.0.0.0:8080", "127.0.0.1:8080", true),
        ("app.localhost:8082", "127.0.0.1:8080", true), // the health listener
        ("127.0.0.1:8081", "127.0.0.1:8080", false),    // no SCIM here, so nothing listens
        ("10.0.0.5:8080", "0.0.0.0:8080", false),
        ("127.0.0.2:8080", "127.0.0.1:8080", false),
        ("app:8080", "127.0.0.1:8080", false),
    ] {
        let text = SMALLEST.replace("127.0.0.1:3000", upstream) + &format!("listen:\n  proxy: {proxy}\n");
        let said = said_of(&text);
        assert_eq!(said.len(), usize::from(ours), "{upstream} {proxy}: {said:?}");
        assert!(said.iter().all(|line| line.contains("Portcullis would forward to itself")), "{said:?}");
    }
}

#[test]
fn rules_that_cannot_be_meant() {
    table(
        SMALLEST,
        &[
            (
                "routes:\n  - path: /a/**\n    allow: public\n  - path: /a/**\n    allow: signed-in\n  - path: /a/**\n    \
             methods: [GET]\n    allow: signed-in\n",
                "13: routes[1].path: \"/a/**\" takes the same paths and methods as routes[0] on line 11, and differs in \
             what it allows. Leave one out, or make one more exact.",
            ),
            (
                "routes:\n  - path: /a\n    allow: public\n  - path: /b/*\n    allow: public\n  - path: /A/\n    \
             methods: [GET]\n    allow: signed-in\n  - path: /B./*\n    allow: public\n",
                "15: routes[2].path: \"/A/\" is \"/a\" of routes[0] on line 11 to an application that does not tell upper \
             from lower case, nor a slash, dot or blank at the end, and differs in what it allows. Let both allow the \
             same, or leave one out.",
            ),
            (
                "routes:\n  - path: /.portcullis/me\n    allow: public\n  - path: /.portcullis/**\n    allow: public\n  \
             - path: /.portcullisx\n    allow: public\n",
                "11: routes[0].path: below /.portcullis are our own pages, and no rule is asked there. Leave the rule \
             out.\n13: routes[1].path: below /.portcullis are our own pages, and no rule is asked there. Leave the \
             rule out.",
            ),
            (
                "routes:\n  - path: /a*\n    allow: sign-in\n    upstream: reports\n  - allow: []\n    cache: x\n",
                "11: routes[0].path: \"/a*\" is not a pattern: * stands for a whole segment. Write /x for one path, /x/* \
             for one segment, /x/** for all below.\n12: routes[0].allow: \"sign-in\" is neither public nor signed-in. \
             Did you mean signed-in?\n13: routes[0].upstream: not in this version. Leave it out.\n14: \
             routes[1].allow: an empty list lets nobody in. Name a role, or leave the rule out: a path without a rule \
             is refused.\n15: routes[1].cache: not in this version. Leave it out.",
            ),
        ],
    );
    let below = SMALLEST.replace("wiki.example.com", "example.com/wiki");
    let routes = "routes:\n  - path: /admin/**\n    allow: public\n  - path: /wiki/x\n    allow: public\n  - path: \
                  /**\n    allow: signed-in\n  - path: /*/y\n    allow: signed-in\n";
    assert_eq!(
        said_of(&format!("{below}{routes}")),
        [
            "11: routes[0].path: \"/admin/**\" is outside /wiki, the path of public_url. Write the whole path: \
         /wiki/admin/**."
        ]
    );
}

#[test]
fn a_bindings_file_is_judged_with_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.yaml");
    let said = |bindings: &str, allow: &str| {
        std::fs::write(folder.path().join("scim.bindings.yml"), bindings).unwrap();
        let routes = format!("bindings: scim.bindings.yml\nroutes:\n  - path: /**\n    allow: {allow}\n");
        let beside = format!("{}/", folder.path().display());
        said_in(&path, &format!("{DIRECTORY}{routes}")).join("\n").replace(&beside, "")
    };
    let good = "version: 1\nroles: [workspace.member, workspace.admin]\nconflicts:\n  - [workspace.member, \
                workspace.admin]\nbindings:\n  - group: A\n    role: workspace.member\n";
    assert_eq!(said(good, "[workspace.admin]"), "");
    assert_eq!(
        said(good, "[workspace.owner]"),
        "15: routes[0].allow: \"workspace.owner\" is not a role of scim.bindings.yml. Known: workspace.member, \
         workspace.admin."
    );
    let bad = "version: 2\nroles: [a, b, a, 'c,d']\nbindings:\n  - group: A\n    role: x\n  - group_id: 1\n    role: \
               a\n  - role: a\n  - user: nora\n    role: a\n  - group: B\n    role: a\n    rolle: a\ndefault_role: a\n";
    assert_eq!(
        said(bad, "signed-in"),
        "scim.bindings.yml:1: version: 2 is not a version of this form. Write 1.\n\
         scim.bindings.yml:6: bindings[1].group_id: not in this version. Bind by group, its displayName.\n\
         scim.bindings.yml:8: bindings[2].group: missing. Write a text.\n\
         scim.bindings.yml:9: bindings[3].user: not in this version. Bind by group.\n\
         scim.bindings.yml:13: bindings[4].rolle: no such key. Did you mean role?\n\
         scim.bindings.yml:14: default_role: not in this version. Leave it out."
    );
    let unfit = "version: 1\nroles: [a, b, a, 'c,d']\nbindings:\n  - group: A\n    role: x\n";
    assert_eq!(
        said(unfit, "[a]"),
        "scim.bindings.yml:1: conflicts: missing, and there is more than one role. List roles of which a person has \
         only one, the strictest first, or write [] for none.\n\
         scim.bindings.yml:2: roles[2]: \"a\" is listed twice. Keep one.\n\
         scim.bindings.yml:2: roles[3]: the role \"c,d\" has a comma, a blank at an end, or a character outside \
         printable ASCII. Give it a name that can stand in a header.\n\
         scim.bindings.yml:5: bindings[0].role: \"x\" is not among the roles of this file. Known: a, b, a, c,d."
    );
    let lines = "version: 1\nroles: [aa, bb]\nconflicts:\n  - [aa]\n  - [aa, aa, cc]\nbindings: []\n";
    assert_eq!(
        said(lines, "signed-in"),
        "scim.bindings.yml:4: conflicts[0]: a conflict is between two roles or more.\n\
         scim.bindings.yml:5: conflicts[1][1]: \"aa\" is listed twice. Keep one.\n\
         scim.bindings.yml:5: conflicts[1][2]: \"cc\" is not among the roles of this file. Known: aa, bb."
    );
    assert_eq!(
        said("", "signed-in"),
        "scim.bindings.yml: the file is empty. Write version, roles and bindings."
    );
    std::fs::remove_file(folder.path().join("scim.bindings.yml")).unwrap();
    let missing = said_in(&path, &format!("{DIRECTORY}bindings: scim.bindings.yml\n"));
    assert_eq!(
        missing,
        [
            "12: bindings: scim.bindings.yml cannot be read: No such file or directory. A relative path starts in the \
         folder of this file."
        ]
    );
}

#[test]
fn missing_secrets_are_problems() {
    let with = |reference: &str| said_of(&SMALLEST.replace("${env:OIDC}", reference)).join("\n");
    assert_eq!(
        with("${env:NONE}"),
        "9: idps.okta.oidc.client_secret: the variable NONE is not set. Set NONE to the secret before the start."
    );
    assert_eq!(
        with("${file:/nowhere/secret}"),
        "9: idps.okta.oidc.client_secret: the file /nowhere/secret cannot be read: No such file or directory. It must \
         be there, and readable for the user Portcullis runs as, before the start."
    );
    assert_eq!(
        with("${run:/nowhere/vault hunter2}"),
        "9: idps.okta.oidc.client_secret: the command /nowhere/vault cannot be started: No such file or directory. \
         Name it with its whole path."
    );
    assert_eq!(with("${run:sh -c hunter2-no-such-command}").matches("exit status: 127").count(), 1);
}

#[test]
fn without_a_home_the_state_folder_must_be_named() {
    let environment = Environment::with_variables([("OIDC", "x")]);
    let said = load_text(Path::new("c.yaml"), SMALLEST.as_bytes(), &environment).unwrap_err();
    assert_eq!(
        said.to_string(),
        "c.yaml:1: state: missing, and an ordinary user without HOME has no state folder. Write the path of a \
         folder.\n1 problem."
    );
    let named = format!("{SMALLEST}state: /var/lib/wiki\n");
    assert!(load_text(Path::new("c.yaml"), named.as_bytes(), &environment).is_ok());
}

#[test]
fn what_is_no_text_or_no_yaml() {
    let said = |bytes: &[u8]| load_text(Path::new("c"), bytes, &environment()).unwrap_err().to_string();
    assert_eq!(said(b"a: 1\nb: \xff\n"), "c:2: not text in UTF-8. Save the file as UTF-8.\n1 problem.");
    assert_eq!(
        said(b"a: 1\n---\nb: 2\n"),
        "c:3: a second document begins here; one file is one document.\n1 problem."
    );
    assert_eq!(said(&vec![b'#'; 1024 * 1024 + 1]), "c: is larger than 1 MiB.\n1 problem.");
}
