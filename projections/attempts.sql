-- Every attempt at a task: one row per lease. The first end counts, and after a good end the first verdict.

-- create --
create table attempts (
    tenant varchar not null,
    execution varchar not null,
    task varchar not null,
    attempt integer not null,
    lease varchar primary key,
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
    output_sha256 varchar,
    output_size ubigint,
    judged_at timestamp,
    refused varchar
);

-- fold --
insert into attempts (tenant, execution, task, attempt, lease, seq, worker, host, sandbox, started_at, outcome)
select
    tenant, execution, entity, coalesce(try_cast(data ->> '$.attempt' as integer), 0), id, seq,
    data ->> '$.worker', data ->> '$.host', data ->> '$.sandbox', stored_at, 'running'
from batch
where standing = 'ok' and event = 'TaskStarted'
order by seq
on conflict do nothing;

-- fold --
with ends as (
    select seq, stored_at, execution, data ->> '$.lease' as lease, event, data
    from batch
    where standing = 'ok'
      and event in (
          'TaskExecuted', 'AttemptFailed', 'AttemptTimedOut', 'TaskInterrupted', 'LeaseExpired', 'TaskCancelled'
      )
    union all
    select b.seq, b.stored_at, b.execution, a.lease, b.event, null
    from batch b
    join attempts a on a.execution = b.execution and a.tenant = b.tenant
    where b.standing = 'ok' and b.event = 'ExecutionCancelled' and a.ended_at is null
), firsts as (
    select ends.*
    from ends
    join attempts a on a.execution = ends.execution and a.lease = ends.lease
    where ends.seq > a.seq and a.ended_at is null
    qualify row_number() over (partition by ends.lease order by ends.seq) = 1
)
update attempts a set
    ended_at = f.stored_at,
    end_seq = f.seq,
    outcome = case f.event
        when 'TaskExecuted' then 'executed'
        when 'AttemptFailed' then 'failed'
        when 'AttemptTimedOut' then 'timed_out'
        when 'TaskInterrupted' then 'interrupted'
        when 'LeaseExpired' then 'expired'
        else 'cancelled'
    end,
    reason = case f.event
        when 'AttemptTimedOut' then 'took longer than ' || format('{:g}', (f.data ->> '$.limit')::double) || ' s'
        when 'LeaseExpired' then 'no executor has been heard of'
        else f.data ->> '$.reason'
    end,
    exit_code = try_cast(f.data ->> '$.exit_code' as integer),
    signal = try_cast(f.data ->> '$.signal' as integer),
    seconds = try_cast(f.data ->> '$.usage.seconds' as double),
    cpu_seconds = try_cast(f.data ->> '$.usage.cpu_seconds' as double),
    max_rss = try_cast(f.data ->> '$.usage.max_rss' as ubigint),
    output_sha256 = f.data ->> '$.output.sha256',
    output_size = try_cast(f.data ->> '$.output.size' as ubigint)
from firsts f
where a.execution = f.execution and a.lease = f.lease;

-- fold --
with verdicts as (
    select seq, stored_at, execution, data ->> '$.lease' as lease, event, data ->> '$.reason' as reason
    from batch
    where standing = 'ok' and event in ('TaskVerified', 'AttemptRejected')
), firsts as (
    select v.*
    from verdicts v
    join attempts a on a.execution = v.execution and a.lease = v.lease
    where v.seq > a.end_seq and a.outcome = 'executed'
    qualify row_number() over (partition by v.lease order by v.seq) = 1
)
update attempts a set
    judged_at = f.stored_at,
    outcome = case f.event when 'TaskVerified' then 'verified' else 'rejected' end,
    reason = f.reason
from firsts f
where a.execution = f.execution and a.lease = f.lease;

-- fold --
with refusals as (
    select execution, data ->> '$.lease' as lease, arg_max(data ->> '$.what', seq) as what, max(seq) as seq
    from batch
    where standing = 'ok' and event = 'StaleResultRefused'
    group by all
)
update attempts a set
    refused = r.what,
    outcome = case a.outcome when 'running' then 'stale' else a.outcome end
from refusals r
where a.execution = r.execution and a.lease = r.lease and r.seq > a.seq;
