"""Metadata of identity providers: what must be read from it, and what must be refused or named."""

from . import keys
from . import message as m
from . import sign as s

MD = "urn:oasis:names:tc:SAML:2.0:metadata"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
SOAP = "urn:oasis:names:tc:SAML:2.0:bindings:SOAP"
SSO_URL = "https://idp.example.test/saml/sso"
SLO_URL = "https://idp.example.test/saml/slo"

CASES = {}


def key_descriptor(name, use="signing", ds="ds:", declared=f' xmlns:ds="{s.DS}"', lines=False):
    text = keys.certificate_base64(name)
    if lines:
        text = "\n" + "\n".join(text[i : i + 64] for i in range(0, len(text), 64)) + "\n"
    used = f' use="{use}"' if use else ""
    return (
        f"<md:KeyDescriptor{used}><{ds}KeyInfo{declared}><{ds}X509Data><{ds}X509Certificate>{text}</{ds}X509Certificate></{ds}X509Data>"
        f"</{ds}KeyInfo></md:KeyDescriptor>"
    )


def endpoints(redirect=SSO_URL, post=SSO_URL, slo=SLO_URL):
    out = ""
    if slo:
        out += f'<md:SingleLogoutService Binding="{REDIRECT}" Location="{slo}"/>'
    out += f"<md:NameIDFormat>{m.EMAIL}</md:NameIDFormat>"
    if redirect:
        out += f'<md:SingleSignOnService Binding="{REDIRECT}" Location="{m.escape(redirect)}"/>'
    if post:
        out += f'<md:SingleSignOnService Binding="{POST}" Location="{m.escape(post)}"/>'
    return out


def role(key_text, ends=None, attributes=""):
    return (
        "<md:IDPSSODescriptor"
        f' protocolSupportEnumeration="{m.SAMLP}"{attributes}>{key_text}{endpoints() if ends is None else ends}'
        "</md:IDPSSODescriptor>"
    )


def entity(roles, entity_id=m.IDP_ENTITY, attributes="", before="", after="", declared=True, wanted="_md"):
    space = f' xmlns:md="{MD}"' if declared else ""
    return (
        f'<md:EntityDescriptor{space} ID="{wanted}"'
        f' entityID="{m.escape(entity_id)}"{attributes}>{s.slot(wanted)}{before}{roles}{after}'
        "</md:EntityDescriptor>"
    )


def entities(*members, attributes=""):
    return (
        f'<md:EntitiesDescriptor xmlns:md="{MD}"'
        f' ID="_all"{attributes}>{s.slot("_all")}{"".join(members)}</md:EntitiesDescriptor>'
    )


def finish(text, wanted=None, **how):
    """Signs `wanted` if one is named, and takes all other slots out."""
    for slot_id in ("_md", "_all", "_a", "_b"):
        if slot_id != wanted:
            text = text.replace(s.slot(slot_id), "")
    return text if wanted is None else s.sign(text, wanted, how.pop("key", "federation-rsa2048"), **how)


def add(name, why, xml, expect, pinned=None, entity_id=m.IDP_ENTITY):
    assert name not in CASES, name
    CASES[name] = (
        xml.encode() if isinstance(xml, str) else xml,
        {
            "name": name,
            "file": f"metadata/{name}.xml",
            "now": m.NOW_MS,
            "entity_id": entity_id,
            "pinned": f"keys/{pinned}.cert.pem" if pinned else None,
            "expect": expect,
            "why": why,
        },
    )


def good(name, why, xml, *signers, pinned=None, entity_id=m.IDP_ENTITY, **more):
    expect = {
        "accepted": True,
        "signing_certificates": [f"keys/{x}.cert.pem" for x in signers],
        "sso": {"redirect": SSO_URL, "post": SSO_URL},
        "slo": {"redirect": SLO_URL},
        "valid_until": None,
        "want_authn_requests_signed": False,
    } | more
    add(name, why, xml, expect, pinned, entity_id)


