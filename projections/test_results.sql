-- Every run of tests that was judged, in numbers: one row per verdict and criterion of the kind tests or coverage.

-- create --
create table test_results (
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
    result varchar not null,
    detail varchar,
    runner varchar,
    total integer,
    passed integer,
    failed integer,
    skipped integer,
    seconds double,
    coverage double,
    evidence_sha256 varchar
);

-- fold --
with verdicts as (
    select
        seq, stored_at, tenant, execution, entity,
        case event when 'TaskVerified' then 'verified' else 'rejected' end as verdict,
        from_json(data, '{
            "attempt": "INTEGER", "lease": "VARCHAR",
            "results": [{
                "criterion": "VARCHAR", "result": "VARCHAR", "detail": "VARCHAR", "evidence": {"sha256": "VARCHAR"},
                "tests": {
                    "runner": "VARCHAR", "total": "INTEGER", "passed": "INTEGER", "failed": "INTEGER",
                    "skipped": "INTEGER", "seconds": "DOUBLE", "coverage": "DOUBLE"
                }
            }]
        }') as f
    from batch
    where standing = 'ok' and event in ('TaskVerified', 'AttemptRejected')
), judged as (
    select *, unnest(f.results) as r, generate_subscripts(f.results, 1) as position from verdicts
)
insert into test_results
select
    seq, stored_at, tenant, execution, entity, coalesce(f.attempt, 0), f.lease, verdict, position,
    r.criterion, r.result, r.detail, r.tests.runner, r.tests.total, r.tests.passed, r.tests.failed, r.tests.skipped,
    r.tests.seconds, r.tests.coverage, r.evidence.sha256
from judged
where r.tests is not null
order by seq, position;
