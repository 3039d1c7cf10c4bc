//! Histories of the model (`model.rs`) on the real program: a few random ones whose seeds are fixed, and those that once
//! let somebody in, or kept somebody out, each under the name of what went wrong.

use crate::model::Change::{Idp, Issuer, Provisioning as Provide, RoleOf, Site as Rules, TrustEmail};
use crate::model::Of2::{One, Two};
use crate::model::Provisioning::{Invited, NoDirectory, Scim};
use crate::model::Site::{NoRules, WsForRole};
use crate::model::Step::{self, *};
use crate::model::{Claims, Config, Link};
use crate::needs;
use crate::play::{START, Tally, play, play_random};

const KILLED: Step = Stop { kill: true };
const ENDED: Step = Stop { kill: false };

/// What a provider says of somebody honest, without groups.
fn says(who: usize) -> Claims {
    Claims { subject: who, address: who, verified: true, groups: [].into() }
}

async fn holds(start: Config, history: &[Step]) {
    if let Err(fault) = play(start, history).await {
        panic!("{fault}");
    }
}

/// Both roads by which a file comes into force.
const ROADS: [&[Step]; 3] = [&[Reload], &[ENDED, Start], &[KILLED, Start]];

async fn by_every_road(start: Config, before: &[Step], after: &[Step]) {
    for road in ROADS {
        holds(start, &[before, road, after].concat()).await;
    }
}

const WITH_ADDRESSES: Config = Config { provisioning: Invited, link: Link::Address, ..START };
const ALONE: Config = Config { provisioning: NoDirectory, ..START };

