-- The first schema. Flags are 0 or 1; moments are milliseconds since 1970-01-01 UTC; names are folded before they are
-- stored. Every table carries the organization, and the directory where there is one.

pragma application_id = 0x506f7274; -- "Port": tells our file from another program's

create table migration (
  number integer primary key,
  name text not null
) strict;

-- One row. Log numbers and row numbers are drawn here, in the transaction that uses them: so their order is the order
-- of commits, and a number that was seen is never given again.
create table head (
  one integer primary key check (one = 1),
  seq integer not null,     -- the last log number
  last_row integer not null -- the last number of an account or a resource
) strict;
insert into head (one, seq, last_row) values (1, 0, 0);

-- ── the log: rows of one commit share its number ──

create table event (
  seq integer not null,
  n integer not null,
  organization integer not null,
  directory integer,
  at integer not null,
  kind text not null,
  subject text,        -- the id of a resource, or account:N
  detail text not null, -- JSON
  primary key (seq, n)
) strict, without rowid;

create table revocation (
  seq integer not null,
  n integer not null,
  at integer not null,
  organization integer not null, -- 0: the whole deployment
  kind text not null,            -- out, ended, epoch, reconsider, all
  account integer,
  number integer,                -- a generation or an epoch
  session blob,
  idp text,
  primary key (seq, n)
) strict, without rowid;

create table audit (
  seq integer not null,
  n integer not null,
  organization integer not null,
  at integer not null,
  action text not null,
  outcome text not null,
  actor text not null,
  account integer,
  client text,
  reference text,
  detail text not null, -- JSON
  primary key (seq, n)
) strict, without rowid;

-- ── who may sign in ──

create table account (
  organization integer not null,
  id integer not null,
  generation integer not null,
  directory integer,        -- with resource: the SCIM User; without: made by a login
  resource integer,
  active integer not null,   -- the directory's word
  disabled integer not null, -- the operator's word
  told text,                 -- without a directory: what the last login said, JSON
  created integer not null,
  used integer not null,     -- the last login
  primary key (organization, id)
) strict;
create index account_alone on account (used) where directory is null;
create index account_kept_out on account (disabled) where disabled = 1 and directory is null;

-- The keys by which subjects are hashed, each sealed by the master key: they outlive its rotation, and whether they
-- open says whether a master key is this database's.
create table bar_key (
  id integer primary key,
  sealed blob not null,
  since integer not null,
  lost integer -- given up then, with the master key that opens it
) strict;

-- A subject is found by its issuer. What the IdP is called is beside it, for people.
create table link (
  organization integer not null,
  issuer text not null,
  subject text not null,
  idp text not null,
  account integer not null,
  place integer not null,  -- 0: made by a login. An operator may make others
  keyed blob not null,     -- keyed hash of (issuer, subject): what stays when the person is removed
  key integer not null,    -- by which bar_key
  created integer not null,
  primary key (organization, issuer, subject),
  unique (organization, account, place),
  foreign key (organization, account) references account (organization, id) on delete cascade
) strict;
create index link_subject on link (organization, subject);

-- Subjects that are kept out whatever account they come to: of a person whom the directory removed, until it brings
-- them back; of a person whom an operator disabled, until an operator enables them.
create table barred (
  organization integer not null,
  keyed blob not null,
  word text not null,     -- removed, disabled
  key integer not null,   -- by which bar_key
  account integer not null,
  since integer not null,
  idp text,               -- whom it bars, as long as the account is there
  issuer text,
  subject text,
  primary key (organization, keyed, word)
) strict, without rowid;
create index barred_account on barred (account);

create table session (
  organization integer not null,
  hash blob not null,
  account integer not null,
  app integer not null,
  idp text not null,
  generation integer not null, -- the account's when it was born
  epoch_deployment integer not null,
  epoch_organization integer not null,
  epoch_idp integer not null,
  created integer not null,
  seen integer not null,
  expires integer not null,
  ended integer,
  logout_hint blob,           -- sealed: what the IdP hears at the logout
  idp_subject text not null,  -- the person's name there, and the session's: the IdP ends sessions by them
  idp_session text,
  primary key (hash),
  foreign key (organization, account) references account (organization, id) on delete cascade
) strict, without rowid;
create index session_account on session (organization, account);
create index session_expires on session (expires);
create index session_seen on session (seen);
create index session_at_idp on session (organization, idp, idp_subject);
create index session_of_idp on session (organization, idp, idp_session) where idp_session is not null;

-- What the sessions in here were made under, written by the login that made them; compared with the configuration at
-- every start and every reload.
create table made_under (
  organization integer not null,
  idp text not null,
  issuer text not null,
  provisioning text not null, -- scim, invited, none
  directory integer not null, -- 0: none
  primary key (organization, idp, issuer, provisioning, directory)
) strict, without rowid;

-- (0, ''): the deployment; (n, ''): an organization; (n, name): an IdP. No row means 0.
create table epoch (
  organization integer not null,
  idp text not null,
  number integer not null,
  primary key (organization, idp)
) strict, without rowid;

-- Login flows that were used.
create table flow (
  organization integer not null,
  id blob not null,
  until integer not null,
  primary key (organization, id)
) strict, without rowid;
create index flow_until on flow (until);

-- The last refusals, by reference number.
create table refusal (
  n integer primary key,
  organization integer not null,
  reference text not null,
  at integer not null,
  record text not null -- JSON
) strict;
create index refusal_reference on refusal (reference);

-- ── the directory ──

create table resource (
  organization integer not null,
  directory integer not null,
  rid integer not null,           -- the order of creation
  kind text not null,             -- User, Group
  id text not null,
  doc text not null,              -- JSON as clients wrote it, without members
  name text not null,             -- userName or displayName, folded for uniqueness
  display text not null,          -- for people: displayName, else userName
  external_id text,
  had_external_id integer not null,
  account integer,
  version integer not null,
  created integer not null,
  modified integer not null,
  deleted integer,                -- a tombstone since then
  primary key (organization, directory, rid)
) strict;
create unique index resource_id on resource (organization, directory, id);
create unique index resource_name on resource (organization, directory, kind, name) where deleted is null;
create unique index resource_external_id on resource (organization, directory, external_id)
  where deleted is null and kind = 'User' and external_id is not null;
create index resource_list on resource (organization, directory, kind, rid) where deleted is null;
create index resource_account on resource (organization, account) where account is not null;
create index resource_deleted on resource (deleted) where deleted is not null;
create index resource_named on resource (organization, name, directory);
create index resource_tombstone_external_id on resource (organization, external_id, directory)
  where deleted is not null;

-- What filters look up: one row for each value of a resource.
create table attr (
  organization integer not null,
  directory integer not null,
  kind text not null,
  path text not null,
  value text not null,
  rid integer not null,
  item integer not null, -- which element of a list
  primary key (organization, directory, kind, path, value, rid, item),
  foreign key (organization, directory, rid) references resource (organization, directory, rid) on delete cascade
) strict, without rowid;
create index attr_resource on attr (organization, directory, rid);

create table member (
  organization integer not null,
  directory integer not null,
  team integer not null,   -- the group
  member integer not null, -- the user or group in it
  primary key (organization, directory, team, member),
  foreign key (organization, directory, team) references resource (organization, directory, rid) on delete cascade,
  foreign key (organization, directory, member) references resource (organization, directory, rid) on delete cascade
) strict, without rowid;
create index member_of on member (organization, directory, member, team);
