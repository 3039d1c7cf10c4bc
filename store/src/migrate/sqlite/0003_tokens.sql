-- The tokens by which directories are written to. Only the hash is kept: nobody reads a token out of a database.
create table token (
  id integer primary key autoincrement,
  organization integer not null,
  directory integer not null,
  name text not null,
  hash blob not null unique, -- SHA-256
  created integer not null,
  expires integer not null,
  used integer,    -- within a minute
  revoked integer,
  warned integer   -- the last time that somebody was told about its end
) strict;
