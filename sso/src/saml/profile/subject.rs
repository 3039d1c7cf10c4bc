//! The subject: its name, and that whoever brings the assertion is meant (SAML Core §2.4, Profiles §4.1.4.2).

use portcullis_policy::Timestamp;

use super::{Evidence, NameId, find_only, holds_control};
use crate::saml::SamlExpectations;
use crate::saml::check::CheckList;
use crate::saml::instant::{check_begun, check_not_over, read_instant_of, show_instant};
use crate::saml::xml::{XmlElement, namespace};
use crate::{Class, LoginRefusal};

const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
/// The most bytes of a name.
const MOST: usize = 1024;

fn find_subject(assertion: &XmlElement) -> Result<&XmlElement, LoginRefusal> {
    find_only(assertion, namespace::ASSERTION, "Subject")?
        .ok_or_else(|| refuse_subject("a subject", "an assertion about nobody"))
}

/// Reads the name of the subject.
pub(super) fn read_name_id(assertion: &XmlElement) -> Result<NameId, LoginRefusal> {
    let subject = find_subject(assertion)?;
    let stranger = subject.elements().find(|part| {
        *part.namespace != *namespace::ASSERTION || !matches!(&*part.local, "NameID" | "SubjectConfirmation")
    });
    if let Some(stranger) = stranger {
        return Err(refuse_subject("a NameID in Subject", &stranger.local));
    }
    let name = find_only(subject, namespace::ASSERTION, "NameID")?
        .ok_or_else(|| refuse_subject("a NameID", "a subject without one"))?;
    read_name(name)
}

/// Reads a NameID.
pub(in crate::saml) fn read_name(name: &XmlElement) -> Result<NameId, LoginRefusal> {
    let value = name.text().ok_or_else(|| refuse_subject("text in NameID", "elements"))?;
    if value.trim().is_empty() || value.len() > MOST {
        return Err(refuse_subject("a NameID that is not blank, of at most 1024 bytes", "blank, or longer"));
    }
    let qualifier = |name_of: &str| name.attribute(name_of).map(str::to_owned);
    let name_id = NameId {
        value: value.to_owned(),
        format: qualifier("Format"),
        name_qualifier: qualifier("NameQualifier"),
        sp_name_qualifier: qualifier("SPNameQualifier"),
    };
    let qualifiers = [&name_id.format, &name_id.name_qualifier, &name_id.sp_name_qualifier];
    if holds_control(value) || qualifiers.into_iter().flatten().any(|text| holds_control(text)) {
        return Err(refuse_subject("a NameID without control characters", "a line end or another one in it"));
    }
    Ok(name_id)
}

/// Judges the confirmations of the subject: one of them must make its bearer the one who is meant. Gives the time
/// until which any of them does.
pub(super) fn judge_confirmations(
    evidence: &Evidence<'_>,
    expected: &SamlExpectations<'_>,
    checks: &mut CheckList<'_>,
) -> Option<Timestamp> {
    let bearers = match find_bearers(evidence.assertion) {
        Ok(bearers) => bearers,
        Err(refusal) => return checks.note("confirmation", Err::<String, _>(refusal)).and(None),
    };
    let is_usable = |data: &&&XmlElement| {
        check_recipient(data, expected).is_ok()
            && check_window(data, expected).is_ok()
            && check_request(evidence, data, expected).is_ok()
    };
    // Where none is usable, the faults of the first are told.
    let chosen = bearers.iter().find(is_usable).or(bearers.first())?;
    checks.note("recipient", check_recipient(chosen, expected));
    checks.note("confirmation time", check_window(chosen, expected).map(show_instant));
    checks.note("in response to", check_request(evidence, chosen, expected));
    let ends = bearers.iter().filter(is_usable).filter_map(|data| check_window(data, expected).ok());
    ends.max()
}

