"""Messages that a genuine key signed and that are wrong for us, now, or for this request: one fault each."""

from . import message as m
from .case import attack, build, spoiled
from .wrapping import VICTIM, cut_assertion, genuine

PROTOCOL_STATUS = "urn:oasis:names:tc:SAML:2.0:status:"
DAY = 86_400


def status(*codes, message=""):
    inner = ""
    for code in reversed(codes):
        inner = (
            f'<samlp:StatusCode Value="{code}">{inner}</samlp:StatusCode>'
            if inner
            else f'<samlp:StatusCode Value="{code}"/>'
        )
    return f"<samlp:Status>{inner}{message}</samlp:Status>"


def add_audience():
    us = m.SP_ENTITY
    for name, why, audience in (
        ("other", "names another service", "https://other-app.example.test"),
        ("prefix", "is ours without its last letter", us[:-1]),
        ("slash", "is ours with a slash behind", us + "/"),
        ("case", "is ours with a capital letter", us.replace("app.", "App.")),
        ("scheme", "is ours with http", us.replace("https", "http")),
        ("blank", "is ours with blanks around", f" {us} "),
        ("acs", "is our ACS URL", m.ACS),
        ("query", "is ours with a query", us + "?x"),
        ("empty", "is empty", ""),
        ("star", "is a star", "*"),
        ("homograph", "is ours with a Cyrillic а", us.replace("app", "аpp")),
    ):
        spoiled(
            f"audience-{name}",
            "audience",
            f"The Audience {why}.",
            "assertion" if name in ("slash", "case") else "response",
            audiences=[[audience]],
        )
    spoiled(
        "audience-restriction-second-other",
        "audience",
        "Two AudienceRestrictions: the first names us, the second does not.",
        audiences=[[us], ["https://other-app.example.test"]],
    )
    spoiled(
        "audience-restriction-first-other",
        "audience",
        "Two AudienceRestrictions: the first does not name us, the second does.",
        "assertion",
        audiences=[["https://other-app.example.test"], [us]],
    )
    spoiled(
        "audience-restriction-absent", "audience", "Conditions without AudienceRestriction.", audiences=[]
    )
    spoiled(
        "audience-restriction-empty",
        "audience",
        "An AudienceRestriction without Audience.",
        audiences=[[]],
        also=["structure"],
    )
    spoiled(
        "audience-only-in-proxy-restriction",
        "audience",
        "We are named in ProxyRestriction only.",
        audiences=[],
        extra_conditions=(
            f"<saml:ProxyRestriction><saml:Audience>{us}</saml:Audience></saml:ProxyRestriction>"
        ),
    )
    spoiled(
        "conditions-absent",
        "audience",
        "The Assertion has no Conditions.",
        "assertion",
        raw_conditions="",
        also=["structure"],
    )
    spoiled(
        "audience-two-parts",
        "audience",
        "The Audience is two of which the first is a part of ours.",
        audiences=[[us[:20], us[20:]]],
    )
    spoiled(
        "conditions-unknown",
        "structure",
        "Conditions hold a Condition of an unknown type.",
        also=["audience", "subject"],
        extra_conditions=(
            f'<saml:Condition xmlns:v="urn:example:v" xmlns:xsi="{m.XSI}" xsi:type="v:MoonPhase"/>'
        ),
    )
    spoiled(
        "conditions-foreign",
        "structure",
        "Conditions hold an element of a foreign namespace.",
        also=["audience", "subject", "malformed"],
        extra_conditions='<v:only xmlns:v="urn:example:v"/>',
    )
    spoiled(
        "conditions-twice",
        "structure",
        "The Assertion has two Conditions, the second for another audience.",
        also=["audience"],
        raw_conditions=m.Message("x").conditions_text()
        + m.Message("x", audiences=[["https://other-app.example.test"]]).conditions_text(),
    )


