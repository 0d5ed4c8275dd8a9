-- What every execution is doing now. `runs` holds a row for every execution id that was ever used in a subject;
-- its state is null until a plan was submitted or answered. The view `executions` adds the totals of its tasks.

-- create --
create table runs (
    tenant varchar not null,
    execution varchar not null,
    state varchar,
    reason varchar not null,
    plan varchar,
    title varchar,
    format varchar,
    source varchar,
    conversation varchar,
    priority integer,
    estimate double,
    max_parallel integer,
    digest varchar,
    submitted_by varchar,
    submitted_at timestamp,
    accepted_at timestamp,
    started_at timestamp,
    ended_at timestamp,
    branch varchar,
    repository varchar,
    base varchar,
    head varchar,
    first_seq ubigint not null,
    last_seq ubigint not null,
    last_at timestamp not null,
    primary key (tenant, execution)
);

create view executions as
select
    r.*,
    coalesce(p.tasks, 0) as tasks,
    coalesce(p.satisfied, 0) as satisfied,
    coalesce(p.verified, 0) as verified,
    coalesce(p.failed, 0) as failed,
    coalesce(p.skipped, 0) as skipped,
    coalesce(p.cancelled, 0) as cancelled,
    coalesce(p.running, 0) as running,
    coalesce(p.blocked, 0) as blocked,
    coalesce(p.taken, 0) as taken
from runs r
left join progress p on p.tenant = r.tenant and p.execution = r.execution
where r.state is not null;

create view conversation_executions as
select
    execution as id,
    tenant,
    conversation as conversation_id,
    plan as plan_id,
    case state
        when 'submitted' then 'queued'
        when 'awaiting_approval' then 'paused'
        when 'blocked' then 'paused'
        when 'cancelling' then 'running'
        when 'rejected' then 'failed'
        else state
    end as status,
    started_at,
    ended_at as completed_at,
    tasks as total_tasks,
    verified + satisfied as completed_tasks,
    failed as failed_tasks,
    json_object(
        'title', title, 'reason', reason, 'priority', priority, 'source', source, 'format', format,
        'branch', branch, 'head', head
    ) as metadata
from executions;

-- fold --
insert into runs (tenant, execution, reason, first_seq, last_seq, last_at)
select tenant, execution, '', min(seq), max(seq), max(stored_at)
from batch
where tenant <> '' and execution <> ''
group by tenant, execution
order by min(seq)
on conflict (tenant, execution) do update set
    last_seq = excluded.last_seq,
    last_at = greatest(runs.last_at, excluded.last_at);

-- fold --
with said as (
    select
        tenant, execution,
        arg_min(stored_at, seq) as submitted_at,
        arg_min(actor, seq) as submitted_by,
        arg_min({'v': data ->> '$.plan.title'}, seq) as title,
        arg_min({'v': coalesce(data ->> '$.conversation_id', correlation)}, seq) as conversation
    from batch
    where standing = 'ok' and event = 'PlanSubmitted'
    group by tenant, execution
)
update runs r set
    state = coalesce(r.state, 'submitted'),
    submitted_at = s.submitted_at,
    submitted_by = s.submitted_by,
    title = coalesce(r.title, s.title.v),
    conversation = coalesce(r.conversation, s.conversation.v)
from said s
where r.tenant = s.tenant and r.execution = s.execution and r.submitted_at is null;

