//! Plays histories of the model (`model.rs`) on the real program, with real providers, sockets and signals, and compares
//! after every step: for each cookie ever handed out whether the next request is served and as whom, for each
//! WebSocket whether it is open, for each step whether it succeeded.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::model::{
    Change, Claims, Config, Link, Model, Name, Of2, PEOPLE, Provisioning, Says, Site, Step, Who,
};
use crate::rig::application::Application;
use crate::rig::browser::{BrowserPage, HeadlessBrowser};
use crate::rig::directory::{DirectoryClient, GROUP, okta, user};
use crate::rig::idp::{Client, Op, finish_sign_in, sign_in_until};
use crate::rig::inspect::session_of;
use crate::rig::program::Program;
use crate::rig::settings::{Settings, rand};
use crate::rig::visitor::Visitor;
use crate::rig::websocket::WebSocket;
use crate::rig::wire::{Connection, whole};
use crate::rig::{NET, must};

/// Both of what there are two of.
const BOTH: [Of2; 2] = [Of2::One, Of2::Two];
const NAMES: [&str; 2] = ["op", "other"];

/// What every history begins with.
pub const START: Config = Config {
    provisioning: Provisioning::Scim,
    idp: Of2::One,
    issuer: Of2::One,
    link: Link::Subject,
    trust_email: false,
    site: Site::WsPublic,
    role_of: Of2::One,
    by_subject: false,
    is_spoilt: false,
};

/// What a history came to: a test that never sees one of these proves nothing about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub let_in: u32,
    pub turned_away: u32,
    /// Looks at a cookie that is served, and at one that is not.
    pub served: u32,
    pub refused: u32,
    /// Looks at a WebSocket that is open; WebSockets that were found cut.
    pub open: u32,
    pub cut: u32,
}

impl Tally {
    /// Takes another history's along.
    pub fn add(&mut self, other: Self) {
        self.let_in += other.let_in;
        self.turned_away += other.turned_away;
        self.served += other.served;
        self.refused += other.refused;
        self.open += other.open;
        self.cut += other.cut;
    }
}

/// Plays a history to its end; where the program and the model part, says at which step and how.
pub async fn play(start: Config, history: &[Step]) -> Result<Tally, String> {
    let history = history.to_vec();
    // A task of its own: what the rig cannot stand for falls there, and is a fault like any other.
    let played = tokio::spawn(async move {
        let mut stage = Stage::new(start).await;
        for (n, step) in history.iter().enumerate() {
            let fault = |what: String| format!("step {n}, {step:?}: {what}");
            stage.take(step).await.map_err(fault)?;
            stage.agrees().await.map_err(fault)?;
        }
        Ok(stage.tally)
    });
    played.await.unwrap_or_else(|fallen| Err(format!("the test fell: {fallen}")))
}

/// Plays a random history of a seed. Where it fails it is made shorter, and told as it would stand in a test.
pub async fn play_random(seed: u64, steps: usize) -> Tally {
    let (start, mut history) = random(seed, steps);
    let mut fault = match play(start, &history).await {
        Ok(tally) => return tally,
        Err(fault) => fault,
    };
    let whole = fault.clone();
    let until = Instant::now() + SHORTEN;
    let mut piece = history.len() / 2;
    while piece > 0 && Instant::now() < until {
        let mut at = 0;
        while at < history.len() && Instant::now() < until {
            let mut fewer = history.clone();
            fewer.drain(at..(at + piece).min(history.len()));
            match play(start, &fewer).await {
                Err(other) => (history, fault) = (fewer, other),
                Ok(_) => at += piece,
            }
        }
        piece /= 2;
    }
    let told: String = history.iter().map(|step| format!("    {step:?},\n")).collect();
    panic!("seed {seed}: {whole}\n\nshorter, from {start:?}:\n{told}\n{fault}");
}

/// How long a history that fails is made shorter.
const SHORTEN: Duration = Duration::from_secs(120);