/// The data of the confirmations by which the bearer is meant; at least one.
fn find_bearers(assertion: &XmlElement) -> Result<Vec<&XmlElement>, LoginRefusal> {
    let mut bearers = Vec::new();
    let mut methods = Vec::new();
    for confirmation in find_subject(assertion)?.elements_named(namespace::ASSERTION, "SubjectConfirmation") {
        let method = confirmation.attribute("Method").unwrap_or("no method");
        methods.push(method);
        let data = find_only(confirmation, namespace::ASSERTION, "SubjectConfirmationData")?;
        bearers.extend(data.filter(|_| method == BEARER));
    }
    if bearers.is_empty() {
        let got =
            if methods.contains(&BEARER) { "bearer without data".to_owned() } else { methods.join(", ") };
        return Err(refuse_subject("a confirmation of the method bearer, with its data", &got));
    }
    Ok(bearers)
}

fn check_recipient<'a>(
    data: &'a XmlElement,
    expected: &SamlExpectations<'_>,
) -> Result<&'a str, LoginRefusal> {
    let recipient = data.attribute("Recipient");
    recipient.filter(|recipient| *recipient == expected.acs_url).ok_or_else(|| {
        LoginRefusal::new(
            Class::SamlRecipient,
            expected.acs_url,
            recipient.unwrap_or("none"),
            "Recipient mismatch: paste the ACS URL that `portcullis urls` prints, exactly, into the identity provider's \
             application (\"ACS URL\", \"Reply URL\", \"Recipient URL\", \"Single sign-on URL\").",
        )
    })
}

/// Checks the times of a confirmation and gives its end, which it must have.
fn check_window(data: &XmlElement, expected: &SamlExpectations<'_>) -> Result<Timestamp, LoginRefusal> {
    if let Some(begin) = read_instant_of(data, "NotBefore")? {
        check_begun("NotBefore of SubjectConfirmationData", begin, expected.now, expected.skew_ms)?;
    }
    let end = read_instant_of(data, "NotOnOrAfter")?.ok_or_else(|| {
        LoginRefusal::new(
            Class::SamlExpired,
            "NotOnOrAfter of SubjectConfirmationData",
            "none, which would be forever",
            "Let the identity provider's application say how long its responses hold (\"Assertion validity\").",
        )
    })?;
    check_not_over("NotOnOrAfter of SubjectConfirmationData", end, expected.now, expected.skew_ms)?;
    Ok(end)
}

/// Checks which request is answered: the pending one, said by the response and by the confirmation; or none, said by
/// neither, nor by any other confirmation, where unsolicited responses are taken. What answers a request is never taken as
/// unsolicited: it is another browser's, or stolen.
fn check_request(
    evidence: &Evidence<'_>,
    data: &XmlElement,
    expected: &SamlExpectations<'_>,
) -> Result<String, LoginRefusal> {
    let said = [evidence.response.attribute("InResponseTo"), data.attribute("InResponseTo")];
    if expected.in_response_to.is_none() && !expected.allow_unsolicited {
        return Err(LoginRefusal::new(
            Class::SamlInResponseTo,
            "a response that this browser's login asked for",
            said[0].or(said[1]).map_or("one that nobody asked for".to_owned(), |id| format!("one to {id}")),
            "Start the login at the application. To let people start it at the identity provider, set `idp_initiated` of \
             the identity provider in our configuration.",
        ));
    }
    let elsewhere =
        expected.in_response_to.is_none().then(|| find_named_request(evidence.assertion)).flatten();
    if said.iter().all(|said| *said == expected.in_response_to) && elsewhere.is_none() {
        return Ok(expected.in_response_to.unwrap_or("no request, as nobody asked").to_owned());
    }
    let show = |said: Option<&str>| said.unwrap_or("none").to_owned();
    let of_confirmation = show(said[1].or(elsewhere));
    Err(LoginRefusal::new(
        Class::SamlInResponseTo,
        show(expected.in_response_to),
        format!("{} of the Response, {of_confirmation} of the confirmation", show(said[0])),
        "The response answers another login than this browser's last: start again at the application. Where it comes \
         again and again, the identity provider must return InResponseTo as it was sent.",
    ))
}

