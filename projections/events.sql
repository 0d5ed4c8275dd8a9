-- Every message of the log, in its order, also those that were set aside: the audit.
-- `data` is the body in its newest version; a body that is no JSON is kept as a JSON string.

-- create --
create table events (
    seq ubigint not null,
    stored_at timestamp not null,
    tenant varchar not null,
    execution varchar not null,
    entity varchar not null,
    event varchar not null,
    id varchar not null,
    cause varchar not null,
    correlation varchar not null,
    actor varchar not null,
    attempt integer not null,
    version integer not null,
    standing varchar not null,
    reason varchar not null,
    data json
);

-- fold --
insert into events select * from batch order by seq;