/// The program, everything around it, and the model.
struct Stage {
    model: Model,
    tally: Tally,
    program: Program,
    _app: Application,
    directory: DirectoryClient,
    ops: [&'static Op; 2],
    client: Client,
    /// Subjects are this run's own: the providers are shared.
    run: String,
    ids: [Option<String>; PEOPLE],
    groups: [Option<String>; 2],
    visitors: Vec<Visitor>,
    sockets: Vec<Option<WebSocket>>,
    flows: Vec<(HeadlessBrowser, url::Url)>,
}

impl Stage {
    async fn new(start: Config) -> Self {
        static SECOND: OnceLock<Op> = OnceLock::new();
        let ops = [Op::shared(), SECOND.get_or_init(Op::start)];
        let app = Application::start().await;
        let mut settings = Settings::new(app.address);
        let client = Client::drawn();
        for op in ops {
            op.register(&client, &settings, &NAMES).await;
        }
        settings.client_secret.clone_from(&client.secret);
        write(&start, ops, &client, &mut settings);
        let program = Program::start(settings).await;
        let directory = program.directory();
        Self {
            model: Model::new(start),
            tally: Tally::default(),
            program,
            _app: app,
            directory,
            ops,
            client,
            run: format!("{:x}", rand()),
            ids: Default::default(),
            groups: Default::default(),
            visitors: Vec::new(),
            sockets: Vec::new(),
            flows: Vec::new(),
        }
    }

    /// Does a step, unless it names what is not there, and tells the model.
    async fn take(&mut self, step: &Step) -> Result<(), String> {
        let says = self.model.says(step);
        let Some(done) = self.act(step).await else { return Ok(()) };
        if !says.allows(done) {
            return Err(format!(
                "{says:?} says the model, and it {}",
                if done { "was done" } else { "was not" }
            ));
        }
        if matches!(step, Step::Login(_) | Step::LoginOver(..) | Step::Finish(_) | Step::Across(..)) {
            *(if done { &mut self.tally.let_in } else { &mut self.tally.turned_away }) += 1;
        }
        self.model.took(step, done);
        Ok(())
    }

