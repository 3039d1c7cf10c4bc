-- The declared extensions that the rows of attr agree with. No row: none were declared yet.
create table search_schema (
  one integer primary key check (one = 1),
  digest blob not null -- SHA-256; empty while the rows are being made anew
) strict;
