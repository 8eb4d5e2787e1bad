// node-pg with pg-cursor. Prints `step<TAB>value`.
const pg = require('pg');
const Cursor = require('pg-cursor');
const veiled = process.env.VEILED === '1';
const step = (name, value) => console.log(name + '\t' + JSON.stringify(value));
const code = async (client, sql, args) => {
  try {
    return (await client.query(sql, args)).rows;
  } catch (error) {
    return error.code;
  }
};
const connect = async () => {
  const client = new pg.Client({ssl: false});
  client.on('error', () => {});
  await client.connect();
  return client;
};

async function main() {
  let client = await connect();
  const all = await client.query('SELECT * FROM questions.everything');
  step('everything', all.rows);
  step('fields', all.fields.map((f) => [f.name, f.dataTypeID, f.dataTypeSize, f.dataTypeModifier, f.format]));
  step('parameter', await code(client, 'SELECT * FROM questions.one_step($1)', [42]));
  for (let n = 0; n < 3; n++)
    step('named ' + n, await code(client, {name: 'one', text: 'SELECT label FROM questions.one_step($1)', values: [n]}));
  step('date', await code(client, 'SELECT * FROM questions.overlap_by_region(since => $1) ORDER BY 1', ['2024-06-01']));
  step('array mode', await code(client, {text: 'SELECT n FROM questions.some_steps', rowMode: 'array'}));
  step('at once', await Promise.all([1, 2, 3, 4].map((n) => code(client, 'SELECT label FROM questions.one_step($1)', [n]))));
  const cursor = client.query(new Cursor('SELECT n FROM questions.steps WHERE n > $1', [2950]));
  step('cursor', [await cursor.read(3), await cursor.read(2), (await cursor.read(100)).length]);
  await cursor.close();
  step('empty', await code(client, ';'));
  step('several', (await client.query('SELECT 1 AS a; SELECT 2 AS b')).map((r) => r.rows));
  for (const sql of ['SELEKT 1', 'SELECT * FROM nosuch', 'SELECT nosuch FROM questions.steps', 'SELECT 1/0'])
    step('error ' + sql, await code(client, sql));
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  step('isolation', await code(client, 'SHOW transaction_isolation'));
  await client.query('ROLLBACK');
  const slow = code(client, 'SELECT n FROM questions.slow(1)');
  // A cancel may be there before what it is about.
  const again = setInterval(() => cancel(client), 500);
  const stopped = await slow;
  clearInterval(again);
  step('cancel', [stopped, await code(client, 'SELECT 1 AS one')]);
  if (veiled) {
    const then = async (sql) => await code(client, sql) + ' then ' + (await code(client, 'SELECT 1 AS one'))[0].one;
    step('veil.temp', await then('CREATE TEMP TABLE mine (n integer)'));
    step('veil.insert', await then("INSERT INTO public.steps VALUES (1, 'x')"));
    step('veil.table', await then('SELECT label FROM public.steps'));
    await client.query('BEGIN');
    const got = [await code(client, 'SELECT label FROM public.steps'), await code(client, 'SELECT 1')];
    await client.query('ROLLBACK');
    step('veil.transaction', got.join(' ') + ' then ' + (await code(client, 'SELECT 1 AS one'))[0].one);
    const refused = client.query(new Cursor('SELECT label FROM public.steps'));
    step('veil.cursor', await refused.read(5).catch((e) => e.code));
  }
  await client.end();
  client = await connect();
  step('again', await code(client, 'SELECT current_database() AS d'));
  await client.end();
}

// The protocol's cancel message, as libpq sends it: node-pg offers it on a connection of its own.
function cancel(client) {
  const socket = require('net').connect(Number(process.env.PGPORT), process.env.PGHOST, () => {
    const message = Buffer.alloc(16);
    [16, 80877102, client.processID, client.secretKey].forEach((word, i) => message.writeInt32BE(word, 4 * i));
    socket.end(message);
  });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