    /// Whether it was done; `None` where there is nothing to do it to.
    async fn act(&mut self, step: &Step) -> Option<bool> {
        let runs = self.model.runs.is_some();
        match step {
            Step::Create(who) => {
                let body = user(&address(*who), &self.subject(*who));
                let answer = self.scim(Method::POST, "/Users", &body).await?;
                if let (201, Some(id)) = (answer.0, answer.1["id"].as_str()) {
                    self.ids[*who] = Some(id.to_owned());
                }
                Some(answer.0 == 201)
            }
            Step::Activate(who, active) => {
                let operations = if *active { okta::reactivate() } else { okta::deactivate() };
                let path = format!("/Users/{}", self.ids[*who].as_deref()?);
                let answer =
                    self.scim(Method::PATCH, &path, &crate::rig::directory::patch(operations)).await?;
                Some(answer.0 == 200 && answer.1["active"] == *active)
            }
            Step::Delete(who) => {
                let path = format!("/Users/{}", self.ids[*who].as_deref()?);
                Some(self.scim(Method::DELETE, &path, &Value::Null).await?.0 == 204)
            }
            Step::Members(group, members) => {
                let ids: Option<Vec<&String>> = members.iter().map(|who| self.ids[*who].as_ref()).collect();
                let members: Vec<Value> = ids?.iter().map(|id| json!({ "value": id })).collect();
                let body =
                    json!({ "schemas": [GROUP], "displayName": group_name(*group), "members": members });
                let known = self.groups[*group as usize].clone();
                let answer = match &known {
                    Some(id) => self.scim(Method::PUT, &format!("/Groups/{id}"), &body).await?,
                    None => self.scim(Method::POST, "/Groups", &body).await?,
                };
                if let (None, 201, Some(id)) = (known, answer.0, answer.1["id"].as_str()) {
                    self.groups[*group as usize] = Some(id.to_owned());
                }
                Some((200..300).contains(&answer.0))
            }
            Step::Add(who) => {
                let (name, subject) = (address(*who), self.subject(*who));
                let words = ["user", "add", &name, "--email", &name, "--external-id", &subject];
                let done = self.program.command(&words).status.success();
                if done {
                    self.ids[*who] = self.id_of(&name);
                }
                Some(done)
            }
            Step::Disable(who) => {
                Some(self.program.command(&["user", "disable", &address(*who)]).status.success())
            }
            Step::Enable(who) => {
                Some(self.program.command(&["user", "enable", &address(*who)]).status.success())
            }
            _ if !runs => match step {
                Step::Edit(_) => self.edit(step),
                Step::Start => Some(self.program.try_begin().await.is_ok()),
                Step::StartWithoutKey => {
                    let key = self.program.folder().join("state/master.key");
                    let kept = key.with_extension("kept");
                    std::fs::rename(&key, &kept).unwrap();
                    let started = self.program.try_begin().await.is_ok();
                    if started {
                        self.program.kill();
                    }
                    std::fs::rename(&kept, &key).unwrap();
                    Some(started)
                }
                _ => None,
            },
            Step::Start | Step::StartWithoutKey => None,
            Step::Login(claims) => {
                self.say(claims).await;
                let mut browser = self.program.browser();
                let page = browser.open("/").await;
                let page = finish_sign_in(&mut browser, page, &self.subject(claims.subject)).await;
                Some(self.landed(&browser, &page))
            }
            Step::LoginOver(over, claims) => {
                let (name, value) = self.visitors.get(*over)?.cookie.split_once('=').unwrap();
                let mut browser = self.program.browser();
                browser.jar.plant("app.localhost", name, value);
                self.say(claims).await;
                let page = browser.look("/.portcullis/login?return_to=/").await;
                let page = browser.follow(page).await;
                let page = finish_sign_in(&mut browser, page, &self.subject(claims.subject)).await;
                let before = &self.visitors[*over].cookie;
                let is_new =
                    session_of(&browser).is_some_and(|(name, value)| *before != format!("{name}={value}"));
                Some(is_new && self.landed(&browser, &page))
            }
            Step::Begin(claims) => {
                self.say(claims).await;
                self.begin(claims).await;
                Some(true)
            }
            Step::Finish(flow) => {
                let claims = self.model.flows.get(*flow)?.claims.clone();
                self.say(&claims).await;
                let (mut browser, callback) = self.flows.get(*flow)?.clone();
                let page = browser.look(callback.as_str()).await;
                // Where the callback begins anew, since its provider has another name by now, that is another login.
                let page = if page.status().is_redirection() { browser.look("/").await } else { page };
                Some(self.landed(&browser, &page))
            }
            Step::Across(_, step) if self.model.says(step) == Says::Either => None,
            Step::Across(claims, step) => {
                self.say(claims).await;
                self.begin(claims).await;
                let (mut browser, callback) = self.flows.pop().unwrap();
                let op = self.op();
                op.hold(&self.client).await;
                let landing = tokio::spawn(async move {
                    let page = browser.look(callback.as_str()).await;
                    (browser, page)
                });
                op.holds(&self.client).await;
                let (says, done) = (self.model.says(step), Box::pin(self.act(step)).await);
                op.release(&self.client).await;
                let (browser, page) = must("the end of a login", landing).await.unwrap();
                assert!(done.is_none_or(|done| says.allows(done)), "{step:?}: {done:?}, not {says:?}");
                Some(self.landed(&browser, &page))
            }
            Step::Logout(session) => {
                let visitor = self.visitors.get(*session)?;
                let request =
                    visitor.request(Method::POST, "/.portcullis/logout").header("origin", &visitor.origin);
                let request = request.body(whole("")).unwrap();
                let answer = Connection::open(visitor.address).await.unwrap().send(request).await.unwrap();
                Some(answer.status.is_redirection())
            }
            Step::Open(session) => {
                let visitor = match session {
                    Some(n) => self.visitors.get(*n)?.clone(),
                    None => Visitor::new(&self.program.settings, ""),
                };
                let socket = visitor.socket("/ws").await.ok();
                let open = socket.is_some();
                if open {
                    self.sockets.push(socket);
                }
                Some(open)
            }
            Step::Edit(_) => self.edit(step),
            Step::Reload => Some(self.program.hang_up().await),
            Step::Stop { kill } => {
                if *kill {
                    self.program.kill();
                } else {
                    self.program.signal(rustix::process::Signal::TERM);
                    assert!(self.program.ended().await.success());
                }
                Some(true)
            }
        }
    }

