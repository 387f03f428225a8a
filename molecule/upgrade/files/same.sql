-- What has to be the same in every version, in words that are the test's own.
\set ON_ERROR_STOP on
SELECT 'orders', count(*), md5(string_agg(concat_ws('|', id, number, state, price, amount, total, tags, made), ',' ORDER BY id)) FROM shop.orders;
SELECT 'lines', count(*), md5(string_agg(concat_ws('|', id, "order", what, note), ',' ORDER BY id)) FROM shop.lines;
SELECT 'measures', count(*), sum(hashfloat8(value)) FROM shop.measures;
SELECT 'guests', count(*), md5(string_agg(name, ',' ORDER BY id)) FROM guests;
SELECT 'large objects', count(*), sum(length(lo_get(oid))), md5(string_agg(md5(lo_get(oid)), ',' ORDER BY md5(lo_get(oid)))) FROM pg_largeobject_metadata;
SELECT 'sequences', last_value, is_called FROM shop.tickets;
SELECT 'identity', last_value FROM shop.orders_id_seq;
SELECT 'generated', attgenerated FROM pg_attribute WHERE attrelid = 'shop.orders'::regclass AND attname = 'total';
SELECT 'view', count(*), sum(total) FROM shop.paid;
SELECT 'materialized', string_agg(concat(state, total), ',' ORDER BY state) FROM shop.sums;
SELECT 'extensions', string_agg(extname, ',' ORDER BY extname) FROM pg_extension;
SELECT 'hstore', count(*) FROM shop.orders WHERE tags @> 'n=>77';
SELECT 'trigram', count(*) FROM shop.orders WHERE number ILIKE '%o-1999%' AND id < 20000;
SELECT 'citext', count(*) FROM shop.lines WHERE what = 'ÄRGER 7';
SELECT 'roles', string_agg(concat_ws(' ', rolname, rolsuper, rolcanlogin, rolconnlimit), ',' ORDER BY rolname) FROM pg_roles WHERE rolname !~ '^pg_';
SELECT 'member', pg_has_role('reader', 'readers', 'MEMBER');
SELECT 'settings', string_agg(setconfig::text, ',' ORDER BY setconfig::text) FROM pg_db_role_setting;
SELECT 'system', current_setting('log_min_duration_statement'), current_setting('data_checksums');
SELECT 'comment', obj_description('shop.orders'::regclass);
SELECT 'policy', count(*) FROM pg_policies;
SELECT 'indexes', count(*), bool_and(indisvalid) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relnamespace = 'shop'::regnamespace;
\connect second
SELECT 'second', count(*), md5(string_agg(word, ',' ORDER BY id)), (SELECT datcollate FROM pg_database WHERE datname = 'second') FROM words;
