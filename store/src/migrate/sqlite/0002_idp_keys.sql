-- The signing keys that identity providers had in their metadata.
create table idp_key (
  organization integer not null,
  idp text not null,
  certificate blob not null, -- its SHA-256
  key blob not null,         -- the SHA-256 of its SubjectPublicKeyInfo
  state text not null,       -- in_force, waiting, gone
  since integer not null,
  primary key (organization, idp, certificate)
) strict, without rowid;

-- Keys that an operator has distrusted, by the SHA-256 of a certificate or of the key. No row is ever removed.
create table distrusted_key (
  organization integer not null,
  fingerprint blob not null,
  since integer not null,
  primary key (organization, fingerprint)
) strict, without rowid;
