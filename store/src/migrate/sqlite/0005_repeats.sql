-- What came of operations of a Bulk that had an idempotency key, for a day: a repeat is answered from here.
create table repeat (
  organization integer not null,
  directory integer not null,
  key blob not null,       -- SHA-256 of the token's hash and the key
  operation blob not null, -- SHA-256 of what the operation says
  kind text not null,
  id text not null,        -- of the resource
  version integer not null,
  made integer not null,   -- 1: it made the resource
  at integer not null,
  primary key (organization, directory, key)
) strict, without rowid;
create index repeat_by_time on repeat (at);
