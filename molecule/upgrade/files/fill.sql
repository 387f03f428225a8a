-- A million rows, and a bit of everything that a database may hold; run as a superuser in psql: what is the application's is made as its role.
\set ON_ERROR_STOP on
CREATE EXTENSION hstore;
CREATE EXTENSION pg_trgm;
CREATE EXTENSION citext;
CREATE ROLE reader LOGIN PASSWORD 'reads-only' CONNECTION LIMIT 3;
CREATE ROLE readers NOLOGIN;
GRANT readers TO reader;
SET ROLE example;
CREATE SCHEMA shop;
CREATE TYPE shop.state AS ENUM ('new', 'paid', 'gone');
CREATE DOMAIN shop.price AS numeric(10, 2) CHECK (VALUE >= 0);
CREATE SEQUENCE shop.tickets START 4711 INCREMENT 3;
SELECT nextval('shop.tickets'), nextval('shop.tickets');
CREATE TABLE shop.orders (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  number text NOT NULL UNIQUE,
  state shop.state NOT NULL DEFAULT 'new',
  price shop.price NOT NULL,
  amount int NOT NULL CHECK (amount > 0),
  total numeric GENERATED ALWAYS AS (price * amount) STORED,
  tags hstore,
  made timestamptz NOT NULL DEFAULT '2026-01-01 00:00:00+00'
);
INSERT INTO shop.orders (number, price, amount, tags, made)
SELECT 'No-' || i, (i % 9973) / 100.0, 1 + i % 7, hstore('n', i::text), '2026-01-01 00:00:00+00'::timestamptz + i * interval '1 s'
FROM generate_series(1, 1000000) AS i;
UPDATE shop.orders SET state = 'paid' WHERE id % 3 = 0;
CREATE INDEX ON shop.orders (state, made DESC) WHERE state <> 'gone';
CREATE INDEX ON shop.orders USING gin (number gin_trgm_ops) WHERE id < 20000;
CREATE TABLE shop.lines (id serial PRIMARY KEY, "order" bigint REFERENCES shop.orders ON DELETE CASCADE, what citext, note text);
INSERT INTO shop.lines ("order", what, note) SELECT i, 'Ärger ' || i, repeat('lang ', 600) || i FROM generate_series(1, 2000) AS i;
CREATE TABLE shop.measures (at date NOT NULL, value double precision) PARTITION BY RANGE (at);
CREATE TABLE shop.measures_2025 PARTITION OF shop.measures FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE shop.measures_rest PARTITION OF shop.measures DEFAULT;
INSERT INTO shop.measures SELECT '2025-06-01'::date + i % 400, random() FROM generate_series(1, 5000) AS i;
CREATE UNLOGGED TABLE shop.scratch AS SELECT 1 AS one;
CREATE VIEW shop.paid AS SELECT id, total FROM shop.orders WHERE state = 'paid';
CREATE MATERIALIZED VIEW shop.sums AS SELECT state, sum(total) AS total FROM shop.orders GROUP BY state;
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.made := now(); RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.touch();
ALTER TABLE shop.lines ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_lines ON shop.lines FOR SELECT TO readers USING ("order" < 100);
GRANT USAGE ON SCHEMA shop TO readers;
GRANT SELECT ON shop.orders, shop.lines TO readers WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO readers;
RESET ROLE;
ALTER ROLE reader SET statement_timeout = '7s';
ALTER DATABASE example SET work_mem = '6MB';
ALTER SYSTEM SET log_min_duration_statement = '2s';
SELECT pg_reload_conf() \g /dev/null
SET ROLE example;
SELECT lo_from_bytea(0, convert_to(repeat('object ' || i, 1000), 'UTF8')) FROM generate_series(1, 50) AS i \g /dev/null
COMMENT ON TABLE shop.orders IS 'What was ordered';
RESET ROLE;
CREATE DATABASE second TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
\connect second
CREATE TABLE words AS SELECT i AS id, md5(i::text) AS word FROM generate_series(1, 1000) AS i;
