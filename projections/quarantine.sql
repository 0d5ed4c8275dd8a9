-- What was set aside: garbage, and events of a newer version than this code.

-- create --
create table quarantine (
    seq ubigint not null,
    stored_at timestamp not null,
    tenant varchar not null,
    execution varchar not null,
    entity varchar not null,
    event varchar not null,
    id varchar not null,
    standing varchar not null,
    reason varchar not null,
    data json
);

-- fold --
insert into quarantine
select seq, stored_at, tenant, execution, entity, event, id, standing, reason, data
from batch
where standing <> 'ok'
order by seq;
