#!/usr/bin/env python3
"""Takes each rule out of a copy of the program and shows that the test which holds it falls.

Each row: the rule, the changes (a file, what stands there, what is put in its place), and the test of the suite that
must fall. What only an unlucky moment shows (the wait of R5, also of a repeat; the order of enrolling, reading and
standing) was tried here and stands: what is left for some milliseconds is gone before a client can look. Those rules
are taken out by `session/tests/rules_taken_out.py`, where loom tries every moment. That a sign-in reads `active` again
is `store/tests/rules_taken_out.py`'s: here the first request of such a session is refused all the same. How it is run:
`tests/taken_out.py`.
"""
import pathlib, subprocess, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from taken_out import ROOT, Row, main, passes

ROWS = [
    ("cut: the exchange is told", [
        ("session/src/account.rs",
         "                entry.exchange.mark(ended);\n",
         ""),
    ], "revocation::every_kind_of_exchange"),
    ("mark: a removal raises the generation in memory", [
        ("session/src/account.rs",
         "Change::Out(_, generation) => self.generation = self.generation.max(*generation),",
         "Change::Out(..) => {}"),
    ], "revocation::every_kind_of_exchange"),
    ("generation: who comes back has a new one", [
        ("store/src/account.rs",
         "set generation = generation + 1 where",
         "set generation = generation where"),
    ], "revocation::who_comes_back_needs_a_new_session"),
    ("R5: who has sent everything and hangs up is heard", [
        ("src/listeners/mod.rs",
         "        .half_close(true)\n",
         ""),
    ], "revocation::a_directory_that_hangs_up"),
    ("R5: the write is a task of its own, spawned before the transaction", [
        ("src/listeners/scim/mod.rs",
         "    let task = runtime.spawn(listener.handle_request(request));\n    let _ends = is_read.then(|| EndsWith(task.abort_handle()));\n    task.await.unwrap_or_else(|error| {\n",
         "    let _ = (runtime, is_read);\n    Ok::<_, tokio::task::JoinError>(listener.handle_request(request).await).unwrap_or_else(|error| {\n"),
        ("src/revocation.rs",
         "    settled: oneshot::Receiver<()>,\n",
         "    settled: oneshot::Receiver<()>,\n    task: Option<Arc<EndsWith>>,\n"),
        ("src/revocation.rs",
         "        (Underway { settled, done }, road)\n",
         "        (Underway { settled, done, task: None }, road)\n"),
        ("src/revocation.rs",
         "        self.runtime.spawn(async move {\n            // A write enters",
         "        let task = self.runtime.spawn(async move {\n            // A write enters"),
        ("src/revocation.rs",
         "        underway\n    }\n\n    /// A write and its road",
         "        let task = Arc::new(EndsWith(task));\n        let mut underway: Vec<Underway<T, E>> = underway;\n        for one in &mut underway {\n            one.task = Some(task.clone());\n        }\n        underway\n    }\n\n    /// A write and its road"),
        ("src/revocation.rs",
         "/// A write on the road. Dropped, it is carried out all the same.\n#[derive(Debug)]\n",
         "#[derive(Debug)]\nstruct EndsWith(tokio::task::JoinHandle<()>);\nimpl Drop for EndsWith {\n    fn drop(&mut self) {\n        self.0.abort();\n    }\n}\n#[derive(Debug)]\n"),
    ], "store_failure::a_removal_that_its_client_cancels"),
    ("R6: taking away does not wait for the disk", [
        ("src/revocation.rs",
         "let (cut, mark) = self.sessions.hold(&HoldOn::User(subject.clone()));",
         "let (cut, mark) = (portcullis_session::Cut::default(), self.sessions.hold_mark()); let _ = subject;"),
    ], "store_failure::whoever_is_removed"),
    ("Bulk: the token is looked at again before each piece", [
        ("src/listeners/scim/bulk.rs",
         "match self.admit_now(headers, address, &caller.request) {",
         "match Ok::<Caller, ScimError>({ let _ = (headers, address); caller.clone() }) {"),
    ], "scim_bulk::a_token_that_is_taken_away"),
    ("R6: nor does an operator's order", [
        ("src/order.rs",
         "let holds = self.order.takes_away && self.means.serves;",
         "let holds = false;"),
    ], "by_hand::an_order_that_cannot_be_stored"),
    ("R6: what takes nothing away waits", [
        ("src/listeners/scim/write.rs",
         "        if takes_away && tokio::time::timeout(late, underway.wait_settled())",
         "        if tokio::time::timeout(late, underway.wait_settled())"),
    ], "store_failure::a_person_is_never_made"),
    ("R6: a late group write concerns the group alone", [
        ("src/listeners/scim/write.rs",
         "            Ok(Ok(accounts)) => accounts.into_iter().map(Change::Reconsider).collect(),\n",
         "            Ok(Ok(accounts)) => { drop(accounts); vec![Change::ReconsiderAll(*org)] }\n"),
    ], "store_failure::a_group_write_that_is_late"),
    ("R8: what is no longer allowed is cut", [
        ("session/src/account.rs",
         "                _ => Some(Ended::Forbidden),",
         "                _ => None,"),
    ], "revocation::a_role_that_is_lost"),
    ("R8: an answer is judged again when its head makes it a stream", [
        ("proxy/src/rooms/forward.rs",
         "exchange.open.begin_answer(is_stream)",
         "exchange.open.begin_answer(false)"),
    ], "revocation::streams_that_carry"),
    ("standing: a start compares what sessions were made under", [
        ("src/start.rs", '    standing::end_unconfigured(file, &opened.core, "start").await?;\n', ""),
    ], "standing::nobody_stays_in_by_an_idp"),
    ("standing: a reload does", [
        ("src/reload.rs",
         'standing::end_unconfigured(file, &self.core, "reload").await,',
         "Ok::<(), standing::StandingError>(()),"),
    ], "standing::nobody_stays_in_by_an_idp"),
    ("keys: check sees one that does not fit", [
        ("store/src/sealed_keys.rs",
         "if found.is_empty() || keys.is_some_and(|keys| open_keys(&found, keys).is_some()) {",
         "if found.is_empty() || keys.is_some() {"),
    ], "standing::a_master_key_that_is_missing"),
    ("reload: a file that needs a restart puts nothing in force", [
        ("src/reload.rs",
         "if matches!(role, ReloadRole::Leads) && !needs_restart.is_empty() {",
         "if matches!(role, ReloadRole::Leads) && false {"),
    ], "standing::a_reload_that_needs_a_restart"),
    ("keys: a master key that is missing is not made anew", [
        ("src/keyring.rs", "None if store.has_keys().await? => {", "None if false => {"),
    ], "standing::a_master_key_that_is_missing"),
    ("reload: live exchanges are decided again", [
        ("src/revocation.rs",
         "let cut = self.sessions.review(policy);",
         "let cut = { let _ = policy; portcullis_session::Cut::default() };"),
    ], "revocation::a_reload_ends"),
    ("paths: a path is decoded before it is decided", [
        ("policy/src/readings.rs",
         "                for at in fresh..end {\n",
         "                for at in end..end {\n"),
    ], "refusals::where_rules_exist"),
    ("paths: dot segments are resolved", [
        ("policy/src/readings.rs", "merge_slashes, resolve_dots, ", "merge_slashes, merge_slashes, "),
    ], "spellings::"),
    ("paths: case and ends are folded", [
        ("policy/src/routes.rs",
         "[self.rules.find_rule(reading, method), self.folded.find_rule(&folded, method)]",
         "[self.rules.find_rule(reading, method)]"),
    ], "spellings::"),
    ("paths: a request is somebody's where one reading is", [
        ("policy/src/routes.rs",
         "self.rules().any(|rule| rule.allow != Allow::Public)",
         "self.rules().next().is_some_and(|rule| rule.allow != Allow::Public)"),
    ], "refusals::one_reading"),
    ("reload: strangers are decided again", [
        ("session/src/stranger.rs",
         "(!policy.still_public(&entry.pass)).then_some(Ended::Forbidden)",
         "{ let _ = (&policy, &entry.pass); None::<Ended> }"),
    ], "revocation::a_reload_ends_strangers"),
    ("login: the last word of a directory that is gone holds for its names", [
        ("store/src/login/matching.rs",
         "if !somebody_active && word.is_some() {",
         "if false && !somebody_active {"),
    ], "histories::whom_a_directory_put_out"),
    ("orders by hand: an address is everybody's who has it", [
        ("store/src/named.rs",
         "    found.extend(alone);\n",
         "    if found.is_empty() {\n        found.extend(alone);\n    }\n"),
        ("store/src/named.rs",
         "    let others = find_namesakes(tx, org, first).await?;\n",
         "    let others = Vec::new();\n    let _ = find_namesakes;\n"),
    ], "histories::what_an_operator_says"),
    ("R9: the clock ends sessions", [
        ("src/revocation.rs",
         "let cut = self.sessions.expire(now);",
         "let cut = { let _ = now; portcullis_session::Cut::default() };"),
    ], "revocation::the_absolute_end"),
    ("log: whoever serves does not wait for its reader", [
        ("src/log/queue.rs",
         "if self.lines.try_send(QueueMessage::Line(line)).is_err() {",
         "if self.lines.send(QueueMessage::Line(line)).is_err() {"),
    ], "logs::a_log_that_nobody_reads"),
    ("log: what strangers cause is a line at debug alone", [
        ("proxy/src/connection.rs",
         'tracing::debug!(client = address, "a head broke off',
         'tracing::error!(client = address, "a head broke off'),
    ], "logs::a_log_that_nobody_reads"),
    ("log: log.client holds for a host that is not ours", [
        ("proxy/src/rooms/record.rs",
         "        line.log = **detail.load();\n",
         "        let _ = detail;\n"),
    ], "logs::what_may_not_be_said"),
    ("log: what a client sends is cut", [
        ("proxy/src/access_log.rs",
         "                let text = shown(&text);\n",
         ""),
    ], "logs::what_a_stranger_sends"),
    ("access log: a reload does not wait for its reader", [
        ("proxy/src/access_log.rs",
         "let _ = queue.try_send(WriterMessage::Wake);",
         "let _ = queue.send(WriterMessage::Wake);"),
    ], "logs::a_stalled_reader"),
    ("stop: removals are heard until the last exchange is gone", [
        ("src/running.rs",
         "        draining.store(true, Ordering::Release);\n",
         "        draining.store(true, Ordering::Release);\n        let _ = stop.send(true);\n"),
    ], "leaving::a_removal_is_heard"),
    ("stop: silent streams hold nothing up", [
        ("proxy/src/drain.rs",
         "while self.live() > 0 && !is_silent() {",
         "while self.live() > 0 {"),
    ], "leaving::sockets_on_which_nothing_passes"),
    ("stop: a second signal ends the wait", [
        ("src/run.rs",
         "                let _ = hurry.send(true);\n",
         "                let _ = &hurry;\n"),
    ], "leaving::a_second_signal"),
    ("logout takes the same road", [
        ("src/own/logout.rs",
         "        let mut ending = self.core.carry_out(ending);\n        // It is carried out all the same; whoever waits for the page is told that it is not certain.\n        tokio::time::timeout(STORED, ending.wait_settled()).await.map_err(drop)?;\n        ending.wait_done().await.map_err(drop)?;\n",
         "        let _ = STORED;\n        drop(ending.await.map_err(drop)?);\n"),
    ], "revocation::a_logout_ends_that_session_only"),
    ("R10: an HTTP/1 socket is reset", [
        ("proxy/src/socket.rs",
         "    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));\n",
         "    let _ = (socket, Duration::ZERO);\n"),
    ], "revocation::a_slow_download"),
    ("R10: little waits in a socket", [
        ("proxy/src/server.rs",
         "options.tcp_snd_buf = Some(limits.send_buffer);",
         "let _ = limits;"),
    ], "revocation::a_slow_download_beside"),
    ("keys: a distrusted one takes the one road of revocation", [
        ("src/idp_key_orders.rs",
         "        let mut underway = self.revocation.carry_out(write, LEAVE);\n        if self.serves",
         "        let mut underway = self.revocation.carry_out(async { write.await.map(|done| portcullis_session::Committed::new(portcullis_store::DistrustedKey { idps: vec![\"corp\".into()], live: Some(1), is_repeat: false }, Vec::new(), done.seq(), false)) }, LEAVE);\n        if self.serves"),
    ], "saml_keys::a_distrusted_key_cuts_everybody"),
    ("keys: what was distrusted is read before anybody is served", [
        ("src/idp_keys.rs",
         "let book = Arc::new(read_book(store.read_idp_keys(OrgId::ONLY).await?));",
         "let book = Arc::new(read_book(KeptIdpKeys { distrusted: Vec::new(), ..store.read_idp_keys(OrgId::ONLY).await? }));"),
    ], "saml_keys::a_distrusted_key_cuts_everybody"),
    ("saml: an unasked login replaces its own person's session alone", [
        ("src/own/arrivals.rs",
         "            _ => Replaces::SamePerson,\n",
         "            _ => Replaces::Anybody,\n"),
    ], "saml_unasked::nobody_elses_live_session"),
    ("saml: the yes of the page is its own", [
        ("src/own/arrivals.rs",
         "Method::POST if is_token_of(request.body(), &token) => Replaces::Anybody,",
         "Method::POST if is_token_of(request.body(), &token) || true => Replaces::Anybody,"),
    ], "saml_unasked::nobody_elses_live_session"),
    ("saml: the yes is about the session that the page told of", [
        ("src/own/arrivals.rs",
         "let session = session.map(|session| session.0).unwrap_or_default();",
         "let session = session.map(|_| [0; 32]).unwrap_or_default();"),
    ], "saml_unasked::nobody_elses_live_session"),
    ("saml: an unasked login is finished by the configuration of that moment", [
        ("src/own/arrivals.rs",
         "entry.filter(|entry| entry.unsolicited == IdpInitiated::Accept).cloned()",
         "entry.filter(|entry| entry.unsolicited == IdpInitiated::Accept || true).cloned()"),
    ], "saml_unasked::one_provider_accepts"),
    ("saml: an unasked login begins under the epochs of its arrival", [
        ("src/own/arrivals.rs",
         "epochs: self.core.sessions.epochs(OrgId::ONLY, entry.name()),",
         "epochs: [u64::MAX; 3],"),
    ], "saml_unasked::what_has_arrived"),
    ("saml: one message is looked at a few times", [
        ("src/own/arrivals.rs",
         "let _turn = self.under_way.tries.take_turn(message, visitor.client, now).await?;",
         "let _ = message;"),
    ], "saml_unasked::a_message_that_is_posted_again"),
    ("token: one that is revoked is refused at once", [
        ("src/tokens.rs",
         "known.filter(|one| one.revoked().is_none()).cloned()",
         "known.cloned()"),
    ], "scim_tokens::a_revoked_token_is_refused"),
    ("token: it is refused before the disk is waited for", [
        ("src/token_orders.rs",
         "        named.iter().for_each(|token| token.revoke(now));\n        let (store, ids)",
         "        let (store, ids)"),
        ("src/token_orders.rs",
         "        self.named_tokens(which).iter().for_each(|token| token.revoke(now));\n",
         ""),
    ], "scim_tokens::a_token_is_revoked_though_the_disk"),
    ("token: one that has expired only takes away", [
        ("src/scim_clients.rs",
         "is_expired: expires.is_some_and(|expires| expires <= now),",
         "is_expired: false,"),
    ], "scim_tokens::an_expired_token_takes_away"),
    ("token: and that for thirty days", [
        ("src/scim_clients.rs",
         "if now.since_ms(expires) >= TAKES_AWAY_MS {",
         "if now.since_ms(expires) == i64::MIN {"),
    ], "scim_tokens::an_expired_token_takes_away"),
    ("token: only its hash is kept", [
        ("src/tokens.rs",
         "    let hash = sha256(token.expose().as_bytes());\n    (token, hash)",
         "    let mut hash = [0; 32];\n    hash.copy_from_slice(&token.expose().as_bytes()[4..36]);\n    (token, hash)"),
        ("src/tokens.rs",
         "        let hash = sha256(sent.as_bytes());",
         "        let mut hash = [0; 32];\n        if let Some(sent) = sent.as_bytes().get(4..36) { hash.copy_from_slice(sent); }"),
    ], "scim_tokens::a_token_is_shown_once"),
    ("token: it counts from the networks that may write", [
        ("src/scim_clients.rs",
         "if !self.allow.as_ref().is_none_or(is_allowed) {",
         "if !self.allow.as_ref().is_none_or(is_allowed) && address.is_none() {"),
    ], "scim_tokens::a_token_counts_from"),
    ("rate: removals are counted apart", [
        ("src/scim_rate.rs",
         "RateClass::Removal => (1, REMOVALS),",
         "RateClass::Removal => (0, 1),"),
    ], "scim_tokens::a_flood_of_reads"),
    ("rate: a token sends so many", [
        ("src/scim_rate.rs",
         "if !early.is_zero() {",
         "if early == Duration::MAX {"),
    ], "scim_tokens::a_flood_of_reads"),
    ("upgrade: who was replaced hears of a removal", [
        ("src/revocation.rs",
         "self.predecessors.apply(done.changes())",
         "async { Ok::<usize, StillThere>(0) }"),
    ], "upgrade::what_has_begun_goes_on"),
    ("upgrade: and of a reload", [
        ("src/revocation.rs",
         "self.predecessors.reload()",
         "async { Ok::<usize, StillThere>(0) }"),
    ], "upgrade::who_was_replaced_goes_by"),
    ("upgrade: one that does not answer is killed", [
        ("src/handover/predecessors.rs",
         "        let _ = pidfd_send_signal(&one.process, Signal::KILL);\n",
         "        let _ = pidfd_send_signal(&one.process, Signal::WINCH);\n"),
    ], "upgrade::a_process_that_was_stopped"),
    ("upgrade: nobody is carried without a process that leads", [
        ("src/handover/follow.rs",
         'Ok(None) => return "the process that took over is gone".to_owned(),',
         "Ok(None) => std::future::pending().await,"),
    ], "upgrade::without_a_process_that_leads"),
    ("upgrade: a start ends what is left of a former run", [
        ("src/start.rs", "    handover::end_strays(&file.state, &inheritance.known_pids())?;\n", ""),
    ], "upgrade::a_start_ends_what_a_crash"),
    ("upgrade: earlier ones are handed on", [
        ("src/handover/hand_over.rs",
         "self.known = predecessors.detach().await.map_err(HandOverError::Descriptors)?;",
         "drop(predecessors.detach().await.map_err(HandOverError::Descriptors)?);"),
    ], "upgrade::those_that_were_replaced"),
    ("upgrade: what is asked on a connection from before is handed on", [
        ("src/handover/relay.rs",
         "return relay_request(&socket, port, request).await;",
         "return StatusCode::SERVICE_UNAVAILABLE.into_response();"),
    ], "upgrade::a_directory_that_kept"),
    ("upgrade: a connection from before ends with its answer", [
        ("proxy/src/connection.rs",
         "if client.waits.is_last() && answer.status()",
         "if false && answer.status()"),
    ], "upgrade::a_login_that_began"),
    ("upgrade: a failure is taken back", [
        ("src/handover/hand_over.rs", "        wake_store(&core.store).await?;\n", "        let _ = wake_store;\n"),
    ], "upgrade::a_successor_that_does_not"),
    ("told: what an application trims is not written", [
        ("policy/src/identity/encoding.rs",
         " || has_hidden_end(text);",
         ";"),
    ], "told_headers::an_application_gets"),
    ("out: who has no active is not back by a PUT of what was read", [
        ("scim/src/put.rs",
         "            && let Some(active) = before.active()\n        {\n            after.set_active(active);\n",
         "        {\n            after.set_active(before.active().unwrap_or(true));\n"),
    ], "scim::a_directorys_writes_are_told"),
    ("strip: what a client claims does not pass", [
        ("proxy/src/rooms/forward.rs",
         "let stripped = accept.strip.clean_headers(headers, has, from_proxy);",
         "let stripped = { let _ = (has, from_proxy); 0 };"),
    ], "headers::forged_identity"),
]


def make_copy(copy):
    subprocess.run(["git", "clone", "-q", ROOT, copy], check=True)
    (copy / "tests/rigs/.cache").symlink_to(ROOT / "tests/rigs/.cache")


def run(copy, target, *more):
    return passes(["cargo", "test", "-q", "--test", "suite", "--target-dir", target, *more], copy, 1800)


if __name__ == "__main__":
    main([Row(*row) for row in ROWS], make_copy,
         builds=lambda copy, target: run(copy, target, "--no-run"),
         falls=lambda copy, target, row: not run(copy, target, "--", row.test))