/// The request that any confirmation of the subject names, whatever its method.
fn find_named_request(assertion: &XmlElement) -> Option<&str> {
    let subjects = assertion.elements_named(namespace::ASSERTION, "Subject");
    let confirmations =
        subjects.flat_map(|subject| subject.elements_named(namespace::ASSERTION, "SubjectConfirmation"));
    let mut data = confirmations.flat_map(|confirmation| {
        confirmation.elements_named(namespace::ASSERTION, "SubjectConfirmationData")
    });
    data.find_map(|data| data.attribute("InResponseTo"))
}

fn refuse_subject(expected: &str, got: &str) -> LoginRefusal {
    LoginRefusal::new(
        Class::SamlSubject,
        expected,
        got,
        "Map a NameID in the attribute settings of the identity provider's application (\"Name ID\", \"Subject\", \
         \"Unique User Identifier\"), and leave the confirmation method at bearer.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saml::xml::XmlBounds;

    const ACS: &str = "https://app.example.test/acs";
    const NOW: Timestamp = Timestamp(1_781_524_800_000);

    /// A response with these confirmations: what stands in each of its data, and its method.
    fn response(of_response: &str, confirmations: &[(&str, &str)]) -> String {
        let confirmations: String = confirmations
            .iter()
            .map(|(method, data)| {
                format!(
                    "<saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:{method}\">\
                     <saml:SubjectConfirmationData Recipient=\"{ACS}\" NotOnOrAfter=\"2026-06-15T12:05:00Z\" {data}/>\
                     </saml:SubjectConfirmation>"
                )
            })
            .collect();
        format!(
            "<samlp:Response xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" \
             xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" {of_response}><saml:Assertion><saml:Subject>\
             <saml:NameID>mira</saml:NameID>{confirmations}</saml:Subject></saml:Assertion></samlp:Response>"
        )
    }

    fn outcome(text: &str, in_response_to: Option<&str>) -> Result<(), Class> {
        let root = XmlElement::read_document(text, &XmlBounds::MESSAGE).unwrap();
        let assertion = root.first_named(namespace::ASSERTION, "Assertion").unwrap();
        let expected = SamlExpectations {
            idp_entity_id: "https://idp.example.test",
            sp_entity_id: "https://app.example.test",
            acs_url: ACS,
            keys: &[],
            decryption_keys: &[],
            skew_ms: 0,
            allow_sha1: false,
            allow_cbc: false,
            in_response_to,
            allow_unsolicited: true,
            authn_context: &[],
            now: NOW,
            ask_engine_always: false,
        };
        let evidence = Evidence { response: &root, assertion, is_response_signed: false };
        let mut made = Vec::new();
        let mut checks = CheckList::new(&mut made);
        judge_confirmations(&evidence, &expected, &mut checks);
        checks.finish().map_err(|refusal| refusal.class)
    }

    #[test]
    fn an_unasked_response_names_a_request_nowhere() {
        let (bare, names) = (("bearer", ""), ("bearer", "InResponseTo=\"_a\""));
        let refused = Err(Class::SamlInResponseTo);
        assert_eq!(outcome(&response("", &[bare]), None), Ok(()));
        assert_eq!(outcome(&response("", &[bare, bare]), None), Ok(()));
        assert_eq!(outcome(&response("InResponseTo=\"_a\"", &[bare]), None), refused);
        for confirmations in [
            &[names][..],
            &[bare, names],
            &[names, bare],
            &[bare, ("holder-of-key", "InResponseTo=\"_a\"")],
            &[bare, ("bearer", "InResponseTo=\"\"")],
        ] {
            assert_eq!(outcome(&response("", confirmations), None), refused, "{confirmations:?}");
        }
        // An answer may have a confirmation beside that names nothing.
        assert_eq!(outcome(&response("InResponseTo=\"_a\"", &[bare, names]), Some("_a")), Ok(()));
        assert_eq!(outcome(&response("", &[bare]), Some("_a")), refused);
    }
}
