"""Responses in the shapes of the identity providers that people name: their attribute names, prefixes, what they sign.

Nothing was captured: names are those of public documents and guides, as far as known; the README says which were looked up.
Organizations and persons are invented.
"""

from . import message as m
from . import sign as s
from .case import IDPS, attack, build, valid
from .message import Attr

CLAIMS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
MS = "http://schemas.microsoft.com/identity/claims/"
MS_2008 = "http://schemas.microsoft.com/ws/2008/06/identity/claims/"
GUID = "6c1f3f0e-9a2b-4c1d-8e57-0d5b7a9c2e4{}"
EMAIL = "alice@example.test"
PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"
UNSPECIFIED_CONTEXT = "urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified"
ENTITY = ' Format="urn:oasis:names:tc:SAML:2.0:nameid-format:entity"'
OPENSAML = dict(p="saml2p:", a="saml2:", declare_on_root=False)
MICROSOFT = dict(a="")


def basic(**values):
    return named(m.BASIC, **values)


def named(format_, typed=False, **values):
    return [
        Attr(name.replace("__", " "), list(v) if isinstance(v, (list, tuple)) else [v], format_, typed=typed)
        for name, v in values.items()
    ]


def listed(format_, pairs, typed=False):
    return [Attr(name, v if isinstance(v, list) else [v], format_, typed=typed) for name, v in pairs]


def oids(*rows):
    return [
        Attr(f"urn:oid:{oid}", v if isinstance(v, list) else [v], m.URI, friendly)
        for oid, friendly, v in rows
    ]


