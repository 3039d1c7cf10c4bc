//! Keys that are fine each by itself and do not fit each other, or this machine.

use std::path::Path;

use portcullis_config::{Environment, load_text};

use crate::{DIRECTORY, SMALLEST, said_in, said_of, table};

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
                "listen:\n  proxy:\n    redirect: 0.0.0.0:8080\n",
                "12: listen.proxy.redirect: port 8080 is taken by listen.proxy (127.0.0.1:8080). Give one of them another port.",
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
            "${env:SCIM}\n  bulk:\n    operations: 10001\n    body: 33MiB",
            "13: scim.bulk.operations: \"10001\" is not a number of operations. Write a whole number from 1 to 10000.\n\
             14: scim.bulk.body: 33MiB is too small for a Bulk or more than is held of one. Write a size from 64KiB to 32MiB.",
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
fn a_state_folder_whose_sockets_nobody_could_open() {
    let path = |bytes: usize| format!("/srv/{}", "a".repeat(bytes - "/srv/".len()));
    let state = |bytes: usize| format!("state: {}\n", path(bytes));
    let long = format!(
        "10: state: {}: a path of 97 bytes, and no socket in that folder could be opened. Name a folder by one of at most 96 \
         bytes.",
        path(97)
    );
    table(
        SMALLEST,
        &[
            (&state(97), &long),
            (
                "state: /\n",
                "10: state: this is the root of the file system, and the state folder is closed to everybody else (0700). Name a \
                 folder that is for Portcullis alone.",
            ),
        ],
    );
    assert_eq!(said_of(&format!("{SMALLEST}{}", state(96))), Vec::<String>::new());
}

#[test]
fn upstreams_that_nobody_could_reach_or_mean() {
    let routes = "routes:\n  - path: /**\n    allow: signed-in\n";
    table(
        SMALLEST,
        &[
            (
                "upstreams:\n  Reports: http://127.0.0.1:3001\n  a: { url: http://127.0.0.1:8080, health: /x }\n",
                "11: upstreams.Reports: not a name. Use lower-case letters, digits and -, at most 40, beginning with a letter.\n\
                 12: upstreams.a.health: one health check is shown, that of upstream. Leave it out.",
            ),
            (
                &format!("{routes}    upstream: reprots\nupstreams:\n  reports: http://127.0.0.1:8080\n"),
                "13: routes[0].upstream: there is no upstream \"reprots\". Did you mean reports?\n\
                 15: upstreams.reports.url: this is listen.proxy: Portcullis would forward to itself. Write where the \
                 application listens, or move the listener.",
            ),
            (
                "upstreams:\n  a: { url: http://app, strip_prefix: '/a/../b' }\n  b: { url: 'http://app/a%2fb' }\n",
                "11: upstreams.a.strip_prefix: \"/a/../b\" is no path that one could be below. Write segments of letters, \
                 digits, - _ and ., such as /wiki.\n\
                 12: upstreams.b.url: \"/a%2fb\" is no path that one could be below. Write segments of letters, digits, - _ \
                 and ., such as /app.",
            ),
            (
                "state: /srv/state\nupstreams:\n  a: unix:/srv/state/admin.sock\nroutes:\n  - path: /a/**\n    allow: \
                 signed-in\n    upstream: a\n  - path: /**\n    allow: signed-in\n    upstream: b\n",
                "12: upstreams.a.url: this is in the state folder, where operators give orders to Portcullis. Put the \
                 application's socket elsewhere, such as /run.\n\
                 19: routes[1].upstream: there is no upstream \"b\". Known: a.",
            ),
            (
                "upstreams:\n  a: { url: http://app, strip_prefix: /a }\nroutes:\n  - path: /b/**\n    allow: signed-in\n    \
                 upstream: a\n  - path: /**\n    allow: signed-in\n",
                "13: routes[0].path: \"/b/**\" is outside /a, which upstreams.a.strip_prefix takes off. Write /a/b/**.",
            ),
            (
                &format!("{routes}    upstream: reports\n"),
                "13: routes[0].upstream: there is no upstream \"reports\". Write it below upstreams: reports: \
                 http://127.0.0.1:3001.",
            ),
            (
                &format!(
                    "{routes}    upstream: a\nupstreams:\n  a:\n    url: http://app\n    server_name: x.test\n    certificate: y\n"
                ),
                "17: upstreams.a.server_name: the application is not spoken to over TLS, so this has no meaning. Leave it out, \
                 or write the url as https://.\n\
                 18: upstreams.a.certificate: the application is not spoken to over TLS, so this has no meaning. Leave it \
                 out, or write the url as https://.\n\
                 18: upstreams.a.certificate: there is no key beside it. Name both.",
            ),
        ],
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
