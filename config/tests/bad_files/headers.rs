//! Headers that nobody could send, or that would say what nobody knows.

use std::path::Path;

use portcullis_config::load_text;

use crate::{DIRECTORY, SMALLEST, environment, said_of, table};

#[test]
fn headers_that_can_be_sent() {
    let good = "headers:
  preset: jenkins
  user: preferred_username
  names: { user: X-Remote-User, groups: { name: X_Groups, encoding: latin1 }, email: off }
  templates:
    X-Dept: ${user.department}
    x-both: \"${user.name.givenName} / ${name} (${groups})\"
    X-Mode: intranet
    X-Title: { value: '${user.TITLE}', default: none, encoding: utf8 }
    X-Id: ${user.externalID}
    X-Whole: ${user.urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value}
    Authorization: Basic ${env:SCIM}
  groups: { only: [Staff, 'app-*'] }
  encoding: utf8
  budget: 8KiB
  assertion: { audience: wiki }
  strip: [X-Legacy-User, acme-*]
";
    assert_eq!(said_of(&format!("{DIRECTORY}{good}")), Vec::<String>::new());
}

#[test]
fn headers_that_cannot_be_meant() {
    table(
        DIRECTORY,
        &[
            (
                "headers:\n  preset: grafna\n  encoding: utf-8\n  budget: 512B\n",
                "13: headers.preset: \"grafna\" is not known here. Did you mean grafana?\n\
                 14: headers.encoding: \"utf-8\" is not known here. Did you mean utf8?\n\
                 15: headers.budget: 512B is no size that headers can have. Write a size from 1KiB to 64KiB.",
            ),
            (
                "headers:\n  assertion: yes\n",
                "13: headers.assertion: \"yes\" is not known here. Write on, off, or a block with audience.",
            ),
            (
                "headers:\n  assertion: { audience: 'a wiki' }\n",
                "13: headers.assertion.audience: \"a wiki\" is no audience. Write 1 to 200 visible characters without a blank, \
                 such as wiki or an address.",
            ),
            (
                "headers:\n  assertion: { aud: wiki }\n",
                "13: headers.assertion.aud: no such key. Known: audience.",
            ),
            (
                "headers:\n  names: { user: 'X User', mail: X-Mail, email: Host, groups: X-Portcullis-Groups }\n",
                "13: headers.names.mail: no such key. Did you mean email?\n\
                 13: headers.names.user: \"X User\" is not the name of a header. Write letters, digits, - and _, a letter first, such as X-Remote-User.\n\
                 13: headers.names.email: is not for the file to say: it is the client's, or Portcullis writes it itself. Choose another name.\n\
                 13: headers.names.groups: begins as our own headers do. Choose another name.",
            ),
            (
                "headers:\n  templates:\n    X-A: ${user.departement}\n    X-B: ${department}\n    X-C: ${user.groups}\n    \
                 X-D: ${user.email} and ${mail}\n",
                "14: headers.templates.X-A: there is no attribute \"departement\" of people. Did you mean department?\n\
                 15: headers.templates.X-B: \"department\" is nothing that is known of a person. An attribute of the directory \
                 is written ${user.department}.\n\
                 16: headers.templates.X-C: there is no attribute \"groups\" of people. Write ${groups}.\n\
                 17: headers.templates.X-D: there is no attribute \"email\" of people. Write ${email}, or ${user.emails} for all \
                 of them.",
            ),
            (
                "headers:\n  templates:\n    X-D: ${}\n    X-E: ${user.title\n    X-F: é\n    Cookie: a\n    X-G: ${env:SCIM} \
                 ${name}\n    X-H:\n",
                "14: headers.templates.X-D.value: nothing stands inside ${ }. Known inside ${ }: user.ATTRIBUTE of the directory, \
                 name, email, groups, roles, subject, display_name, preferred_username; and file:, env: and run: for a secret.\n\
                 15: headers.templates.X-E.value: a ${ is never closed. Close it by }.\n\
                 16: headers.templates.X-F.value: a header's own text is of visible ASCII, without blanks at its ends, and not \
                 empty. Write other text; what is known of the person may be anything.\n\
                 17: headers.templates.Cookie: is not for the file to say: it is the client's, or Portcullis writes it itself. Choose another \
                 name.\n\
                 18: headers.templates.X-G.value: a secret and something of the person in one header. Write two headers.\n\
                 19: headers.templates.X-H: nothing stands behind the colon. Write a text, such as ${user.department}.",
            ),
            (
                "headers:\n  templates:\n    X_Forwarded_User: a\n    x-dept: b\n    X-Dept: c\n",
                "14: headers.templates.X_Forwarded_User: x-forwarded-user and x_forwarded_user are one header to an \
                 application. Name one of them differently, or leave it out.\n\
                 16: headers.templates.X-Dept: x-dept is there twice. Name one of them differently, or leave it out.",
            ),
            (
                "headers:\n  groups: { only: [] }\n  strip: [x*, a b]\n",
                "13: headers.groups.only: an empty list tells of no group. Name groups, or write names: { groups: off }.\n\
                 14: headers.strip[0]: \"x*\" is not the name of a header. Write at least three letters, digits, - and _, and * at \
                 the end for any ending.\n\
                 14: headers.strip[1]: \"a b\" is not the name of a header. Write at least three letters, digits, - and _, and * at \
                 the end for any ending.",
            ),
        ],
    );
    let two = "  extensions:\n    urn:ietf:params:scim:schemas:extension:acme:2.0:User: { costCenter: string }\n\
               headers:\n  templates: { X-Cost: '${user.costCenter}' }\n";
    let said = said_of(&format!("{DIRECTORY}{two}"));
    assert!(said.len() == 1 && said[0].contains("is an attribute of two schemas"), "{said:?}");
    let none = "headers:\n  templates: { X-Dept: '${user.department}', X-Mail: '${email}' }\n";
    let said = said_of(&format!("{SMALLEST}{none}"));
    assert!(said.len() == 1 && said[0].contains("provisioning: none has none"), "{said:?}");
}