    /// Every cookie and every WebSocket is as the model says.
    async fn agrees(&mut self) -> Result<(), String> {
        if self.model.runs.is_some() {
            let stranger = Visitor::new(&self.program.settings, "");
            let cookies = self.visitors.iter().enumerate().map(|(n, visitor)| (Some(n), visitor));
            for (n, visitor) in cookies.chain([(None, &stranger)]) {
                let whose = n.map(|n| self.model.sessions[n].account);
                for path in ["/", "/ops"] {
                    let (says, answer) = (self.model.may_ask(path, n), visitor.get(path).await);
                    if answer.status != says {
                        return Err(format!(
                            "{path} with cookie {n:?} of {whose:?}: {}, not {says}",
                            answer.status
                        ));
                    }
                    *(if says == 200 { &mut self.tally.served } else { &mut self.tally.refused }) += 1;
                    let told = whose.filter(|_| says == 200).and_then(|account| self.model.told(account));
                    if let Some(told) = told {
                        let name = match told.name {
                            Name::Address(who) => address(who),
                            Name::Subject(who) => self.subject(who),
                        };
                        let groups: Vec<&str> = told.groups.iter().map(|group| group_name(*group)).collect();
                        let role = if told.role { "app.ops" } else { "" };
                        let told = [name, groups.join(","), role.to_owned()];
                        let names = ["x-forwarded-user", "x-forwarded-groups", "x-forwarded-roles"];
                        let seen = names.map(|name| header_of(&answer.json(), name));
                        if seen != told {
                            return Err(format!(
                                "{path} with cookie {n:?} of {whose:?}: the application was told {seen:?}, not {told:?}"
                            ));
                        }
                    }
                }
            }
        }
        for n in 0..self.sockets.len() {
            let Some(mut socket) = self.sockets[n].take() else { continue };
            let says = self.model.sockets[n].open;
            if says == Says::No {
                if tokio::time::timeout(NET, async { while socket.next().await.is_some() {} }).await.is_err()
                {
                    return Err(format!("WebSocket {n} is still open: {:?}", self.model.sockets[n]));
                }
                self.tally.cut += 1;
            } else if must("an echo", socket.echo("here")).await.is_ok() {
                self.sockets[n] = Some(socket);
                self.tally.open += 1;
            } else if says == Says::Yes {
                return Err(format!("WebSocket {n} was closed: {:?}", self.model.sockets[n]));
            } else {
                self.model.sockets[n].open = Says::No;
            }
        }
        Ok(())
    }

    /// A SCIM request; `None` where nobody listens for them any more and nobody ever did.
    async fn scim(&self, method: Method, path: &str, body: &Value) -> Option<(u16, Value)> {
        let body = Some(body).filter(|body| !body.is_null());
        let Ok(answer) = self.directory.try_send(method, path, body).await else {
            return Some((0, Value::Null));
        };
        let json = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        Some((answer.status.as_u16(), json))
    }

    /// The `id` of somebody who was added by hand.
    fn id_of(&self, name: &str) -> Option<String> {
        let listed = self.program.command(&["user", "list", "--json"]).stdout;
        let lines = String::from_utf8_lossy(&listed).into_owned();
        let people = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut of = people.filter(|user| user["name"] == name && user["id"].is_string());
        of.next_back().map(|user| user["id"].as_str().unwrap().to_owned())
    }

    fn edit(&mut self, step: &Step) -> Option<bool> {
        let mut after = self.model.clone();
        after.took(step, true);
        write(&after.file, self.ops, &self.client, &mut self.program.settings);
        self.program.write();
        Some(true)
    }

    fn op(&self) -> &'static Op {
        self.ops[self.model.runs.map_or(0, |runs| runs.issuer as usize)]
    }

    /// What the providers say of somebody from now on.
    async fn say(&self, claims: &Claims) {
        let groups: Vec<&str> = claims.groups.iter().map(|group| group_name(*group)).collect();
        let said = json!({
            "email": address(claims.address), "email_verified": claims.verified, "groups": groups,
            "preferred_username": self.subject(claims.subject),
        });
        for op in self.ops {
            op.person(&self.subject(claims.subject), said.clone()).await;
        }
    }

    /// Signs in up to the answer, and keeps that.
    async fn begin(&mut self, claims: &Claims) {
        let name = NAMES[self.model.runs.map_or(0, |runs| runs.idp as usize)];
        let callback = self.program.settings.callback(name);
        let mut browser = self.program.browser();
        let url = sign_in_until(&mut browser, &self.subject(claims.subject), &callback).await;
        self.flows.push((browser, url));
    }

