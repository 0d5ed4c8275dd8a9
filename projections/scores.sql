-- Five scores of every task that came to an end, the newest end of each task: `duration` (seconds of all its attempts),
-- `test_pass_rate` (tests that passed, of those that ran; criteria where no tests were counted), `success_ratio` (attempts that held, of those that counted),
-- `context_tokens` (where an agent said so), `rating` (a person's, 1 to 10; of the whole execution where task is null).
-- Views: `trends` by day, `times` for time tracking, and `measures` with their targets (docs/evaluation.md).

-- create --
create table scores (
    tenant varchar not null,
    execution varchar not null,
    task varchar,
    score varchar not null,
    value double not null,
    person varchar,
    measured_at timestamp not null,
    seq ubigint not null
);

create view trends as
select tenant, measured_at::date as day, score, avg(value) as mean, min(value) as lowest, max(value) as highest,
    count(*) as samples
from scores
group by all
order by day, score;

create view times as
select
    t.tenant, t.execution, r.title as plan, r.conversation, t.task, t.title, t.state as outcome,
    count(a.lease) as attempts,
    min(a.started_at) as started_at,
    coalesce(t.ended_at, max(a.ended_at)) as ended_at,
    coalesce(sum(round(a.seconds * 1e6)::hugeint) / 1e6, 0) as seconds,
    coalesce(sum(round(a.cpu_seconds * 1e6)::hugeint) / 1e6, 0) as cpu_seconds
from tasks t
join runs r on r.tenant = t.tenant and r.execution = t.execution
left join attempts a on a.tenant = t.tenant and a.execution = t.execution and a.task = t.task
group by t.tenant, t.execution, r.title, r.conversation, t.task, t.title, t.state, t.ended_at, t.position, r.first_seq
order by r.first_seq, t.position;

create view measures as
with ended as (
    select t.*, exists (
        from decisions d
        where d.tenant = t.tenant and d.execution = t.execution and d.person is not null
          and (d.task = t.task or d.decision = 'ExecutionReopened')
    ) or exists (
        from events e
        where e.tenant = t.tenant and e.execution = t.execution and e.entity = t.task and e.event = 'TaskTaken'
    ) as helped
    from tasks t
    where t.state in ('verified', 'failed', 'blocked')
), troubled as (
    select e.tenant, e.execution, e.task, e.state, e.helped, e.verified_at,
        count(*) filter (a.outcome in ('failed', 'timed_out', 'rejected', 'expired')) as errors,
        count(*) filter (a.outcome in ('failed', 'timed_out', 'rejected', 'expired') and e.state = 'verified') as overcome,
        min(a.ended_at) filter (a.outcome in ('failed', 'timed_out', 'rejected', 'expired')) as first_error_at
    from ended e
    join attempts a on a.tenant = e.tenant and a.execution = e.execution and a.task = e.task
    group by all
    having errors > 0
), first_verdicts as (
    select tenant, execution, task, min(seq) as seq from criteria group by all
), found as (
    select tenant, 'tasks_without_a_person' as measure, avg((state = 'verified' and not helped)::int) as value,
        count(*) as cases
    from ended group by tenant
    union all
    select tenant, 'executions_completed', avg((state = 'completed')::int), count(*)
    from runs where state in ('completed', 'failed') group by tenant
    union all
    select tenant, 'manual_overrides', avg(overridden::int), count(*)
    from (
        select r.tenant, exists (
            from events e
            where e.tenant = r.tenant and e.execution = r.execution and e.standing = 'ok' and e.event = 'TaskTaken'
        ) as overridden
        from runs r
        where r.started_at is not null
    )
    group by tenant
    union all
    select tenant, 'autonomy', avg((person is null)::int), count(*) from decisions
    where decision not in ('PlanAccepted', 'PlanRejected', 'RequestRefused') group by tenant
    union all
    select tenant, 'errors_resolved', avg((state = 'verified' and not helped and errors <= 3)::int), count(*)
    from troubled group by tenant
    union all
    select tenant, 'failures_recovered', sum(overcome) / sum(errors), sum(errors)::bigint from troubled group by tenant
    union all
    select c.tenant, 'criteria_at_first_attempt', avg((c.result = 'pass')::int), count(*)
    from criteria c join first_verdicts f on f.tenant = c.tenant and f.execution = c.execution and f.seq = c.seq
    where c.result <> 'skipped' group by c.tenant
    union all
    select tenant, 'task_seconds', avg(seconds), count(*) from tasks
    where state = 'verified' and seconds is not null group by tenant
    union all
    select tenant, 'resolution_seconds', avg(date_diff('millisecond', first_error_at, verified_at) / 1000), count(*)
    from troubled where state = 'verified' group by tenant
    union all
    select tenant, 'rating', avg(value), count(*) from scores where score = 'rating' group by tenant
    union all
    select tenant, 'stop_points_used', avg(reached::int), count(*)
    from (
        select s.tenant, s.execution, exists (
            from events p where p.tenant = s.tenant and p.execution = s.execution and p.event = 'ExecutionPaused'
        ) as reached
        from events s
        where s.standing = 'ok' and (s.event = 'StopPointSet' and s.data ->> '$.after' is not null
            or s.event = 'PlanAccepted' and s.data ->> '$.plan.stop_after' is not null)
        group by all
    )
    group by tenant
    union all
    select b.tenant, 'escalations_that_needed_a_person', avg((d.person is not null)::int), count(*)
    from decisions b
    asof left join (from decisions where decision = 'ExecutionReopened') d
        on d.tenant = b.tenant and d.execution = b.execution and d.seq > b.seq
    where b.decision = 'TaskBlocked' group by b.tenant
    union all
    select tenant, 'time_saved', 1 - sum(seconds) / sum(estimate), count(*) from tasks
    where state = 'verified' and estimate > 0 and seconds is not null group by tenant
)
select f.tenant, f.measure, f.value, t.aim, t.target, if(t.aim = 'at least', f.value >= t.target, f.value <= t.target) as met,
    f.cases, t.depends_on_agents
from found f
join (values
    ('tasks_without_a_person', 'at least', 0.8, true),
    ('executions_completed', 'at least', 0.9, true),
    ('autonomy', 'at least', 0.95, true),
    ('errors_resolved', 'at least', 0.7, true),
    ('failures_recovered', 'at least', 0.8, true),
    ('criteria_at_first_attempt', 'at least', 0.95, true),
    ('task_seconds', 'at most', 900, true),
    ('resolution_seconds', 'at most', 300, true),
    ('rating', 'at least', 9, true),
    ('manual_overrides', 'at most', 0.1, false),
    ('stop_points_used', 'at least', 0.9, false),
    ('escalations_that_needed_a_person', 'at least', 0.95, false),
    ('time_saved', 'at least', 0.5, true)
) t(measure, aim, target, depends_on_agents) on t.measure = f.measure
order by f.tenant, f.measure;

-- fold --
create or replace temp table endings as
select tenant, execution, entity as task, seq, stored_at
from batch
where standing = 'ok' and event in ('TaskVerified', 'TaskFailed', 'TaskBlocked')
qualify row_number() over (partition by tenant, execution, entity order by seq desc) = 1;

delete from scores s using endings e
where s.tenant = e.tenant and s.execution = e.execution and s.task = e.task and s.score <> 'rating';

with tried as (
    select
        e.tenant, e.execution, e.task, e.seq, e.stored_at,
        sum(round(a.seconds * 1e6)::hugeint) / 1e6 as seconds,
        sum(a.tokens)::double as tokens,
        count(*) filter (a.outcome = 'verified') as held,
        count(*) filter (a.outcome in ('verified', 'failed', 'timed_out', 'rejected')) as counted
    from endings e
    join attempts a on a.tenant = e.tenant and a.execution = e.execution and a.task = e.task and a.end_seq <= e.seq
    group by all
), judged as (
    select
        e.tenant, e.execution, e.task, e.seq, e.stored_at,
        count(*) filter (c.result = 'pass') as passed, count(*) filter (c.result <> 'skipped') as judged
    from endings e
    join criteria c on c.tenant = e.tenant and c.execution = e.execution and c.task = e.task and c.seq <= e.seq
    group by all
), tested as (
    select e.tenant, e.execution, e.task, sum(r.passed) as passed, sum(r.passed + r.failed) as ran
    from endings e
    join test_results r on r.tenant = e.tenant and r.execution = e.execution and r.task = e.task and r.seq <= e.seq
    group by all
), found as (
    select tenant, execution, task, 'duration' as score, seconds as value, stored_at, seq from tried
    union all
    select tenant, execution, task, 'context_tokens', tokens, stored_at, seq from tried
    union all
    select tenant, execution, task, 'success_ratio', held / counted, stored_at, seq from tried where counted > 0
    union all
    select j.tenant, j.execution, j.task, 'test_pass_rate', if(t.ran > 0, t.passed / t.ran, j.passed / j.judged),
        j.stored_at, j.seq
    from judged j
    left join tested t on t.tenant = j.tenant and t.execution = j.execution and t.task = j.task
    where j.judged > 0
)
insert into scores
select tenant, execution, task, score, value, null, stored_at, seq
from found
where value is not null
order by seq, score;

-- fold --
create or replace temp table rated as
with words as (
    select
        tenant, execution, seq, stored_at,
        from_json(data, '{"rating": "DOUBLE", "by": "VARCHAR", "task": "VARCHAR"}') as f
    from batch
    where standing = 'ok' and event = 'RatingRecorded'
)
from words
qualify row_number() over (partition by tenant, execution, f.task, f.by order by seq desc) = 1;

delete from scores s using rated r
where s.tenant = r.tenant and s.execution = r.execution and s.task is not distinct from r.f.task and s.person = r.f.by
  and s.score = 'rating';

insert into scores
select tenant, execution, f.task, 'rating', f.rating, f.by, stored_at, seq
from rated
order by seq;
