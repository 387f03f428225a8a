"""Two roles: the application's, which owns its database and is no superuser, and Slipway's own.

A cluster has one superuser that stays one, the role that it was made with (number 10). Where the
application came in as that one, it becomes Slipway's under another name, and the application gets a
role of its own with the same name and password: from then on new connections are no superuser's,
and those that are open go on as what they were.
"""

from __future__ import annotations

import re
import time

from slipway_data.host import ProblemError, Server, complaint_of

# What a statement waits for a lock, in ms: requests that queue behind it wait as long.
LOCK_MS = 250
# How long it is tried, in seconds.
PATIENCE = 120
# The application's role until the moment that it gets its name.
NEXT = "slipway_next"
PLAIN = "NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS INHERIT"

# What a statement holds may be a password's hash, so none of these is written to the server's log.
_SESSION = f"""
SET search_path = pg_catalog; SET lock_timeout = {LOCK_MS}; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic';
SET default_transaction_read_only = off; SET client_min_messages = 'error'; SET password_encryption = 'scram-sha-256'; SET lc_messages = 'C';
\\set VERBOSITY verbose
SELECT coalesce(to_regclass('pg_catalog.pg_publication_namespace')::text, '(SELECT 0::oid AS pnpubid WHERE false)') AS publications \\gset
"""

# Statements that give what roles own in this database to another one: as REASSIGN OWNED, which refuses for the role that a
# cluster was made with. Left out is what belongs to the system or to an extension, what goes along with something else, and what
# only a superuser may own (event triggers, foreign data wrappers, publications of everything, languages).
_OWNED = r"""
WITH old AS (
  SELECT oid AS role FROM pg_roles WHERE rolname = ANY (string_to_array(:'old', '|')) OR (:'boot' = 'yes' AND oid = 10)
), own AS (
  SELECT oid AS space, nspname AS inside FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), fixed AS (
  SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
  UNION ALL
  -- A sequence goes along with the table that it is for.
  SELECT classid, objid FROM pg_depend JOIN pg_class ON pg_class.oid = objid AND relkind = 'S'
  WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND refobjsubid > 0 AND deptype IN ('a', 'i')
), found (class, id, owner, what) AS (
  SELECT 'pg_namespace'::regclass, oid, nspowner, format('SCHEMA %I', inside) FROM pg_namespace JOIN own ON space = oid
  UNION ALL
  SELECT 'pg_class'::regclass, pg_class.oid, relowner, format('%s %s',
    CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
    pg_class.oid::regclass)
  FROM pg_class JOIN own ON space = relnamespace WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  UNION ALL
  SELECT 'pg_proc'::regclass, pg_proc.oid, proowner, format('ROUTINE %s', pg_proc.oid::regprocedure)
  FROM pg_proc JOIN own ON space = pronamespace
  UNION ALL
  SELECT 'pg_type'::regclass, t.oid, typowner, format('TYPE %s', t.oid::regtype)
  FROM pg_type AS t JOIN own ON space = typnamespace LEFT JOIN pg_class AS c ON c.oid = typrelid
  WHERE typtype <> 'm' AND (typrelid = 0 OR c.relkind = 'c') AND NOT EXISTS (SELECT FROM pg_type AS one WHERE one.typarray = t.oid)
  UNION ALL
  SELECT 'pg_operator'::regclass, pg_operator.oid, oprowner, format('OPERATOR %s', pg_operator.oid::regoperator)
  FROM pg_operator JOIN own ON space = oprnamespace
  UNION ALL
  SELECT 'pg_opclass'::regclass, pg_opclass.oid, opcowner, format('OPERATOR CLASS %I.%I USING %I', inside, opcname, amname)
  FROM pg_opclass JOIN own ON space = opcnamespace JOIN pg_am ON pg_am.oid = opcmethod
  UNION ALL
  SELECT 'pg_opfamily'::regclass, pg_opfamily.oid, opfowner, format('OPERATOR FAMILY %I.%I USING %I', inside, opfname, amname)
  FROM pg_opfamily JOIN own ON space = opfnamespace JOIN pg_am ON pg_am.oid = opfmethod
  UNION ALL
  SELECT 'pg_collation'::regclass, pg_collation.oid, collowner, format('COLLATION %I.%I', inside, collname)
  FROM pg_collation JOIN own ON space = collnamespace
  UNION ALL
  SELECT 'pg_conversion'::regclass, pg_conversion.oid, conowner, format('CONVERSION %I.%I', inside, conname)
  FROM pg_conversion JOIN own ON space = connamespace
  UNION ALL
  SELECT 'pg_ts_config'::regclass, pg_ts_config.oid, cfgowner, format('TEXT SEARCH CONFIGURATION %I.%I', inside, cfgname)
  FROM pg_ts_config JOIN own ON space = cfgnamespace
  UNION ALL
  SELECT 'pg_ts_dict'::regclass, pg_ts_dict.oid, dictowner, format('TEXT SEARCH DICTIONARY %I.%I', inside, dictname)
  FROM pg_ts_dict JOIN own ON space = dictnamespace
  UNION ALL
  SELECT 'pg_statistic_ext'::regclass, pg_statistic_ext.oid, stxowner, format('STATISTICS %I.%I', inside, stxname)
  FROM pg_statistic_ext JOIN own ON space = stxnamespace
  UNION ALL
  SELECT 'pg_foreign_server'::regclass, oid, srvowner, format('SERVER %I', srvname) FROM pg_foreign_server
  UNION ALL
  SELECT 'pg_publication'::regclass, oid, pubowner, format('PUBLICATION %I', pubname) FROM pg_publication
  WHERE NOT puballtables AND coalesce(to_jsonb(pg_publication) ->> 'puballsequences', 'false') = 'false'
    AND oid NOT IN (SELECT pnpubid FROM :publications AS whole)
  UNION ALL
  SELECT 'pg_largeobject'::regclass, oid, lomowner, format('LARGE OBJECT %s', oid) FROM pg_largeobject_metadata
  UNION ALL
  SELECT 'pg_database'::regclass, oid, datdba, format('DATABASE %I', datname) FROM pg_database WHERE datname = current_database()
)
SELECT format('ALTER %s OWNER TO %I', what, :'heir') FROM found JOIN old ON role = owner
WHERE NOT EXISTS (SELECT FROM fixed WHERE classid = class AND objid = id)
"""

