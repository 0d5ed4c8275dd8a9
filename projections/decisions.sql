-- What the engine or a person chose, and why: retries, refusals, giving up, questions and answers.

-- create --
create table decisions (
    seq ubigint not null,
    decided_at timestamp not null,
    tenant varchar not null,
    execution varchar not null,
    task varchar,
    decision varchar not null,
    actor varchar not null,
    cause varchar not null,
    attempt integer,
    choice varchar not null,
    reason varchar,
    person varchar
);

-- fold --
insert into decisions
select
    seq, stored_at, tenant, execution,
    case when entity not in ('-', '~branch', '~in') then entity end,
    event, actor, cause,
    try_cast(data ->> '$.attempt' as integer),
    coalesce(case event
        when 'PlanAccepted' then 'accept the plan'
        when 'PlanRejected' then 'reject the plan'
        when 'RequestRefused' then 'refuse: ' || (data ->> '$.what')
        when 'ApprovalAwaited' then 'wait for a person'
        when 'ExecutionBlocked' then 'wait for help'
        when 'ExecutionResumed' then 'go on'
        when 'ExecutionCancelling' then 'cancel'
        when 'ExecutionFailed' then 'give the execution up'
        when 'DeadLettered' then 'give up reacting to ' || (data ->> '$.event')
        when 'RetryScheduled' then 'try again after ' || format('{:g}', (data ->> '$.delay')::double) || ' s'
        when 'TaskFailed' then 'give the task up after ' || (data ->> '$.attempts') || ' attempts'
        when 'TaskBlocked' then 'ask for help after ' || (data ->> '$.attempts') || ' attempts'
        when 'TaskSkipped' then 'skip because of ' || (data ->> '$.because')
        when 'TaskHeld' then 'hold'
        when 'TaskInterrupted' then 'interrupt'
        when 'LeaseExpired' then 'take the task back'
        when 'StaleResultRefused' then 'refuse a late result: ' || (data ->> '$.what')
        when 'ApprovalRequested' then 'ask: ' || (data ->> '$.question')
        when 'ApprovalRecorded' then case when (data ->> '$.granted')::boolean then 'granted' else 'denied' end
    end, event),
    case event
        when 'PlanRejected' then array_to_string(from_json(data -> '$.problems[*].message', '["VARCHAR"]'), '; ')
        when 'ApprovalRecorded' then nullif(data ->> '$.notes', '')
        else nullif(data ->> '$.reason', '')
    end,
    coalesce(nullif(data ->> '$.by', ''), nullif(data ->> '$.requested_by', ''))
from batch
where standing = 'ok'
  and event in (
      'PlanAccepted', 'PlanRejected', 'RequestRefused', 'ApprovalAwaited', 'ExecutionBlocked', 'ExecutionResumed',
      'ExecutionCancelling', 'ExecutionFailed', 'DeadLettered', 'RetryScheduled', 'TaskFailed', 'TaskBlocked',
      'TaskSkipped', 'TaskHeld', 'TaskInterrupted', 'LeaseExpired', 'StaleResultRefused', 'ApprovalRequested',
      'ApprovalRecorded'
  )
order by seq;