    /// Whether a login let somebody in, whose cookie is kept then.
    fn landed(&mut self, browser: &HeadlessBrowser, page: &BrowserPage) -> bool {
        let Some((name, value)) = session_of(browser) else { return false };
        assert!(page.status() == 200 || page.status().is_redirection(), "{} with a cookie", page.status());
        self.visitors.push(Visitor::new(&self.program.settings, &format!("{name}={value}")));
        true
    }

    fn subject(&self, who: Who) -> String {
        format!("{}-{who}", self.run)
    }
}

fn address(who: Who) -> String {
    format!("p{who}@corp.test")
}

fn group_name(group: Of2) -> &'static str {
    ["Ops", "Watch"][group as usize]
}

/// A header that the application saw, by what it answered.
fn header_of(seen: &Value, name: &str) -> String {
    let of = |pair: &&Value| pair[0] == name;
    let found = seen["headers"].as_array().and_then(|headers| headers.iter().find(of));
    found.and_then(|pair| pair[1].as_str()).unwrap_or_default().to_owned()
}

/// The settings of a configuration.
fn write(config: &Config, ops: [&Op; 2], client: &Client, settings: &mut Settings) {
    let directory = config.provisioning != Provisioning::NoDirectory;
    settings.provisioning = match config.provisioning {
        Provisioning::Scim => "scim",
        Provisioning::Invited => "invited",
        Provisioning::NoDirectory => "none",
    };
    let (claim, to) = match config.link {
        Link::Subject => ("sub", "externalId"),
        Link::Address => ("email", "userName"),
    };
    settings.idps = format!(
        "  {}:\n{}{}    oidc:\n      issuer: {}\n      client_id: {}\n      \
         client_secret: ${{file:{{folder}}/client-secret}}\n      scopes: [openid, profile, email, groups]\n      \
         trust_email: {}\n",
        NAMES[config.idp as usize],
        if config.trust_email { "    domains: [corp.test]\n" } else { "" },
        if directory { format!("    link:\n      claim: {claim}\n      to: {to}\n") } else { String::new() },
        ops[config.issuer as usize].issuer,
        client.id,
        config.trust_email,
    );
    let role = if config.has_roles() { "[app.ops]" } else { "signed-in" };
    let ws = if config.site == Site::WsPublic { "public" } else { role };
    settings.more = match config.site {
        Site::NoRules => String::new(),
        _ => format!(
            "routes:\n  - path: /ws\n    allow: {ws}\n  - path: /ops\n    allow: {role}\n  - path: /**\n    allow: signed-in\n"
        ),
    };
    if config.by_subject {
        settings.more.push_str("headers:\n  user: subject\n");
    }
    if config.is_spoilt {
        settings.more.push_str("no_such_key: 1\n");
    }
    settings.bindings = config.has_roles().then(|| {
        format!(
            "version: 1\nroles: [app.ops]\nbindings:\n  - group: {}\n    role: app.ops\n",
            group_name(config.role_of)
        )
    });
}