_COUNT = f"SELECT count(*) FROM (\n{_OWNED}\n) AS them;"  # noqa: S608

# What there is besides: default privileges, and how foreign servers are entered. Neither has an owner that could be changed.
_BESIDES = r"""
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s GRANT %s ON %s TO %s%s', :'new',
  CASE WHEN defaclnamespace <> 0 THEN format(' IN SCHEMA %s', defaclnamespace::regnamespace) ELSE '' END, privilege_type, kind,
  CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(CASE grantee WHEN 10 THEN :'new' ELSE pg_get_userbyid(grantee) END) END,
  CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_default_acl CROSS JOIN aclexplode(defaclacl) JOIN (VALUES ('r'::"char", 'TABLES'), ('S', 'SEQUENCES'), ('f', 'FUNCTIONS'), ('T', 'TYPES'),
  ('n', 'SCHEMAS')) AS kinds (code, kind) ON code = defaclobjtype
WHERE defaclrole = 10
UNION ALL
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I REVOKE ALL ON %s FROM PUBLIC', :'new', CASE defaclobjtype WHEN 'f' THEN 'FUNCTIONS' ELSE 'TYPES' END)
FROM pg_default_acl WHERE defaclrole = 10 AND defaclnamespace = 0 AND defaclobjtype IN ('f', 'T')
  AND NOT EXISTS (SELECT FROM aclexplode(defaclacl) WHERE grantee = 0)
UNION ALL
SELECT format('CREATE USER MAPPING IF NOT EXISTS FOR %I SERVER %I%s', :'new', srvname,
  (SELECT ' OPTIONS (' || string_agg(format('%I %L', option_name, option_value), ', ') || ')' FROM pg_options_to_table(umoptions)))
FROM pg_user_mapping JOIN pg_foreign_server ON pg_foreign_server.oid = umserver WHERE umuser = 10
\gexec
"""

