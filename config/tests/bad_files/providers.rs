//! Identity providers that could let nobody in, or too many.

use crate::{DIRECTORY, SMALLEST, said_of};

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
