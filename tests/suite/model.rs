//! What Portcullis promises about who is let in, as a model: a directory, an operator, an identity provider, people with
//! their cookies and WebSockets, and a program that is started, reloaded, reconfigured, ended and killed. It knows the
//! promises and nothing of the code. `play.rs` does the same to the real program and compares after every step.
//!
//! Three words: an *account* is a user of the directory, or whom the provider alone vouches for. A session is *made
//! under* an IdP (its name and issuer) and a kind of provisioning. A *turn* is the moment at which what sessions are made
//! under changes for a program, whether by a reload or between an end and a start: whoever came before is out, for good.

use std::collections::{BTreeMap, BTreeSet};

/// A person: the subject at every provider, the `userName`, address and `externalId` in the directory.
pub type Who = usize;
pub const PEOPLE: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provisioning {
    Scim,
    Invited,
    NoDirectory,
}

/// One of two, wherever there are two: names of the IdP, issuers, groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of2 {
    One,
    Two,
}

/// How a first login finds its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// `sub` equals `externalId`.
    Subject,
    /// `email` equals `userName`.
    Address,
}

/// Who may ask for `/ws`; `/ops` asks for the role wherever there are rules, and all else for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    NoRules,
    WsPublic,
    WsForRole,
}

/// The configuration, as far as it matters to who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub provisioning: Provisioning,
    pub idp: Of2,
    pub issuer: Of2,
    pub link: Link,
    pub trust_email: bool,
    pub site: Site,
    /// The group that gives the one role there is.
    pub role_of: Of2,
    /// Whether the application is told the subject instead of the address (`headers.user`).
    pub by_subject: bool,
    /// Whether the file has a typing mistake.
    pub is_spoilt: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Provisioning(Provisioning),
    Idp(Of2),
    Issuer(Of2),
    Link(Link),
    TrustEmail(bool),
    Site(Site),
    RoleOf(Of2),
    BySubject(bool),
    Spoilt(bool),
}

/// What the provider says of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub subject: Who,
    pub address: Who,
    pub verified: bool,
    pub groups: BTreeSet<Of2>,
}

/// What happens. Whoever is named by a number and is not there is left alone, so any part of a history is a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// SCIM: POST, PATCH of `active`, DELETE of a user; PUT of a group.
    Create(Who),
    Activate(Who, bool),
    Delete(Who),
    Members(Of2, BTreeSet<Who>),
    /// `portcullis user add|disable|enable`, with the address.
    Add(Who),
    Disable(Who),
    Enable(Who),
    /// A whole login, in a browser of its own or in that of the n-th cookie; one that stops before its answer is
    /// brought; the bringing of the n-th of those.
    Login(Claims),
    LoginOver(usize, Claims),
    Begin(Claims),
    Finish(usize),
    /// A login whose code is being redeemed while something else happens from its beginning to its end.
    Across(Claims, Box<Step>),
    Logout(usize),
    /// A WebSocket, with the n-th cookie or with none.
    Open(Option<usize>),
    /// An edit of the file; SIGHUP; SIGTERM or `kill -9`; a start; a start without the master key.
    Edit(Change),
    Reload,
    Stop {
        kill: bool,
    },
    Start,
    StartWithoutKey,
}

/// Whether something is to be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Yes,
    No,
    /// Nothing is promised: what is seen is taken over.
    Either,
}

impl Says {
    pub fn allows(self, seen: bool) -> bool {
        self == Self::Either || seen == (self == Self::Yes)
    }
}

impl From<bool> for Says {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// A user of the directory.
    User(Who),
    /// A subject of an issuer, without a directory.
    Subject(Of2, Who),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    active: bool,
    deleted: bool,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub account: Account,
    pub is_in: bool,
}

/// What the application was told when a WebSocket was opened; `None` where nobody was asked.
type Carried = Option<Told>;