#[tokio::test(flavor = "multi_thread")]
async fn an_idp_that_is_called_otherwise_has_signed_nobody_in() {
    needs!("op");
    let before = [Create(0), Login(says(0)), Open(Some(0)), Edit(Idp(Two))];
    by_every_road(START, &before, &[Login(says(0))]).await;
    // Nor does its old name bring its sessions back.
    let there_and_back = [ENDED, Start, Edit(Idp(One)), KILLED, Start, Login(says(0))];
    holds(START, &[before.as_slice(), &there_and_back].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_issuer_has_signed_nobody_in() {
    needs!("op");
    by_every_road(START, &[Create(0), Login(says(0)), Open(Some(0)), Edit(Issuer(Two))], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_no_directory_knows_is_out_once_there_is_one() {
    needs!("op");
    let first = [Login(says(0)), Open(Some(0)), Edit(Provide(Scim)), ENDED, Start];
    holds(
        ALONE,
        &[first.as_slice(), &[Login(says(0)), Create(0), Login(says(0)), Activate(0, false)]].concat(),
    )
    .await;
    by_every_road(ALONE, &[Login(says(0)), Edit(Provide(Invited))], &[Add(0), Login(says(0))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_gone_gives_nobody_groups_and_names() {
    needs!("op");
    let before =
        [Create(0), Members(One, [0].into()), Login(says(0)), Edit(Provide(NoDirectory)), KILLED, Start];
    let after = [Login(says(0)), Login(Claims { groups: [Two].into(), ..says(0) })];
    holds(Config { site: WsForRole, ..START }, &[before.as_slice(), &after].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_under_way_at_an_idp_that_is_removed_lets_nobody_in() {
    needs!("op");
    for change in [Idp(Two), Issuer(Two)] {
        holds(START, &[Create(0), Edit(change), Across(says(0), Box::new(Reload))]).await;
    }
    let gone_and_back = [Edit(Idp(Two)), Reload, Edit(Idp(One)), Reload, Finish(0)];
    holds(START, &[[Create(0), Begin(says(0))].as_slice(), &gone_and_back].concat()).await;
    let restarted = [Edit(Provide(NoDirectory)), ENDED, Start, Finish(0)];
    holds(START, &[[Create(0), Begin(says(0))].as_slice(), &restarted].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_came_by_a_public_rule_is_out_when_it_is_none_any_more() {
    needs!("op");
    for rules in [NoRules, WsForRole] {
        let before = [Create(0), Login(says(0)), Open(None), Open(Some(0)), Edit(RoleOf(Two)), Reload];
        holds(START, &[before.as_slice(), &[Edit(Rules(rules)), Reload, Open(None)]].concat()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_an_operator_disabled_stays_out_under_another_name_of_the_idp() {
    needs!("op");
    by_every_road(
        ALONE,
        &[Login(says(0)), Disable(0), Edit(Idp(Two))],
        &[Login(says(0)), Enable(0), Login(says(0))],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_linked_signs_in_under_another_name_of_the_idp() {
    needs!("op");
    by_every_road(START, &[Create(0), Login(says(0)), Edit(Idp(Two))], &[Login(says(0))]).await;
    by_every_road(WITH_ADDRESSES, &[Add(0), Login(says(0)), Edit(Idp(Two))], &[Login(says(0))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_master_key_nothing_starts_and_bars_hold() {
    needs!("op");
    let removed = [Create(0), Login(says(0)), Delete(0), Edit(Provide(NoDirectory)), ENDED];
    holds(START, &[removed.as_slice(), &[StartWithoutKey, Start, Login(says(0))]].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_verified_is_nobodys() {
    needs!("op");
    let thief = Claims { address: 0, verified: false, ..says(1) };
    holds(WITH_ADDRESSES, &[Add(0), Login(thief), Login(says(0))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_trusted_lets_nobody_in_who_is_on_the_way() {
    needs!("op");
    let trusting = Config { trust_email: true, ..WITH_ADDRESSES };
    let by_anothers_address = Claims { address: 0, verified: false, ..says(1) };
    holds(trusting, &[Add(0), Edit(TrustEmail(false)), Across(by_anothers_address, Box::new(Reload))]).await;
    let not_verified = Claims { verified: false, ..says(0) };
    let trusting = Config { provisioning: NoDirectory, trust_email: true, ..START };
    holds(trusting, &[Edit(TrustEmail(false)), Across(not_verified, Box::new(Reload))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_directory_put_out_stays_out_when_it_is_gone() {
    needs!("op");
    let alone = [Edit(Provide(NoDirectory)), ENDED, Start, Login(says(0))];
    for out in [Delete(0), Activate(0, false), Disable(0)] {
        holds(START, &[[Create(0), out.clone()].as_slice(), &alone].concat()).await;
        holds(START, &[[Create(0), Login(says(0)), out.clone()].as_slice(), &alone].concat()).await;
        // Known alone before there was a directory.
        let directory = [Login(says(0)), Edit(Provide(Scim)), KILLED, Start, Create(0), out];
        holds(ALONE, &[directory.as_slice(), &alone].concat()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_says_of_an_address_holds_for_everybody_who_has_it() {
    needs!("op");
    let disabled_alone =
        [Login(says(0)), Disable(0), Edit(Provide(Scim)), ENDED, Start, Create(0), Login(says(0))];
    holds(ALONE, &[disabled_alone.as_slice(), &[Enable(0), Login(says(0))]].concat()).await;
    let gone =
        [Create(0), Edit(Provide(NoDirectory)), ENDED, Start, Login(says(0)), Disable(0), Login(says(0))];
    holds(START, &[gone.as_slice(), &[Enable(0), Login(says(0))]].concat()).await;
    // Under another subject, where a login alone says who there is; and that one's own address is as good as ever.
    let another = |address: usize| Login(Claims { subject: 1, ..says(address) });
    holds(ALONE, &[Login(says(0)), Disable(0), another(0), another(1), Enable(0), another(0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_end_as_the_model_says() {
    needs!("op");
    let mut tally = Tally::default();
    for seed in 1..=8 {
        tally.add(play_random(seed, 40).await);
    }
    let Tally { let_in, turned_away, served, refused, open, cut } = tally;
    assert!([let_in, turned_away, served, refused, open, cut].iter().all(|seen| *seen >= 10), "{tally:?}");
}
