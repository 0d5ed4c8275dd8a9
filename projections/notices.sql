-- What people were told, where, and what became of it: one row per message that a channel took, refused or was spared.

-- create --
create table notices (
    seq ubigint not null,
    noticed_at timestamp not null,
    tenant varchar not null,
    execution varchar not null,
    channel varchar not null,
    outcome varchar not null,
    severity varchar,
    title varchar,
    text varchar,
    reason varchar,
    things integer not null,
    tries integer,
    seconds double,
    maybe_again boolean,
    report_sha256 varchar
);

-- fold --
with said as (
    select
        seq, stored_at, tenant, execution, event,
        from_json(data, '{
            "channel": "VARCHAR", "severity": "VARCHAR", "title": "VARCHAR", "text": "VARCHAR", "reason": "VARCHAR",
            "about": ["JSON"], "tries": "INTEGER", "seconds": "DOUBLE", "maybe_again": "BOOLEAN", "given_up": "BOOLEAN",
            "report": "VARCHAR"
        }') as f
    from batch
    where standing = 'ok' and event in ('NoticeSent', 'NoticeFailed', 'NoticeSuppressed')
)
insert into notices
select
    seq, stored_at, tenant, execution, f.channel,
    case
        when event = 'NoticeSent' then 'sent'
        when event = 'NoticeSuppressed' then 'suppressed'
        when f.given_up then 'given_up'
        else 'failing'
    end,
    f.severity, f.title, f.text, f.reason, coalesce(len(f.about), 0), f.tries, f.seconds, f.maybe_again, f.report
from said
order by seq;
