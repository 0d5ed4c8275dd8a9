-- What every task is doing now, and in `progress` how many tasks of an execution are in each state.

-- create --
create table tasks (
    tenant varchar not null,
    execution varchar not null,
    task varchar not null,
    position integer not null,
    accepted_seq ubigint not null,
    title varchar,
    phase varchar,
    needs varchar[] not null,
    kind varchar not null,
    estimate double,
    state varchar not null,
    attempt integer not null,
    failures integer not null,
    interruptions integer not null,
    lease varchar,
    worker varchar,
    host varchar,
    sandbox varchar,
    ready_at timestamp,
    started_at timestamp,
    ended_at timestamp,
    seconds double,
    error varchar,
    next_attempt_at timestamp,
    approval varchar,
    approval_kind varchar,
    question varchar,
    verified_at timestamp,
    "commit" varchar,
    tree varchar,
    head varchar,
    output_sha256 varchar,
    output_size ubigint,
    primary key (tenant, execution, task)
);

create table progress (
    tenant varchar not null,
    execution varchar not null,
    tasks integer not null,
    satisfied integer not null,
    pending integer not null,
    ready integer not null,
    running integer not null,
    executed integer not null,
    faulted integer not null,
    waiting integer not null,
    blocked integer not null,
    verified integer not null,
    failed integer not null,
    skipped integer not null,
    cancelled integer not null,
    primary key (tenant, execution)
);

-- fold --
create or replace temp table planned as
with accepted as (
    select tenant, execution, min(seq) as seq, arg_min(data -> '$.plan.tasks', seq) as tasks
    from batch b
    where standing = 'ok' and event = 'PlanAccepted'
      and not exists (from progress p where p.tenant = b.tenant and p.execution = b.execution)
    group by tenant, execution
), nodes as (
    select
        tenant, execution, seq,
        unnest(from_json(tasks, '["JSON"]')) as t,
        generate_subscripts(from_json(tasks, '["JSON"]'), 1) as position
    from accepted
)
select
    tenant, execution, t ->> '$.id' as task, position, seq,
    t ->> '$.title' as title, t ->> '$.phase' as phase,
    coalesce(from_json(t -> '$.needs', '["VARCHAR"]'), []) as needs,
    case
        when (t ->> '$.noop')::boolean then 'noop'
        when t ->> '$.agent' is not null then 'agent'
        else 'run'
    end as kind,
    try_cast(t ->> '$.estimate' as double) as estimate,
    case when t ->> '$.status' in ('completed', 'skipped') then 'satisfied' else 'pending' end as state
from nodes;

insert into tasks (
    tenant, execution, task, position, accepted_seq, title, phase, needs, kind, estimate, state,
    attempt, failures, interruptions
)
select tenant, execution, task, position, seq, title, phase, needs, kind, estimate, state, 0, 0, 0
from planned
order by seq, position
on conflict do nothing;

insert into progress
select
    tenant, execution, count(*), count(*) filter (state = 'satisfied'), count(*) filter (state = 'pending'),
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0
from planned
group by tenant, execution
order by min(seq);