# preset: (entity id, what is signed, fields of the Message, arguments of `sign`, remark)
VENDORS = {
    "okta": (
        "http://www.okta.com/exk1fcia6d6EMsf331d8",
        "both",
        OPENSAML
        | dict(
            issuer_attributes=ENTITY,
            name_id_format=m.UNSPECIFIED,
            session_index="id1718452800123.1044598762",
            attributes=named(
                m.UNSPECIFIED.replace("1.1:nameid", "2.0:attrname"),
                True,
                firstName="Alice",
                lastName="Example",
                email=EMAIL,
                login=EMAIL,
            )
            + named(m.BASIC, True, groups=["Everyone", "Engineering"]),
        ),
        {"prefixes": ["xs"]},
        "OpenSAML's prefixes, typed values, PrefixList xs",
    ),
    "entra": (
        "https://sts.windows.net/3b1f6f4e-52f7-4c8e-9f10-3d6b0b2a7c11/",
        "assertion",
        MICROSOFT
        | dict(
            name_id_format=m.PERSISTENT,
            name_id="Pz7Yw3uQ0hV1xJtqg0bT5mCkq2n4LQd8bq0v1r3u5sE",
            authn_context=PASSWORD,
            session_index="_0c1b6f2e-6a40-4c2f-8f5e-7d1f2b3c4d00",
            attributes=listed(
                None,
                [
                    (MS + "tenantid", "3b1f6f4e-52f7-4c8e-9f10-3d6b0b2a7c11"),
                    (MS + "objectidentifier", "a1d7c5f0-43a0-4f9b-9a58-1c2d3e4f5a6b"),
                    (MS + "displayname", "Alice Example"),
                    (MS_2008 + "groups", [GUID.format(1), GUID.format(2)]),
                    (MS_2008 + "role", "Portcullis.Admin"),
                    (
                        MS + "identityprovider",
                        "https://sts.windows.net/3b1f6f4e-52f7-4c8e-9f10-3d6b0b2a7c11/",
                    ),
                    (
                        "http://schemas.microsoft.com/claims/authnmethodsreferences",
                        [
                            "http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/password",
                            "http://schemas.microsoft.com/claims/multipleauthn",
                        ],
                    ),
                    (CLAIMS + "givenname", "Alice"),
                    (CLAIMS + "surname", "Example"),
                    (CLAIMS + "emailaddress", EMAIL),
                    (CLAIMS + "name", EMAIL),
                ],
            ),
        ),
        {},
        "claims as URIs, groups as GUIDs, default namespace at the Assertion, only the Assertion signed",
    ),
    "google": (
        "https://accounts.google.com/o/saml2?idpid=C02x7ab3d",
        "response",
        OPENSAML
        | dict(
            name_id_format=m.EMAIL,
            authn_context=UNSPECIFIED_CONTEXT,
            session_index="_1d2c3b4a5968778695a4b3c2d1e0f900",
            attributes=[
                Attr(
                    name,
                    [],
                    raw="".join(
                        f'<saml2:AttributeValue xmlns:xs="{m.XS}" xmlns:xsi="{m.XSI}"'
                        f' xsi:type="xs:anyType">{v}</saml2:AttributeValue>'
                        for v in values
                    ),
                )
                for name, values in (
                    ("email", [EMAIL]),
                    ("firstName", ["Alice"]),
                    ("lastName", ["Example"]),
                    ("groups", ["Engineering", "Staff"]),
                )
            ],
        ),
        {},
        "entity ID with a query, values typed xs:anyType, the Response signed",
    ),
    "onelogin": (
        "https://app.onelogin.com/saml/metadata/7d2b1f7c-0f2a-4b21-9c1c-3f4e5d6c7b8a",
        "assertion",
        dict(
            name_id_format=m.EMAIL,
            attributes=named(
                m.BASIC,
                True,
                **{
                    "User.email": EMAIL,
                    "User.FirstName": "Alice",
                    "User.LastName": "Example",
                    "memberOf": "Engineering;Staff",
                    "PersonImmutableID": "2210",
                },
            ),
        ),
        {},
        "one value with semicolons",
    ),
    "pingone": (
        "https://auth.pingone.com/4f1c0a52-1d7c-4a55-9d0f-2b8c3e6f7a91",
        "response",
        dict(
            name_id_format=m.UNSPECIFIED,
            name_id="b7f0c2b1-6c3a-4a8e-8d7e-5f4c3b2a1908",
            attributes=named(
                m.UNSPECIFIED.replace("1.1:nameid", "2.0:attrname"),
                True,
                saml_subject="b7f0c2b1-6c3a-4a8e-8d7e-5f4c3b2a1908",
                email=EMAIL,
                firstName="Alice",
                lastName="Example",
                groups=["Engineering"],
            ),
        ),
        {},
        "saml_subject",
    ),
    "pingfederate": (
        "https://sso.example.test:9031",
        "assertion",
        dict(
            name_id_format=m.UNSPECIFIED,
            name_id="alice",
            attributes=named(
                m.BASIC,
                True,
                SAML_SUBJECT="alice",
                mail=EMAIL,
                givenName="Alice",
                sn="Example",
                memberOf=["CN=Engineering,OU=Groups,DC=example,DC=test"],
            ),
        ),
        {},
        "SAML_SUBJECT, groups as DNs",
    ),
    "jumpcloud": (
        "jumpcloud-example",
        "both",
        dict(
            name_id_format=m.EMAIL,
            attributes=named(
                m.BASIC,
                True,
                email=EMAIL,
                firstname="Alice",
                lastname="Example",
                memberOf=["Engineering", "All Users"],
            ),
        ),
        {},
        "an entity ID that is no URL",
    ),
    "duo": (
        "https://sso-0f1e2d3c.sso.duosecurity.com/saml2/sp/DI0A1B2C3D4E5F6G7H8J/metadata",
        "both",
        dict(
            name_id_format=m.EMAIL,
            attributes=named(
                m.UNSPECIFIED.replace("1.1:nameid", "2.0:attrname"),
                True,
                Username="alice",
                Email=EMAIL,
                FirstName="Alice",
                LastName="Example",
                DisplayName="Alice Example",
                Groups=["Engineering"],
            ),
        ),
        {},
        "Response and Assertion signed",
    ),
    "adfs": (
        "http://adfs.example.test/adfs/services/trust",
        "assertion",
        MICROSOFT
        | dict(
            name_id_format=m.PERSISTENT,
            name_id="EXAMPLE\\alice",
            authn_context="urn:federation:authentication:windows",
            attributes=listed(
                None,
                [
                    (CLAIMS + "upn", EMAIL),
                    (CLAIMS + "emailaddress", EMAIL),
                    (CLAIMS + "givenname", "Alice"),
                    (CLAIMS + "surname", "Example"),
                    (CLAIMS + "name", "EXAMPLE\\alice"),
                    ("http://schemas.xmlsoap.org/claims/Group", ["Domain Users", "Engineering"]),
                    (MS_2008 + "role", "admin"),
                    (MS_2008 + "windowsaccountname", "EXAMPLE\\alice"),
                ],
            ),
        ),
        {},
        "claims as URIs, Group, Consent at the Response",
    ),
    "rippling": (
        "https://www.rippling.com/saml/5f4e3d2c1b0a",
        "response",
        dict(
            name_id_format=m.EMAIL,
            attributes=basic(
                email=EMAIL, firstName="Alice", lastName="Example", id="61a7", groups=["Engineering"]
            ),
        ),
        {},
        "plain names",
    ),
    "cyberark": (
        "https://abc1234.id.cyberark.cloud/0d9c8b7a-6f5e-4d3c-2b1a-09f8e7d6c5b4",
        "response",
        dict(
            name_id_format=m.UNSPECIFIED,
            attributes=basic(
                Email=EMAIL,
                FirstName="Alice",
                LastName="Example",
                LoginName=EMAIL,
                Groups=["Engineering", "System Administrator"],
            ),
        ),
        {},
        "capital letters",
    ),
    "keycloak": (
        "https://keycloak.example.test/realms/example",
        "both",
        dict(
            name_id_format=m.PERSISTENT,
            name_id="G-1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
            session_index="8f14e45f-ceea-467f-a0e6-5b2d1c3a4f00::2b1a0c9d-8e7f-4a6b-9c5d-0e1f2a3b4c5d",
            authn_context=UNSPECIFIED_CONTEXT,
            attributes=[
                Attr("urn:oid:1.2.840.113549.1.9.1", [EMAIL], m.URI, "email", typed=True),
                Attr("urn:oid:2.5.4.42", ["Alice"], m.URI, "givenName", typed=True),
                Attr("urn:oid:2.5.4.4", ["Example"], m.URI, "surname", typed=True),
                Attr("member", ["/engineering", "/staff/berlin"], m.BASIC, typed=True),
            ]
            + [
                Attr("Role", [role], m.BASIC, typed=True)
                for role in ("offline_access", "uma_authorization", "editor", "manage-account")
            ],
        ),
        {},
        "one Attribute element for each role, group paths, SessionIndex with two colons",
    ),
    "shibboleth": (
        "https://idp.university.example.test/idp/shibboleth",
        "response",
        OPENSAML
        | dict(
            name_id_format=m.TRANSIENT,
            name_id="AAdzZWNyZXQxkq2n4LQd8bq0v1r3u5sEPz7Yw3uQ0hV1xJtqg0bT5mC",
            name_id_attributes=(
                ' NameQualifier="https://idp.university.example.test/idp/shibboleth"'
                f' SPNameQualifier="{m.SP_ENTITY}"'
            ),
            attributes=oids(
                ("0.9.2342.19200300.100.1.1", "uid", "alice"),
                ("0.9.2342.19200300.100.1.3", "mail", EMAIL),
                ("2.5.4.42", "givenName", "Alice"),
                ("2.5.4.4", "sn", "Example"),
                ("2.16.840.1.113730.3.1.241", "displayName", "Alice Example"),
                ("1.3.6.1.4.1.5923.1.1.1.6", "eduPersonPrincipalName", "alice@university.example.test"),
                (
                    "1.3.6.1.4.1.5923.1.1.1.9",
                    "eduPersonScopedAffiliation",
                    ["staff@university.example.test", "member@university.example.test"],
                ),
                (
                    "1.3.6.1.4.1.5923.1.1.1.7",
                    "eduPersonEntitlement",
                    "urn:mace:example.test:portcullis:admin",
                ),
                ("1.3.6.1.4.1.5923.1.5.1.1", "isMemberOf", ["urn:mace:example.test:engineering"]),
            ),
        ),
        {},
        "attributes as OIDs, transient NameID",
    ),
    "auth0": (
        "urn:example.eu.auth0.com",
        "assertion",
        dict(
            name_id_format=m.UNSPECIFIED,
            name_id="auth0|5f7c8ec7c33c6c004bbafe82",
            authn_context=UNSPECIFIED_CONTEXT,
            attributes=listed(
                m.URI,
                [
                    (CLAIMS + "nameidentifier", "auth0|5f7c8ec7c33c6c004bbafe82"),
                    (CLAIMS + "emailaddress", EMAIL),
                    (CLAIMS + "name", "Alice Example"),
                    (CLAIMS + "givenname", "Alice"),
                    (CLAIMS + "surname", "Example"),
                    (CLAIMS + "upn", EMAIL),
                    (
                        "http://schemas.auth0.com/identities/default/connection",
                        "Username-Password-Authentication",
                    ),
                    ("http://schemas.auth0.com/identities/default/provider", "auth0"),
                    ("http://schemas.auth0.com/identities/default/isSocial", "false"),
                    ("http://schemas.auth0.com/email_verified", "true"),
                    ("http://schemas.auth0.com/nickname", "alice"),
                    ("http://schemas.auth0.com/groups", ["engineering"]),
                ],
                True,
            ),
        ),
        {},
        "a bar in the NameID, own schema",
    ),
    "cloudflare": (
        "https://example.cloudflareaccess.com",
        "both",
        dict(
            name_id_format=m.EMAIL,
            attributes=basic(email=EMAIL, name="Alice Example", id="7a1f", groups=["Engineering"]),
        ),
        {},
        "Response and Assertion signed",
    ),
    "oracle": (
        "https://idcs-0123456789abcdef0123456789abcdef.identity.oraclecloud.com:443/fed",
        "assertion",
        dict(
            name_id_format=m.EMAIL,
            attributes=basic(
                mail=EMAIL,
                firstname="Alice",
                lastname="Example",
                userid="ocid1.user.oc1..aaaa",
                groups=["Engineering"],
            ),
        ),
        {},
        "entity ID with port 443",
    ),
    "vmware": (
        "https://example.vmwareidentity.com/SAAS/API/1.0/GET/metadata/idp.xml",
        "assertion",
        dict(
            name_id_format=m.UNSPECIFIED,
            name_id="alice",
            attributes=basic(
                userName="alice",
                email=EMAIL,
                firstName="Alice",
                lastName="Example",
                groupNames=["Engineering"],
            ),
        ),
        {},
        "userName, groupNames",
    ),
    "lastpass": (
        "https://identity.lastpass.com",
        "both",
        dict(
            name_id_format=m.EMAIL,
            attributes=basic(email=EMAIL, first_name="Alice", last_name="Example", groups=["Engineering"]),
        ),
        {},
        "underscores",
    ),
    "miniorange": (
        "https://login.xecurify.com/moas/saml/example",
        "response",
        dict(
            name_id_format=m.EMAIL,
            attributes=named(
                m.URI,
                email=EMAIL,
                fname="Alice",
                lname="Example",
                username="alice",
                groupName=["Engineering", "default"],
            ),
        ),
        {},
        "fname, lname, groupName",
    ),
    "netiq": (
        "https://nam.example.test/nidp/saml2/metadata",
        "assertion",
        dict(
            name_id_format=m.PERSISTENT,
            name_id="KcqVq1dXl0yK3E6e",
            name_id_attributes=(
                ' NameQualifier="https://nam.example.test/nidp/saml2/metadata" '
                f'SPNameQualifier="{m.SP_ENTITY}"'
            ),
            attributes=listed(
                m.BASIC,
                [
                    ("mail", EMAIL),
                    ("givenName", "Alice"),
                    ("sn", "Example"),
                    ("groupMembership", ["cn=engineering,o=example"]),
                    ('/UserAttribute[@ldap:targetAttribute="workforceID"]', "7731"),
                ],
            ),
        ),
        {},
        "an attribute name with quotation marks",
    ),
    "simplesamlphp": (
        "https://idp.example.test/simplesaml/saml2/idp/metadata.php",
        "both",
        dict(
            name_id_format=m.TRANSIENT,
            name_id="_5f1c0a521d7c4a559d0f2b8c3e6f7a91",
            name_id_attributes=f' SPNameQualifier="{m.SP_ENTITY}"',
            attributes=named(
                m.BASIC,
                True,
                uid="alice",
                mail=EMAIL,
                givenName="Alice",
                sn="Example",
                cn="Alice Example",
                eduPersonAffiliation=["member", "staff"],
                memberOf=["engineering"],
            ),
        ),
        {},
        "LDAP names, typed values",
    ),
    "classlink": (
        "https://idp.classlink.com/sso/metadata/example",
        "assertion",
        dict(
            name_id_format=m.EMAIL,
            attributes=basic(
                ID="1902",
                **{"Login__id": "alice"},
                Email=EMAIL,
                **{"Given__Name": "Alice", "Family__Name": "Example"},
                Role="Teacher",
                **{"Tenant__ID": "2284", "OR:userSourcedId": "T-1902"},
            ),
        ),
        {},
        "names with blanks and a colon",
    ),
    "cas": (
        "https://cas.example.test/cas/idp",
        "both",
        OPENSAML
        | dict(
            name_id_format=m.UNSPECIFIED,
            name_id="alice",
            attributes=basic(
                mail=EMAIL,
                givenName="Alice",
                sn="Example",
                memberOf=["CN=Engineering,DC=example,DC=test"],
                isFromNewLogin="true",
                authenticationDate="2026-06-15T11:59:55.000Z",
                authenticationMethod="LdapAuthenticationHandler",
                longTermAuthenticationRequestTokenUsed="false",
            ),
        ),
        {},
        "the server's own attributes beside the person's",
    ),
    "salesforce": (
        "https://example.my.salesforce.com",
        "both",
        dict(
            name_id_format=m.UNSPECIFIED,
            name_id="alice@example.test.prod",
            attributes=named(
                m.UNSPECIFIED.replace("1.1:nameid", "2.0:attrname"),
                True,
                userId="0055e000001XyZaAAK",
                username="alice@example.test.prod",
                email=EMAIL,
                is_portal_user="false",
            ),
        ),
        {},
        "userId, username, is_portal_user",
    ),
    "plain": (
        "https://plain.example.test/idp",
        "response",
        dict(
            name_id_format=m.PERSISTENT,
            name_id="u-7731",
            attributes=basic(
                id="u-7731",
                email=EMAIL,
                firstName="Alice",
                lastName="Example",
                groups=["Engineering", "Staff"],
            ),
        ),
        {},
        "the plain set id, email, firstName, lastName, groups",
    ),
}

