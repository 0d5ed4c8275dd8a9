-- Every gate that was judged: one row per judgement and gate.

-- create --
create table gates (
    seq ubigint not null,
    judged_at timestamp not null,
    tenant varchar not null,
    execution varchar not null,
    task varchar,
    attempt integer,
    gate varchar not null,
    moment varchar not null,
    passed boolean not null,
    on_fail varchar not null,
    score double not null,
    reason varchar
);

-- fold --
with judged as (
    select
        seq, stored_at, tenant, execution, entity, (data ->> '$.attempt')::integer as attempt,
        from_json(coalesce(data -> '$.outcomes', data -> '$.gates'), '[{
            "gate": "VARCHAR", "when": "VARCHAR", "passed": "BOOLEAN", "on_fail": "VARCHAR", "score": "DOUBLE",
            "reason": "VARCHAR"
        }]') as outcomes
    from batch
    where standing = 'ok'
      and event in ('TaskGatesJudged', 'ExecutionGatesJudged', 'TaskVerified', 'AttemptRejected')
), rows as (
    select *, unnest(outcomes) as o, generate_subscripts(outcomes, 1) as position from judged
)
insert into gates
select
    seq, stored_at, tenant, execution, if(entity = '-', null, entity), attempt,
    o.gate, o.when, o.passed, o.on_fail, o.score, nullif(o.reason, '')
from rows
order by seq, position;
