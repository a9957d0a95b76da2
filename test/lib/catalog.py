"""What a database's catalog says of Sluice: two databases, or one before and after, can be compared.

CATALOG is a query without oids in its answer: schemas, relations with columns in order and options, constraints, indexes,
partitions, views, functions, types, owners, grants, comments, and what belongs to the extension.  shape() is for databases
that were set up in different weeks.
"""

import re


def shape(rows):
    """The facts of CATALOG with the weeks taken out, of which one database may have more than another."""
    def any_week(text):
        text = re.sub(r"_p\d{8}", "_pWEEK", text)
        text = re.sub(r"FROM \('-?\d+'\) TO \('-?\d+'\)", "FROM … TO …", text)
        return re.sub(r"the week of [\d-]+", "the week of …", text)
    return {tuple(map(any_week, row)) for row in rows}


CATALOG = """
    with ours as (
        select c.oid, c.relname, c.relkind, n.nspname || '.' || c.relname as name
        from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname in ('sluice', 'sluice_storage')
    ),
    acl as (
        select what, name, coalesce(grantee.rolname, 'public') || ' may ' || a.privilege_type
                   || case when a.is_grantable then ' and grant it' else '' end || ' from ' || grantor.rolname as fact
        from (
            select 'schema' as what, nspname as name, coalesce(nspacl, acldefault('n', nspowner)) as acl from pg_namespace
            where nspname in ('sluice', 'sluice_storage')
            union all
            select 'relation', o.name, coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's'::"char" else 'r' end, c.relowner))
            from ours as o join pg_class as c using (oid) where c.relkind in ('r', 'p', 'v', 'S')
            union all
            select 'function', p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner)) from pg_proc as p
            where p.pronamespace = to_regnamespace('sluice')
        ) as granted
        cross join lateral aclexplode(granted.acl) as a
        join pg_roles as grantor on grantor.oid = a.grantor
        left join pg_roles as grantee on grantee.oid = a.grantee
    )
    select what, name, fact from acl
    union all
    select 'schema', nspname, 'owner ' || pg_get_userbyid(nspowner) from pg_namespace where nspname in ('sluice', 'sluice_storage')
    union all
    select 'relation', o.name, format('kind %s, owner %s, persistence %s, options %s, bound %s, key %s, replica identity %s, row security %s %s',
               c.relkind, pg_get_userbyid(c.relowner), c.relpersistence, c.reloptions, pg_get_expr(c.relpartbound, c.oid),
               pg_get_partkeydef(c.oid), c.relreplident, c.relrowsecurity, c.relforcerowsecurity)
    from ours as o join pg_class as c using (oid)
    union all
    select 'column', o.name, format('%s. %s %s %s not null %s default %s identity "%s" generated "%s" compression "%s" statistics %s options %s acl %s',
               row_number() over (partition by o.oid order by a.attnum), a.attname, format_type(a.atttypid, a.atttypmod),
               a.attstorage, a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attcompression,
               a.attstattarget,
               array(select x from unnest(a.attoptions) as x where x ~ '^n_distinct'), a.attacl)
    from ours as o join pg_attribute as a on a.attrelid = o.oid left join pg_attrdef as d on d.adrelid = o.oid and d.adnum = a.attnum
    where a.attnum > 0 and not a.attisdropped
    union all
    select 'constraint', o.name, k.conname || ' ' || pg_get_constraintdef(k.oid)
    from ours as o join pg_constraint as k on k.conrelid = o.oid
    union all
    select 'index', o.name, pg_get_indexdef(o.oid) from ours as o where o.relkind in ('i', 'I')
    union all
    select 'view', o.name, pg_get_viewdef(o.oid) from ours as o where o.relkind = 'v'
    union all
    select 'sequence', o.name, s.seqtypid::regtype || ' ' || s.seqstart || ' ' || s.seqincrement || ' ' || s.seqmin || ' ' || s.seqmax
    from ours as o join pg_sequence as s on s.seqrelid = o.oid
    union all
    select 'trigger', o.name, pg_get_triggerdef(t.oid) from ours as o join pg_trigger as t on t.tgrelid = o.oid where not t.tgisinternal
    union all
    select 'function', p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid)) || ' owner ' || pg_get_userbyid(p.proowner)
    from pg_proc as p where p.pronamespace = to_regnamespace('sluice')
    union all
    select 'type', t.oid::regtype::text, format('type %s, owner %s, of %s, default %s', t.typtype, pg_get_userbyid(t.typowner),
               nullif(t.typbasetype, 0)::regtype, t.typdefault)
    from pg_type as t
    where t.typnamespace in (to_regnamespace('sluice'), to_regnamespace('sluice_storage')) and t.typrelid = 0
    union all
    select 'member', pg_describe_object(d.classid, d.objid, d.objsubid), 'of the extension'
    from pg_depend as d join pg_extension as e on e.oid = d.refobjid and d.refclassid = 'pg_extension'::regclass
    where e.extname = 'sluice' and d.deptype = 'e'
    union all
    select 'default right', coalesce(n.nspname, 'any schema'), format('%s %s %s', pg_get_userbyid(d.defaclrole), d.defaclobjtype, d.defaclacl)
    from pg_default_acl as d left join pg_namespace as n on n.oid = d.defaclnamespace
    union all
    select 'comment', identity.identity, d.description
    from pg_description as d
    cross join lateral pg_identify_object(d.classoid, d.objoid, d.objsubid) as identity
    where identity.schema in ('sluice', 'sluice_storage') or identity.type = 'schema' and identity.name in ('sluice', 'sluice_storage')
    order by 1, 2, 3
"""