-- fold --
-- Steps of the state table, task by task and in order; a fact without a row from the state it found changes nothing.
create or replace temp table steps as
with happened as (
    select tenant, execution, entity as task, event, seq
    from batch
    where standing = 'ok' and entity not in ('-', '~branch', '~in')
    union all
    select b.tenant, b.execution, t.task, b.event, b.seq
    from batch b
    join tasks t on t.tenant = b.tenant and t.execution = b.execution
    where b.standing = 'ok' and b.entity = '-' and b.event = 'ExecutionCancelled'
), lists as (
    select
        t.tenant, t.execution, t.task, any_value(t.state) as state,
        list(h.event order by h.seq) as events, list(h.seq order by h.seq) as seqs
    from happened h
    join tasks t on t.tenant = h.tenant and t.execution = h.execution and t.task = h.task
    where h.seq > t.accepted_seq
    group by t.tenant, t.execution, t.task
), paths as (
    select
        l.*, r.leads,
        list_reduce(
            list_transform(l.events, lambda e: [e]),
            lambda past, e: list_append(past, coalesce(r.leads[past[-1] || ' ' || e[1]], past[-1])),
            [l.state]
        ) as path
    from lists l
    cross join (select leads from leads where life = 'task') r
), walked as (
    select
        tenant, execution, task, leads,
        unnest(seqs) as seq, unnest(events) as event, unnest(path[:-2]) as before, unnest(path[2:]) as after
    from paths
)
select
    w.tenant, w.execution, w.task, w.seq, w.event, w.before, w.after, b.stored_at, b.id,
    case when w.event <> 'ExecutionCancelled' then b.data end as data
from walked w
join batch b on b.seq = w.seq
where w.leads[w.before || ' ' || w.event] is not null
   or w.event in ('ApprovalRequested', 'ApprovalRecorded');

with changes as (
    select
        tenant, execution, task,
        arg_max(after, seq) as state,
        arg_max(try_cast(data ->> '$.attempt' as integer), seq) filter (event = 'TaskReady') as attempt,
        count(*) filter (event in ('AttemptFailed', 'AttemptTimedOut', 'AttemptRejected')) as failures,
        count(*) filter (event in ('TaskInterrupted', 'LeaseExpired')) as interruptions,
        arg_max({'v': case event when 'TaskStarted' then id end}, seq) filter (event in (
            'TaskStarted', 'AttemptFailed', 'AttemptTimedOut', 'AttemptRejected', 'TaskInterrupted', 'LeaseExpired',
            'TaskVerified', 'TaskCancelled', 'ExecutionCancelled'
        )) as lease,
        arg_max(data, seq) filter (event = 'TaskStarted') as started,
        arg_max(stored_at, seq) filter (event = 'TaskStarted') as started_at,
        arg_max(stored_at, seq) filter (event = 'TaskReady') as ready_at,
        arg_max({'v': case
            when after in ('verified', 'failed', 'skipped', 'cancelled', 'blocked') then stored_at
        end}, seq) filter (event not in ('ApprovalRequested', 'ApprovalRecorded')) as ended_at,
        arg_max(data, seq) filter (
            event in ('TaskExecuted', 'AttemptFailed', 'AttemptTimedOut', 'TaskCancelled')
            and data ->> '$.usage' is not null
        ) as used,
        arg_max(data, seq) filter (
            event in ('TaskExecuted', 'AttemptFailed', 'AttemptTimedOut', 'TaskCancelled')
            and data ->> '$.output' is not null
        ) as printed,
        arg_max({'v': case event
            when 'TaskVerified' then null
            when 'AttemptTimedOut' then 'took longer than ' || format('{:g}', (data ->> '$.limit')::double) || ' s'
            when 'ApprovalRecorded' then (data ->> '$.by') || ' said no' || coalesce(': ' || nullif(data ->> '$.notes', ''), '')
            else data ->> '$.reason'
        end}, seq) filter (
            event in (
                'AttemptFailed', 'AttemptTimedOut', 'AttemptRejected', 'TaskFailed', 'TaskBlocked', 'TaskSkipped',
                'TaskCancelled', 'TaskVerified'
            )
            or event = 'ApprovalRecorded' and not (data ->> '$.granted')::boolean
        ) as error,
        arg_max({'v': case event when 'RetryScheduled' then try_cast(data ->> '$.at' as timestamp) end}, seq) filter (
            event in ('RetryScheduled', 'TaskReady', 'TaskCancelled', 'ExecutionCancelled')
        ) as next_attempt_at,
        arg_max({
            'id': case event when 'ApprovalRequested' then id end,
            'kind': case event when 'ApprovalRequested' then data ->> '$.kind' end,
            'question': case event when 'ApprovalRequested' then data ->> '$.question' end
        }, seq) filter (event in (
            'ApprovalRequested', 'ApprovalRecorded', 'AttemptRejected', 'TaskVerified', 'TaskCancelled',
            'ExecutionCancelled'
        )) as approval,
        arg_max(data, seq) filter (event = 'TaskVerified') as verified,
        arg_max(stored_at, seq) filter (event = 'TaskVerified') as verified_at
    from steps
    group by tenant, execution, task
)
update tasks t set
    state = c.state,
    attempt = coalesce(c.attempt, t.attempt),
    failures = t.failures + c.failures,
    interruptions = t.interruptions + c.interruptions,
    lease = case when c.lease is null then t.lease else c.lease.v end,
    worker = coalesce(c.started ->> '$.worker', t.worker),
    host = coalesce(c.started ->> '$.host', t.host),
    sandbox = coalesce(c.started ->> '$.sandbox', t.sandbox),
    ready_at = coalesce(c.ready_at, t.ready_at),
    started_at = coalesce(c.started_at, t.started_at),
    ended_at = case when c.ended_at is null then t.ended_at else c.ended_at.v end,
    seconds = coalesce(try_cast(c.used ->> '$.usage.seconds' as double), t.seconds),
    error = case when c.error is null then t.error else c.error.v end,
    next_attempt_at = case when c.next_attempt_at is null then t.next_attempt_at else c.next_attempt_at.v end,
    approval = case when c.approval is null then t.approval else c.approval.id end,
    approval_kind = case when c.approval is null then t.approval_kind else c.approval.kind end,
    question = case when c.approval is null then t.question else c.approval.question end,
    verified_at = coalesce(c.verified_at, t.verified_at),
    "commit" = coalesce(c.verified ->> '$.commit', t."commit"),
    tree = coalesce(c.verified ->> '$.tree', t.tree),
    head = coalesce(c.verified ->> '$.head', t.head),
    output_sha256 = coalesce(c.printed ->> '$.output.sha256', t.output_sha256),
    output_size = coalesce(try_cast(c.printed ->> '$.output.size' as ubigint), t.output_size)
