-- purpose: short prompts that people type again and again, read alike whatever their case, marks and politeness.
-- grain: one row per prompt after a session's first; subject is the plain wording, 'go on' where little or nothing is
--   left of it. A prompt right after a refusal or an interruption may be longer: it says what was wrong.
-- null: dollars and tokens where the answer is unknown.
with interrupted as (
    select
        session_id,
        seq
    from errors
    where error = 'interrupted'
    union all
    select
        session_id,
        seq
    from calls
    where problem = 'refused'
),

plain as (
    select
        *,
        trim(regexp_replace(
            regexp_replace(lower(text), '[^\p{L}\p{N}/''\s-]', ' ', 'g'),
            '\b(please|pls|now|can you|could you|this|these|that|it|the|all|changes|and|ok|okay|yes)\b|\s+',
            ' ',
            'g'
        )) as wording,
        row_number() over session as place,
        exists(
            select 1
            from interrupted
            where
                interrupted.session_id = prompts.session_id
                and interrupted.seq between prompts.seq - 2 and prompts.seq
        ) as corrects
    from prompts
    window session as (partition by session_id order by seq)
)

select
    plain.session_id,
    plain.seq,
    plain.ts_ms,
    case
        when plain.corrects or length(plain.wording) >= 4 then regexp_replace(plain.wording, '\s+', ' ', 'g')
        else 'go on'
    end as subject,
    responses.cost_usd,
    responses.context_tokens + responses.output_tokens as tokens,
    plain.text as detail,
    cast([] as varchar[]) as remedy
from plain
asof left join responses
    on plain.session_id = responses.session_id and plain.seq < responses.seq
where
    plain.place > 1
    and length(plain.text) <= case when plain.corrects then 120 else 60 end
    and length(plain.wording) <= case when plain.corrects then 90 else 40 end
    and regexp_matches(plain.text, '\p{L}')
    and not regexp_matches(plain.text, '^\w+ hook feedback:')
