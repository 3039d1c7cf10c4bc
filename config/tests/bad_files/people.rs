//! What a directory is told: attributes that are declared, people from files.

use portcullis_config::load_text;

use crate::{DIRECTORY, SMALLEST, environment, said_of, table};

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
      app: { type: string, mutability: readOnly, unique: true, case_exact: true, canonical: [a] }
      other: { type: integer, mutability: readWrite }
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
      given: { type: string, mutability: readOnly, required: true }
      ours: { type: string, mutability: readOnly, multi_valued: true }
      whole_ours: { type: complex, attributes: { a: { type: string, mutability: readOnly } } }
      once: { type: string, mutability: immutable }
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
    (
        33,
        "given.required",
        "no client could give what only portcullis import --map writes. Leave required out.",
    ),
    (
        34,
        "ours.mutability",
        "portcullis import --map writes single texts, and nobody else would write this one. Write type: string without multi_valued, or leave mutability out.",
    ),
    (
        35,
        "whole_ours.attributes.a.mutability",
        "has no meaning for a part of a complex attribute. Leave it out.",
    ),
    (36, "once.mutability", "\"immutable\" is not kept apart here: an attribute is readWrite or readOnly."),
];

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
