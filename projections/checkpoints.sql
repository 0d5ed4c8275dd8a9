-- The history of every execution's branch: what landed, and what was taken back. The newest row is where it stands.

-- create --
create table checkpoints (
    seq ubigint not null,
    happened_at timestamp not null,
    tenant varchar not null,
    execution varchar not null,
    what varchar not null,
    task varchar,
    "commit" varchar,
    tree varchar,
    invalidated varchar[] not null,
    reason varchar
);

-- fold --
insert into checkpoints
select
    seq, stored_at, tenant, execution,
    case event
        when 'BranchCreated' then 'began'
        when 'BranchAdvanced' then 'landed'
        when 'BranchRolledBack' then 'rolled back'
        when 'BranchReverted' then 'taken back'
        else 'refused'
    end,
    data ->> '$.task',
    case event
        when 'BranchCreated' then data ->> '$.base'
        when 'BranchRolledBack' then nullif(data ->> '$.to', '')
        when 'RevertRefused' then data ->> '$.base'
        else data ->> '$.commit'
    end,
    data ->> '$.tree',
    coalesce(from_json(coalesce(data -> '$.invalidated', data -> '$.tasks'), '["VARCHAR"]'), []),
    data ->> '$.reason'
from batch
where standing = 'ok' and entity = '~branch'
  and event in ('BranchCreated', 'BranchAdvanced', 'BranchRolledBack', 'BranchReverted', 'RevertRefused')
order by seq;