def bad(name, problem, why, xml, *also, pinned=None, entity_id=m.IDP_ENTITY):
    expect = {"accepted": False, "class": "metadata", "problem": problem}
    if also:
        expect["classes"] = ["metadata", *also]
    add(name, why, xml, expect, pinned, entity_id)


MAIN = "idp-rsa2048"


def add_good():
    one = role(key_descriptor(MAIN))
    good("single", "One EntityDescriptor, one signing key.", finish(entity(one)), MAIN)
    good(
        "use-absent",
        "A KeyDescriptor without `use` is for signing too.",
        finish(entity(role(key_descriptor(MAIN, use=None)))),
        MAIN,
    )
    good(
        "two-signing-keys",
        "Two signing keys, as during rotation.",
        finish(entity(role(key_descriptor(MAIN) + key_descriptor("idp-rsa2048-next")))),
        MAIN,
        "idp-rsa2048-next",
    )
    good(
        "mixed-keys",
        "An RSA and two EC signing keys.",
        finish(entity(role(key_descriptor(MAIN) + key_descriptor("idp-p256") + key_descriptor("idp-p384")))),
        MAIN,
        "idp-p256",
        "idp-p384",
    )
    good(
        "signing-and-encryption",
        "A signing and an encryption key.",
        finish(entity(role(key_descriptor("idp-rsa2048-encryption", "encryption") + key_descriptor(MAIN)))),
        MAIN,
    )
    good(
        "certificate-in-lines",
        "The certificate is broken into lines.",
        finish(entity(role(key_descriptor(MAIN, lines=True)))),
        MAIN,
    )
    two = key_descriptor(MAIN).replace(
        "</ds:X509Data>",
        f"<ds:X509Certificate>{keys.certificate_base64('idp-rsa2048-next')}</ds:X509Certificate></ds:X509Data>",
    )
    good(
        "two-certificates-in-one",
        "One KeyDescriptor with two X509Certificates: the first is the key's own, the second may be its"
        " chain.",
        finish(entity(role(two))),
        MAIN,
        second_certificate_allowed=True,
    )
    good(
        "key-name-beside",
        "KeyInfo has a KeyName before X509Data.",
        finish(
            entity(
                role(
                    key_descriptor(MAIN).replace("<ds:X509Data>", "<ds:KeyName>k1</ds:KeyName><ds:X509Data>")
                )
            )
        ),
        MAIN,
    )
    good(
        "valid-until-ahead",
        "validUntil is a week ahead.",
        finish(entity(one, attributes=f' validUntil="{m.at(7 * 86400, 0)}"')),
        MAIN,
        valid_until=m.at_ms(7 * 86400),
    )
    good(
        "cache-duration",
        "cacheDuration of one day.",
        finish(entity(one, attributes=' cacheDuration="P1D"')),
        MAIN,
    )
    good(
        "want-authn-requests-signed",
        "WantAuthnRequestsSigned.",
        finish(entity(role(key_descriptor(MAIN), attributes=' WantAuthnRequestsSigned="true"'))),
        MAIN,
        want_authn_requests_signed=True,
    )
    good(
        "redirect-only",
        "Only HTTP-Redirect for login, no logout.",
        finish(entity(role(key_descriptor(MAIN), endpoints(post=None, slo=None)))),
        MAIN,
        sso={"redirect": SSO_URL},
        slo={},
    )
    good(
        "post-only",
        "Only HTTP-POST for login.",
        finish(entity(role(key_descriptor(MAIN), endpoints(redirect=None, slo=None)))),
        MAIN,
        sso={"post": SSO_URL},
        slo={},
    )
    query = "https://accounts.google.com/o/saml2/idp?idpid=C02x7ab3d&hd=example.test"
    good(
        "location-with-query",
        "The login URL has a query of its own, escaped.",
        finish(entity(role(key_descriptor(MAIN), endpoints(query, query, None)))),
        MAIN,
        sso={"redirect": query, "post": query},
        slo={},
    )
    logout = endpoints(slo=None).replace(
        "<md:NameIDFormat>",
        f'<md:SingleLogoutService Binding="{POST}" Location="{SLO_URL}" ResponseLocation="{SLO_URL}/done"/>'
        f'<md:SingleLogoutService Binding="{SOAP}" Location="{SLO_URL}/soap"/><md:NameIDFormat>',
        1,
    )
    good(
        "logout-response-location",
        "Logout by POST with a ResponseLocation, and by SOAP.",
        finish(entity(role(key_descriptor(MAIN), logout))),
        MAIN,
        slo={"post": SLO_URL},
        slo_response={"post": SLO_URL + "/done"},
    )
    others = [
        entity(
            role(key_descriptor("other-idp-rsa2048")),
            f"https://{x}.example.test/md",
            declared=False,
            wanted=f"_{x}",
        ).replace(s.slot(f"_{x}"), "")
        for x in "ab"
    ]
    ours = entity(one, declared=False)
    good(
        "entities-three",
        "EntitiesDescriptor with three members, ours in the middle.",
        finish(entities(others[0], ours, others[1])),
        MAIN,
    )
    good(
        "entities-nested",
        "EntitiesDescriptor in EntitiesDescriptor, ours in the inner one.",
        finish(
            entities(others[0], "<md:EntitiesDescriptor>" + ours + others[1] + "</md:EntitiesDescriptor>")
        ),
        MAIN,
    )
    good(
        "entities-one",
        "EntitiesDescriptor with one member, as older Keycloak writes.",
        finish(entities(ours)),
        MAIN,
    )
    good(
        "sp-role-beside",
        "The entity is a service provider too, with another key.",
        finish(
            entity(
                "<md:SPSSODescriptor"
                f' protocolSupportEnumeration="{m.SAMLP}">{key_descriptor("sp-foreign")}<md:AssertionConsumerService'
                f' Binding="{POST}" Location="https://idp.example.test/acs" index="0"/></md:SPSSODescriptor>'
                + one
            )
        ),
        MAIN,
    )
    good(
        "default-namespace",
        "No prefixes.",
        finish(entity(one)).replace("<md:", "<").replace("</md:", "</").replace("xmlns:md=", "xmlns="),
        MAIN,
    )
    good(
        "pretty-printed",
        "Line breaks and blanks between elements, an XML declaration.",
        '<?xml version="1.0" encoding="UTF-8"?>\n' + finish(entity(one)).replace("><", ">\n  <"),
        MAIN,
    )
    good(
        "comments",
        "Comments between elements, as Shibboleth's generated metadata has.",
        "<!-- Example metadata -->\n"
        + finish(entity(one)).replace("<md:IDPSSODescriptor", "<!-- login --><md:IDPSSODescriptor"),
        MAIN,
    )
    good(
        "byte-order-mark",
        "A UTF-8 byte order mark in front, as AD FS and Entra ID write.",
        b"\xef\xbb\xbf" + finish(entity(one)).encode(),
        MAIN,
    )
    good(
        "signed-not-pinned",
        "Signed by a key that is not pinned: the signature is not asked for.",
        finish(entity(one), "_md"),
        MAIN,
    )
    good(
        "signed-pinned",
        "Signed by the pinned key.",
        finish(entity(one), "_md"),
        MAIN,
        pinned="federation-rsa2048",
    )
    good(
        "signed-entities-pinned",
        "EntitiesDescriptor signed by the pinned key, ours inside.",
        finish(entities(others[0], ours), "_all"),
        MAIN,
        pinned="federation-rsa2048",
    )


