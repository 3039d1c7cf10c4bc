//! Identity providers nobody here wrote that speak SAML 2.0: SimpleSAMLphp, one process a run and one service provider
//! a test, and crewjam's `samlidp`, which signs with SHA-1 and has to be refused. Each lives on a site of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request};
use serde_json::{Value, json};

use super::browser::{BrowserPage, HeadlessBrowser};
use super::html::HtmlForm;
use super::{peer, ports, wire};

const REDIRECT: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect";
const POST: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST";

/// Everybody's password, at both.
const PASSWORD: &str = "pw";

/// A service provider, as an IdP is told of it.
#[derive(Clone, Debug)]
pub struct SpAtIdp {
    pub entity_id: String,
    pub acs: String,
    /// Where logout messages go, and whether as a form (HTTP-POST) instead of a redirect.
    pub slo: Option<(String, bool)>,
    /// Its certificate in PEM, of an RSA key: for its signatures, and to encrypt to.
    pub certificate_pem: Option<String>,
    pub sign: SignedParts,
    /// Whether assertions are encrypted (AES-128-CBC, the key by RSA-OAEP with SHA-1: SimpleSAMLphp knows no other).
    pub encrypt: bool,
    pub name_id: SentNameId,
    /// Whether requests and logout messages are refused unless that certificate's key signed them.
    pub must_sign: bool,
}

/// The parts of an answer that an IdP signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedParts {
    Assertion,
    Response,
    Both,
}

/// The kind of name by which an IdP calls people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentNameId {
    /// The `uid`.
    Persistent,
    /// The first `mail`.
    EmailAddress,
    /// Another one with every answer.
    Transient,
}

impl SpAtIdp {
    /// One that is sent signed assertions, not encrypted, with persistent names, and that signs nothing.
    pub fn new(entity_id: &str, acs: &str) -> Self {
        Self {
            entity_id: entity_id.to_owned(),
            acs: acs.to_owned(),
            slo: None,
            certificate_pem: None,
            sign: SignedParts::Assertion,
            encrypt: false,
            name_id: SentNameId::Persistent,
            must_sign: false,
        }
    }

    /// The certificate without PEM's frame.
    fn certificate(&self) -> Option<String> {
        let pem = self.certificate_pem.as_ref()?;
        Some(pem.lines().filter(|line| !line.starts_with("-----")).collect())
    }

    /// The same in SimpleSAMLphp's words.
    fn php(&self) -> Value {
        let (format, attribute) = match self.name_id {
            SentNameId::Persistent => ("urn:oasis:names:tc:SAML:2.0:nameid-format:persistent", "uid"),
            SentNameId::EmailAddress => ("urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress", "mail"),
            SentNameId::Transient => ("urn:oasis:names:tc:SAML:2.0:nameid-format:transient", "uid"),
        };
        let mut metadata = json!({
            "AssertionConsumerService": [{ "Binding": POST, "Location": self.acs, "index": 0 }],
            "NameIDFormat": format,
            "simplesaml.nameidattribute": attribute,
            "saml20.sign.assertion": self.sign != SignedParts::Response,
            "saml20.sign.response": self.sign != SignedParts::Assertion,
            "assertion.encryption": self.encrypt,
            "validate.authnrequest": self.must_sign,
            "validate.logout": self.must_sign,
        });
        if let Some((slo, is_form)) = &self.slo {
            let binding = if *is_form { POST } else { REDIRECT };
            metadata["SingleLogoutService"] = json!([{ "Binding": binding, "Location": slo }]);
        }
        if let Some(certificate) = self.certificate() {
            metadata["keys"] = json!([{
                "type": "X509Certificate", "signing": true, "encryption": true, "X509Certificate": certificate,
            }]);
        }
        json!({ "entity_id": self.entity_id, "metadata": metadata })
    }

    /// The same as metadata, as far as crewjam's provider reads it. Where it is given a certificate, it encrypts.
    fn metadata(&self) -> String {
        let key = self.certificate().filter(|_| self.encrypt).map_or_else(String::new, |certificate| {
            format!(
                "<KeyDescriptor use=\"encryption\"><KeyInfo xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><X509Data>\
                 <X509Certificate>{certificate}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>"
            )
        });
        format!(
            "<EntityDescriptor xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\" entityID=\"{}\"><SPSSODescriptor \
             protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">{key}<AssertionConsumerService \
             Binding=\"{POST}\" Location=\"{}\" index=\"0\"/></SPSSODescriptor></EntityDescriptor>",
            self.entity_id, self.acs
        )
    }
}