def add_addresses():
    acs = m.ACS
    changed = (
        ("other", "is of another service", "https://other-app.example.test/acs"),
        ("prefix", "is ours without its last letter", acs[:-1]),
        ("slash", "is ours with a slash behind", acs + "/"),
        ("case", "is ours in another case", acs.replace("/acs", "/ACS")),
        ("scheme", "is ours with http", acs.replace("https", "http")),
        ("query", "is ours with a query", acs + "?idp=x"),
        (
            "user",
            "has a user part before our host",
            acs.replace("https://", "https://app.example.test@evil.example.test/"),
        ),
        ("empty", "is empty", ""),
        ("other-idp", "is our ACS URL of another IdP", acs.replace("/idp/", "/other/")),
        ("slo", "is our SLO URL", m.SLO),
    )
    for name, why, url in changed:
        spoiled(
            f"destination-{name}", "destination", f"Destination of a signed Response {why}.", destination=url
        )
        if name in ("scheme", "dots", "user", "port"):
            continue
        spoiled(
            f"recipient-{name}",
            "recipient",
            f"Recipient {why}.",
            "assertion" if name in ("other", "slash") else "response",
            recipient=url,
        )
    spoiled("destination-absent", "destination", "A signed Response without Destination.", destination=None)
    spoiled(
        "destination-absent-both-signed",
        "destination",
        "Response and Assertion are signed; no Destination.",
        "both",
        destination=None,
    )
    spoiled(
        "recipient-absent",
        "recipient",
        "SubjectConfirmationData without Recipient.",
        recipient=None,
        also=["subject"],
    )


def add_times():
    for signed in ("response", "assertion"):
        spoiled(
            f"expired-conditions-{signed}",
            "expired",
            "Conditions ended an hour ago.",
            signed,
            not_on_or_after=m.at(-3600),
            not_before=m.at(-7200),
        )
        spoiled(
            f"expired-confirmation-{signed}",
            "expired",
            "The only confirmation ended an hour ago.",
            signed,
            confirmation_expires=m.at(-3600),
        )
        spoiled(
            f"expired-session-{signed}",
            "expired",
            "SessionNotOnOrAfter is an hour ago.",
            signed,
            session_expires=m.at(-3600),
        )
        spoiled(
            f"early-conditions-{signed}",
            "not_yet_valid",
            "Conditions begin in an hour.",
            signed,
            not_before=m.at(3600),
            not_on_or_after=m.at(7200),
        )
    spoiled(
        "expired-conditions-skew",
        "expired",
        "Conditions ended 181 s ago; the skew is 180 s.",
        not_on_or_after=m.at(-181),
    )
    spoiled(
        "expired-confirmation-skew",
        "expired",
        "The confirmation ended 181 s ago.",
        confirmation_expires=m.at(-181),
    )
    spoiled("early-conditions-skew", "not_yet_valid", "Conditions begin in 181 s.", not_before=m.at(181))
    spoiled(
        "issued-response-day-ago", "expired", "The Response was issued a day ago.", response_issued=m.at(-DAY)
    )
    spoiled(
        "issued-response-day-ahead",
        "not_yet_valid",
        "The Response is issued a day ahead.",
        response_issued=m.at(DAY),
    )
    for signed in ("response", "assertion"):
        spoiled(
            f"issued-assertion-day-ago-{signed}",
            "expired",
            "The Assertion was issued a day ago.",
            signed,
            assertion_issued=m.at(-DAY),
        )
        spoiled(
            f"issued-assertion-day-ahead-{signed}",
            "not_yet_valid",
            "The Assertion is issued a day ahead.",
            signed,
            assertion_issued=m.at(DAY),
        )
    spoiled(
        "issued-fifteen-minutes-ago",
        "expired",
        "Both IssueInstants are 15 minutes old.",
        response_issued=m.at(-900),
        assertion_issued=m.at(-900),
        authn_instant=m.at(-905),
    )
    spoiled(
        "issued-four-minutes-ahead",
        "not_yet_valid",
        "Both IssueInstants are 4 minutes ahead.",
        response_issued=m.at(240),
        assertion_issued=m.at(240),
    )
    spoiled(
        "confirmation-no-expiry",
        "expired",
        "SubjectConfirmationData without NotOnOrAfter.",
        confirmation_expires=None,
        also=["subject"],
    )

    spoiled(
        "conditions-window-turned",
        "expired",
        "Conditions end before they begin, both in the last hour.",
        not_before=m.at(-600),
        not_on_or_after=m.at(-1200),
    )
    for name, text in (
        ("word", "tomorrow"),
        ("empty", ""),
        ("february-30", "2026-02-30T00:00:00Z"),
        ("number", "1781524800"),
        ("year-far", "99999999999999-01-01T00:00:00Z"),
        ("blank", "2026-06-15 12:05:00Z"),
    ):
        spoiled(
            f"time-{name}",
            "malformed",
            f'NotOnOrAfter of Conditions is "{text}".',
            not_on_or_after=text,
            also=["expired", "structure", "not_yet_valid"],
        )
    spoiled(
        "issued-absent-response",
        "malformed",
        "The Response has no IssueInstant.",
        response_issued=None,
        also=["structure", "expired", "not_yet_valid"],
    )
    spoiled(
        "issued-absent-assertion",
        "malformed",
        "The Assertion has no IssueInstant.",
        assertion_issued=None,
        also=["structure", "expired", "not_yet_valid"],
    )
    attack(
        "late-post",
        "expired",
        "A good Response, posted an hour later.",
        genuine("response-signed"),
        base="response-signed",
        now=3600,
    )
    attack(
        "late-post-assertion",
        "expired",
        "A good signed Assertion, posted an hour later.",
        genuine("assertion-signed"),
        base="assertion-signed",
        now=3600,
    )
    attack(
        "early-post",
        "not_yet_valid",
        "A good Response, received by a clock that is an hour behind.",
        genuine("response-signed"),
        base="response-signed",
        now=-3600,
    )