/// Names are compared as servers behind us read them, so no spelling goes around the list.
#[test]
fn names_that_frame_a_request_or_are_said_otherwise() {
    for name in [
        "X_Forwarded_For",
        "Content_Length",
        "content-type",
        "X-Portcullis",
        "x_portcullis_user",
        "Close",
        "Sec-WebSocket-Protocol",
        "Sec-Fetch-Site",
        "Proxy",
        "Proxy_Authorization",
        "Via",
        "Set-Cookie",
        "Origin",
        "Range",
        "If-Match",
        "X-HTTP-Method-Override",
        "X_Original_URL",
        "Accept-Encoding",
        "_user",
        "1-user",
    ] {
        for file in [
            format!("headers:\n  templates: {{ {name}: text }}\n"),
            format!("headers:\n  names: {{ user: {name} }}\n"),
        ] {
            let said = said_of(&format!("{DIRECTORY}{file}"));
            assert_eq!(said.len(), 1, "{name}: {said:?}");
        }
    }
    for (name, is_fine) in [
        ("Host", false),
        ("hos*", false),
        ("content-*", false),
        ("Content-Typ*", false),
        ("con*", false),
        ("COOKIE", false),
        ("sec-*", false),
        ("X-Forwarded-*", true),
        ("authorization", true),
        ("if-*", true),
    ] {
        let said = said_of(&format!("{DIRECTORY}headers:\n  strip: ['{name}']\n"));
        assert_eq!(said.is_empty(), is_fine, "{name}: {said:?}");
    }
}

#[test]
fn headers_that_would_say_something_else_than_is_meant() {
    let long = "x".repeat(1025);
    let large = "x".repeat(1020);
    for (file, wanted) in [
        ("templates: { X-U: { value: '${name}', default: nobody } }", "known by the default"),
        ("templates: { X-U: { value: 'u=${name}', default: nobody } }", "known by the default"),
        ("templates: { X-U: { value: 'u ${user.username}', default: nobody } }", "known by the default"),
        (
            "{ user: email, templates: { X-U: { value: '${email}', default: nobody } } }",
            "known by the default",
        ),
        ("templates: { X-U: { value: text, default: none } }", "default: the text is always known"),
        (
            "templates: { X-U: { value: '${env:SCIM}', encoding: utf8 } }",
            "encoding: the text is written as it stands",
        ),
        ("names: { email: no }", "Write off"),
        ("names: { email: OFF }", "Write off"),
        (&format!("templates: {{ X-U: {{ value: '${{email}}', default: {long} }} }}"), "at most 1 KiB"),
        (&format!("{{ budget: 1KiB, templates: {{ X-U: {large} }} }}"), "nobody would be let in"),
    ] {
        let file = if file.starts_with('{') {
            format!("headers: {file}\n")
        } else {
            format!("headers:\n  {file}\n")
        };
        let said = said_of(&format!("{DIRECTORY}{file}"));
        assert!(said.len() == 1 && said[0].contains(wanted), "{file}: {said:?}");
    }
}

#[test]
fn headers_that_deserve_a_look() {
    for (file, wanted) in [
        ("preset: none, templates: { X-U: '${subject}' }", "no header says who is there by headers.user"),
        ("preset: none, templates: { X-U: 'u ${name}' }", ""),
        ("preset: none, templates: { X-U: '${user.userName}', Proxy-User: '${email}' }", ""),
        ("templates: { Authorization: Basic c2VjcmV0 }", "a credential stands in the configuration itself"),
    ] {
        let text = format!("{DIRECTORY}headers: {{ {file} }}\n");
        let loaded = load_text(Path::new("portcullis.yaml"), text.as_bytes(), &environment()).unwrap();
        let said: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        let said: Vec<&String> = said.iter().filter(|said| said.contains("headers")).collect();
        assert!(said.len() == usize::from(!wanted.is_empty()), "{file}: {said:?}");
        assert!(said.iter().all(|said| said.contains(wanted)), "{file}: {said:?}");
    }
}
