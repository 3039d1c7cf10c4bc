//! Rules, roles and bindings.

use crate::{DIRECTORY, SMALLEST, said_in, said_of, table};

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

#[test]
fn rules_that_cannot_be_meant() {
    table(
        SMALLEST,
        &[
            (
                "routes:\n  - path: /a/**\n    allow: public\n  - path: /a/**\n    allow: signed-in\n  - path: /a/**\n    \
             methods: [GET]\n    allow: signed-in\n",
                "13: routes[1].path: \"/a/**\" takes the same paths and methods as routes[0] on line 11, and differs in \
             what it allows, or in where it leads. Leave one out, or make one more exact.",
            ),
            (
                "routes:\n  - path: /a\n    allow: public\n  - path: /b/*\n    allow: public\n  - path: /A/\n    \
             methods: [GET]\n    allow: signed-in\n  - path: /B./*\n    allow: public\n",
                "15: routes[2].path: \"/A/\" is \"/a\" of routes[0] on line 11 to an application that does not tell upper \
             from lower case, nor a slash, dot or blank at the end, and differs in what it allows, or in where it leads. Let both allow the \
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
                "routes:\n  - path: /a*\n    allow: sign-in\n    origin: x\n  - allow: []\n    cache: x\n",
                "11: routes[0].path: \"/a*\" is not a pattern: * stands for a whole segment. Write /x for one path, /x/* \
             for one segment, /x/** for all below.\n12: routes[0].allow: \"sign-in\" is neither public nor signed-in. \
             Did you mean signed-in?\n13: routes[0].origin: not in this version. Leave it out.\n14: \
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
         scim.bindings.yml:9: bindings[3].user: not in this version. Bind by group.\n\
         scim.bindings.yml:13: bindings[4].rolle: no such key. Did you mean role?\n\
         scim.bindings.yml:14: default_role: not in this version. Leave it out."
    );
    let bound = "version: 1\nroles: [a]\nbindings:\n  - role: a\n  - { group: A, attribute: title, role: a }\n  - { attribute: \
                 departmnt, equals: x, role: a }\n  - { attribute: title, role: a }\n  - { equals: x, role: a }\n  - { attribute: \
                 userName, equals: x, role: b }\n  - { attribute: groups, equals: x, role: a }\n";
    assert_eq!(
        said(bound, "[a]"),
        "scim.bindings.yml:4: bindings[0]: it binds nothing. Write group: and the name of one, or attribute: and equals:.\n\
         scim.bindings.yml:5: bindings[1].attribute: a binding is by group or by attribute. Write two bindings.\n\
         scim.bindings.yml:6: bindings[2].attribute: there is no attribute \"departmnt\" of people. Did you mean department?\n\
         scim.bindings.yml:7: bindings[3].attribute: there is no equals beside it. Write the value it must have.\n\
         scim.bindings.yml:8: bindings[4].equals: there is no attribute beside it. Write attribute: department.\n\
         scim.bindings.yml:9: bindings[5].attribute: userName is one person's alone. Bind by group, or by an attribute that \
         several have.\n\
         scim.bindings.yml:9: bindings[5].role: \"b\" is not among the roles of this file. Known: a.\n\
         scim.bindings.yml:10: bindings[6].attribute: there is no attribute \"groups\" of people. Bind by group."
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
