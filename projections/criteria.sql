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
    evidence_size ubigint,
    measured varchar
);

-- fold --
with verdicts as (
    select
        seq, stored_at, tenant, execution, entity,
        case event when 'TaskVerified' then 'verified' else 'rejected' end as verdict,
        from_json(data, '{
            "attempt": "INTEGER", "lease": "VARCHAR",
            "results": [{
                "criterion": "VARCHAR", "kind": "VARCHAR", "text": "VARCHAR", "result": "VARCHAR", "detail": "VARCHAR",
                "exit_code": "INTEGER", "seconds": "DOUBLE", "evidence": {"sha256": "VARCHAR", "size": "UBIGINT"},
                "measured": "VARCHAR"
            }]
        }') as f
    from batch
    where standing = 'ok' and event in ('TaskVerified', 'AttemptRejected')
), judged as (
    select *, unnest(f.results) as r, generate_subscripts(f.results, 1) as position from verdicts
)
insert into criteria
select
    seq, stored_at, tenant, execution, entity, coalesce(f.attempt, 0), f.lease, verdict, position,
    r.criterion, r.kind, r.text, r.result, r.detail, r.exit_code, r.seconds, r.evidence.sha256, r.evidence.size,
    r.measured
from judged
order by seq, position;