def add_vendors():
    fed = 'xmlns:fed="http://docs.oasis-open.org/wsfed/federation/200706"'
    role_descriptor = (
        f'<md:RoleDescriptor xmlns:xsi="{m.XSI}" xsi:type="fed:SecurityTokenServiceType"'
        ' protocolSupportEnumeration="http://docs.oasis-open.org/wsfed/'
        'federation/200706"'
        f' {fed}>{key_descriptor("idp-rsa2048-retired")}<fed:ClaimTypesOffered><auth:ClaimType'
        ' Uri="http://schemas.xmlsoap.org/ws/2005/05/'
        'identity/claims/name" Optional="true"'
        ' xmlns:auth="http://docs.oasis-open.org/wsfed/authorization/200706"><auth:DisplayName>Name</auth:DisplayName>'
        "</auth:ClaimType></fed:ClaimTypesOffered></md:RoleDescriptor>"
    )
    entra_id = "https://sts.windows.net/3b1f6f4e-52f7-4c8e-9f10-3d6b0b2a7c11/"
    entra_url = "https://login.microsoftonline.com/3b1f6f4e-52f7-4c8e-9f10-3d6b0b2a7c11/saml2"
    good(
        "vendor-entra",
        "Entra ID: signed by the signing key itself, RoleDescriptors of WS-Federation, two keys, one URL for"
        " everything.",
        finish(
            entity(
                role_descriptor
                + role(
                    key_descriptor(MAIN) + key_descriptor("idp-rsa2048-next"),
                    endpoints(entra_url, entra_url, entra_url),
                ),
                entra_id,
            ),
            "_md",
            key=MAIN,
        ),
        MAIN,
        "idp-rsa2048-next",
        entity_id=entra_id,
        sso={"redirect": entra_url, "post": entra_url},
        slo={"redirect": entra_url},
    )
    adfs_id, adfs_url = "http://adfs.example.test/adfs/services/trust", "https://adfs.example.test/adfs/ls/"
    adfs = role(
        key_descriptor("idp-rsa2048-encryption", "encryption") + key_descriptor(MAIN),
        f'<md:SingleLogoutService Binding="{REDIRECT}" Location="{adfs_url}"/><md:SingleLogoutService'
        f' Binding="{POST}"'
        f' Location="{adfs_url}"/><md:NameIDFormat>{m.EMAIL}</md:NameIDFormat><md:SingleSignOnService'
        f' Binding="{REDIRECT}" Location="{adfs_url}"/><md:SingleSignOnService Binding="{POST}"'
        f' Location="{adfs_url}"/><saml:Attribute xmlns:saml="{m.SAML}"'
        ' Name="http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"'
        ' NameFormat="urn:oasis:names:tc:SAML:2.0:attrname-format:uri" FriendlyName="UPN"/>',
    )
    good(
        "vendor-adfs",
        "AD FS: WS-Federation roles, encryption key first, both bindings.",
        finish(entity(role_descriptor + adfs, adfs_id), "_md", key=MAIN),
        MAIN,
        entity_id=adfs_id,
        sso={"redirect": adfs_url, "post": adfs_url},
        slo={"redirect": adfs_url, "post": adfs_url},
    )
    okta_id, okta_url = (
        "http://www.okta.com/exk1fcia6d6EMsf331d8",
        "https://example.okta.com/app/example_portcullis_1/exk1fcia6d6EMsf331d8/sso/saml",
    )
    good(
        "vendor-okta",
        "Okta: WantAuthnRequestsSigned false, no logout.",
        finish(
            entity(
                role(
                    key_descriptor(MAIN),
                    endpoints(okta_url, okta_url, None),
                    ' WantAuthnRequestsSigned="false"',
                ),
                okta_id,
            )
        ),
        MAIN,
        entity_id=okta_id,
        sso={"redirect": okta_url, "post": okta_url},
        slo={},
    )
    google_id, google_url = (
        "https://accounts.google.com/o/saml2?idpid=C02x7ab3d",
        "https://accounts.google.com/o/saml2/idp?idpid=C02x7ab3d",
    )
    good(
        "vendor-google",
        "Google: entity ID and login URL with a query, validUntil years ahead.",
        finish(
            entity(
                role(key_descriptor(MAIN, use="signing"), endpoints(google_url, google_url, None)),
                google_id,
                ' validUntil="2031-04-11T09:30:00.000Z"',
            )
        ),
        MAIN,
        entity_id=google_id,
        sso={"redirect": google_url, "post": google_url},
        slo={},
        valid_until=1933666200000,
    )
    shib_id, shib = (
        "https://idp.university.example.test/idp/shibboleth",
        "https://idp.university.example.test/idp/profile/SAML2/Redirect/SSO",
    )
    scope = (
        '<md:Extensions><shibmd:Scope xmlns:shibmd="urn:mace:shibboleth:metadata:1.0"'
        ' regexp="false">university.example.test</shibmd:Scope></md:Extensions>'
    )
    authority = (
        "<md:AttributeAuthorityDescriptor"
        f' protocolSupportEnumeration="{m.SAMLP}">{key_descriptor("idp-rsa2048-retired")}<md:AttributeService'
        f' Binding="{SOAP}" '
        'Location="https://idp.university.example.test:8443/idp/profile/SAML2/SOAP/AttributeQuery"/></md:AttributeAuthorityDescriptor>'
    )
    good(
        "vendor-shibboleth",
        "Shibboleth: Extensions with a scope, three keys, SAML 1.1 bindings, an attribute authority with"
        " another key.",
        finish(
            entity(
                role(
                    scope
                    + key_descriptor(MAIN)
                    + key_descriptor("idp-rsa3072")
                    + key_descriptor("idp-rsa2048-encryption", "encryption"),
                    '<md:SingleSignOnService Binding="urn:mace:shibboleth:1.0:profiles:AuthnRequest"'
                    ' Location="https://idp.university.example.test/idp/profile/Shibboleth/SSO"/><md:SingleSignOnService'
                    f' Binding="{REDIRECT}" Location="{shib}"/>',
                )
                + authority,
                shib_id,
            )
        ),
        MAIN,
        "idp-rsa3072",
        entity_id=shib_id,
        sso={"redirect": shib},
        slo={},
    )
    kc_id = "https://keycloak.example.test/realms/example"
    kc = kc_id + "/protocol/saml"
    good(
        "vendor-keycloak",
        "Keycloak: KeyName beside the certificate, all bindings at one URL, artifact and SOAP too.",
        finish(
            entity(
                role(
                    key_descriptor(MAIN).replace(
                        "<ds:X509Data>", "<ds:KeyName>Zk3Vx0</ds:KeyName><ds:X509Data>"
                    ),
                    f'<md:ArtifactResolutionService Binding="{SOAP}" Location="{kc}/resolve" index="0"/>'
                    + "".join(
                        f'<md:SingleLogoutService Binding="{b}" Location="{kc}"/>'
                        for b in (POST, REDIRECT, SOAP)
                    )
                    + f"<md:NameIDFormat>{m.PERSISTENT}</md:NameIDFormat>"
                    + "".join(
                        f'<md:SingleSignOnService Binding="{b}" Location="{kc}"/>'
                        for b in (POST, REDIRECT, SOAP)
                    ),
                    ' WantAuthnRequestsSigned="true"',
                ),
                kc_id,
            )
        ),
        MAIN,
        entity_id=kc_id,
        sso={"redirect": kc, "post": kc},
        slo={"redirect": kc, "post": kc},
        want_authn_requests_signed=True,
    )
    php_id = "https://idp.example.test/simplesaml/saml2/idp/metadata.php"
    php = "https://idp.example.test/simplesaml/saml2/idp/SSOService.php"
    people = (
        "<md:Organization><md:OrganizationName"
        ' xml:lang="en">Example</md:OrganizationName><md:OrganizationDisplayName'
        ' xml:lang="en">Example</md:OrganizationDisplayName>'
        "<md:OrganizationURL"
        ' xml:lang="en">https://example.test/</md:OrganizationURL></md:Organization><md:ContactPerson'
        ' contactType="technical"><md:GivenName>Admin'
        "</md:GivenName><md:EmailAddress>mailto:admin@example.test</md:EmailAddress></md:ContactPerson>"
    )
    good(
        "vendor-simplesamlphp",
        "SimpleSAMLphp: the same certificate for signing and for encryption, Organization and ContactPerson.",
        finish(
            entity(
                role(key_descriptor(MAIN) + key_descriptor(MAIN, "encryption"), endpoints(php, None, php)),
                php_id,
                after=people,
            )
        ),
        MAIN,
        entity_id=php_id,
        sso={"redirect": php},
        slo={"redirect": php},
    )