from changes c
where t.tenant = c.tenant and t.execution = c.execution and t.task = c.task;

with moves as (
    select tenant, execution, before as state, -1 as n from steps where before <> after
    union all
    select tenant, execution, after, 1 from steps where before <> after
), sums as (
    select
        tenant, execution,
        coalesce(sum(n) filter (state = 'pending'), 0) as pending,
        coalesce(sum(n) filter (state = 'ready'), 0) as ready,
        coalesce(sum(n) filter (state = 'running'), 0) as running,
        coalesce(sum(n) filter (state = 'executed'), 0) as executed,
        coalesce(sum(n) filter (state = 'faulted'), 0) as faulted,
        coalesce(sum(n) filter (state = 'waiting'), 0) as waiting,
        coalesce(sum(n) filter (state = 'blocked'), 0) as blocked,
        coalesce(sum(n) filter (state = 'verified'), 0) as verified,
        coalesce(sum(n) filter (state = 'failed'), 0) as failed,
        coalesce(sum(n) filter (state = 'skipped'), 0) as skipped,
        coalesce(sum(n) filter (state = 'cancelled'), 0) as cancelled
    from moves
    group by tenant, execution
)
update progress p set
    pending = p.pending + s.pending,
    ready = p.ready + s.ready,
    running = p.running + s.running,
    executed = p.executed + s.executed,
    faulted = p.faulted + s.faulted,
    waiting = p.waiting + s.waiting,
    blocked = p.blocked + s.blocked,
    verified = p.verified + s.verified,
    failed = p.failed + s.failed,
    skipped = p.skipped + s.skipped,
    cancelled = p.cancelled + s.cancelled
from sums s
where p.tenant = s.tenant and p.execution = s.execution;