# A superuser was in need of no privilege; what belongs to somebody else stays within reach by a membership.
_WITHIN_REACH = r"""
SELECT DISTINCT format('GRANT %I TO %I', rolname, :'new')
FROM pg_roles JOIN (
  SELECT relowner FROM pg_class UNION SELECT nspowner FROM pg_namespace UNION SELECT proowner FROM pg_proc UNION SELECT typowner FROM pg_type
) AS owners (role) ON role = pg_roles.oid
WHERE NOT rolsuper AND rolname !~ '^pg_' AND rolname <> :'new' AND NOT pg_has_role(pg_roles.oid, quote_ident(:'new')::regrole, 'MEMBER')
  AND NOT pg_has_role(quote_ident(:'new')::regrole, pg_roles.oid, 'MEMBER')
\gexec
"""

# A value of a list is kept as it was quoted; an empty word in one is no word of SQL, so each is written as a string.
_SETTINGS = r"""
SELECT format('ALTER ROLE %I%s SET %I TO %s', :'new', CASE WHEN setdatabase <> 0 THEN format(' IN DATABASE %I', datname) ELSE '' END, name,
  CASE WHEN name IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries') THEN coalesce(
    (SELECT string_agg(quote_literal(coalesce(replace(word[1], '""', '"'), word[2])), ', ' ORDER BY place)
     FROM regexp_matches(value, '"((?:[^"]|"")*)"|([^,\s]+)', 'g') WITH ORDINALITY AS words (word, place)), '''''')
  ELSE quote_literal(value) END)
FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS entry
  CROSS JOIN LATERAL (SELECT split_part(entry, '=', 1), substr(entry, strpos(entry, '=') + 1)) AS pair (name, value)
  LEFT JOIN pg_database ON pg_database.oid = setdatabase
WHERE setrole = 10
UNION ALL
SELECT format('ALTER ROLE %I%s RESET ALL', :'user', CASE WHEN setdatabase <> 0 THEN format(' IN DATABASE %I', datname) ELSE '' END)
FROM pg_db_role_setting LEFT JOIN pg_database ON pg_database.oid = setdatabase WHERE setrole = 10
\gexec
"""

# Whoever may become the application may not become a superuser with it.
_MEMBERS = r"""
SELECT format('GRANT %I TO %I%s', granted, taker,
  CASE WHEN row ? 'inherit_option' THEN format(' WITH ADMIN %s, INHERIT %s, SET %s', row ->> 'admin_option', row ->> 'inherit_option', row ->> 'set_option')
    WHEN row ->> 'admin_option' = 'true' THEN ' WITH ADMIN OPTION' ELSE '' END)
FROM (SELECT to_jsonb(m) AS row, CASE roleid WHEN 10 THEN :'new' ELSE pg_get_userbyid(roleid) END AS granted,
    CASE member WHEN 10 THEN :'new' ELSE pg_get_userbyid(member) END AS taker
  FROM pg_auth_members AS m WHERE 10 IN (roleid, member)) AS those
WHERE granted !~ '^pg_' AND granted <> taker AND NOT pg_has_role(granted, taker, 'MEMBER') AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = granted)
UNION ALL
SELECT format('REVOKE %I FROM %I%s CASCADE', :'user', pg_get_userbyid(member),
  CASE WHEN to_jsonb(m) ? 'inherit_option' THEN format(' GRANTED BY %I', pg_get_userbyid(grantor)) ELSE '' END)
FROM pg_auth_members AS m WHERE roleid = 10
\gexec
"""