/// What the application is told of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub name: Name,
    pub groups: BTreeSet<Of2>,
    pub role: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Address(Who),
    Subject(Who),
}

#[derive(Clone, Debug)]
pub struct Socket {
    session: Option<usize>,
    told: Carried,
    /// The rules by which it was opened.
    site: Option<Site>,
    pub open: Says,
}

/// A login that has begun.
#[derive(Clone, Debug)]
pub struct Flow {
    pub claims: Claims,
    issuer: Of2,
    turn: u32,
    spent: bool,
}

#[derive(Clone, Debug)]
pub struct Model {
    /// The file, and what runs.
    pub file: Config,
    pub runs: Option<Config>,
    /// What ran last: what the sessions in the store were made under.
    last: Config,
    turn: u32,
    users: BTreeMap<Who, User>,
    members: BTreeMap<Of2, BTreeSet<Who>>,
    links: BTreeMap<(Of2, Who), Who>,
    /// What the last login of somebody without a directory said: an address that is believed, and groups.
    said: BTreeMap<Account, (Option<Who>, BTreeSet<Of2>)>,
    disabled: BTreeSet<Account>,
    /// Subjects whose user was removed.
    barred: BTreeMap<(Of2, Who), Who>,
    pub sessions: Vec<Session>,
    pub sockets: Vec<Socket>,
    pub flows: Vec<Flow>,
}

impl Config {
    /// What sessions are made under.
    fn made_under(&self) -> (Provisioning, Of2, Of2) {
        (self.provisioning, self.idp, self.issuer)
    }

    /// Nobody adds people to groups by hand, so there are no roles then.
    pub fn has_roles(&self) -> bool {
        self.site != Site::NoRules && self.provisioning != Provisioning::Invited
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Provisioning(to) => self.provisioning = to,
            Change::Idp(to) => self.idp = to,
            Change::Issuer(to) => self.issuer = to,
            Change::Link(to) => self.link = to,
            Change::TrustEmail(to) => self.trust_email = to,
            Change::Site(to) => self.site = to,
            Change::RoleOf(to) => self.role_of = to,
            Change::BySubject(to) => self.by_subject = to,
            Change::Spoilt(to) => self.is_spoilt = to,
        }
    }
}

impl Model {
    pub fn new(config: Config) -> Self {
        Self {
            file: config,
            runs: Some(config),
            last: config,
            turn: 0,
            users: BTreeMap::new(),
            members: BTreeMap::new(),
            links: BTreeMap::new(),
            said: BTreeMap::new(),
            disabled: BTreeSet::new(),
            barred: BTreeMap::new(),
            sessions: Vec::new(),
            sockets: Vec::new(),
            flows: Vec::new(),
        }
    }

