-- What every task is doing now; in `progress` how many tasks of an execution are in each state; and in `durations` how
-- long the verified tasks of a title took, in whole microseconds so that the sum has no order.

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
    suggested double,
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
    output_size ubigint
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
    taken integer not null,
    primary key (tenant, execution)
);

create table durations (
    tenant varchar not null,
    title varchar not null,
    verified integer not null,
    micros hugeint not null,
    primary key (tenant, title)
);

-- fold --
create or replace temp table planned as
with accepted as (
    select tenant, execution, min(seq) as seq, from_json(arg_min(data -> '$.plan.tasks', seq), '[{
            "id": "VARCHAR", "title": "VARCHAR", "phase": "VARCHAR", "needs": ["VARCHAR"], "noop": "BOOLEAN",
            "agent": "VARCHAR", "estimate": "DOUBLE", "status": "VARCHAR"
        }]') as tasks,
        coalesce(json_keys(arg_min(data -> '$.plan.forked.inherited', seq)), []) as inherited
    from batch b
    where standing = 'ok' and event = 'PlanAccepted'
      and not exists (from progress p where p.tenant = b.tenant and p.execution = b.execution)
    group by tenant, execution
), nodes as (
    select
        tenant, execution, seq, inherited,
        unnest(tasks) as t,
        generate_subscripts(tasks, 1) as position
    from accepted
)
select
    tenant, execution, t.id as task, position, seq, t.title as title, t.phase as phase,
    coalesce(t.needs, []) as needs,
    case when t.noop then 'noop' when t.agent is not null then 'agent' else 'run' end as kind,
    t.estimate as estimate,
    if(t.status in ('completed', 'skipped') or list_contains(inherited, t.id), 'satisfied', 'pending') as state
from nodes
qualify row_number() over (partition by tenant, execution, t.id order by position) = 1;

insert into tasks (
    tenant, execution, task, position, accepted_seq, title, phase, needs, kind, estimate, state,
    attempt, failures, interruptions
)
select tenant, execution, task, position, seq, title, phase, needs, kind, estimate, state, 0, 0, 0
from planned
order by seq, position;

with made as (
    select
        tenant, execution, seq,
        unnest(from_json(data -> '$.tasks', '[{"task": "VARCHAR", "estimate": "DOUBLE"}]')) as t
    from batch
    where standing = 'ok' and entity = '~lessons' and event = 'RecommendationMade'
), newest as (
    select tenant, execution, t.task as task, arg_max(t.estimate, seq) as estimate
    from made
    group by all
)
update tasks t set suggested = n.estimate
from newest n
where t.tenant = n.tenant and t.execution = n.execution and t.task = n.task;

insert into progress
select
    tenant, execution, count(*), count(*) filter (state = 'satisfied'), count(*) filter (state = 'pending'),
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
from planned
group by tenant, execution
order by min(seq);

