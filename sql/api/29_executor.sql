-- Executors that run outside the database: which there are, who may define tasks for them, and what they understand.
--
-- What is checked here is what can be known without the machine that will do the work: whether a path exists, a package is
-- installed or a host is allowed, only the sidecar there can say, and it says so in the run.

create function sluice._is_executor(executor text) returns boolean
language sql immutable
begin atomic
    select executor in ('sql', 'process', 'python', 'http', 'external');
end;
comment on function sluice._is_executor(text) is 'Whether there is an executor of that name.';

create function sluice._is_for_admins(executor text) returns boolean
language sql immutable
begin atomic
    select executor in ('process', 'python', 'http');
end;
comment on function sluice._is_for_admins(text) is
    'Whether only members of sluice_admin define tasks with this executor: those that act on, or from, the machine of a sidecar.';

-- The first option that is not in a list.
create function sluice._unknown_option(options jsonb, known text[]) returns text
language sql immutable
begin atomic
    select pg_catalog.format('has no option "%s"', pg_catalog.left(k, 64))
    from pg_catalog.jsonb_object_keys(options) as k where k operator(pg_catalog.<>) all (known) limit 1;
end;
comment on function sluice._unknown_option(jsonb, text[]) is 'What is wrong with options that hold another than these; null if none does.';