def add_subject():
    for name, method in (
        ("sender-vouches", "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"),
        ("holder-of-key", "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"),
        ("saml1-bearer", "urn:oasis:names:tc:SAML:1.0:cm:bearer"),
        ("empty", ""),
    ):
        spoiled(
            f"confirmation-{name}",
            "subject",
            f'The only confirmation has the method "{method}".',
            method=method,
        )

    bare = f'<saml:SubjectConfirmation Method="{m.BEARER}"/>'
    spoiled(
        "confirmation-no-data",
        "subject",
        "The bearer confirmation has no data.",
        raw_confirmations=bare,
        also=["recipient"],
    )

    spoiled("confirmation-none", "subject", "The Subject has no confirmation.", raw_confirmations="")
    x = m.Message("x")
    spoiled(
        "confirmation-parts",
        "recipient",
        "Two bearer confirmations: the first for another recipient, the second expired.",
        raw_confirmations=x.confirmation_text(recipient="https://other-app.example.test/acs")
        + x.confirmation_text(confirmation_expires=m.at(-3600)),
        also=["expired", "subject"],
    )
    spoiled(
        "confirmation-data-split",
        "subject",
        "Bearer without data stands before sender-vouches with all data.",
        raw_confirmations=bare + x.confirmation_text(method="urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"),
        also=["recipient"],
    )
    spoiled("subject-absent", "subject", "The Assertion has no Subject.", raw_subject="", also=["structure"])
    spoiled(
        "subject-twice",
        "structure",
        "The Assertion has two Subjects.",
        raw_subject=x.subject_text() + x.with_(name_id=VICTIM).subject_text(),
        also=["subject"],
    )
    spoiled("name-id-absent", "subject", "The Subject has no NameID.", raw_name_id="")

    for name, text in (
        ("empty", ""),
        ("blank", " "),
    ):
        spoiled(f"name-id-{name}", "subject", f"The NameID is {name.replace('-', ' ')}.", name_id=text)
    spoiled(
        "name-id-twice",
        "subject",
        "The Subject has two NameIDs.",
        raw_name_id=x.name_id_text() + x.with_(name_id=VICTIM).name_id_text(),
        also=["structure"],
    )
    spoiled(
        "name-id-element",
        "subject",
        "The NameID holds an element between two texts.",
        name_id="alice@<saml:x/>example.test",
        also=["structure"],
    )
    spoiled(
        "base-id",
        "subject",
        "The Subject has a BaseID instead of a NameID.",
        also=["structure"],
        raw_name_id=f'<saml:BaseID xmlns:xsi="{m.XSI}" xmlns:v="urn:example:v" xsi:type="v:Own"/>',
    )
    for name, text in (
        ("line-feed", "alice\nroot@example.test"),
        ("line-feed-reference", "alice&#10;root@example.test"),
        ("carriage-return-reference", "alice&#13;&#10;X-Role: root"),
    ):
        spoiled(
            f"name-id-{name}",
            "subject",
            f"The NameID has a control character ({name.replace('-', ' ')}).",
            name_id=text,
            also=["header", "malformed"],
        )
    for name, text in (
        ("line-feed", "staff\nX-Role: root"),
        ("crlf-reference", "staff&#13;&#10;X-Role: root"),
        ("delete", "sta\u007fff"),
    ):
        spoiled(
            f"group-{name}",
            "subject",
            f"A group has a control character ({name.replace('-', ' ')}).",
            also=["header", "malformed"],
            attributes=[m.Attr("groups", raw=f"<saml:AttributeValue>{text}</saml:AttributeValue>")],
        )
    spoiled(
        "authn-absent", "subject", "The Assertion has no AuthnStatement.", raw_authn="", also=["structure"]
    )

    spoiled(
        "authz-instead-of-authn",
        "subject",
        "The Assertion has an AuthzDecisionStatement instead of an AuthnStatement.",
        also=["structure"],
        raw_authn=(
            '<saml:AuthzDecisionStatement Resource="https://app.example.test/" Decision="Permit"><saml:Action'
            ' Namespace="urn:x">GET</saml:Action></saml:AuthzDecisionStatement>'
        ),
    )


