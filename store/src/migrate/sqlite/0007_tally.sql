-- How many live resources of a kind a directory has: a list tells it with every page, and to count a million takes longer
-- than the page. The engine keeps it, so nobody can forget to.
create table tally (
  organization integer not null,
  directory integer not null,
  kind text not null,
  live integer not null,
  primary key (organization, directory, kind)
) strict, without rowid;

insert into tally (organization, directory, kind, live)
  select organization, directory, kind, count(*) from resource where deleted is null group by 1, 2, 3;

create trigger tally_made after insert on resource when new.deleted is null begin
  insert into tally (organization, directory, kind, live) values (new.organization, new.directory, new.kind, 1)
    on conflict (organization, directory, kind) do update set live = live + 1;
end;
create trigger tally_moved after update of deleted on resource when (old.deleted is null) <> (new.deleted is null) begin
  update tally set live = live + iif(new.deleted is null, 1, -1)
    where organization = new.organization and directory = new.directory and kind = new.kind;
end;
create trigger tally_gone after delete on resource when old.deleted is null begin
  update tally set live = live - 1
    where organization = old.organization and directory = old.directory and kind = old.kind;
end;