/// A configuration and a history that follow from a seed.
fn random(seed: u64, steps: usize) -> (Config, Vec<Step>) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let provisioning =
        [Provisioning::Scim, Provisioning::Scim, Provisioning::Invited, Provisioning::NoDirectory];
    let site = *dice.of(&[Site::NoRules, Site::WsPublic, Site::WsForRole]);
    let start = Config {
        provisioning: *dice.of(&provisioning),
        site,
        link: *dice.of(&[Link::Subject, Link::Address]),
        ..START
    };
    let mut drawn = Drawn { model: Model::new(start), history: Vec::new() };
    for who in 0..PEOPLE {
        drawn.push(if start.provisioning == Provisioning::Scim { Step::Create(who) } else { Step::Add(who) });
    }
    while drawn.history.len() < steps {
        let (who, session) = (dice.below(PEOPLE), dice.below(drawn.model.sessions.len().max(1)));
        match dice.below(100) {
            0..3 => drawn.push(Step::Create(who)),
            3..8 => drawn.push(Step::Activate(who, !dice.one_in(3))),
            8..10 => drawn.push(Step::Delete(who)),
            10..14 => drawn.push(Step::Members(*dice.of(&BOTH), dice.some(&[0, 1, 2]))),
            14..16 => drawn.push(Step::Add(who)),
            16..18 => drawn.push(Step::Disable(who)),
            18..21 => drawn.push(Step::Enable(who)),
            // Most who sign in open something.
            21..49 => {
                drawn.push(Step::Login(dice.claims()));
                let newest = drawn.model.sessions.len().checked_sub(1);
                if let Some(newest) = newest.filter(|_| !dice.one_in(3)) {
                    drawn.push(Step::Open(Some(newest)));
                }
            }
            49..52 => drawn.push(Step::LoginOver(session, dice.claims())),
            52..56 => drawn.push(Step::Begin(dice.claims())),
            56..60 => drawn.push(Step::Finish(dice.below(drawn.model.flows.len().max(1)))),
            60..62 => {
                let steps = [Step::Activate(who, false), Step::Delete(who), Step::Disable(who)];
                drawn.push(Step::Across(dice.claims(), Box::new(dice.of(&steps).clone())));
            }
            62..65 => drawn.push(Step::Logout(session)),
            65..78 => drawn.push(Step::Open(if dice.one_in(4) { None } else { Some(session) })),
            78..80 => drawn.push(Step::Reload),
            80..84 => {
                drawn.push(Step::Stop { kill: dice.one_in(2) });
                if dice.one_in(8) {
                    drawn.push(Step::StartWithoutKey);
                }
                drawn.push(Step::Start);
            }
            // What changes comes into force by one road or the other, sometimes with a login on its way.
            _ => {
                drawn.push(Step::Edit(dice.change()));
                match dice.below(6) {
                    0..3 => drawn.push(Step::Reload),
                    3 => drawn.push(Step::Across(dice.claims(), Box::new(Step::Reload))),
                    _ => {
                        drawn.push(Step::Stop { kill: dice.one_in(2) });
                        if dice.one_in(4) {
                            let orders = [Step::Disable(who), Step::Enable(who), Step::Add(who)];
                            drawn.push(dice.of(&orders).clone());
                        }
                        drawn.push(Step::Start);
                    }
                }
            }
        }
        // A file that was spoilt is mended before the program is missed for long.
        if drawn.model.runs.is_none() {
            drawn.push(Step::Edit(Change::Spoilt(false)));
            drawn.push(Step::Start);
        }
    }
    (start, drawn.history)
}

/// A history as it grows, and what the model makes of it: so that most steps find what they name.
struct Drawn {
    model: Model,
    history: Vec<Step>,
}

impl Drawn {
    fn push(&mut self, step: Step) {
        let done = self.model.says(&step) == Says::Yes;
        let is_there = |n: &usize| *n < self.model.sessions.len();
        let named = match &step {
            Step::Open(Some(session)) | Step::Logout(session) | Step::LoginOver(session, _) => {
                is_there(session)
            }
            Step::Finish(flow) => *flow < self.model.flows.len(),
            _ => true,
        };
        if named {
            self.model.took(&step, done);
            self.history.push(step);
        }
    }
}

/// Numbers that look random and follow from a seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % end
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn some<T: Copy + Ord>(&mut self, all: &[T]) -> BTreeSet<T> {
        all.iter().copied().filter(|_| self.one_in(2)).collect()
    }

    /// Most people say who they are; some say somebody else's address.
    fn claims(&mut self) -> Claims {
        let subject = self.below(PEOPLE);
        let address = if self.one_in(6) { self.below(PEOPLE) } else { subject };
        let verified = if address == subject { !self.one_in(6) } else { self.one_in(4) };
        Claims { subject, address, verified, groups: self.some(&BOTH) }
    }

    fn change(&mut self) -> Change {
        let provisioning = [Provisioning::Scim, Provisioning::Invited, Provisioning::NoDirectory];
        match self.below(16) {
            0..2 => Change::Provisioning(*self.of(&provisioning)),
            2 => Change::Idp(*self.of(&BOTH)),
            3 => Change::Issuer(*self.of(&BOTH)),
            4 => Change::Link(*self.of(&[Link::Subject, Link::Address])),
            5..7 => Change::TrustEmail(self.one_in(2)),
            7..11 => Change::Site(*self.of(&[Site::NoRules, Site::WsPublic, Site::WsForRole])),
            11..13 => Change::RoleOf(*self.of(&BOTH)),
            13 => Change::BySubject(self.one_in(2)),
            _ => Change::Spoilt(!self.one_in(3)),
        }
    }
}
