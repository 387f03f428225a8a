-- A database as an application with the superuser's role leaves it: a bit of everything that has an owner.
CREATE ROLE etl; CREATE ROLE reporting LOGIN PASSWORD 'reads'; CREATE ROLE deputy LOGIN PASSWORD 'acts';
GRANT :"app" TO deputy; GRANT etl TO :"app";
CREATE SCHEMA shop; CREATE SCHEMA "Odd ""name"; CREATE TABLE shop.line (id serial PRIMARY KEY, word text, big bigint GENERATED ALWAYS AS IDENTITY);
INSERT INTO shop.line (word) VALUES ('one');
CREATE TABLE "Odd ""name"."Its
table" (id int); CREATE TABLE part (id int) PARTITION BY RANGE (id); CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE SEQUENCE counter; CREATE VIEW words AS SELECT word FROM shop.line; CREATE MATERIALIZED VIEW held AS SELECT 1 AS one;
CREATE TYPE mood AS ENUM ('well', 'ill'); CREATE TYPE pair AS (a int, b int); CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE TYPE spans AS RANGE (subtype = float8);
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2'; CREATE PROCEDURE nothing() LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION guarded() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text';
CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int); CREATE OPERATOR @# (leftarg = int, rightarg = int, function = int4pl);
CREATE OPERATOR FAMILY fam USING btree; CREATE OPERATOR CLASS cls FOR TYPE int USING btree AS OPERATOR 1 <;
CREATE COLLATION plain FROM "C"; CREATE TEXT SEARCH CONFIGURATION words_of (COPY = simple); CREATE TEXT SEARCH DICTIONARY dict (TEMPLATE = simple);
CREATE STATISTICS stats ON id, word FROM shop.line; CREATE PUBLICATION a_table FOR TABLE shop.line; CREATE PUBLICATION everything FOR ALL TABLES;
CREATE PUBLICATION whole FOR TABLES IN SCHEMA shop;
CREATE FOREIGN DATA WRAPPER wrapper; CREATE SERVER far FOREIGN DATA WRAPPER wrapper; CREATE USER MAPPING FOR :"app" SERVER far OPTIONS (user 'x', password 'y');
CREATE FOREIGN TABLE distant (id int) SERVER far;
CREATE EXTENSION vector; SELECT lo_create(4711) \g /dev/null
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER ddl ON ddl_command_end EXECUTE FUNCTION on_ddl();
CREATE SCHEMA warehouse AUTHORIZATION etl; CREATE TABLE warehouse.stock (id int); ALTER TABLE warehouse.stock OWNER TO etl; INSERT INTO warehouse.stock VALUES (7);
ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO reporting; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT USAGE ON SCHEMA shop TO reporting; GRANT SELECT ON shop.line TO reporting;
ALTER ROLE :"app" SET search_path = "$user", shop, '', "Odd ""name"; ALTER ROLE :"app" IN DATABASE :"db" SET work_mem = '7MB';
ALTER ROLE :"app" SET "my.tenant" = 'it''s, "me"'; ALTER ROLE :"app" SET log_min_duration_statement = '5s';
REVOKE CONNECT ON DATABASE :"db" FROM PUBLIC; GRANT CONNECT ON DATABASE :"db" TO reporting;