-- fold --
-- Steps of the state table, task by task and in order; a fact without a row from the state it found changes nothing.
create or replace temp table steps as
with happened as (
    select tenant, execution, entity as task, event, seq
    from batch
    where standing = 'ok' and entity not in ('-', '~branch', '~in', '~lessons', '~notices')
    union all
    select b.tenant, b.execution, t.task, b.event, b.seq
    from batch b
    join tasks t on t.tenant = b.tenant and t.execution = b.execution
    where b.standing = 'ok' and b.entity = '-' and b.event = 'ExecutionCancelled'
    union all
    select tenant, execution, unnest(from_json(data -> '$.tasks', '["VARCHAR"]')), event, seq
    from batch
    where standing = 'ok' and entity = '-' and event in ('ExecutionReopened', 'TasksGivenUp')
    union all
    select tenant, execution, unnest(from_json(data -> '$.invalidated', '["VARCHAR"]')), event, seq
    from batch
    where standing = 'ok' and entity = '~branch' and event in ('BranchRolledBack', 'BranchReverted')
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
    from_json(b.data, '{
        "attempt": "INTEGER", "worker": "VARCHAR", "host": "VARCHAR", "sandbox": "VARCHAR", "reason": "VARCHAR",
        "limit": "DOUBLE", "at": "VARCHAR", "granted": "BOOLEAN", "counts": "BOOLEAN", "by": "VARCHAR", "notes": "VARCHAR",
        "kind": "VARCHAR", "question": "VARCHAR", "commit": "VARCHAR", "tree": "VARCHAR", "head": "VARCHAR",
        "usage": {"seconds": "DOUBLE"}, "output": {"sha256": "VARCHAR", "size": "UBIGINT"}
    }') as f
from walked w
join batch b on b.seq = w.seq
where w.leads[w.before || ' ' || w.event] is not null
   or w.event in ('ApprovalRequested', 'ApprovalRecorded');

-- before the tasks are updated, because a task that was taken back may be verified twice in one batch
insert into durations
with timed as (
    select
        tenant, execution, task, event,
        last_value(f.usage.seconds ignore nulls) over (
            partition by tenant, execution, task order by seq rows between unbounded preceding and current row
        ) as seconds
    from steps
)
select t.tenant, t.title, count(*), sum(round(coalesce(s.seconds, t.seconds) * 1e6)::hugeint)
from timed s
join tasks t on t.tenant = s.tenant and t.execution = s.execution and t.task = s.task
where s.event = 'TaskVerified' and coalesce(s.seconds, t.seconds) is not null and t.title is not null
group by t.tenant, t.title
order by t.tenant, t.title
on conflict (tenant, title) do update set
    verified = durations.verified + excluded.verified,
    micros = durations.micros + excluded.micros;

with changes as (
    select
        tenant, execution, task,
        arg_max(after, seq) as state,
        arg_max(f.attempt, seq) filter (event in ('TaskReady', 'TaskTaken')) as attempt,
        count(*) filter (
            event in ('AttemptFailed', 'AttemptTimedOut', 'AttemptRejected') and coalesce(f.counts, true)
        ) as failures,
        count(*) filter (event in ('TaskInterrupted', 'LeaseExpired')) as interruptions,
        arg_max({'v': if(event in ('TaskStarted', 'TaskTaken'), id, null)}, seq) filter (event in (
            'TaskStarted', 'AttemptFailed', 'AttemptTimedOut', 'AttemptRejected', 'TaskInterrupted', 'LeaseExpired',
            'TaskVerified', 'TaskCancelled', 'ExecutionCancelled', 'TaskHeld', 'TaskTaken', 'TaskReturned',
            'BranchRolledBack', 'BranchReverted'
        )) as lease,
        arg_max({'worker': f.worker, 'host': f.host, 'sandbox': f.sandbox, 'at': stored_at}, seq)
            filter (event = 'TaskStarted') as started,
        arg_max(stored_at, seq) filter (event = 'TaskReady') as ready_at,
        arg_max({'v': if(after in ('verified', 'failed', 'skipped', 'cancelled', 'blocked'), stored_at, null)}, seq)
            filter (event not in ('ApprovalRequested', 'ApprovalRecorded')) as ended_at,
        arg_max(f.usage.seconds, seq) as seconds,
        arg_max(f.output, seq) filter (f.output.sha256 is not null) as output,
        arg_max({'v': case event
            when 'TaskVerified' then null
            when 'ExecutionReopened' then null
            when 'TaskTaken' then null
            when 'BranchRolledBack' then null
            when 'BranchReverted' then null
            when 'AttemptTimedOut' then 'took longer than ' || format('{:g}', f.limit) || ' s'
            when 'ApprovalRecorded' then f.by || ' said no' || if(f.notes = '', '', ': ' || f.notes)
            else f.reason
        end}, seq) filter (
            event in (
                'AttemptFailed', 'AttemptTimedOut', 'AttemptRejected', 'TaskFailed', 'TaskBlocked', 'TaskSkipped',
                'TaskCancelled', 'TaskVerified', 'ExecutionReopened', 'TaskTaken', 'BranchRolledBack', 'BranchReverted'
            )
            or event = 'ApprovalRecorded' and not f.granted
        ) as error,
        arg_max({'v': if(event = 'RetryScheduled', try_cast(f.at as timestamp), null)}, seq) filter (
            event in (
                'RetryScheduled', 'TaskReady', 'TaskCancelled', 'ExecutionCancelled', 'ExecutionReopened', 'TaskTaken',
                'BranchRolledBack', 'BranchReverted'
            )
        ) as next_attempt_at,
        arg_max(
            if(event = 'ApprovalRequested', {'id': id, 'kind': f.kind, 'question': f.question}, {'id': null}), seq
        ) filter (event in (
            'ApprovalRequested', 'ApprovalRecorded', 'AttemptRejected', 'TaskVerified', 'TaskCancelled', 'TaskSkipped',
            'ExecutionCancelled', 'ExecutionReopened', 'TasksGivenUp', 'TaskHeld', 'TaskTaken', 'BranchRolledBack',
            'BranchReverted'
        )) as approval,
        arg_max(
            if(
                event = 'TaskVerified', {'at': stored_at, 'commit': f.commit, 'tree': f.tree, 'head': f.head},
                {'at': null, 'commit': null, 'tree': null, 'head': null}
            ), seq
        ) filter (event in ('TaskVerified', 'BranchRolledBack', 'BranchReverted')) as verified
    from steps
    group by tenant, execution, task
)
update tasks t set
    state = c.state,
    attempt = coalesce(c.attempt, t.attempt),
    failures = t.failures + c.failures,
    interruptions = t.interruptions + c.interruptions,
    lease = if(c.lease is null, t.lease, c.lease.v),
    worker = coalesce(c.started.worker, t.worker),
    host = coalesce(c.started.host, t.host),
    sandbox = coalesce(c.started.sandbox, t.sandbox),
    ready_at = coalesce(c.ready_at, t.ready_at),
    started_at = coalesce(c.started.at, t.started_at),
    ended_at = if(c.ended_at is null, t.ended_at, c.ended_at.v),
    seconds = coalesce(c.seconds, t.seconds),
    error = if(c.error is null, t.error, c.error.v),
    next_attempt_at = if(c.next_attempt_at is null, t.next_attempt_at, c.next_attempt_at.v),
    approval = if(c.approval is null, t.approval, c.approval.id),
    approval_kind = if(c.approval is null, t.approval_kind, c.approval.kind),
    question = if(c.approval is null, t.question, c.approval.question),
    verified_at = if(c.verified is null, t.verified_at, c.verified.at),
    "commit" = if(c.verified is null, t."commit", c.verified.commit),
    tree = if(c.verified is null, t.tree, c.verified.tree),
    head = if(c.verified is null, t.head, c.verified.head),
    output_sha256 = coalesce(c.output.sha256, t.output_sha256),
    output_size = if(c.output is null, t.output_size, c.output.size)
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
        coalesce(sum(n) filter (state = 'cancelled'), 0) as cancelled,
        coalesce(sum(n) filter (state = 'taken'), 0) as taken
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
    cancelled = p.cancelled + s.cancelled,
    taken = p.taken + s.taken
from sums s
where p.tenant = s.tenant and p.execution = s.execution;
