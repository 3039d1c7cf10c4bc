-- Every present value has a row of attr. Of one beyond 1,024 bytes the key there has the beginning and a hash; here is the
-- whole, as it is compared.
create table long_value (
  organization integer not null,
  directory integer not null,
  rid integer not null,
  path text not null,
  item integer not null,
  value text not null,
  primary key (organization, directory, rid, path, item),
  foreign key (organization, directory, rid) references resource (organization, directory, rid) on delete cascade
) strict, without rowid;
-- What changed since then, what was made since then.
create index resource_modified on resource (organization, directory, kind, modified) where deleted is null;
create index resource_created on resource (organization, directory, kind, created) where deleted is null;
