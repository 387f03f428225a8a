"""What a database has beside what is in it: what makes it, and what is set on it."""

from __future__ import annotations

import json
from typing import Any

from slipway_data.host import ProblemError, Server

# The columns differ between versions; a row as JSON has those that there are.
_LOOK = """
SELECT to_jsonb(d) - 'datacl' || jsonb_build_object(
  'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding), 'tablespace', spcname,
  'comment', shobj_description(d.oid, 'pg_database'),
  'labels', (SELECT jsonb_agg(jsonb_build_array(provider, label)) FROM pg_shseclabel
             WHERE objoid = d.oid AND classoid = 'pg_database'::regclass),
  'privileges', (SELECT jsonb_agg(jsonb_build_array(pg_get_userbyid(grantor),
                   CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee) END, privilege_type, is_grantable))
                 FROM aclexplode(datacl)),
  'granted', datacl IS NOT NULL,
  'settings', (SELECT jsonb_agg(jsonb_build_array(CASE setrole WHEN 0 THEN '' ELSE pg_get_userbyid(setrole) END, setting))
               FROM pg_db_role_setting, unnest(setconfig) AS setting WHERE setdatabase = d.oid))
FROM pg_database AS d JOIN pg_tablespace AS t ON t.oid = dattablespace WHERE datname = :'name';
"""
# Their values are lists of quoted names, which only Postgres itself sets again as they are.
_LISTS = ("search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries")


def of(server: Server, name: str) -> dict[str, Any]:
    """Return what a database has; raise ProblemError when there is no such database."""
    found = server.ask(_LOOK, name=name)
    if not found:
        raise ProblemError(f"there is no database '{name}' in {server.container}")
    made: dict[str, Any] = json.loads(found)
    return made


def name_of(text: str) -> str:
    """Return a name as SQL quotes it."""
    return '"' + text.replace('"', '""') + '"'


def value_of(text: str) -> str:
    """Return a value as SQL quotes it, whatever standard_conforming_strings says."""
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else f"'{quoted}'"


def making(name: str, like: dict[str, Any]) -> str:
    """Return the statement that makes an empty database like another one."""
    locale = like.get("datlocale") or like.get("daticulocale")
    provider = {"i": "icu", "b": "builtin"}.get(like.get("datlocprovider", "c"))
    options = [
        f"OWNER {name_of(like['owner'])}", "TEMPLATE template0", f"ENCODING {value_of(like['encoding'])}",
        f"LC_COLLATE {value_of(like['datcollate'])}", f"LC_CTYPE {value_of(like['datctype'])}",
        f"TABLESPACE {name_of(like['tablespace'])}", f"CONNECTION LIMIT {like['datconnlimit']}",
    ]  # fmt: skip
    if provider:
        options += [f"LOCALE_PROVIDER {provider}", f"{provider}_LOCALE {value_of(str(locale))}"]
    elif "datlocprovider" in like:
        options.append("LOCALE_PROVIDER libc")
    if like.get("daticurules"):
        options.append(f"ICU_RULES {value_of(like['daticurules'])}")
    return f"CREATE DATABASE {name_of(name)} {' '.join(options)};\n"


def setting(name: str, like: dict[str, Any]) -> str:
    """Return the statements that set on a database, made by `making`, what is set on the other one."""
    database = name_of(name)
    lines = ["BEGIN;"]
    if like["comment"] is not None:
        lines.append(f"COMMENT ON DATABASE {database} IS {value_of(like['comment'])};")
    for provider, label in like["labels"] or []:
        lines.append(f"SECURITY LABEL FOR {name_of(provider)} ON DATABASE {database} IS {value_of(label)};")  # fmt: skip
    if like["granted"]:
        lines += _privileges(database, like["owner"], like["privileges"] or [])
    for role, one in like["settings"] or []:
        key, _, value = one.partition("=")
        target = (f"ROLE {name_of(role)} IN " if role else "") + f"DATABASE {database}"
        if key in _LISTS:
            lines.append(f"SELECT pg_catalog.set_config({value_of(key)}, {value_of(value)}, true) \\g /dev/null")  # fmt: skip
            lines.append(f"ALTER {target} SET {name_of(key)} FROM CURRENT;")
        else:
            lines.append(f"ALTER {target} SET {name_of(key)} TO {value_of(value)};")
    if like["datistemplate"]:
        lines.append(f"ALTER DATABASE {database} IS_TEMPLATE true;")
    return "\n".join([*lines, "COMMIT;\n"])


def _privileges(database: str, owner: str, granted: list[tuple[str, str, str, bool]]) -> list[str]:
    """Return the statements that grant what is granted, each by who granted it."""
    lines = [f"REVOKE ALL ON DATABASE {database} FROM PUBLIC, {name_of(owner)};"]
    # Who hands on a privilege has it from somebody: the owner, who has all, comes first.
    able = {(owner, kind) for kind in ("CREATE", "CONNECT", "TEMPORARY")}
    left = granted
    while left:
        now = [one for one in left if (one[0], one[2]) in able]
        if not now:
            break
        left = [one for one in left if one not in now]
        for grantor, grantee, kind, grantable in now:
            to = name_of(grantee) if grantee else "PUBLIC"
            more = " WITH GRANT OPTION" if grantable else ""
            lines += [f"SET LOCAL ROLE {name_of(grantor)};", f"GRANT {kind} ON DATABASE {database} TO {to}{more};", "RESET ROLE;"]  # fmt: skip
            if grantable:
                able.add((grantee, kind))
    return lines