    /// Whether the step is to succeed: a write is accepted, a login lets somebody in, the program starts.
    pub fn says(&self, step: &Step) -> Says {
        let scim = self.runs.is_some_and(|runs| runs.provisioning == Provisioning::Scim);
        match step {
            Step::Create(who) => (scim && !self.is_there(*who)).into(),
            Step::Activate(who, active) => {
                (scim && (self.is_there(*who) || *active && self.users.contains_key(who))).into()
            }
            Step::Delete(who) => (scim && self.is_there(*who)).into(),
            Step::Members(_, members) => (scim && members.iter().all(|who| self.is_there(*who))).into(),
            // Without a running program the command line does it, by the file.
            Step::Add(who) => {
                let config = self.runs.unwrap_or(self.file);
                let says = (config.provisioning == Provisioning::Invited && !self.is_there(*who)).into();
                if self.runs.is_none() && self.file.is_spoilt { Says::Either } else { says }
            }
            Step::Disable(who) | Step::Enable(who) => match *self.named(*who) {
                [] => Says::No,
                // Whom a directory has since: whether that account is kept is no promise.
                [Account::Subject(issuer, subject)] if self.is_a_users((issuer, subject)) => Says::Either,
                [_] => Says::Yes,
                _ => Says::Either,
            },
            Step::Login(claims) | Step::LoginOver(_, claims) => self.lets_in(&self.begun(claims)),
            Step::Finish(flow) => self.flows.get(*flow).map_or(Says::No, |flow| self.lets_in(flow)),
            Step::Across(claims, step) => {
                let (flow, mut after) = (self.begun(claims), self.clone());
                after.took(step, self.says(step) == Says::Yes);
                // Whom only the rules of before would refuse may be refused, and comes again.
                match (self.lets_in(&flow), after.lets_in(&flow)) {
                    (Says::No, Says::Yes) => Says::Either,
                    (_, after) => after,
                }
            }
            Step::Logout(session) => {
                let is_in = self.sessions.get(*session).is_some_and(|session| session.is_in);
                if is_in { Says::Yes } else { Says::Either }
            }
            Step::Open(session) => (self.may_ask("/ws", *session) == 200).into(),
            // To begin or to end to listen for SCIM takes a restart; nothing of such a file is put in force.
            Step::Reload => {
                let listens = |config: Config| config.provisioning == Provisioning::Scim;
                self.runs
                    .is_some_and(|runs| !self.file.is_spoilt && listens(runs) == listens(self.file))
                    .into()
            }
            // Without it bars and sessions would be void: it is for an operator to say so.
            Step::StartWithoutKey => Says::No,
            Step::Start => (!self.file.is_spoilt).into(),
            Step::Begin(_) | Step::Edit(_) | Step::Stop { .. } => Says::Yes,
        }
    }

    /// Whom a login lets in, by the directory's or the provider's word of now.
    fn enters(&self, flow: &Flow) -> Option<Account> {
        let config = self.runs.filter(|_| flow.turn == self.turn && !flow.spent)?;
        let Claims { subject, address, verified, .. } = flow.claims;
        let key = (flow.issuer, subject);
        let linked = self.links.get(&key).map(|who| Account::User(*who));
        let alone = Account::Subject(flow.issuer, subject);
        // An operator's word is about the person, whatever account they would come to.
        if linked.into_iter().chain([alone]).any(|account| self.disabled.contains(&account)) {
            return None;
        }
        // An address that the provider does not call verified is nobody's, unless the operator trusts the provider.
        let address = Some(address).filter(|_| verified || config.trust_email);
        if config.provisioning == Provisioning::NoDirectory {
            // With a name to give to the application; and nobody whom a directory, or an operator, has put out by any
            // name that is known: their last word holds where there is no directory any more.
            let is_named = address.is_some() || config.by_subject;
            // Verified or not: a name that somebody says of themselves can only take away.
            let said = Some(flow.claims.address);
            let user = said.filter(|who| self.users.contains_key(who)).map(Account::User);
            // Whom an operator has disabled comes back under no other subject by the address either.
            let mut known_by_it = self.said.iter().filter(|(_, (told, _))| *told == said);
            let is_out = self.barred.contains_key(&key)
                || linked.into_iter().chain(user).any(|was| !self.is_admitted(was))
                || known_by_it.any(|(account, _)| self.disabled.contains(account));
            return (is_named && !is_out).then_some(alone);
        }
        if let Some(linked) = linked {
            return self.is_admitted(linked).then_some(linked);
        }
        let found = match config.link {
            Link::Subject => subject,
            Link::Address => address?,
        };
        let is_taken = self.links.values().any(|who| *who == found);
        (self.is_admitted(Account::User(found)) && !is_taken).then_some(Account::User(found))
    }

    fn lets_in(&self, flow: &Flow) -> Says {
        self.enters(flow).is_some().into()
    }

