//! Keys and values: those nobody knows, those of later versions, those of the wrong kind, those that are missing.

use std::path::Path;

use portcullis_config::load_text;

use crate::{SMALLEST, environment, said_of, table};

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
                "10: client_secret…: no such key. Known: public_url, upstream, upstreams, provisioning, \
          idps, scim, import, bindings, app, support, routes, session, headers, listen, store, prefix, log, limits, stop_grace, upgrade_grace, trusted_proxies, \
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
        "directories: {}",
        "retention: {}",
        "audit: {}",
        "app:\n  session_cookies: [sid]",
        "roles_from: assertion",
        "session:\n  bind: [network-prefix]",
        "http_client:\n  proxy: http://p",
        "store:\n  postgres: ${env:OIDC}",
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
            "h2://127.0.0.1:3000",
            "2: upstream.url: not an address that begins with http:// or https://. Write an address such as http://127.0.0.1:3000.",
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
                "12: listen.proxy.tls: an empty list is no certificate. Leave tls out, or name one.",
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
                "11: headers.user: \"name\" is not known here. Known: userName, preferred_username, id, externalId, \
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
            "1: a list where a block of keys belongs. Known: public_url, upstream, upstreams, provisioning, idps, scim, import, bindings, app, \
         support, routes, session, headers, listen, store, prefix, log, limits, stop_grace, upgrade_grace, trusted_proxies, http_client, state, keys."
        ]
    );
    assert_eq!(said_of("hunter2\n").len(), 1);
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
fn what_is_no_text_or_no_yaml() {
    let said = |bytes: &[u8]| load_text(Path::new("c"), bytes, &environment()).unwrap_err().to_string();
    assert_eq!(said(b"a: 1\nb: \xff\n"), "c:2: not text in UTF-8. Save the file as UTF-8.\n1 problem.");
    assert_eq!(
        said(b"a: 1\n---\nb: 2\n"),
        "c:3: a second document begins here; one file is one document.\n1 problem."
    );
    assert_eq!(said(&vec![b'#'; 1024 * 1024 + 1]), "c: is larger than 1 MiB.\n1 problem.");
}