/// SimpleSAMLphp. It signs with RSA-SHA256, and starts with the people `alice` and `bob`.
pub struct SimpleSaml {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
    /// The number of its newest key.
    newest_key: AtomicUsize,
    /// Its origin for browsers: no other resolver knows the name.
    pub origin: String,
    pub entity_id: String,
}

impl SimpleSaml {
    /// The one of this run, at `saml.localhost`. It ends with the run, because its standard input does.
    pub fn shared() -> &'static SimpleSaml {
        static SHARED: OnceLock<SimpleSaml> = OnceLock::new();
        SHARED.get_or_init(|| SimpleSaml::start_at("saml.localhost"))
    }

    /// One of its own at `own-saml.localhost`, for a test that changes its keys or ends it.
    pub fn start() -> SimpleSaml {
        Self::start_at("own-saml.localhost")
    }

    /// Starts it under a name below `localhost`, and waits until it listens.
    fn start_at(host: &str) -> SimpleSaml {
        let address = ports::free();
        let origin = format!("http://{host}:{}", address.port());
        // Not removed from here: the one of this run is never dropped, so its script does it.
        let folder = tempfile::Builder::new().prefix("portcullis-saml-").tempdir().unwrap().keep();
        for part in ["keys", "people", "sps", "sessions", "tmp"] {
            fs::create_dir(folder.join(part)).unwrap();
        }
        let log = File::options().append(true).create(true).open(log_of("simplesamlphp")).unwrap();
        make_key(&folder.join("keys/idp-0"));
        let entity_id = format!("{origin}/saml2/idp/metadata.php");
        let child = Command::new(peer::rigs().join("simplesamlphp/serve"))
            .arg(&folder)
            .arg(address.port().to_string())
            .arg(&origin)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut provider =
            Self { child, folder, address, newest_key: AtomicUsize::new(0), origin, entity_id };
        provider.listens();
        provider.publish_keys(None);
        for name in ["alice", "bob"] {
            let mail = format!("{name}@example.com");
            provider.person(name, &json!({ "uid": [name], "mail": [mail], "groups": ["staff"] }));
        }
        provider
    }

    fn listens(&mut self) {
        for _ in 0..400 {
            if TcpStream::connect(self.address).is_ok() {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "{}", read_log("simplesamlphp"));
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("SimpleSAMLphp is not ready:\n{}", read_log("simplesamlphp"));
    }

    /// Registers a service provider, or changes what is known of it, from the next request on.
    pub fn register(&self, sp: &SpAtIdp) {
        self.tell("sps", &sp.entity_id, &sp.php());
    }

    /// What it says of somebody who signs in from now on: lists of texts by name. `uid` and `mail` become names.
    pub fn person(&self, name: &str, attributes: &Value) {
        self.tell("people", name, &json!({ "name": name, "attributes": attributes }));
    }

    /// Signs with a new key from now on; the old one stays published if `keep`.
    pub fn rotate(&self, keep: bool) {
        let old = self.newest_key.fetch_add(1, Ordering::SeqCst);
        make_key(&self.folder.join(format!("keys/idp-{}", old + 1)));
        self.publish_keys(keep.then_some(old));
    }

    /// Where a program gets its metadata: at the address, for it cannot resolve the name.
    pub fn metadata_url(&self) -> String {
        format!("http://{}{METADATA}", self.address)
    }

    /// Its metadata.
    pub async fn metadata(&self) -> String {
        let answer = wire::get(self.address, "127.0.0.1", METADATA).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// The address at which it signs somebody in at a service provider that asked for nothing.
    pub fn unasked(&self, entity_id: &str, relay_state: Option<&str>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("spentityid", entity_id);
        if let Some(state) = relay_state {
            query.append_pair("RelayState", state);
        }
        format!("{}/saml2/idp/SSOService.php?{}", self.origin, query.finish())
    }

    /// Ends a browser's session there: each service provider that it was used at is told through the browser. The page
    /// that it ends on is the provider's own, unless a service provider kept the browser.
    pub async fn end_session(&self, browser: &mut HeadlessBrowser) -> BrowserPage {
        let back = format!("{}/logout.php", self.origin);
        let query =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("ReturnTo", &back).finish();
        let page = browser.open(&format!("{}/saml2/idp/SingleLogoutService.php?{query}", self.origin)).await;
        post_saml_messages(browser, page).await
    }

    fn publish_keys(&self, old: Option<usize>) {
        let name = |number: usize| format!("idp-{number}");
        let newest = name(self.newest_key.load(Ordering::SeqCst));
        let keys = json!({ "signing": newest, "also_published": old.map(name) });
        replace_file(&self.folder.join("keys.json"), &keys);
    }

    fn tell(&self, part: &str, name: &str, said: &Value) {
        let file: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
        replace_file(&self.folder.join(part).join(format!("{file}.json")), said);
    }
}

impl Drop for SimpleSaml {
    fn drop(&mut self) {
        // Its standard input ends: the script ends the server and removes the folder.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

const METADATA: &str = "/saml2/idp/metadata.php";

/// Writes a file that is read at any moment: all of it is there, or what was there before.
fn replace_file(path: &Path, content: &Value) {
    let whole = path.with_extension("new");
    fs::write(&whole, content.to_string()).unwrap();
    fs::rename(whole, path).unwrap();
}

/// Makes a key and its certificate, `.pem` and `.crt`. Of RSA, for SimpleSAMLphp knows no other.
pub fn make_key(path: &Path) {
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365", "-subj", "/CN=rig", "-keyout",
        ])
        .arg(path.with_extension("pem"))
        .arg("-out")
        .arg(path.with_extension("crt"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The log of a provider. Kept in the cache: why a provider ended is asked after the test that met its end.
fn log_of(peer: &str) -> PathBuf {
    peer::cache().join(format!("{peer}.out"))
}

fn read_log(peer: &str) -> String {
    fs::read_to_string(log_of(peer)).unwrap_or_default()
}

/// crewjam's `samlidp`. It signs Response and assertion with RSA-SHA1, verifies nothing, knows no logout, and calls
/// people by their e-mail address, marked as transient. Its person is `alice`.
pub struct Crewjam {
    child: Child,
    address: SocketAddr,
    pub origin: String,
    pub entity_id: String,
}

impl Crewjam {
    /// Starts it, at `crewjam.localhost`.
    pub async fn start() -> Crewjam {
        let address = ports::free();
        let origin = format!("http://crewjam.localhost:{}", address.port());
        let log = File::options().append(true).create(true).open(log_of("crewjam")).unwrap();
        let mut child = Command::new(peer::cache().join("crewjam/idp"))
            .args(["-address", &address.to_string(), "-url", &origin])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let _ = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line);
        let entity_id = format!("{origin}/metadata");
        let provider = Self { child, address, origin, entity_id };
        assert!(line.starts_with("ready "), "crewjam's provider did not start:\n{}", read_log("crewjam"));
        let alice = json!({
            "name": "alice", "password": PASSWORD, "email": "alice@example.com", "common_name": "Alice Able",
            "groups": ["staff"],
        });
        provider.put("/users/alice", alice.to_string()).await;
        provider
    }

    /// Registers a service provider.
    pub async fn register(&self, sp: &SpAtIdp) {
        let name: String = url::form_urlencoded::byte_serialize(sp.entity_id.as_bytes()).collect();
        self.put(&format!("/services/{name}"), sp.metadata()).await;
    }

    /// Its metadata.
    pub async fn metadata(&self) -> String {
        wire::get(self.address, "127.0.0.1", "/metadata").await.unwrap().text()
    }

    async fn put(&self, path: &str, body: String) {
        let request = Request::builder().method(Method::PUT).uri(path).header("host", "127.0.0.1");
        let answer = wire::ask(self.address, request.body(wire::whole(body)).unwrap()).await.unwrap();
        assert_eq!(answer.status, 204, "{path}: {}", read_log("crewjam"));
    }
}

impl Drop for Crewjam {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Signs in through one of them: opens a path of the app or any address, fills the form, and posts the answer to the
/// app, as a browser does. The page it ends on.
pub async fn sign_in_saml(browser: &mut HeadlessBrowser, path: &str, name: &str) -> BrowserPage {
    let (page, answer) = sign_in_saml_until(browser, path, name).await;
    let page = browser.submit(&page, &answer).await;
    post_saml_messages(browser, page).await
}

/// Signs in up to the page whose form would post the answer to the app: that page, and the form.
pub async fn sign_in_saml_until(
    browser: &mut HeadlessBrowser,
    path: &str,
    name: &str,
) -> (BrowserPage, HtmlForm) {
    let mut page = browser.open(path).await;
    for _ in 0..6 {
        if let Some(answer) = page.form_with("SAMLResponse") {
            return (page, answer);
        }
        page = if let Some(form) = page.form_with("username") {
            browser.submit(&page, &form.with("username", name).with("password", PASSWORD)).await
        } else if let Some(form) = page.form_with("user") {
            // crewjam's form forgets the request: the session is begun first, and the request asked again.
            let asked = page.url.clone();
            browser.submit(&page, &form.with("user", name).with("password", PASSWORD)).await;
            browser.open(asked.as_str()).await
        } else {
            let form = page.form_with("SAMLRequest").unwrap_or_else(|| {
                panic!("neither a form to sign in nor an answer on {}:\n{}", page.url, page.text())
            });
            browser.submit(&page, &form).await
        };
    }
    panic!("{} asks without end: {}", page.url, page.text());
}

/// Sends what pages send by themselves, until one has nothing to send.
pub async fn post_saml_messages(browser: &mut HeadlessBrowser, mut page: BrowserPage) -> BrowserPage {
    for _ in 0..6 {
        let message = page.form_with("SAMLRequest").or_else(|| page.form_with("SAMLResponse"));
        let Some(form) = message else { return page };
        page = browser.submit(&page, &form).await;
    }
    panic!("{} sends without end: {}", page.url, page.text());
}

#[allow(unused_imports, reason = "a bench takes this file without its tests")]
mod tests {
    use std::io::Write;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use cookie::SameSite;
    use tempfile::TempDir;

    use super::*;
    use crate::needs;
    use crate::rig::application::Application;
    use crate::rig::until;

    /// An application at `app.localhost` that stands for a service provider, and a browser.
    struct Sp {
        app: Application,
        browser: HeadlessBrowser,
        known_as: SpAtIdp,
        keys: TempDir,
    }

    impl Sp {
        async fn start() -> Self {
            let app = Application::start().await;
            let origin = format!("http://app.localhost:{}", app.address.port());
            let mut known_as = SpAtIdp::new(&format!("{origin}/saml"), &format!("{origin}/acs"));
            known_as.slo = Some((format!("{origin}/slo"), false));
            let keys = tempfile::tempdir().unwrap();
            make_key(&keys.path().join("sp"));
            known_as.certificate_pem = Some(fs::read_to_string(keys.path().join("sp.crt")).unwrap());
            Self { app, browser: HeadlessBrowser::new(&origin), known_as, keys }
        }

        /// An AuthnRequest to this address, as XML.
        fn request(&self, to: &str) -> String {
            self.message("AuthnRequest", to, "")
        }

        fn message(&self, kind: &str, to: &str, inner: &str) -> String {
            format!(
                "<p:{kind} xmlns:p=\"urn:oasis:names:tc:SAML:2.0:protocol\" \
                 xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_asked\" Version=\"2.0\" IssueInstant=\"{}\" \
                 Destination=\"{to}\"><Issuer>{}</Issuer>{inner}</p:{kind}>",
                jiff::Timestamp::now(),
                self.known_as.entity_id
            )
        }

        /// Signs a query by HTTP-Redirect's rules (SAML Bindings §3.4.4.1).
        fn sign(&self, query: &str) -> String {
            let query = url::form_urlencoded::Serializer::new(query.to_owned())
                .append_pair("SigAlg", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256")
                .finish();
            let mut openssl = Command::new("openssl")
                .args(["dgst", "-sha256", "-sign"])
                .arg(self.keys.path().join("sp.pem"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            openssl.stdin.take().unwrap().write_all(query.as_bytes()).unwrap();
            let signature = STANDARD.encode(openssl.wait_with_output().unwrap().stdout);
            url::form_urlencoded::Serializer::new(query).append_pair("Signature", &signature).finish()
        }

        /// Signs in, and gives the answer as XML; it was posted to the application.
        async fn answer(&mut self, url: &str) -> String {
            let (page, form) = sign_in_saml_until(&mut self.browser, url, "alice").await;
            assert_eq!((form.action.as_str(), form.method.as_str()), (self.known_as.acs.as_str(), "post"));
            let before = self.app.count_of("/acs");
            let end = self.browser.submit(&page, &form).await;
            assert_eq!((end.status().as_u16(), self.app.count_of("/acs")), (200, before + 1));
            assert_eq!(end.json()["body"], form.encoded().len());
            read_message(&form, "SAMLResponse")
        }
    }

    fn read_message(form: &HtmlForm, field: &str) -> String {
        let (_, value) = form.fields.iter().find(|(name, _)| name == field).unwrap();
        String::from_utf8(STANDARD.decode(value).unwrap()).unwrap()
    }

    /// The query of a message by HTTP-Redirect, deflated into one block that is stored as it is.
    fn redirect(message: &str, relay_state: &str) -> String {
        let length = u16::try_from(message.len()).unwrap();
        let mut deflated = vec![1];
        deflated.extend(length.to_le_bytes());
        deflated.extend((!length).to_le_bytes());
        deflated.extend(message.as_bytes());
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("SAMLRequest", &STANDARD.encode(deflated))
            .append_pair("RelayState", relay_state)
            .finish()
    }

    /// The elements that are signed themselves.
    fn signed(xml: &str) -> Vec<&str> {
        let parents = ["samlp:Response", "saml:Assertion"].into_iter().filter(|name| {
            let inner = xml.split_once(&format!("<{name} ")).map_or("", |(_, inner)| inner);
            let signature = inner.find("<ds:Signature ");
            // A signature follows the issuer of what it signs (SAML Core §5.4), before anything that has one of its own.
            signature.is_some_and(|at| {
                inner[..at].matches("Issuer").count() == 2 && !inner[..at].contains("Assertion ")
            })
        });
        parents.collect()
    }

    fn attribute<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
        xml.split_once(&format!("{name}=\""))?.1.split('"').next()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_saml_idp_signs_in_who_was_sent_to_it() {
        needs!("simplesamlphp");
        let (idp, mut sp) = (SimpleSaml::shared(), Sp::start().await);
        idp.register(&sp.known_as);
        let metadata = idp.metadata().await;
        assert_eq!(attribute(&metadata, "entityID"), Some(idp.entity_id.as_str()));
        let sso = format!("{}/saml2/idp/SSOService.php", idp.origin);
        let asked = format!("{sso}?{}", redirect(&sp.request(&sso), "/deep?a=b"));

        let page = sp.browser.open("/cookie").await;
        assert_eq!(page.status(), 200);
        let (page, form) = sign_in_saml_until(&mut sp.browser, &asked, "alice").await;
        assert!(form.fields.contains(&("RelayState".to_owned(), "/deep?a=b".to_owned())), "{form:?}");
        let xml = read_message(&form, "SAMLResponse");
        assert_eq!(attribute(&xml, "Destination"), Some(sp.known_as.acs.as_str()));
        assert_eq!(attribute(&xml, "Recipient"), Some(sp.known_as.acs.as_str()));
        assert_eq!(attribute(&xml, "InResponseTo"), Some("_asked"));
        assert!(xml.contains(&format!("<saml:Audience>{}</saml:Audience>", sp.known_as.entity_id)), "{xml}");
        assert!(xml.contains("rsa-sha256") && !xml.contains("rsa-sha1"), "{xml}");
        for value in ["alice", "alice@example.com", "staff"] {
            let attribute =
                format!("<saml:AttributeValue xsi:type=\"xs:string\">{value}</saml:AttributeValue>");
            assert!(xml.contains(&attribute), "{xml}");
        }

        // It comes from another site, so the application's own cookies stay behind.
        sp.browser.submit(&page, &form).await;
        let seen = sp.app.last("/acs").unwrap();
        assert_eq!(seen.method, Method::POST);
        assert_eq!(seen.header("sec-fetch-site").as_deref(), Some("cross-site"));
        assert_eq!(seen.header("origin").as_deref(), Some(idp.origin.as_str()));
        assert_eq!(seen.header("cookie"), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_saml_idp_signs_and_encrypts_as_each_service_provider_wants_it() {
        needs!("simplesamlphp");
        let (idp, mut sp) = (SimpleSaml::shared(), Sp::start().await);
        idp.register(&sp.known_as);
        let unasked = idp.unasked(&sp.known_as.entity_id, None);
        for (sign, parts) in [
            (SignedParts::Assertion, &["saml:Assertion"][..]),
            (SignedParts::Response, &["samlp:Response"]),
            (SignedParts::Both, &["samlp:Response", "saml:Assertion"]),
        ] {
            sp.known_as.sign = sign;
            idp.register(&sp.known_as);
            let xml = sp.answer(&unasked).await;
            assert_eq!(signed(&xml), parts, "{xml}");
            assert_eq!(attribute(&xml, "InResponseTo"), None);
        }

        let mut names = Vec::new();
        for (name_id, format) in [
            (SentNameId::Persistent, "2.0:nameid-format:persistent"),
            (SentNameId::EmailAddress, "1.1:nameid-format:emailAddress"),
            (SentNameId::Transient, "2.0:nameid-format:transient"),
            (SentNameId::Transient, "2.0:nameid-format:transient"),
        ] {
            sp.known_as.name_id = name_id;
            idp.register(&sp.known_as);
            let xml = sp.answer(&unasked).await;
            let name = xml.split_once("<saml:NameID ").unwrap().1.split_once("</").unwrap().0;
            let (attributes, name) = name.split_once('>').unwrap();
            assert!(attributes.contains(&format!("urn:oasis:names:tc:SAML:{format}\"")), "{attributes}");
            names.push(name.to_owned());
        }
        assert_eq!(names[..2], ["alice", "alice@example.com"]);
        assert!(names[2] != names[3] && !names[2].contains("alice"), "{names:?}");

        sp.known_as.encrypt = true;
        idp.register(&sp.known_as);
        let xml = sp.answer(&unasked).await;
        assert!(xml.contains("<saml:EncryptedAssertion") && !xml.contains("alice"), "{xml}");
        assert!(xml.contains("xmlenc#aes128-cbc") && xml.contains("xmlenc#rsa-oaep-mgf1p"), "{xml}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_saml_idp_begins_by_itself_and_says_what_it_is_told_of_somebody() {
        needs!("simplesamlphp");
        let (idp, mut sp) = (SimpleSaml::shared(), Sp::start().await);
        idp.register(&sp.known_as);
        let many: Vec<String> = (0..400).map(|number| format!("group-{number}")).collect();
        idp.person(
            "zoë@corp.test",
            &json!({ "uid": ["00u-zoe"], "mail": ["zoë@corp.test"], "groups": many }),
        );
        let unasked = idp.unasked(&sp.known_as.entity_id, Some("/deep"));
        let (_, form) = sign_in_saml_until(&mut sp.browser, &unasked, "zoë@corp.test").await;
        assert!(form.fields.contains(&("RelayState".to_owned(), "/deep".to_owned())), "{form:?}");
        let xml = read_message(&form, "SAMLResponse");
        assert!(xml.contains(">00u-zoe</saml:NameID>") && xml.contains(">group-399<"), "{xml}");
        assert!(xml.contains(">zoë@corp.test<"), "{xml}");
        // The whole way in one call, now that the provider knows the browser.
        let end = sign_in_saml(&mut sp.browser, &unasked, "nobody asks").await;
        assert_eq!((end.status().as_u16(), end.url.path()), (200, "/acs"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_saml_idp_refuses_what_is_not_signed_where_it_must_be() {
        needs!("simplesamlphp");
        let (idp, mut sp) = (SimpleSaml::shared(), Sp::start().await);
        sp.known_as.must_sign = true;
        idp.register(&sp.known_as);
        let sso = format!("{}/saml2/idp/SSOService.php", idp.origin);
        let query = redirect(&sp.request(&sso), "/");
        let stranger = Sp::start().await;
        for (wrong, why) in [
            (query.clone(), "no signature found on message"),
            (stranger.sign(&query), "Unable to validate signature"),
        ] {
            let page = sp.browser.open(&format!("{sso}?{wrong}")).await;
            assert!(page.form_with("username").is_none() && page.text().contains(why), "{}", page.text());
        }
        let asked = format!("{sso}?{}", sp.sign(&query));
        assert_eq!(attribute(&sp.answer(&asked).await, "InResponseTo"), Some("_asked"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_saml_idp_ends_a_session_and_tells_so() {
        needs!("simplesamlphp");
        let (idp, mut sp) = (SimpleSaml::shared(), Sp::start().await);
        let unasked = idp.unasked(&sp.known_as.entity_id, None);
        let slo = sp.known_as.slo.clone().unwrap().0;
        for is_form in [false, true] {
            sp.known_as.slo = Some((slo.clone(), is_form));
            idp.register(&sp.known_as);
            sp.answer(&unasked).await;
            let page = idp.end_session(&mut sp.browser).await;
            // The application answers nothing that a service provider would: the browser stays with it.
            assert_eq!(page.url.path(), "/slo", "{}", page.text());
            assert_eq!(page.json()["method"], if is_form { "POST" } else { "GET" });
            let seen = sp.app.last("/slo").unwrap();
            assert_eq!(seen.header("sec-fetch-site").as_deref(), Some("cross-site"));
            if !is_form {
                assert!(
                    seen.target.contains("SAMLRequest=") && seen.target.contains("Signature="),
                    "{}",
                    seen.target
                );
            }
            let again = sp.browser.open(&unasked).await;
            assert!(again.form_with("username").is_some(), "{}", again.text());
        }
    }

    /// What a service provider posts comes from another site. The provider's cookies come along all the same.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_saml_idp_hears_a_logout_that_a_service_provider_posts() {
        needs!("simplesamlphp");
        let (idp, mut sp) = (SimpleSaml::shared(), Sp::start().await);
        idp.register(&sp.known_as);
        let unasked = idp.unasked(&sp.known_as.entity_id, None);
        sp.answer(&unasked).await;
        for cookie in sp.browser.jar.of("saml.localhost") {
            assert!(cookie.secure && cookie.same_site == SameSite::None, "{cookie:?}");
        }
        let page = sp.browser.open("/leave").await;
        let slo = format!("{}/saml2/idp/SingleLogoutService.php", idp.origin);
        let leaving = sp.message("LogoutRequest", &slo, "<NameID>alice</NameID>");
        let fields = vec![("SAMLRequest".to_owned(), STANDARD.encode(leaving))];
        let form = HtmlForm { action: slo, method: "post".to_owned(), fields };
        let end = sp.browser.submit(&page, &form).await;
        assert_eq!(end.url.path(), "/slo", "{}", end.text());
        assert!(sp.app.last("/slo").unwrap().target.contains("SAMLResponse="));
        assert!(sp.browser.open(&unasked).await.form_with("username").is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_saml_idp_of_a_test_changes_its_keys_and_ends_with_it() {
        needs!("simplesamlphp");
        let (idp, mut sp) = (SimpleSaml::start(), Sp::start().await);
        idp.register(&sp.known_as);
        let unasked = idp.unasked(&sp.known_as.entity_id, None);
        let signer = |xml: &str| {
            let certificate = xml.split_once("<ds:X509Certificate>").unwrap().1;
            certificate.split('<').next().unwrap().to_owned()
        };
        let first = signer(&sp.answer(&unasked).await);
        idp.rotate(true);
        let second = signer(&sp.answer(&unasked).await);
        assert_ne!(first, second);
        let metadata = idp.metadata().await;
        assert!(metadata.contains(&first) && metadata.contains(&second), "{metadata}");
        idp.rotate(false);
        let third = signer(&sp.answer(&unasked).await);
        let metadata = idp.metadata().await;
        assert!(!metadata.contains(&second) && metadata.contains(&third), "{metadata}");
        let asked = wire::get(idp.address, "127.0.0.1", METADATA).await;
        assert!(asked.is_ok() && idp.metadata_url().ends_with(METADATA));

        let (address, folder) = (idp.address, idp.folder.clone());
        assert!(folder.exists());
        drop(idp);
        assert!(!folder.exists());
        until("the provider's port to be free", || async { TcpStream::connect(address).is_err() }).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_saml_idp_of_go_signs_with_sha1() {
        needs!("crewjam");
        let (idp, mut sp) = (Crewjam::start().await, Sp::start().await);
        idp.register(&sp.known_as).await;
        assert_eq!(attribute(&idp.metadata().await, "entityID"), Some(idp.entity_id.as_str()));
        let sso = format!("{}/sso", idp.origin);
        let asked = format!("{sso}?{}", redirect(&sp.request(&sso), "/deep"));
        let xml = sp.answer(&asked).await;
        assert!(xml.contains("xmldsig#rsa-sha1") && !xml.contains("rsa-sha256"), "{xml}");
        assert_eq!(signed(&xml), ["samlp:Response", "saml:Assertion"], "{xml}");
        assert_eq!(attribute(&xml, "InResponseTo"), Some("_asked"));
        assert!(xml.contains(&format!("<saml:Audience>{}</saml:Audience>", sp.known_as.entity_id)), "{xml}");
        sp.known_as.encrypt = true;
        idp.register(&sp.known_as).await;
        let xml = sp.answer(&asked).await;
        assert!(xml.contains("EncryptedAssertion") && !xml.contains("alice"), "{xml}");
    }
}
