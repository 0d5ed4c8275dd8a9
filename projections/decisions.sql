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
with chosen as (
    select
        *,
        from_json(data, '{
            "to": "VARCHAR", "only": "VARCHAR", "invalidated": ["VARCHAR"], "tasks": ["VARCHAR"],
            "after": "VARCHAR", "attempt": "INTEGER", "attempts": "VARCHAR", "because": "VARCHAR", "by": "VARCHAR", "delay": "DOUBLE",
            "event": "VARCHAR", "granted": "BOOLEAN", "notes": "VARCHAR", "question": "VARCHAR", "reason": "VARCHAR",
            "requested_by": "VARCHAR", "what": "VARCHAR", "problems": [{"message": "VARCHAR"}]
        }') as f
    from batch
    where standing = 'ok'
      and event in (
          'PlanAccepted', 'PlanRejected', 'RequestRefused', 'ApprovalAwaited', 'ExecutionBlocked', 'ExecutionResumed',
          'ExecutionCancelling', 'ExecutionFailed', 'DeadLettered', 'RetryScheduled', 'TaskFailed', 'TaskBlocked',
          'TaskSkipped', 'TaskHeld', 'TaskInterrupted', 'LeaseExpired', 'StaleResultRefused', 'ApprovalRequested',
          'ApprovalRecorded', 'ExecutionPausing', 'ExecutionReopened', 'StopPointSet', 'RollbackBegun',
          'BranchRolledBack', 'BranchReverted', 'RevertRefused', 'TaskTaken', 'TaskReturned', 'TaskDelivered',
          'DeadLetterReleased', 'TasksGivenUp', 'TaskRequeued'
      )
)
insert into decisions
select
    seq, stored_at, tenant, execution,
    case when entity not in ('-', '~branch', '~in', '~lessons', '~notices') then entity end,
    event, actor, cause, f.attempt,
    coalesce(
        case event
            when 'PlanAccepted' then 'accept the plan'
            when 'PlanRejected' then 'reject the plan'
            when 'RequestRefused' then 'refuse: ' || f.what
            when 'ApprovalAwaited' then 'wait for a person'
            when 'ExecutionBlocked' then 'wait for help'
            when 'ExecutionResumed' then 'go on'
            when 'ExecutionCancelling' then 'cancel'
            when 'ExecutionPausing' then 'pause'
            when 'ExecutionReopened' then 'try given up tasks again'
            when 'RollbackBegun' then if(
                f.only is null, 'roll back to ' || coalesce(f.to, 'the beginning'), 'take back the result of ' || f.only
            )
            when 'BranchRolledBack' then 'make again: ' || array_to_string(f.invalidated, ', ')
            when 'BranchReverted' then 'make again: ' || array_to_string(f.invalidated, ', ')
            when 'RevertRefused' then 'leave the branch as it is'
            when 'TaskTaken' then 'hand the task to a person'
            when 'TaskReturned' then 'take the task from a person'
            when 'TaskDelivered' then 'judge what a person did'
            when 'TaskRequeued' then 'do it again on top of the branch'
            when 'TasksGivenUp' then 'give up: ' || array_to_string(f.tasks, ', ')
            when 'DeadLetterReleased' then 'react again to ' || f.event
            when 'StopPointSet' then coalesce('stop after ' || f.after, 'clear the stop point')
            when 'ExecutionFailed' then 'give the execution up'
            when 'DeadLettered' then 'give up reacting to ' || f.event
            when 'RetryScheduled' then 'try again after ' || format('{:g}', f.delay) || ' s'
            when 'TaskFailed' then 'give the task up; attempts: ' || f.attempts
            when 'TaskBlocked' then 'ask for help; attempts: ' || f.attempts
            when 'TaskSkipped' then 'skip because of ' || f.because
            when 'TaskHeld' then 'hold'
            when 'TaskInterrupted' then 'interrupt'
            when 'LeaseExpired' then 'take the task back'
            when 'StaleResultRefused' then 'refuse a late result: ' || f.what
            when 'ApprovalRequested' then 'ask: ' || f.question
            when 'ApprovalRecorded' then if(f.granted, 'granted', 'denied')
        end,
        event
    ),
    case event
        when 'PlanRejected' then array_to_string(list_transform(f.problems, lambda p: p.message), '; ')
        when 'ApprovalRecorded' then nullif(f.notes, '')
        else nullif(f.reason, '')
    end,
    coalesce(nullif(f.by, ''), nullif(f.requested_by, ''))
from chosen
order by seq;