def add_in_response_to():
    for signed in ("response", "both"):
        spoiled(
            f"in-response-to-other-{signed}",
            "in_response_to",
            "Both InResponseTo name another request.",
            signed,
            response_in_response_to=m.OTHER_REQUEST_ID,
            confirmation_in_response_to=m.OTHER_REQUEST_ID,
        )
    spoiled(
        "in-response-to-other-assertion",
        "in_response_to",
        "The signed Assertion answers another request.",
        "assertion",
        response_in_response_to=m.OTHER_REQUEST_ID,
        confirmation_in_response_to=m.OTHER_REQUEST_ID,
    )
    spoiled(
        "in-response-to-other-inner-only",
        "in_response_to",
        "The confirmation answers another request, the Response ours; Assertion signed.",
        "assertion",
        confirmation_in_response_to=m.OTHER_REQUEST_ID,
    )
    spoiled(
        "in-response-to-other-inner",
        "in_response_to",
        "The confirmation answers another request, the Response ours.",
        confirmation_in_response_to=m.OTHER_REQUEST_ID,
    )
    spoiled(
        "in-response-to-other-outer",
        "in_response_to",
        "The Response answers another request, the confirmation ours.",
        response_in_response_to=m.OTHER_REQUEST_ID,
    )
    spoiled(
        "in-response-to-only-outer",
        "in_response_to",
        "The confirmation has no InResponseTo.",
        confirmation_in_response_to=None,
    )
    spoiled(
        "in-response-to-only-inner",
        "in_response_to",
        "The signed Response has no InResponseTo.",
        response_in_response_to=None,
    )
    spoiled(
        "in-response-to-none",
        "in_response_to",
        "No InResponseTo, though a request is pending and unsolicited is off.",
        response_in_response_to=None,
        confirmation_in_response_to=None,
    )
    spoiled(
        "in-response-to-empty",
        "in_response_to",
        "Both InResponseTo are empty.",
        response_in_response_to="",
        confirmation_in_response_to="",
        also=["structure", "malformed"],
    )

    spoiled(
        "in-response-to-prefix",
        "in_response_to",
        "Both InResponseTo are ours without the last letter.",
        response_in_response_to=m.REQUEST_ID[:-1],
        confirmation_in_response_to=m.REQUEST_ID[:-1],
    )
    none = dict(response_in_response_to=None, confirmation_in_response_to=None)
    spoiled(
        "unsolicited-while-off",
        "in_response_to",
        "Unsolicited, at an IdP for which that is off.",
        request_id=None,
        **none,
    )

    spoiled(
        "solicited-without-request",
        "in_response_to",
        "Solicited, but no request is pending and unsolicited is off.",
        request_id=None,
    )
    for signed in ("response", "assertion"):
        spoiled(
            f"stolen-while-unsolicited-on-{signed}",
            "in_response_to",
            "A Response to somebody else's request, without a pending one, where unsolicited is on.",
            signed,
            idp="acme-open",
            request_id=None,
        )
        spoiled(
            f"stolen-while-unsolicited-on-pending-{signed}",
            "in_response_to",
            "A Response to another request than the pending one, where unsolicited is on.",
            signed,
            idp="acme-open",
            response_in_response_to=m.OTHER_REQUEST_ID,
            confirmation_in_response_to=m.OTHER_REQUEST_ID,
        )
    spoiled(
        "unsolicited-inner-only",
        "in_response_to",
        "Where unsolicited is on: only the confirmation has InResponseTo.",
        idp="acme-open",
        request_id=None,
        response_in_response_to=None,
    )
    spoiled(
        "unsolicited-outer-only",
        "in_response_to",
        "Where unsolicited is on: only the Response has InResponseTo.",
        idp="acme-open",
        request_id=None,
        confirmation_in_response_to=None,
    )
    bare = m.Message("x").confirmation_text(confirmation_in_response_to=None)
    for name, other in (("bearer", m.BEARER), ("sender-vouches", "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches")):
        spoiled(
            f"unsolicited-other-confirmation-{name}",
            "in_response_to",
            f"Where unsolicited is on: a bearer's confirmation without InResponseTo, and one of {name} with it.",
            idp="acme-open",
            request_id=None,
            response_in_response_to=None,
            raw_confirmations=bare + m.Message("x").confirmation_text(method=other),
        )