# Nobody renames the role that asks, so another one does, which is there within the transaction alone.
_FLIP = r"""
SELECT rolname AS boot, coalesce(rolpassword, '') AS hash, rolconnlimit AS connections, coalesce(rolvaliduntil::text, 'infinity') AS until
FROM pg_authid WHERE oid = 10 \gset
BEGIN;
{strays} \gexec
DROP ROLE IF EXISTS slipway_flip;
CREATE ROLE slipway_flip SUPERUSER;
SET LOCAL SESSION AUTHORIZATION slipway_flip;
ALTER ROLE :"boot" RENAME TO :"user";
RESET SESSION AUTHORIZATION;
DROP ROLE slipway_flip;
{named}
{settings}
{members}
\password :"user"
{secret}
{secret}
ALTER ROLE :"user" CONNECTION LIMIT -1 VALID UNTIL 'infinity';
{share}
COMMIT;
"""
# The application's own takes the name that the other one had, and its password.
_SAME_NAME = """
ALTER ROLE :"next" RENAME TO :"new";
{password}
ALTER ROLE :"new" LOGIN CONNECTION LIMIT :connections VALID UNTIL :'until';
"""
# It has a name of its own; whoever still comes in by the old one gets the same.
_OTHER_NAME = f"""
ALTER ROLE :"new" LOGIN {PLAIN};
"""
_KEPT_NAME = f"""
CREATE ROLE :"boot" LOGIN {PLAIN} CONNECTION LIMIT :connections VALID UNTIL :'until';
{{password}}
GRANT :"new" TO :"boot";
"""

# Until its sessions are gone, what a role makes is at once the application's to use.
_SHARE = """
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I {verb} ALL ON %s {preposition} %I', :'giver', kind, :'new')
FROM unnest(ARRAY['TABLES', 'SEQUENCES', 'FUNCTIONS', 'TYPES', 'SCHEMAS']) AS kind \\gexec
"""
GIVE = _SHARE.format(verb="GRANT", preposition="TO")
TAKEN = _SESSION + _SHARE.format(verb="REVOKE", preposition="FROM")
# Nothing that a moment's patience mends: a lock, a deadlock, something that was dropped or changed at the same time.
PASSING = ("55P03", "40P01", "42704", "42P01", "42883", "3F000", "XX000")


def boot_of(server: Server) -> str:
    """Return the name of the role that a cluster was made with."""
    return server.ask("SELECT rolname FROM pg_roles WHERE oid = 10;")


def known(server: Server, role: str) -> bool:
    """Return whether there is a role."""
    return server.ask("SELECT count(*) FROM pg_roles WHERE rolname = :'role';", role=role) == "1"


def enters(server: Server, role: str) -> bool:
    """Return whether there is a role that may come in."""
    return server.ask("SELECT count(*) FROM pg_roles WHERE rolname = :'role' AND rolcanlogin;", role=role) == "1"  # fmt: skip


def own_name(server: Server, owner: str) -> str:
    """Return a name for Slipway's own role: one that is not the application's, and that nobody has."""
    for name in ("slipway", "slipway_admin", *(f"slipway_admin{number}" for number in range(2, 9))):
        taken = server.ask("SELECT count(*) FROM pg_roles WHERE rolname = :'name' AND oid <> 10;", name=name)  # fmt: skip
        if name != owner and taken == "0":
            return name
    raise ProblemError("the names slipway and slipway_admin are taken in Postgres: rename one of these roles in `./slipway psql`")  # fmt: skip


def databases(server: Server, database: str) -> list[str]:
    """Return the databases of which the application owns what is in them, its own one first."""
    names = server.ask(
        "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND (datname <> 'postgres' OR :'own' = 'postgres')"
        " ORDER BY datname <> :'own', 1;", own=database,
    )  # fmt: skip
    return names.splitlines()