GOOGLE = {
    "email": [EMAIL],
    "firstName": ["Alice"],
    "lastName": ["Example"],
    "groups": ["Engineering", "Staff"],
}


def add_all():
    for preset, (entity, signed, fields, how, remark) in VENDORS.items():
        IDPS[preset] = (entity, ["idp-rsa2048"], {"preset": preset})
        expect = {"attributes": GOOGLE} if preset == "google" else {}
        if "NameQualifier" in fields.get("name_id_attributes", ""):
            expect |= qualifiers(fields["name_id_attributes"])
        key_info = {"key_info": s.x509_key_info("idp-rsa2048")}
        text = None
        if preset == "adfs":
            text = lambda x: x.response_text().replace(
                " Version=", ' Consent="urn:oasis:names:tc:SAML:2.0:consent:unspecified" Version=', 1
            )
        if preset == "keycloak":
            key_info = {
                "key_info": (
                    "<ds:KeyInfo><ds:KeyName>Zk3Vx0</ds:KeyName>"
                    + s.x509_key_info("idp-rsa2048")[12:-13]
                    + s.key_value_info("idp-rsa2048")[12:]
                )
            }
        valid(
            f"vendor-{preset}",
            f"As {preset} sends it: {remark}.",
            signed,
            how | key_info,
            idp=preset,
            text=text,
            expect=expect,
            response_issuer=entity,
            assertion_issuer=entity,
            **fields,
        )
    add_overage()
    add_cloudflare_groups()
    attack(
        "vendor-rippling-dummy-request",
        "in_response_to",
        "Unsolicited as Rippling sends it by default, with an InResponseTo that answers nothing.",
        build(
            "vendor-rippling-dummy-request",
            "response",
            response_in_response_to="dummy",
            confirmation_in_response_to="dummy",
        )[1],
        idp="acme-open",
        request_id=None,
        base="vendor-rippling",
    )