    /// The status that a request gets: with the n-th cookie, or with none.
    pub fn may_ask(&self, path: &str, session: Option<usize>) -> u16 {
        let Some(config) = self.runs else { return 0 };
        let who = session.and_then(|n| self.sessions.get(n)).filter(|session| session.is_in);
        let told = who.and_then(|who| self.told(who.account));
        match (path, config.site) {
            ("/ws", Site::WsPublic) => 200,
            // Without a session, or without the name that the application is to be told.
            _ if told.is_none() => 401,
            ("/ws", Site::WsForRole) | ("/ops", Site::WsForRole | Site::WsPublic) if config.has_roles() => {
                if told.is_some_and(|told| told.role) {
                    200
                } else {
                    403
                }
            }
            _ => 200,
        }
    }

    /// What the application is told of an account; `None` where it has no name to give.
    pub fn told(&self, account: Account) -> Option<Told> {
        let runs = self.runs?;
        let (subject, address, groups) = match account {
            Account::User(who) => {
                let of = |group: &Of2| self.members.get(group).is_some_and(|members| members.contains(&who));
                let linked = self.links.iter().find(|(_, linked)| **linked == who);
                (
                    linked.map(|((_, subject), _)| *subject),
                    Some(who),
                    [Of2::One, Of2::Two].into_iter().filter(of).collect(),
                )
            }
            Account::Subject(_, subject) => {
                let (address, groups) = self.said.get(&account).cloned().unwrap_or_default();
                (Some(subject), address, groups)
            }
        };
        let name = if runs.by_subject { subject.map(Name::Subject) } else { address.map(Name::Address) };
        let role = runs.has_roles() && groups.contains(&runs.role_of);
        name.map(|name| Told { name, groups, role })
    }

    /// Takes a step over that was done, or was not.
    pub fn took(&mut self, step: &Step, done: bool) {
        match step {
            Step::Begin(claims) if done => self.flows.push(self.begun(claims)),
            Step::Finish(n) => {
                let flow = self.flows[*n].clone();
                self.came_in(&flow, done);
                self.flows[*n].spent = true;
            }
            Step::Login(claims) => self.came_in(&self.begun(claims), done),
            Step::LoginOver(over, claims) => {
                self.came_in(&self.begun(claims), done);
                // The browser has another cookie now; who had the old one is out.
                self.sessions[*over].is_in &= !done;
            }
            Step::Across(claims, step) => {
                let flow = self.begun(claims);
                self.took(step, self.says(step) == Says::Yes);
                self.came_in(&flow, done);
            }
            _ if !done => {}
            Step::Create(who) | Step::Add(who) | Step::Activate(who, true) => {
                // Brought back, a person is the same; whatever let them in before is gone.
                let was_there = self.is_there(*who);
                self.barred.retain(|_, barred| barred != who || was_there);
                self.users.insert(*who, User { active: true, deleted: false });
            }
            Step::Activate(who, false) => {
                self.users.insert(*who, User { active: false, deleted: false });
                self.put_out(Account::User(*who));
            }
            Step::Delete(who) => {
                self.users.insert(*who, User { active: false, deleted: true });
                self.members.values_mut().for_each(|members| members.retain(|member| member != who));
                self.barred.extend(self.links.iter().filter(|(_, linked)| *linked == who));
                self.links.retain(|_, linked| linked != who);
                self.put_out(Account::User(*who));
            }
            Step::Members(group, members) => drop(self.members.insert(*group, members.clone())),
            Step::Disable(who) if done => {
                for account in self.named(*who) {
                    self.disabled.insert(account);
                    self.put_out(account);
                }
            }
            Step::Enable(who) if done => {
                let named = self.named(*who);
                self.disabled.retain(|account| !named.contains(account));
            }
            Step::Disable(_) | Step::Enable(_) => {}
            Step::Logout(session) => self.sessions[*session].is_in = false,
            Step::Open(session) => {
                let asked = self.runs.is_some_and(|runs| runs.site != Site::WsPublic);
                let told = session.filter(|_| asked).and_then(|n| self.told(self.sessions[n].account));
                let site = self.runs.map(|runs| runs.site);
                self.sockets.push(Socket { session: *session, told, site, open: Says::Yes });
            }
            Step::Edit(change) => self.file.change(*change),
            Step::Reload | Step::Start => self.in_force(),
            Step::Stop { .. } => self.runs = None,
            Step::StartWithoutKey | Step::Begin(_) => {}
        }
        self.settle();
    }

