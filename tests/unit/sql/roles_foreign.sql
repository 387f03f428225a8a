-- What is not the role's, of what could be: told by another query than the program's.
SELECT string_agg(pg_describe_object(classid, objid, 0), ', ') FROM (
  SELECT 'pg_largeobject'::regclass AS classid, oid AS objid FROM pg_largeobject_metadata WHERE lomowner <> :'role'::regrole
  UNION ALL SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relowner <> :'role'::regrole AND relkind <> 'c' AND relnamespace::regnamespace::text ~ 'shop|public|Odd'
  UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE proowner <> :'role'::regrole
  UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typowner <> :'role'::regrole AND typelem = 0 AND typtype <> 'm'
  UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprowner <> :'role'::regrole
  UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass WHERE opcowner <> :'role'::regrole
  UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily WHERE opfowner <> :'role'::regrole
  UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation WHERE collowner <> :'role'::regrole
  UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config WHERE cfgowner <> :'role'::regrole
  UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict WHERE dictowner <> :'role'::regrole
  UNION ALL SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext WHERE stxowner <> :'role'::regrole
  UNION ALL SELECT 'pg_foreign_server'::regclass, oid FROM pg_foreign_server WHERE srvowner <> :'role'::regrole
  UNION ALL SELECT 'pg_namespace'::regclass, oid FROM pg_namespace WHERE nspowner <> :'role'::regrole AND nspname ~ 'shop|Odd'
  UNION ALL SELECT 'pg_database'::regclass, oid FROM pg_database WHERE datdba <> :'role'::regrole AND datname = current_database()
) AS them
WHERE objid >= 16384 AND pg_describe_object(classid, objid, 0) !~ 'toast|warehouse|stock'
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = them.classid AND d.objid = them.objid AND deptype = 'e');