-- fold --
-- Steps of the state table, in order; a fact without a row from the state it found changes nothing.
with rows as (
    select leads from leads where life = 'execution'
), lists as (
    select tenant, execution, list(event order by seq) as events, list(seq order by seq) as seqs
    from batch
    where standing = 'ok' and entity = '-' and event in (select event from lifecycle where life = 'execution')
    group by tenant, execution
), paths as (
    select
        l.tenant, l.execution, l.seqs, l.events, rows.leads,
        list_reduce(
            list_transform(l.events, lambda e: [e]),
            lambda past, e: list_append(past, coalesce(rows.leads[past[-1] || ' ' || e[1]], past[-1])),
            [coalesce(r.state, 'submitted')]
        ) as path
    from lists l
    join runs r on r.tenant = l.tenant and r.execution = l.execution
    cross join rows
), steps as (
    select
        tenant, execution, path[-1] as state, leads,
        unnest(seqs) as seq, unnest(events) as event, unnest(path[:-2]) as before, unnest(path[2:]) as after
    from paths
), effects as (
    select
        s.tenant, s.execution, s.seq, s.event, s.after, b.stored_at,
        from_json(b.data, '{
            "reason": "VARCHAR", "requested_by": "VARCHAR", "tasks": ["VARCHAR"], "problems": ["JSON"],
            "digest": "VARCHAR",
            "plan": {
                "id": "VARCHAR", "title": "VARCHAR", "format": "VARCHAR", "source": "VARCHAR", "priority": "INTEGER",
                "conversation_id": "VARCHAR", "estimate": "DOUBLE", "policy": {"max_parallel": "INTEGER"}
            }
        }') as f
    from steps s
    join batch b on b.seq = s.seq
    where s.leads[s.before || ' ' || s.event] is not null
), changes as (
    select
        tenant, execution,
        arg_max(after, seq) as state,
        arg_max(case event
            when 'PlanRejected'
            then len(f.problems) || if(len(f.problems) = 1, ' problem', ' problems') || ' in the plan'
            when 'ExecutionFailed' then coalesce(f.reason, '')
            when 'ExecutionCancelling' then coalesce(f.reason, '')
            when 'ApprovalAwaited' then 'waiting for a person''s word on ' || array_to_string(f.tasks, ', ')
            when 'ExecutionBlocked' then 'blocked at ' || array_to_string(f.tasks, ', ')
            when 'ExecutionStarted' then ''
            when 'ExecutionResumed' then ''
            when 'ExecutionReopened' then ''
            when 'ExecutionPausing' then coalesce(f.reason, '')
            when 'ExecutionPaused' then coalesce(f.reason, '')
            when 'RollbackBegun' then coalesce(f.reason, '')
        end, seq) as reason,
        arg_max({'at': stored_at, 'digest': f.digest, 'plan': f.plan}, seq) filter (event = 'PlanAccepted') as accepted,
        arg_max(stored_at, seq) filter (event = 'ExecutionStarted') as started_at,
        arg_max({'v': if(event in ('ExecutionReopened', 'RollbackBegun'), null, stored_at)}, seq) filter (event in (
            'PlanRejected', 'ExecutionCompleted', 'ExecutionFailed', 'ExecutionCancelled', 'ExecutionReopened',
            'RollbackBegun'
        )) as ended_at,
        arg_max(f.requested_by, seq) filter (event in ('PlanAccepted', 'PlanRejected')) as requested_by
    from effects
    group by tenant, execution
)
update runs r set
    state = c.state,
    reason = coalesce(c.reason, r.reason),
    accepted_at = coalesce(c.accepted.at, r.accepted_at),
    started_at = coalesce(c.started_at, r.started_at),
    ended_at = if(c.ended_at is null, r.ended_at, c.ended_at.v),
    submitted_by = coalesce(r.submitted_by, nullif(c.requested_by, '')),
    plan = coalesce(c.accepted.plan.id, r.plan),
    title = coalesce(c.accepted.plan.title, r.title),
    format = coalesce(c.accepted.plan.format, r.format),
    source = coalesce(c.accepted.plan.source, r.source),
    conversation = coalesce(c.accepted.plan.conversation_id, r.conversation),
    priority = coalesce(c.accepted.plan.priority, r.priority),
    estimate = coalesce(c.accepted.plan.estimate, r.estimate),
    max_parallel = coalesce(c.accepted.plan.policy.max_parallel, r.max_parallel),
    digest = coalesce(c.accepted.digest, r.digest)
from changes c
where r.tenant = c.tenant and r.execution = c.execution;

-- fold --
with branches as (
    select
        tenant, execution,
        arg_min(data, seq) filter (event = 'BranchCreated') as created,
        arg_max(nullif(if(event = 'BranchRolledBack', data ->> '$.to', data ->> '$.commit'), ''), seq)
            filter (event <> 'BranchCreated') as head
    from batch
    where standing = 'ok' and entity = '~branch'
      and event in ('BranchCreated', 'BranchAdvanced', 'BranchRolledBack', 'BranchReverted')
    group by tenant, execution
)
update runs r set
    branch = coalesce(r.branch, b.created ->> '$.name'),
    repository = coalesce(r.repository, b.created ->> '$.repository'),
    base = coalesce(r.base, b.created ->> '$.base'),
    head = coalesce(b.head, r.head, b.created ->> '$.base')
from branches b
where r.tenant = b.tenant and r.execution = b.execution;