def add_issuer():
    idp, other = m.IDP_ENTITY, m.OTHER_IDP_ENTITY

    def put(name, why, response, assertion, signed="response", also=()):
        spoiled(
            f"issuer-{name}",
            "issuer",
            why,
            signed,
            response_issuer=response,
            assertion_issuer=assertion,
            also=also,
        )

    put("other-response", "The Response's Issuer is another IdP.", other, idp)
    put("other-assertion", "The Assertion's Issuer is another IdP.", idp, other)
    put("other-assertion-signed", "The signed Assertion's Issuer is another IdP.", idp, other, "assertion")
    put("other-both", "Both Issuers are another IdP, the key is this one's.", other, other)
    for name, why, entity in (
        ("slash", "has a slash behind", idp + "/"),
        ("case", "has a capital letter", idp.replace("idp.", "Idp.")),
        ("blank", "has blanks around", f" {idp} "),
        ("prefix", "lacks the last letter", idp[:-1]),
        ("empty", "is empty", ""),
    ):
        put(name, f"The Assertion's Issuer {why}.", idp, entity, "response")
        if name in ("slash", "empty"):
            put(f"{name}-response", f"The Response's Issuer {why}.", entity, idp, "response")
    put("absent-assertion", "The Assertion has no Issuer.", idp, None, "response", ["structure"])
    put("absent-response", "The signed Response has no Issuer.", None, idp, "response", ["structure"])
    spoiled(
        "issuer-other-key",
        "signature_invalid",
        "Another IdP signed with its own key and names this one as Issuer.",
        how={"key": "other-idp-rsa2048"},
    )
    spoiled(
        "issuer-other-idp-complete",
        "signature_invalid",
        "A whole good Response of another IdP, at this one.",
        "both",
        {"key": "other-idp-rsa2048"},
        response_issuer=m.OTHER_IDP_ENTITY,
        assertion_issuer=m.OTHER_IDP_ENTITY,
        also=["issuer"],
    )