def _given(old: list[str], boot: bool, new: str) -> dict[str, str]:
    """Return the variables of the statements that change owners."""
    return {"old": "|".join(old), "boot": "yes" if boot else "no", "heir": new}


def owned(server: Server, database: str, old: list[str], boot: bool, new: str) -> int:
    """Return how much in a database is not the application's yet."""
    text = _SESSION + _COUNT
    return int(server.ask(text, database, **_given(old, boot, new)))


def errors_of(text: str) -> list[tuple[str, str]]:
    """Return the errors in what psql wrote: their code and sentence."""
    return re.findall(r"(?:ERROR|FATAL): +(\w{5}): (.*)", text)


def hand_over(server: Server, database: str, old: list[str], new: str, boot: bool = True, patience: float = PATIENCE) -> int:  # fmt: skip
    """Give what roles own in a database to another one; return how much that was.

    Each thing by itself, and no longer than a moment in wait for a lock. Raise ProblemError when
    one is in use all the time; what was given stays given, and the next run goes on.
    """
    total = left = owned(server, database, old, boot, new)
    deadline = time.monotonic() + patience
    while left:
        _, _, err = server.try_ask(
            f"{_SESSION}\\set ON_ERROR_STOP 0\n{_OWNED}\n\\gexec\n", database, **_given(old, boot, new)
        )  # fmt: skip
        left = owned(server, database, old, boot, new)
        if not left:
            break
        errors = errors_of(err)
        grave = [text for code, text in errors if code not in PASSING]
        if grave or time.monotonic() > deadline:
            why = grave[0] if grave else blocker(server, database) or (errors or [("", "they are in use")])[-1][1]  # fmt: skip
            raise ProblemError(
                f"{left} objects of the database {database} could not be given to the role {new} ({why}): deploy again when that is over"
            )
        time.sleep(0.5)
    return total


def blocker(server: Server, database: str) -> str:
    """Return the transaction of a database that runs longest, where one does."""
    return server.ask(
        "SELECT format('a transaction runs since %s s: pid %s, %s', extract(epoch FROM now() - xact_start)::int, pid,"
        " left(regexp_replace(query, '\\s+', ' ', 'g'), 60)) FROM pg_stat_activity WHERE datname = :'name' AND pid <> pg_backend_pid()"
        " AND xact_start < now() - interval '1 s' ORDER BY xact_start LIMIT 1;", name=database,
    )  # fmt: skip


def set_password(server: Server, role: str, password: str) -> None:
    """Set a role's password; psql hashes it, so that it stands in no statement and no log."""
    server.ask(f'{_SESSION}\\password :"role"\n{password}\n{password}\n', role=role)


def take_over(server: Server, database: str, owner: str, secret: str, keep: bool = False, patience: float = PATIENCE) -> str:  # fmt: skip
    """Make the role that a cluster was made with Slipway's own, and return its name from then on.

    What it owns goes to owner, which gets its password where it gets its name; `secret` is the new
    password of Slipway's own. With keep somebody may still come in by a name that is not owner's.
    Killed at any moment, either nothing was done that shows, or all of it; raise ProblemError for
    the former.
    """
    boot, user = boot_of(server), own_name(server, owner)
    new = NEXT if owner == boot else owner
    if not known(server, new):
        server.ask(f'CREATE ROLE :"new" NOLOGIN {PLAIN};', new=new)
    for name in databases(server, database):
        hand_over(server, name, [], new, patience=patience)
        server.ask(f"{_SESSION}{_BESIDES}{_WITHIN_REACH}", name, new=new)
    flip(server, database, owner, user, secret, keep and boot != owner, patience)
    return user


