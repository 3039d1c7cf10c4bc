-- The keys that the header for applications is signed by, each sealed by the master key. Which of them signs follows from
-- their ages.
create table assertion_key (
  kid text primary key,  -- its thumbprint, by which applications know it
  sealed blob not null,
  since integer not null -- when it was first shown to applications
) strict, without rowid;

-- The id that applications know somebody by who has no User, where it does not follow from their link: an operator has
-- moved that to another issuer.
alter table account add column stable_id text;
create index account_stable on account (organization, stable_id) where stable_id is not null;
