-- What looked unwell while it ran: one row for each warning and each further stage.

-- create --
create table warnings (
    seq ubigint not null,
    warned_at timestamp not null,
    tenant varchar not null,
    execution varchar not null,
    task varchar not null,
    attempt integer not null,
    lease varchar,
    kind varchar not null,
    stage varchar not null,
    value double not null,
    "limit" double not null,
    message varchar not null,
    tail varchar not null
);

-- fold --
with said as (
    select
        *,
        from_json(data, '{
            "attempt": "INTEGER", "lease": "VARCHAR", "kind": "VARCHAR", "stage": "VARCHAR", "value": "DOUBLE",
            "limit": "DOUBLE", "message": "VARCHAR", "tail": "VARCHAR"
        }') as f
    from batch
    where standing = 'ok' and event = 'HealthWarned'
)
insert into warnings
select
    seq, stored_at, tenant, execution, entity, coalesce(f.attempt, 0), f.lease, f.kind, f.stage, f.value, f."limit",
    f.message, coalesce(f.tail, '')
from said
order by seq;
