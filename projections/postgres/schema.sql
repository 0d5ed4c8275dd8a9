-- The founding tables, enums, indexes and views (contracts, "s0 SQL"), and our position in the log.
-- Beyond the founding columns there are none; what else is known stands in metadata and checkpoint_data.

create type execution_status as enum ('queued', 'running', 'paused', 'blocked', 'completed', 'failed', 'cancelled');
create type task_status as enum ('pending', 'in_progress', 'completed', 'failed', 'skipped');

create table executions (
    id uuid primary key,
    conversation_id uuid not null,
    plan_id uuid not null,
    status execution_status not null,
    started_at timestamptz default now(),
    completed_at timestamptz,
    total_tasks int,
    completed_tasks int default 0,
    failed_tasks int default 0,
    metadata jsonb
);

create table execution_tasks (
    id uuid primary key,
    execution_id uuid not null references executions (id),
    task_id text not null,
    title text not null,
    status task_status not null,
    started_at timestamptz,
    completed_at timestamptz,
    duration_seconds int,
    verification_results jsonb,
    error_message text,
    checkpoint_data jsonb
);

create table execution_metrics (
    id uuid primary key,
    execution_id uuid references executions (id),
    task_id text,
    metric_name varchar(100),
    metric_value float,
    unit varchar(20),
    collected_at timestamptz default now()
);

create index idx_executions_conversation on executions (conversation_id);
create index idx_execution_tasks_execution on execution_tasks (execution_id);
create index idx_execution_tasks_status on execution_tasks (status);
create index idx_execution_metrics_execution on execution_metrics (execution_id);

create view conversation_executions as select * from executions;

create materialized view metric_trends as
select
    date_trunc('day', collected_at at time zone 'UTC')::date as day, metric_name, avg(metric_value) as avg_value,
    count(*) as sample_count
from execution_metrics
group by 1, 2;
create unique index idx_metric_trends on metric_trends (day, metric_name);

create table nightshift_position (
    one boolean primary key default true check (one),
    version text not null,
    stream_created text not null,
    sequence bigint not null,
    event_id text not null
);
