"""SAML messages as text. `Message` holds what most cases share; a case changes one field and is built."""

import datetime
import hashlib
from dataclasses import dataclass, field, replace

from . import sign as signing

SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
XS = "http://www.w3.org/2001/XMLSchema"
XSI = "http://www.w3.org/2001/XMLSchema-instance"

NOW = datetime.datetime(2026, 6, 15, 12, 0, 0, tzinfo=datetime.timezone.utc)
NOW_MS = int(NOW.timestamp() * 1000)

BASE = "https://app.example.test/.portcullis/saml/idp"
SP_ENTITY = BASE + "/metadata"
ACS = BASE + "/acs"
SLO = BASE + "/slo"
IDP_ENTITY = "https://idp.example.test/saml/metadata"
OTHER_IDP_ENTITY = "https://other-idp.example.test/saml/metadata"
REQUEST_ID = "_3f2a9c4e5b6d7081928374655647382f"
OTHER_REQUEST_ID = "_0d1c2b3a495867748596a7b8c9dae0f1"

SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
FORMAT = "urn:oasis:names:tc:SAML:1.1:nameid-format:"
FORMAT2 = "urn:oasis:names:tc:SAML:2.0:nameid-format:"
EMAIL = FORMAT + "emailAddress"
UNSPECIFIED = FORMAT + "unspecified"
PERSISTENT = FORMAT2 + "persistent"
TRANSIENT = FORMAT2 + "transient"
BASIC = "urn:oasis:names:tc:SAML:2.0:attrname-format:basic"
URI = "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"
ATTR_UNSPECIFIED = "urn:oasis:names:tc:SAML:2.0:attrname-format:unspecified"
PASSWORD_TRANSPORT = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"


def at(seconds=0, digits=3):
    """A time `seconds` from the time base, with so many digits of a second's fraction."""
    moment = NOW + datetime.timedelta(seconds=seconds)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{moment.microsecond:06d}000"[: digits + 1] if digits else "") + "Z"


def at_ms(seconds=0):
    return NOW_MS + int(seconds * 1000)


def make_id(*parts):
    return "_" + hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def attribute(name, value):
    return "" if value is None else f' {name}="{value}"'


@dataclass
class Attr:
    """One `Attribute` element. `values` are plain texts; `raw` replaces the AttributeValue elements."""

    name: str
    values: list = field(default_factory=list)
    format: str | None = None
    friendly: str | None = None
    raw: str | None = None
    typed: bool = False


