-- Two parties' data in one warehouse. MegaMart, a retailer, owns crm and shop; Acme, a brand, owns ads.
-- Everything is arithmetic over generate_series and digests of its numbers, so every run gives the same rows.
-- 10,000 customers, about 100,000 impressions, 40,000 purchases; the region 'Islands' holds 12 customers only.

CREATE SCHEMA crm;
CREATE SCHEMA ads;
CREATE SCHEMA shop;

CREATE TABLE crm.customers (
    customer_id integer PRIMARY KEY,
    email       text NOT NULL,
    full_name   text NOT NULL,
    phone       varchar(24) NOT NULL,
    national_id text NOT NULL,
    region      text NOT NULL,
    country     text NOT NULL,
    birth_date  date NOT NULL,
    postcode    text NOT NULL,
    income      numeric(10, 2),
    loyalty_id  uuid NOT NULL,
    signed_up   timestamptz NOT NULL
);

INSERT INTO crm.customers
SELECT 1730000000 + n,
       lower(first) || '.' || lower(family) || n || '@' || (ARRAY['example.com', 'example.org', 'example.net'])[n % 3 + 1],
       first || ' ' || family,
       '+1-555-' || lpad((n * 7919 % 10000000)::text, 7, '0'),
       'ID-' || upper(substr(md5('national' || n), 1, 10)),
       CASE WHEN n <= 12 THEN 'Islands'
            ELSE (ARRAY['North', 'North', 'North', 'South', 'South', 'East', 'East', 'East', 'East', 'West', 'Centre', 'Centre'])[dice % 12 + 1] END,
       (ARRAY['US', 'US', 'US', 'CA', 'CA', 'GB', 'DE'])[dice / 12 % 7 + 1],
       date '1940-01-01' + n * 37 % 24000,
       lpad((n * 541 % 100000)::text, 5, '0'),
       CASE WHEN n % 11 = 0 THEN NULL ELSE 18000 + n * 7907 % 12000000 / 100.0 END,
       md5('loyalty' || n)::uuid,
       timestamptz '2021-01-01 00:00:00+00' + n * interval '3 hours 7 minutes'
FROM (SELECT n, ('x' || substr(md5('customer' || n), 1, 7))::bit(28)::integer AS dice,
             (ARRAY['Ada', 'Ben', 'Chloe', 'Dan', 'Eve', 'Finn', 'Grace', 'Hugo', 'Iris', 'Jon'])[n * 3 % 10 + 1] AS first,
             (ARRAY['Archer', 'Baker', 'Cooper', 'Dyer', 'Fisher', 'Glover', 'Hunter', 'Mason', 'Potter', 'Turner', 'Weaver'])[n * 5 % 11 + 1] AS family
      FROM generate_series(1, 10000) AS n) AS people;

CREATE TABLE ads.impressions (
    impression_id bigint PRIMARY KEY,
    customer_id   bigint NOT NULL,
    campaign      text NOT NULL,
    channel       text NOT NULL,
    seen_on       date NOT NULL,
    cost          numeric(8, 4) NOT NULL,
    device_ip     inet NOT NULL
);

INSERT INTO ads.impressions
SELECT n,
       1730000001 + dice % 12000,
       (ARRAY['spring', 'summer', 'summer', 'autumn', 'winter', 'winter', 'winter'])[dice / 12000 % 7 + 1],
       (ARRAY['social', 'social', 'search', 'video', 'display', 'display', 'audio'])[more % 7 + 1],
       date '2024-01-01' + more / 7 % 540,
       (more / 3780 % 9000 + 100) / 10000.0,
       inet '10.0.0.0' + n * 97 % 16777216
FROM (SELECT n, ('x' || substr(md5('impression' || n), 1, 7))::bit(28)::integer AS dice,
             ('x' || substr(md5('impression' || n), 8, 7))::bit(28)::integer AS more
      FROM generate_series(1::bigint, 100000) AS n) AS seen;

CREATE TABLE shop.purchases (
    purchase_id bigint PRIMARY KEY,
    customer_id integer NOT NULL,
    store       text NOT NULL,
    bought_at   timestamptz NOT NULL,
    amount      numeric(10, 2) NOT NULL,
    card_number text NOT NULL
);

INSERT INTO shop.purchases
SELECT n,
       1730000001 + (dice % 10000::bigint) * (more % 10000) / 10000,
       'store-' || lpad((dice / 10000 % 40)::text, 2, '0'),
       timestamptz '2024-01-01 08:00:00+00' + n * interval '19 minutes',
       (more % 25000 + 99) / 100.0,
       '4000-' || lpad((n * 7907 % 1000000000)::text, 12, '0')
FROM (SELECT n, ('x' || substr(md5('purchase' || n), 1, 7))::bit(28)::integer AS dice,
             ('x' || substr(md5('purchase' || n), 8, 7))::bit(28)::integer AS more
      FROM generate_series(1, 40000) AS n) AS bought;

CREATE INDEX ON ads.impressions (customer_id);
CREATE INDEX ON shop.purchases (customer_id);
ANALYZE;

-- What pgveil's own login needs, and no more: to make roles and schemas, and to hand on SELECT.
GRANT USAGE ON SCHEMA crm, ads, shop TO pgveil WITH GRANT OPTION;
GRANT SELECT ON ALL TABLES IN SCHEMA crm, ads, shop TO pgveil WITH GRANT OPTION;