def flip(server: Server, database: str, owner: str, user: str, secret: str, keep: bool, patience: float) -> None:  # fmt: skip
    """Change the names in one transaction."""
    boot = boot_of(server)
    hashed = server.ask("SELECT rolpassword IS NOT NULL FROM pg_authid WHERE oid = 10;") == "t"
    password = "ALTER ROLE :\"{}\" PASSWORD :'hash';" if hashed else ""
    if owner == boot:
        named = _SAME_NAME.format(password=password.format("new"))
    else:
        named = _OTHER_NAME + (_KEPT_NAME.format(password=password.format("boot")) if keep else "")
    text = _SESSION + _FLIP.format(
        strays=_OWNED, named=named, settings=_SETTINGS, members=_MEMBERS, secret=secret,
        share=GIVE.replace(":'giver'", ":'user'"),
    )  # fmt: skip
    deadline = time.monotonic() + patience
    while True:
        code, _, err = server.try_ask(
            text, database, next=NEXT, new=owner, user=user, **_given([], True, NEXT if owner == boot else owner)
        )  # fmt: skip
        if not code:
            return
        errors = errors_of(err)
        if (
            any(code not in PASSING for code, _ in errors)
            or not errors
            or time.monotonic() > deadline
        ):
            why = errors[0][1] if errors else complaint_of(err)
            raise ProblemError(f"the application could not be given a role of its own ({why})")
        time.sleep(0.5)


def change(server: Server, database: str, old: str, former: list[str], owner: str) -> None:
    """Let another role own the application's database; those before it may do what it may.

    A release that serves with the old one goes on.
    """
    for name in (old, *former):
        if name == owner or not known(server, name):
            continue
        # Back and forth: nobody is a member of his own member.
        server.ask('REVOKE :"old" FROM :"new"; GRANT :"new" TO :"old";', old=name, new=owner)
        for place in databases(server, database):
            server.ask(f"{_SESSION}{GIVE}", place, giver=name, new=owner)


def keep_in_order(server: Server, database: str, owner: str, former: list[str]) -> list[str]:
    """Give the application what it does not own yet, and nothing of a superuser's; return what was done."""
    said = []
    if server.ask("SELECT rolsuper FROM pg_roles WHERE rolname = :'role';", role=owner) == "t":
        server.ask(f'ALTER ROLE :"role" {PLAIN};', role=owner)
        said.append(f"the role {owner} is no superuser any more")
    count = sum(hand_over(server, name, former, owner) for name in databases(server, database))
    if count:
        said.append(f"{count} objects were given to the role {owner}")
    return said


def create(server: Server, owner: str, password: str) -> None:
    """Create the application's role."""
    if not known(server, owner):
        server.ask(f'CREATE ROLE :"role" NOLOGIN {PLAIN};', role=owner)
    set_password(server, owner, password)
    server.ask('ALTER ROLE :"role" LOGIN;', role=owner)


def superusers(server: Server) -> list[str]:
    """Return who else may do everything."""
    return server.ask("SELECT rolname FROM pg_roles WHERE rolsuper AND oid <> 10 ORDER BY 1;").splitlines()  # fmt: skip


def extend(server: Server, database: str, wanted: list[str]) -> list[str]:
    """Make the extensions that are missing; raise ProblemError, with none made, for an unknown one."""
    have = server.ask("SELECT extname FROM pg_extension;", database).splitlines()
    missing = [name for name in wanted if name not in have]
    if not missing:
        return []
    there = server.ask("SELECT name FROM pg_available_extensions;", database).splitlines()
    unknown = [name for name in missing if name not in there]
    if unknown:
        raise ProblemError(
            f"postgres_extensions names {', '.join(unknown)}, which this image of Postgres does not have: take it out, or use an image that has it"
        )
    for name in missing:
        # With the search_path of the database: it says in which schema.
        server.ask('CREATE EXTENSION IF NOT EXISTS :"name" CASCADE;', database, name=name)
    return [f"made the extension {name}" for name in missing]