@dataclass
class Message:
    """A Response with one Assertion, right in every respect unless a field says otherwise.

    A field that is None leaves its attribute or element out. `raw_` fields replace whole elements.
    """

    name: str
    p: str = "samlp:"
    a: str = "saml:"
    response_id: str = ""
    assertion_id: str = ""
    declare_on_root: bool = True
    extra_root: str = ""
    extra_assertion: str = ""
    response_version: str | None = "2.0"
    assertion_version: str | None = "2.0"
    response_issued: str | None = at(-2)
    assertion_issued: str | None = at(-2)
    destination: str | None = ACS
    response_in_response_to: str | None = REQUEST_ID
    confirmation_in_response_to: str | None = REQUEST_ID
    response_issuer: str | None = IDP_ENTITY
    assertion_issuer: str | None = IDP_ENTITY
    issuer_attributes: str = ""
    extensions: str = ""
    status: str | None = None
    name_id: str = "alice@example.test"
    name_id_format: str | None = EMAIL
    name_id_attributes: str = ""
    raw_name_id: str | None = None
    raw_subject: str | None = None
    method: str = BEARER
    recipient: str | None = ACS
    confirmation_expires: str | None = at(300)
    raw_confirmations: str | None = None
    not_before: str | None = at(-60)
    not_on_or_after: str | None = at(300)
    audiences: list = field(default_factory=lambda: [[SP_ENTITY]])
    extra_conditions: str = ""
    raw_conditions: str | None = None
    session_index: str | None = "_session-4711"
    session_expires: str | None = None
    authn_instant: str = at(-5)
    authn_context: str = PASSWORD_TRANSPORT
    raw_authn: str | None = None
    attributes: list = field(
        default_factory=lambda: [Attr("email", ["alice@example.test"]), Attr("groups", ["staff", "admins"])]
    )
    raw_attributes: str | None = None
    advice: str = ""
    assertions: str | None = None
    blank: str = ""
    declaration: str = ""

    def __post_init__(self):
        self.response_id = self.response_id or make_id(self.name, "response")
        self.assertion_id = self.assertion_id or make_id(self.name, "assertion")

    def with_(self, **changes):
        return replace(self, **changes)

    def root_declarations(self):
        own = f' xmlns:{self.p[:-1]}="{SAMLP}"' if self.p else f' xmlns="{SAMLP}"'
        other = f' xmlns:{self.a[:-1]}="{SAML}"' if self.a and self.declare_on_root else ""
        return own + other + self.extra_root

    def saml_declaration(self):
        """The declaration of the assertion namespace where the root has none for it."""
        if not self.a:
            return f' xmlns="{SAML}"'
        return "" if self.declare_on_root else f' xmlns:{self.a[:-1]}="{SAML}"'

    def issuer_text(self, issuer, declared):
        return (
            ""
            if issuer is None
            else (f"<{self.a}Issuer{declared}{self.issuer_attributes}>{issuer}</{self.a}Issuer>")
        )

    def name_id_text(self):
        if self.raw_name_id is not None:
            return self.raw_name_id
        return (
            f"<{self.a}NameID{attribute('Format', self.name_id_format)}{self.name_id_attributes}>{self.name_id}"
            f"</{self.a}NameID>"
        )

    def confirmation_text(self, **changes):
        m = self.with_(**changes)
        data = (
            attribute("InResponseTo", m.confirmation_in_response_to)
            + attribute("NotOnOrAfter", m.confirmation_expires)
            + attribute("Recipient", m.recipient)
        )
        return (
            f'<{self.a}SubjectConfirmation Method="{m.method}"><{self.a}SubjectConfirmationData{data}/>'
            f"</{self.a}SubjectConfirmation>"
        )

    def subject_text(self):
        if self.raw_subject is not None:
            return self.raw_subject
        b = self.blank
        confirmations = self.confirmation_text() if self.raw_confirmations is None else self.raw_confirmations
        return f"<{self.a}Subject>{b}{self.name_id_text()}{b}{confirmations}{b}</{self.a}Subject>"

    def conditions_text(self):
        if self.raw_conditions is not None:
            return self.raw_conditions
        b = self.blank
        restrictions = "".join(
            f"<{self.a}AudienceRestriction>"
            + "".join(f"<{self.a}Audience>{x}</{self.a}Audience>" for x in listed)
            + f"</{self.a}AudienceRestriction>{b}"
            for listed in self.audiences
        )
        window = attribute("NotBefore", self.not_before) + attribute("NotOnOrAfter", self.not_on_or_after)
        return f"<{self.a}Conditions{window}>{b}{restrictions}{self.extra_conditions}</{self.a}Conditions>"

    def authn_text(self):
        if self.raw_authn is not None:
            return self.raw_authn
        b = self.blank
        return (
            f"<{self.a}AuthnStatement"
            f' AuthnInstant="{self.authn_instant}"{attribute("SessionIndex", self.session_index)}'
            f'{attribute("SessionNotOnOrAfter", self.session_expires)}>{b}<{self.a}AuthnContext>{b}'
            f"<{self.a}AuthnContextClassRef>{self.authn_context}</{self.a}AuthnContextClassRef>{b}</{self.a}AuthnContext>"
            f"{b}</{self.a}AuthnStatement>"
        )

    def attributes_text(self):
        if self.raw_attributes is not None:
            return self.raw_attributes
        if not self.attributes:
            return ""
        b = self.blank
        listed = "".join(self.attribute_text(x) + b for x in self.attributes)
        return f"<{self.a}AttributeStatement>{b}{listed}</{self.a}AttributeStatement>"

    def attribute_text(self, x, declared=""):
        a, b = self.a, self.blank
        values = x.raw
        if values is None:
            typed = f' xmlns:xs="{XS}" xmlns:xsi="{XSI}" xsi:type="xs:string"' if x.typed else ""
            values = "".join(
                f"<{a}AttributeValue{typed}>{escape(v)}</{a}AttributeValue>{b}" for v in x.values
            )
        return (
            f'<{a}Attribute{declared} Name="{escape(x.name)}"{attribute("NameFormat", x.format)}'
            f'{attribute("FriendlyName", x.friendly)}>{b}{values}</{a}Attribute>'
        )

    def assertion_text(self, alone=False):
        """The Assertion with its slot; `alone` declares all namespaces on it, for encryption and for other roots."""
        b = self.blank
        declared = f' xmlns:{self.a[:-1]}="{SAML}"' if alone and self.a else self.saml_declaration()
        return (
            f"<{self.a}Assertion{declared}{self.extra_assertion}{attribute('ID', self.assertion_id)}"
            f"{attribute('IssueInstant', self.assertion_issued)}{attribute('Version', self.assertion_version)}>{b}"
            f"{self.issuer_text(self.assertion_issuer, '')}{signing.slot(self.assertion_id)}{b}{self.subject_text()}{b}"
            f"{self.conditions_text()}{b}{self.advice}{self.authn_text()}{b}{self.attributes_text()}{b}</{self.a}Assertion>"
        )

    def status_text(self):
        if self.status is not None:
            return self.status
        b = self.blank
        return f'<{self.p}Status>{b}<{self.p}StatusCode Value="{SUCCESS}"/>{b}</{self.p}Status>'

    def response_text(self):
        """The Response with the slots of both signatures."""
        b = self.blank
        assertions = self.assertion_text() if self.assertions is None else self.assertions
        return (
            f"{self.declaration}<{self.p}Response{self.root_declarations()}{attribute('ID', self.response_id)}"
            f"{attribute('InResponseTo', self.response_in_response_to)}"
            f"{attribute('Version', self.response_version)}{attribute('IssueInstant', self.response_issued)}"
            f"{attribute('Destination', self.destination)}>{b}"
            f"{self.issuer_text(self.response_issuer, self.saml_declaration())}{signing.slot(self.response_id)}{b}"
            f"{self.extensions}{self.status_text()}{b}{assertions}{b}</{self.p}Response>"
        )


def fill(message, response=None, assertion=None, text=None):
    """Signs what is asked for, the Assertion first; `response` and `assertion` are arguments of `sign`, or None."""
    text = message.response_text() if text is None else text
    for wanted, how in ((message.assertion_id, assertion), (message.response_id, response)):
        text = text.replace(signing.slot(wanted), "") if how is None else signing.sign(text, wanted, **how)
    return text