    /// The file is what runs, by a start or by a reload: one rule for both.
    fn in_force(&mut self) {
        if self.last.made_under() != self.file.made_under() {
            self.turn += 1;
            self.sessions.iter_mut().for_each(|session| session.is_in = false);
        }
        (self.runs, self.last) = (Some(self.file), self.file);
    }

    /// A WebSocket stays open as long as it would be let in again, with the very same headers.
    fn settle(&mut self) {
        let opens = |socket: &Socket| match (self.runs, &socket.told) {
            (None, _) => Says::No,
            (Some(runs), None) => (runs.site == Site::WsPublic).into(),
            // Nobody is asked any more; whether that is another header is not promised.
            (Some(Config { site: Site::WsPublic, .. }), Some(_)) => {
                let is_in = socket.session.is_some_and(|n| self.sessions[n].is_in);
                if is_in { Says::Either } else { Says::No }
            }
            (Some(runs), Some(told)) => {
                let now = socket.session.and_then(|n| self.told(self.sessions[n].account));
                match self.may_ask("/ws", socket.session) == 200 && now.as_ref() == Some(told) {
                    // The rule of its path is another one now: that this one would let it in is no promise.
                    true if socket.site != Some(runs.site) => Says::Either,
                    goes_on => goes_on.into(),
                }
            }
        };
        let now: Vec<Says> = self.sockets.iter().map(opens).collect();
        for (socket, now) in self.sockets.iter_mut().zip(now) {
            socket.open = if socket.open == Says::No { Says::No } else { now };
        }
    }

    /// A login has ended, with somebody in or not.
    fn came_in(&mut self, flow: &Flow, done: bool) {
        if let (true, Some(account)) = (done, self.enters(flow)) {
            let Claims { subject, address, verified, groups } = flow.claims.clone();
            let is_believed = verified || self.last.trust_email;
            let key = (flow.issuer, subject);
            match account {
                Account::User(who) => {
                    self.links.insert(key, who);
                    self.barred.remove(&key);
                }
                Account::Subject(..) => {
                    self.links.remove(&key);
                    self.said.insert(account, (Some(address).filter(|_| is_believed), groups));
                }
            }
            self.sessions.push(Session { account, is_in: true });
        }
    }

    fn begun(&self, claims: &Claims) -> Flow {
        let issuer = self.last.issuer;
        Flow { claims: claims.clone(), issuer, turn: self.turn, spent: false }
    }

    fn is_there(&self, who: Who) -> bool {
        self.users.get(&who).is_some_and(|user| !user.deleted)
    }

    fn is_admitted(&self, account: Account) -> bool {
        let by_directory = match account {
            Account::User(who) => self.users.get(&who).is_some_and(|user| user.active && !user.deleted),
            Account::Subject(..) => true,
        };
        by_directory && !self.disabled.contains(&account)
    }

    /// Whether somebody of the provider is a user of the directory, or was one.
    fn is_a_users(&self, key: (Of2, Who)) -> bool {
        self.links.contains_key(&key) || self.barred.contains_key(&key)
    }

    /// Everybody whom an operator may mean by an address.
    pub fn named(&self, who: Who) -> Vec<Account> {
        let user = self.is_there(who).then_some(Account::User(who));
        let others =
            self.said.iter().filter(|(_, (address, _))| *address == Some(who)).map(|(account, _)| *account);
        user.into_iter().chain(others).collect()
    }

    fn put_out(&mut self, account: Account) {
        let of = |session: &&mut Session| session.account == account;
        self.sessions.iter_mut().filter(of).for_each(|session| session.is_in = false);
    }
}