def qualifiers(text):
    out = {}
    for name, key in ((" NameQualifier=", "name_qualifier"), (" SPNameQualifier=", "sp_name_qualifier")):
        if name in text:
            out[key] = text.split(name + '"')[1].split('"')[0]
    return out


def add_overage():
    entity, signed, fields, how, _ = VENDORS["entra"]
    link = "https://graph.microsoft.com/v1.0/users/a1d7c5f0-43a0-4f9b-9a58-1c2d3e4f5a6b/getMemberObjects"
    kept = [x for x in fields["attributes"] if not x.name.endswith("/groups")] + [
        Attr("http://schemas.microsoft.com/claims/groups.link", [link])
    ]
    valid(
        "vendor-entra-groups-link",
        "Entra ID with too many groups: a link instead of them. A good Response; the mapping must refuse it"
        " by name.",
        signed,
        how,
        idp="entra",
        response_issuer=entity,
        assertion_issuer=entity,
        expect={"mapping": "refuse"},
        **(fields | {"attributes": kept}),
    )


def add_cloudflare_groups():
    entity, signed, fields, how, _ = VENDORS["cloudflare"]
    value = "<saml:AttributeValue><name>Engineering</name><id>67e1</id><email>engineering@example.test</email></saml:AttributeValue>"
    kept = [x for x in fields["attributes"] if x.name != "groups"] + [Attr("groups", [], m.BASIC, raw=value)]
    valid(
        "vendor-cloudflare-groups-elements",
        "As Cloudflare Access passes on some groups: each value is three elements.",
        signed,
        how,
        idp="cloudflare",
        response_issuer=entity,
        assertion_issuer=entity,
        expect={"unspecified_attributes": ["groups"]},
        **(fields | {"attributes": kept}),
    )