def add_status():
    success = m.SUCCESS
    for name, why, text in (
        (
            "authn-failed",
            "Responder with AuthnFailed inside",
            status(PROTOCOL_STATUS + "Responder", PROTOCOL_STATUS + "AuthnFailed"),
        ),
        ("responder", "Responder", status(PROTOCOL_STATUS + "Responder")),
        (
            "no-passive",
            "Responder with NoPassive inside",
            status(PROTOCOL_STATUS + "Responder", PROTOCOL_STATUS + "NoPassive"),
        ),
        ("success-inside", "Responder with Success inside", status(PROTOCOL_STATUS + "Responder", success)),
        ("case", "SUCCESS in capitals", status(success.upper())),
        ("blank", "Success with a blank behind", status(success + " ")),
        ("saml1", "samlp:Success of SAML 1.1", status("samlp:Success")),
        ("empty", "empty", status("")),
    ):
        spoiled(
            f"status-{name}",
            "status",
            f"The StatusCode of a signed Response with an Assertion is {why}.",
            status=text,
        )
    spoiled("status-absent", "status", "A signed Response without Status.", status="", also=["structure"])
    spoiled(
        "status-without-code",
        "status",
        "A Status without StatusCode.",
        status="<samlp:Status/>",
        also=["structure"],
    )
    spoiled(
        "status-code-without-value",
        "status",
        "A StatusCode without Value.",
        status="<samlp:Status><samlp:StatusCode/></samlp:Status>",
        also=["structure"],
    )
    spoiled(
        "status-two-codes",
        "status",
        "A Status with two StatusCodes, Success second.",
        also=["structure"],
        status=(
            f'<samlp:Status><samlp:StatusCode Value="{PROTOCOL_STATUS}Responder"/><samlp:StatusCode'
            f' Value="{success}"/></samlp:Status>'
        ),
    )
    spoiled(
        "status-failed-no-assertion",
        "status",
        "A signed Response with AuthnFailed and no Assertion, as IdPs send it.",
        also=["structure"],
        status=status(PROTOCOL_STATUS + "Responder", PROTOCOL_STATUS + "AuthnFailed"),
        assertions="",
    )
    bob = cut_assertion(build("status-second", "none", name_id="bob@example.test")[1])
    message = m.Message("two-assertions-response-signed")
    spoiled(
        "two-assertions-response-signed",
        "structure",
        "The IdP signed a Response with two Assertions.",
        assertions=message.assertion_text() + bob,
    )


def add_versions():
    for name, version in (("1-1", "1.1"), ("3-0", "3.0"), ("empty", "")):
        spoiled(
            f"version-response-{name}",
            "version",
            f'The Response\'s Version is "{version}".',
            response_version=version,
        )
        spoiled(
            f"version-assertion-{name}",
            "version",
            f'The Assertion\'s Version is "{version}".',
            "assertion",
            assertion_version=version,
        )
    spoiled(
        "version-response-absent",
        "version",
        "The Response has no Version.",
        response_version=None,
        also=["structure"],
    )
    spoiled(
        "version-assertion-absent",
        "version",
        "The Assertion has no Version.",
        assertion_version=None,
        also=["structure"],
    )


def add_replay():
    for base in ("response-signed", "assertion-signed", "both-signed"):
        attack(
            f"replay-same-{base.split('-')[0]}",
            "replay",
            f"The same bytes as {base}, posted a second time.",
            genuine(base),
            base=base,
            after=base,
        )
    attack(
        "replay-later",
        "replay",
        "The same bytes a minute later.",
        genuine("response-signed"),
        base="response-signed",
        after="response-signed",
        now=60,
    )
    attack(
        "replay-within-skew",
        "replay",
        "The same bytes when Conditions have ended and only the skew still covers them.",
        genuine("response-signed"),
        base="response-signed",
        after="response-signed",
        now=470,
    )
    real = cut_assertion(genuine("assertion-signed"))
    attack(
        "replay-new-response",
        "replay",
        "The same signed Assertion in a new, unsigned Response.",
        build("replay-new-response", "none", assertions=real)[1],
        base="assertion-signed",
        after="assertion-signed",
    )
    attack(
        "replay-new-response-signed",
        "replay",
        "The same Assertion in a new Response that the IdP signed.",
        build("replay-new-response-signed", "response", assertions=real)[1],
        base="assertion-signed",
        after="assertion-signed",
    )


def add_all():
    add_audience()
    add_addresses()
    add_times()
    add_subject()
    add_in_response_to()
    add_issuer()
    add_status()
    add_versions()
    add_replay()
