-- Every attempt at a task: one row per lease. The first end counts, and after a good end the first verdict.

-- create --
create table attempts (
    tenant varchar not null,
    execution varchar not null,
    task varchar not null,
    attempt integer not null,
    lease varchar not null,
    seq ubigint not null,
    worker varchar,
    host varchar,
    sandbox varchar,
    started_at timestamp not null,
    ended_at timestamp,
    end_seq ubigint,
    outcome varchar not null,
    reason varchar,
    exit_code integer,
    signal integer,
    seconds double,
    cpu_seconds double,
    max_rss ubigint,
    tokens ubigint,
    output_sha256 varchar,
    output_size ubigint,
    judged_at timestamp,
    refused varchar
);

-- fold --
with starts as (
    select
        *,
        from_json(data, '{"attempt": "INTEGER", "worker": "VARCHAR", "host": "VARCHAR", "sandbox": "VARCHAR"}') as f
    from batch
    where standing = 'ok' and event = 'TaskStarted'
    qualify row_number() over (partition by execution, id order by seq) = 1
)
insert into attempts (tenant, execution, task, attempt, lease, seq, worker, host, sandbox, started_at, outcome)
select
    s.tenant, s.execution, s.entity, coalesce(s.f.attempt, 0), s.id, s.seq,
    s.f.worker, s.f.host, s.f.sandbox, s.stored_at, 'running'
from starts s
anti join attempts a on a.execution = s.execution and a.lease = s.id
order by s.seq;

-- fold --
with ends as (
    select
        seq, stored_at, execution, event,
        from_json(data, '{
            "lease": "VARCHAR", "reason": "VARCHAR", "limit": "DOUBLE", "exit_code": "INTEGER", "signal": "INTEGER",
            "usage": {"seconds": "DOUBLE", "cpu_seconds": "DOUBLE", "max_rss": "UBIGINT", "tokens": "UBIGINT"},
            "output": {"sha256": "VARCHAR", "size": "UBIGINT"}
        }') as f,
        data ->> '$.lease' as lease
    from batch
    where standing = 'ok'
      and event in (
          'TaskExecuted', 'AttemptFailed', 'AttemptTimedOut', 'TaskInterrupted', 'LeaseExpired', 'TaskCancelled'
      )
    union all
    select b.seq, b.stored_at, b.execution, b.event, null, a.lease
    from batch b
    join attempts a on a.execution = b.execution and a.tenant = b.tenant
    where b.standing = 'ok' and b.event = 'ExecutionCancelled' and a.ended_at is null
), firsts as (
    select ends.*
    from ends
    join attempts a on a.execution = ends.execution and a.lease = ends.lease
    where ends.seq > a.seq and a.ended_at is null
    qualify row_number() over (partition by ends.execution, ends.lease order by ends.seq) = 1
)
update attempts a set
    ended_at = e.stored_at,
    end_seq = e.seq,
    outcome = case e.event
        when 'TaskExecuted' then 'executed'
        when 'AttemptFailed' then 'failed'
        when 'AttemptTimedOut' then 'timed_out'
        when 'TaskInterrupted' then 'interrupted'
        when 'LeaseExpired' then 'expired'
        else 'cancelled'
    end,
    reason = case e.event
        when 'AttemptTimedOut' then 'took longer than ' || format('{:g}', e.f.limit) || ' s'
        when 'LeaseExpired' then 'no executor has been heard of'
        else e.f.reason
    end,
    exit_code = e.f.exit_code,
    signal = e.f.signal,
    seconds = e.f.usage.seconds,
    cpu_seconds = e.f.usage.cpu_seconds,
    max_rss = e.f.usage.max_rss,
    tokens = e.f.usage.tokens,
    output_sha256 = e.f.output.sha256,
    output_size = e.f.output.size
from firsts e
where a.execution = e.execution and a.lease = e.lease;

-- fold --
with verdicts as (
    select
        seq, stored_at, execution, event,
        from_json(data, '{"lease": "VARCHAR", "reason": "VARCHAR"}') as f
    from batch
    where standing = 'ok' and event in ('TaskVerified', 'AttemptRejected')
), firsts as (
    select v.seq, v.stored_at, v.execution, v.event, v.f.lease as lease, v.f.reason as reason
    from verdicts v
    join attempts a on a.execution = v.execution and a.lease = v.f.lease
    where v.seq > a.end_seq and a.outcome = 'executed'
    qualify row_number() over (partition by v.execution, v.f.lease order by v.seq) = 1
)
update attempts a set
    judged_at = v.stored_at,
    outcome = if(v.event = 'TaskVerified', 'verified', 'rejected'),
    reason = v.reason
from firsts v
where a.execution = v.execution and a.lease = v.lease;

-- fold --
with refusals as (
    select execution, data ->> '$.lease' as lease, arg_max(data ->> '$.what', seq) as what, max(seq) as seq
    from batch
    where standing = 'ok' and event = 'StaleResultRefused'
    group by all
)
update attempts a set
    refused = r.what,
    outcome = if(a.outcome = 'running', 'stale', a.outcome)
from refusals r
where a.execution = r.execution and a.lease = r.lease and r.seq > a.seq;