-- Options that all programs have.
create function sluice._wrong_program_option(options jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return case
        when options ? 'env' and (jsonb_typeof(options -> 'env') <> 'object'
            or jsonb_path_exists(options -> 'env', '$.* ? (@.type() != "string")')) then
            'needs env as an object of strings'
        when options ? 'secrets' and (jsonb_typeof(options -> 'secrets') <> 'array' or exists (
            select from jsonb_array_elements(options -> 'secrets') as s
            where jsonb_typeof(s) <> 'string' or s #>> '{}' !~ '^[A-Za-z_][A-Za-z0-9_]{0,127}$' or s #>> '{}' like 'SLUICE\_%')) then
            'needs secrets as an array of names of variables that do not begin with SLUICE_'
        when options ? 'cwd' and (jsonb_typeof(options -> 'cwd') <> 'string' or left(options ->> 'cwd', 1) <> '/') then
            'needs cwd as an absolute path'
        when options ? 'grace_seconds' and (jsonb_typeof(options -> 'grace_seconds') <> 'number'
            or not (options -> 'grace_seconds')::numeric between 0 and 3600) then
            'needs grace_seconds from 0 to 3600'
    end;
end
$$;
comment on function sluice._wrong_program_option(jsonb) is 'What is wrong with env, secrets, cwd or grace_seconds; null if nothing is.';

create function sluice._assert_process_options(options jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    wrong text := sluice._unknown_option(options, '{argv, shell, env, secrets, cwd, output, grace_seconds}');
begin
    if wrong is null and (options ? 'argv') = (options ? 'shell') then
        wrong := 'needs either argv or shell';
    elsif wrong is null and options ? 'argv' and (jsonb_typeof(options -> 'argv') <> 'array'
            or jsonb_array_length(options -> 'argv') = 0
            or jsonb_path_exists(options -> 'argv', '$[*] ? (@.type() != "string")')) then
        wrong := 'needs argv as an array of strings, the program first';
    elsif wrong is null and options ? 'argv' and left(options -> 'argv' ->> 0, 1) <> '/' then
        wrong := 'needs the absolute path of its program';
    elsif wrong is null and options ? 'shell' and jsonb_typeof(options -> 'shell') <> 'string' then
        wrong := 'needs shell as one string';
    elsif wrong is null and options ? 'output' and options ->> 'output' !~ '^(stdout|fd:3)$' then
        wrong := 'knows the outputs "stdout" and "fd:3"';
    end if;
    wrong := coalesce(wrong, sluice._wrong_program_option(options));

    if wrong is not null then
        raise exception using
            errcode = 'SL006',
            message = format('a process task %s', wrong),
            hint    = 'For example options => ''{"argv": ["/usr/bin/ffmpeg", "-version"], "cwd": "/tmp"}''.';
    end if;
end
$$;
comment on function sluice._assert_process_options(jsonb) is 'Raises SL006 for options that the process executor does not understand.';

-- Python

create function sluice._python_kind(target text, options jsonb) returns text
language sql immutable
begin atomic
    select coalesce(options ->> 'kind', case
        when pg_catalog.strpos(target, E'\n') operator(pg_catalog.=) 0 and pg_catalog.left(target, 1) operator(pg_catalog.=) '/' then 'script'
        when target operator(pg_catalog.~) '^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$' then 'function'
        else 'code' end);
end;
comment on function sluice._python_kind(text, jsonb) is
    'What the target of a python task is: script for an absolute path, function for module:function, else code; options.kind overrides.';

-- A requirement as pip writes it, without markers and URLs: what can be held against installed packages alone.
create function sluice._is_requirement(requirement text) returns boolean
language sql immutable
begin atomic
    select requirement operator(pg_catalog.~)
        ('^\s*[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\s*(\[[A-Za-z0-9._, -]*\])?\s*'
         '((~=|===?|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+(\s*,\s*(~=|===?|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+)*)?\s*$');
end;
comment on function sluice._is_requirement(text) is 'Whether a text is a name of a package, with versions or without.';

create function sluice._assert_python_task(target text, options jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    kind  text := sluice._python_kind(_assert_python_task.target, _assert_python_task.options);
    wrong text := sluice._unknown_option(options, '{kind, interpreter, venv, path, requirements, env, secrets, cwd, grace_seconds, heartbeat_seconds, warm}');
    odd   text;
begin
    if wrong is null and btrim(coalesce(target, ''), E' \t\r\n') = '' then
        wrong := 'needs a target';
    elsif wrong is null and options ? 'kind' and (jsonb_typeof(options -> 'kind') <> 'string' or kind not in ('script', 'function', 'code')) then
        wrong := 'knows the kinds "script", "function" and "code"';
    elsif wrong is null and kind = 'script' and (left(target, 1) <> '/' or target ~ '[\n\r]') then
        wrong := 'needs the absolute path of its script';
    elsif wrong is null and kind = 'function' and sluice._python_kind(target, '{}') <> 'function' then
        wrong := 'needs its function as module:function';
    elsif wrong is null and options ? 'interpreter' and options ? 'venv' then
        wrong := 'has either interpreter or venv';
    elsif wrong is null and options ? 'interpreter'
        and (jsonb_typeof(options -> 'interpreter') <> 'string' or left(options ->> 'interpreter', 1) <> '/') then
        wrong := 'needs interpreter as an absolute path';
    elsif wrong is null and options ? 'venv'
        and (jsonb_typeof(options -> 'venv') <> 'string' or left(options ->> 'venv', 1) <> '/') then
        wrong := 'needs venv as an absolute path';
    elsif wrong is null and options ? 'path' and (jsonb_typeof(options -> 'path') <> 'array'
            or jsonb_path_exists(options -> 'path', '$[*] ? (!(@ starts with "/"))')
            or jsonb_path_exists(options -> 'path', '$[*] ? (@.type() != "string")')) then
        wrong := 'needs path as an array of absolute directories';
    elsif wrong is null and options ? 'requirements' and (jsonb_typeof(options -> 'requirements') <> 'array'
            or jsonb_path_exists(options -> 'requirements', '$[*] ? (@.type() != "string")')) then
        wrong := 'needs requirements as an array of strings';
    elsif wrong is null and options ? 'requirements' then
        select r into odd from jsonb_array_elements_text(options -> 'requirements') as r where not sluice._is_requirement(r) limit 1;
        if found then
            raise exception using
                errcode = 'SL006',
                message = format('"%s" is not a requirement', left(odd, 64)),
                detail  = 'A requirement is the name of a package, and which versions will do; URLs and markers cannot be checked.',
                hint    = 'Write it as pip does, for example "numpy >= 1.24, < 3".';
        end if;
    end if;
    if wrong is null and options ? 'heartbeat_seconds' and (jsonb_typeof(options -> 'heartbeat_seconds') <> 'number'
            or not (options -> 'heartbeat_seconds')::numeric between 1 and 86400) then
        wrong := 'needs heartbeat_seconds from 1 to 86400';
    end if;
    if wrong is null and options ? 'warm' and jsonb_typeof(options -> 'warm') <> 'boolean' then
        wrong := 'needs warm as true or false';
    end if;
    wrong := coalesce(wrong, sluice._wrong_program_option(options));

    if wrong is not null then
        raise exception using
            errcode = 'SL006',
            message = format('a python task %s', wrong),
            hint    = 'The target is the path of a script, module:function, or code, for example ''return payload["a"] + 1''.';
    end if;
end
$$;
comment on function sluice._assert_python_task(text, jsonb) is 'Raises SL006 for a target or options that the python executor does not understand.';

-- Http

create function sluice._assert_http_task(target text, options jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    wrong text := sluice._unknown_option(options, '{headers, secret, timeout_seconds}');
begin
    if wrong is null and (target is null or length(target) > 2048
            or target !~* '^https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?([/?][!-~]*)?$' or strpos(target, '#') > 0) then
        wrong := 'needs a target that is an http or https URL of at most 2048 characters, without user, password and fragment';
    elsif wrong is null and options ? 'headers' and (jsonb_typeof(options -> 'headers') <> 'object'
            or jsonb_path_exists(options -> 'headers', '$.* ? (@.type() != "string")')) then
        wrong := 'needs headers as an object of strings';
    elsif wrong is null and options ? 'headers' then
        select case
            when h.key !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]{1,128}$' then format('has a header with the name "%s"', left(h.key, 64))
            when h.value ~ '[^\t -~]' or length(h.value) not between 1 and 4096 then format('has a header "%s" that is not 1 to 4096 printable ASCII characters', h.key)
            when lower(h.key) ~ '^(sluice-.*|traceparent|host|content-length|content-type|transfer-encoding|connection|keep-alive|te|trailer|upgrade|expect|proxy-.*)$'
                then format('cannot set the header "%s"', h.key) end as problem
        into wrong
        from jsonb_each_text(options -> 'headers') as h order by problem limit 1;
    end if;
    if wrong is null and options ? 'secret' and (jsonb_typeof(options -> 'secret') <> 'string'
            or options ->> 'secret' !~ '^[A-Za-z0-9_.-]{1,128}$') then
        wrong := 'needs secret as the name of a secret of the sidecar';
    elsif wrong is null and options ? 'timeout_seconds' and (jsonb_typeof(options -> 'timeout_seconds') <> 'number'
            or not (options -> 'timeout_seconds')::numeric between 1 and 3600) then
        wrong := 'needs timeout_seconds from 1 to 3600';
    end if;

    if wrong is not null then
        raise exception using
            errcode = 'SL006',
            message = format('an http task %s', wrong),
            hint    = 'For example target => ''https://example.com/hook'', options => ''{"secret": "hook", "timeout_seconds": 10}''.';
    end if;
end
$$;
comment on function sluice._assert_http_task(text, jsonb) is 'Raises SL006 for a target or options that the http executor does not understand.';

create function sluice._assert_task_for(executor text, target text, options jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    case _assert_task_for.executor
        when 'process' then perform sluice._assert_process_options(_assert_task_for.options);
        when 'python' then perform sluice._assert_python_task(_assert_task_for.target, _assert_task_for.options);
        when 'http' then perform sluice._assert_http_task(_assert_task_for.target, _assert_task_for.options);
        else null;
    end case;
end
$$;
comment on function sluice._assert_task_for(text, text, jsonb) is 'Raises SL006 for what the executor of a task does not understand.';

-- Where the target says what it is, that is decided once, here, and not again by each sidecar.
create function sluice._options_to_store(executor text, target text, options jsonb) returns jsonb
language sql immutable
begin atomic
    select case executor
        when 'python' then pg_catalog.jsonb_build_object('kind', sluice._python_kind(target, options)) operator(pg_catalog.||) options
        else options end;
end;
comment on function sluice._options_to_store(text, text, jsonb) is 'The options of a task as they are kept: of a python task with its kind.';
