-- Every criterion that was judged, with its evidence: one row per verdict and criterion.

-- create --
create table criteria (
    seq ubigint not null,
    judged_at timestamp not null,
    tenant varchar not null,
    execution varchar not null,
    task varchar not null,
    attempt integer not null,
    lease varchar,
    verdict varchar not null,
    position integer not null,
    criterion varchar not null,
    kind varchar,
    text varchar,
    result varchar not null,
    detail varchar,
    exit_code integer,
    seconds double,
    evidence_sha256 varchar,
    evidence_size ubigint
);

-- fold --
with judged as (
    select
        b.*,
        case b.event when 'TaskVerified' then 'verified' else 'rejected' end as verdict,
        unnest(from_json(b.data -> '$.results', '["JSON"]')) as r,
        generate_subscripts(from_json(b.data -> '$.results', '["JSON"]'), 1) as position
    from batch b
    where b.standing = 'ok' and b.event in ('TaskVerified', 'AttemptRejected')
)
insert into criteria
select
    seq, stored_at, tenant, execution, entity,
    coalesce(try_cast(data ->> '$.attempt' as integer), 0), data ->> '$.lease', verdict, position,
    r ->> '$.criterion', r ->> '$.kind', r ->> '$.text', r ->> '$.result', r ->> '$.detail',
    try_cast(r ->> '$.exit_code' as integer), try_cast(r ->> '$.seconds' as double),
    r ->> '$.evidence.sha256', try_cast(r ->> '$.evidence.size' as ubigint)
from judged
order by seq, position;
