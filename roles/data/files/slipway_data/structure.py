"""What surrounds the rows, as far as two major versions write it alike: schemas, roles, sequences."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from slipway_data import fingerprint
from slipway_data.host import Server

# Left out is what versions write in another way though it is the same: the text of views, NOT NULL
# as a constraint of its own (18), the privilege MAINTAIN (17), and what belongs to an extension.
_STRUCTURE = """
WITH own AS (
  SELECT oid, nspname, nspowner FROM pg_namespace
  WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND nspname !~ '^pg_(toast|temp)'
), member AS (
  SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), rel AS (
  SELECT pg_class.*, format('%I.%I', nspname, relname) AS name FROM pg_class JOIN own ON own.oid = relnamespace
  WHERE NOT EXISTS (SELECT FROM member WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid)
)
SELECT json_build_array('schemas', nspname, 0, pg_get_userbyid(nspowner)) FROM own
WHERE NOT EXISTS (SELECT FROM member WHERE classid = 'pg_namespace'::regclass AND objid = own.oid)
UNION ALL
SELECT json_build_array('relations', name, 0, concat_ws(' ', relkind, relpersistence, pg_get_userbyid(relowner),
  relispartition, relrowsecurity, relforcerowsecurity, relreplident, array_to_string(reloptions, ',')))
FROM rel
UNION ALL
SELECT json_build_array('columns', format('%s.%I', name, attname), 0, concat_ws(' ', format_type(atttypid, atttypmod),
  attnotnull, attidentity, attgenerated, attcollation::regcollation, pg_get_expr(adbin, adrelid)))
FROM rel JOIN pg_attribute ON attrelid = rel.oid LEFT JOIN pg_attrdef ON adrelid = rel.oid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
UNION ALL
SELECT json_build_array('constraints', format('%s.%I', name, conname), 0, pg_get_constraintdef(pg_constraint.oid))
FROM rel JOIN pg_constraint ON conrelid = rel.oid WHERE contype <> 'n' AND conparentid = 0
UNION ALL
SELECT json_build_array('indexes', name, 0, concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid))
FROM rel JOIN pg_index ON indexrelid = rel.oid
UNION ALL
SELECT json_build_array('functions', pg_proc.oid::regprocedure, 0, concat_ws(' ', md5(prosrc), lanname, provolatile,
  prosecdef, pg_get_function_result(pg_proc.oid), pg_get_userbyid(proowner)))
FROM pg_proc JOIN own ON own.oid = pronamespace JOIN pg_language ON pg_language.oid = prolang
WHERE NOT EXISTS (SELECT FROM member WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid)
UNION ALL
SELECT json_build_array('triggers', format('%s.%I', name, tgname), 0, concat_ws(' ', pg_get_triggerdef(pg_trigger.oid), tgenabled))
FROM rel JOIN pg_trigger ON tgrelid = rel.oid WHERE NOT tgisinternal AND tgparentid = 0
UNION ALL
SELECT json_build_array('enums', enumtypid::regtype, 0, string_agg(enumlabel, ',' ORDER BY enumsortorder))
FROM pg_enum GROUP BY enumtypid
UNION ALL
SELECT json_build_array('policies', format('%s.%I', name, polname), 0,
  concat_ws(' ', polcmd, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)))
FROM rel JOIN pg_policy ON polrelid = rel.oid
UNION ALL
SELECT json_build_array('privileges', name, 0, string_agg(format('%s %s %s', pg_get_userbyid(grantee), privilege_type, is_grantable), ','
  ORDER BY pg_get_userbyid(grantee), privilege_type))
FROM rel, aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)))
WHERE privilege_type <> 'MAINTAIN' GROUP BY name
UNION ALL
SELECT json_build_array('publications', pubname, 0, concat_ws(' ', puballtables, pubinsert, pubupdate, pubdelete)) FROM pg_publication;
"""

_SEQUENCES = """
SELECT format('SELECT json_build_array(''sequences'', %L, last_value, is_called) FROM %I.%I',
  format('%I.%I', nspname, relname), nspname, relname)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'S' AND relpersistence = 'p' AND nspname !~ '^pg_(toast|temp)'
\\gexec
"""

# Of the whole server. A password is told by a checksum of its hash.
_ROLES = """
SELECT json_build_array('roles', rolname, 0, concat_ws(' ', rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,
  rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil, md5(rolpassword)))
FROM pg_authid WHERE rolname !~ '^pg_'
UNION ALL
SELECT json_build_array('memberships', format('%s in %s', pg_get_userbyid(member), pg_get_userbyid(roleid)), 0,
  string_agg(DISTINCT admin_option::text, ','))
FROM pg_auth_members WHERE pg_get_userbyid(roleid) !~ '^pg_' OR pg_get_userbyid(member) !~ '^pg_' GROUP BY member, roleid
UNION ALL
SELECT json_build_array('settings', format('of %s in %s', coalesce(nullif(setrole, 0)::regrole::text, 'everybody'), coalesce(datname, 'all')),
  0, array_to_string(setconfig, ','))
FROM pg_db_role_setting LEFT JOIN pg_database ON pg_database.oid = setdatabase
UNION ALL
SELECT json_build_array('databases', datname, 0, concat_ws(' ', pg_encoding_to_char(encoding), datcollate, datctype,
  pg_get_userbyid(datdba), datconnlimit, datistemplate))
FROM pg_database WHERE datname <> 'template0';
"""


def of_database(server: Server, database: str) -> dict[str, dict[str, list[Any]]]:
    """Return the structure of a database, in the form of its fingerprint."""
    return _gathered(server.ask(fingerprint.SAME + _STRUCTURE + _SEQUENCES, database))


def of_server(server: Server) -> fingerprint.Fingerprint:
    """Return rows, checksums and structure of all that a server holds."""
    found = {}
    for name in server.databases():
        found[name] = {
            **fingerprint.of_database(server, name),
            **of_database(server, name),
        }
    found["the server"] = _gathered(server.ask(fingerprint.SAME + _ROLES))
    return found


def of_both(one: Server, other: Server) -> tuple[fingerprint.Fingerprint, fingerprint.Fingerprint]:
    """Return what two servers hold, asked at the same time."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(of_server, (one, other))
    return first, second


def _gathered(text: str) -> dict[str, dict[str, list[Any]]]:
    found: dict[str, dict[str, list[Any]]] = {}
    for line in text.splitlines():
        kind, name, first, second = json.loads(line)
        found.setdefault(kind, {})[name] = [first, str(second)]
    return found