def add_bad():
    one = role(key_descriptor(MAIN))
    plain = finish(entity(one))
    bad(
        "html-page",
        "html_page",
        "An HTML login page instead of metadata.",
        '<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><form action="/login">'
        "<input name=user><br></form></body></html>\n",
        "malformed",
        "forbidden_xml",
    )
    bad(
        "html-page-well-formed",
        "html_page",
        "An XHTML page that any XML parser takes.",
        '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>Sign in</title></head><body><p>Session'
        " expired</p></body></html>",
        "structure",
    )
    bad("empty", "empty", "An empty file.", "", "malformed")
    bad("blank", "empty", "A file of blanks.", "\n \n", "malformed")
    bad(
        "json",
        "not_xml",
        "An OpenID Connect discovery document.",
        '{"issuer": "https://idp.example.test", "jwks_uri": "https://idp.example.test/keys"}',
        "malformed",
    )
    bad("cut", "not_xml", "The file ends in the middle.", plain[: len(plain) // 2], "malformed")
    bad(
        "certificate-only",
        "not_xml",
        "A certificate in PEM instead of metadata.",
        keys.certificate_pem(MAIN),
        "malformed",
    )
    bad(
        "response-instead",
        "not_metadata",
        "A SAML Response instead of metadata.",
        m.fill(m.Message("md")),
        "structure",
    )
    bad(
        "wrong-entity",
        "wrong_entity",
        "The entityID is another one.",
        finish(entity(one, m.OTHER_IDP_ENTITY)),
    )
    bad(
        "wrong-entity-slash",
        "wrong_entity",
        "The entityID has a slash behind.",
        finish(entity(one, m.IDP_ENTITY + "/")),
    )
    bad(
        "entity-absent",
        "wrong_entity",
        "EntityDescriptor without entityID.",
        plain.replace(f' entityID="{m.IDP_ENTITY}"', ""),
        "structure",
    )
    others = [
        entity(one, f"https://{x}.example.test/md", declared=False, wanted=f"_{x}").replace(
            s.slot(f"_{x}"), ""
        )
        for x in "ab"
    ]
    bad(
        "entities-without-ours",
        "wrong_entity",
        "EntitiesDescriptor in which ours is missing.",
        finish(entities(*others)),
    )
    bad(
        "entities-ours-twice",
        "ambiguous",
        "EntitiesDescriptor with ours twice, with different keys.",
        finish(
            entities(
                entity(one, declared=False, wanted="_a"),
                entity(role(key_descriptor("attacker-rsa2048")), declared=False, wanted="_b"),
            )
        ),
        "structure",
    )
    bad(
        "entities-empty",
        "wrong_entity",
        "EntitiesDescriptor without members.",
        finish(entities()),
        "structure",
    )
    bad(
        "sp-only",
        "not_idp",
        "The entity is a service provider only.",
        finish(
            entity(
                "<md:SPSSODescriptor"
                f' protocolSupportEnumeration="{m.SAMLP}">{key_descriptor(MAIN)}<md:AssertionConsumerService'
                f' Binding="{POST}" Location="https://x.example.test/acs" index="0"/></md:SPSSODescriptor>'
            )
        ),
        "structure",
    )
    bad(
        "protocol-saml1",
        "not_idp",
        "IDPSSODescriptor supports SAML 1.1 only.",
        plain.replace(
            f'protocolSupportEnumeration="{m.SAMLP}"',
            'protocolSupportEnumeration="urn:oasis:names:tc:SAML:1.1:protocol"',
        ),
        "structure",
    )
    bad("no-key", "no_signing_key", "IDPSSODescriptor without KeyDescriptor.", finish(entity(role(""))))
    bad(
        "encryption-key-only",
        "no_signing_key",
        "The only key is for encryption.",
        finish(entity(role(key_descriptor(MAIN, "encryption")))),
    )
    bad(
        "key-without-certificate",
        "no_signing_key",
        "KeyInfo has a KeyName and no certificate.",
        finish(
            entity(
                role(
                    '<md:KeyDescriptor use="signing"><ds:KeyInfo'
                    f' xmlns:ds="{s.DS}"><ds:KeyName>k</ds:KeyName></ds:KeyInfo></md:KeyDescriptor>'
                )
            )
        ),
    )
    bad(
        "certificate-broken",
        "certificate",
        "The certificate is not base64.",
        finish(entity(one)).replace("MII", "!!!", 1),
    )
    bad(
        "certificate-cut",
        "certificate",
        "The certificate's second half is missing.",
        plain.replace(keys.certificate_base64(MAIN), keys.certificate_base64(MAIN)[:400]),
    )
    bad(
        "certificate-key",
        "certificate",
        "A public key stands where the certificate should.",
        plain.replace(keys.certificate_base64(MAIN), s.encode(s.public_forms(MAIN)["spki-der"])),
    )
    bad(
        "use-unknown",
        "no_signing_key",
        "The only key has an unknown `use`.",
        finish(entity(role(key_descriptor(MAIN, "sign")))),
        "structure",
    )
    bad(
        "rsa-1024",
        "weak_key",
        "The only signing key is RSA with 1024 bits.",
        finish(entity(role(key_descriptor("idp-rsa1024")))),
        "signature_policy",
    )
    bad(
        "no-sso",
        "no_endpoint",
        "No SingleSignOnService.",
        finish(entity(role(key_descriptor(MAIN), f"<md:NameIDFormat>{m.EMAIL}</md:NameIDFormat>"))),
        "structure",
    )
    bad(
        "sso-soap-only",
        "no_endpoint",
        "SingleSignOnService by SOAP only.",
        finish(
            entity(
                role(key_descriptor(MAIN), f'<md:SingleSignOnService Binding="{SOAP}" Location="{SSO_URL}"/>')
            )
        ),
    )
    bad(
        "sso-javascript",
        "no_endpoint",
        "The login URL is a script.",
        plain.replace(f'Location="{SSO_URL}"', 'Location="javascript:alert(1)"'),
        "structure",
    )
    bad(
        "valid-until-past",
        "expired",
        "validUntil was yesterday.",
        finish(entity(one, attributes=f' validUntil="{m.at(-86400, 0)}"')),
        "expired",
    )
    bad(
        "valid-until-past-entities",
        "expired",
        "validUntil of the EntitiesDescriptor around was yesterday.",
        finish(entities(entity(one, declared=False), attributes=f' validUntil="{m.at(-86400, 0)}"')),
        "expired",
    )
    bad(
        "valid-until-past-role",
        "expired",
        "validUntil of the IDPSSODescriptor was yesterday.",
        finish(entity(role(key_descriptor(MAIN), attributes=f' validUntil="{m.at(-86400, 0)}"'))),
        "expired",
    )
    bad(
        "valid-until-word",
        "expired",
        "validUntil is a word.",
        finish(entity(one, attributes=' validUntil="soon"')),
        "malformed",
        "structure",
        "expired",
    )
    bad("doctype", "doctype", "A DOCTYPE.", "<!DOCTYPE md:EntityDescriptor>" + plain, "forbidden_xml")
    bad(
        "doctype-external-entity",
        "doctype",
        "An external entity stands for the certificate.",
        '<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/hostname">]>'
        + plain.replace(keys.certificate_base64(MAIN), "&e;"),
        "forbidden_xml",
    )
    bad(
        "doctype-laughs",
        "doctype",
        "Entities that grow.",
        '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        + plain.replace(m.EMAIL, "&b;"),
        "forbidden_xml",
    )
    bad(
        "second-root",
        "not_xml",
        "A second EntityDescriptor follows the root.",
        plain + finish(entity(role(key_descriptor("attacker-rsa2048")))),
        "malformed",
    )
    # The message names the certificate; whether it is refused for that is left to the reader of metadata.
    add(
        "certificate-expired",
        "The only signing certificate expired in 2025. It must be named; accepting it with a warning is right"
        " too.",
        finish(entity(role(key_descriptor("idp-rsa2048-expired")))),
        {"accepted": None, "class": "metadata", "problem": "expired_certificate"},
    )
    add_pinned()


def add_pinned():
    one = role(key_descriptor(MAIN))
    pin = "federation-rsa2048"
    signed = finish(entity(one), "_md")
    evil_key = keys.certificate_base64("attacker-rsa2048")

    def put(name, why, xml, *also):
        bad(f"pinned-{name}", "signature", why, xml, *also, pinned=pin)

    policy, invalid = "signature_policy", "signature_invalid"
    put("unsigned", "A key is pinned, the document is not signed.", finish(entity(one)), "unsigned")
    put(
        "stripped",
        "A key is pinned, the Signature was taken out.",
        signed.replace(signed[signed.index("<ds:Signature") : signed.index("</ds:Signature>") + 15], ""),
        "unsigned",
    )
    put(
        "other-signer",
        "Signed by another key than the pinned one.",
        finish(entity(one), "_md", key="attacker-rsa2048", key_info=s.x509_key_info("attacker-rsa2048")),
        invalid,
    )
    put(
        "self-signed",
        "Signed by the IdP's own signing key, another one is pinned.",
        finish(entity(one), "_md", key=MAIN),
        invalid,
    )
    put(
        "tampered",
        "The signing certificate was replaced after signing.",
        signed.replace(keys.certificate_base64(MAIN), evil_key),
        invalid,
    )
    put("sha1", "Signed with RSA-SHA1.", finish(entity(one), "_md", digest="sha1"), policy)
    put(
        "hmac",
        "HMAC keyed with the pinned certificate.",
        finish(
            entity(role(key_descriptor("attacker-rsa2048"))),
            "_md",
            method=s.MORE + "hmac-sha256",
            raw=lambda octets: s.hmac_octets(keys.certificate_pem(pin).encode(), "sha256", octets),
        ),
        policy,
    )
    put("reference-empty", "The Reference's URI is empty.", finish(entity(one), "_md", uri=""), policy)
    put(
        "reference-http",
        "The Reference's URI is a server.",
        finish(entity(one), "_md", uri="http://fetch.example.test/x"),
        policy,
    )
    put(
        "xpath",
        "An XPath transform takes KeyDescriptor out of what is signed; the attacker's key was put in, and the"
        " signature stays valid.",
        finish(
            entity(one),
            "_md",
            octets=s.canonicalize(s.parse_xml(finish(entity(role(""))))),
            transforms=s.transform(s.ENVELOPED)
            + s.transform(
                "http://www.w3.org/TR/1999/REC-xpath-19991116",
                "<ds:XPath>not(ancestor-or-self::*[local-name()='KeyDescriptor'])</ds:XPath>",
            )
            + s.transform(s.EXC_C14N),
        ).replace(keys.certificate_base64(MAIN), evil_key),
        policy,
    )
    evil = finish(entity(role(key_descriptor("attacker-rsa2048")), wanted="_evil")).replace(
        s.slot("_evil"), ""
    )
    put(
        "wrapped-in-extensions",
        "The signed document lies in Extensions of a forged one.",
        evil.replace(
            "<md:IDPSSODescriptor", f"<md:Extensions>{signed}</md:Extensions><md:IDPSSODescriptor", 1
        ),
        "structure",
        "unsigned",
    )
    put(
        "wrapped-in-entities",
        "A forged, unsigned EntityDescriptor of our name stands before the signed one.",
        finish(entities(evil, signed)),
        "structure",
        "unsigned",
    )
    other = entity(one, m.OTHER_IDP_ENTITY, declared=False)
    put(
        "other-member-signed",
        "Another member of the EntitiesDescriptor is signed, ours is not.",
        finish(entities(other, entity(one, declared=False, wanted="_a")), "_md"),
        "structure",
        "unsigned",
    )


def add_all():
    add_good()
    add_vendors()
    add_bad()
