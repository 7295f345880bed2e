// What both JavaScript drivers do: see mysql.js and mysql2.js.
const fs = require('fs');

const STATEMENTS = {};
for (const line of fs.readFileSync('statements.txt', 'utf8').trim().split('\n')) {
  const at = line.indexOf('=');
  STATEMENTS[line.slice(0, at)] = line.slice(at + 1);
}

function tell(name, value) {
  console.log(`${name}\t${value === null ? 'NULL' : value}`);
}

exports.options = (host) => {
  const [port, user, password, mode, caFile] = process.argv.slice(2);
  const ssl = mode === 'tls' ? { ca: fs.readFileSync(caFile) } : undefined;
  return {
    host, port: Number(port), user, password, database: 'z4', ssl, charset: 'utf8mb4',
    dateStrings: true, supportBigNumbers: true,
  };
};

// `prepare(sql, values)` is the driver's own way of parameters.
exports.run = async (connection, prepare) => {
  const ask = (sql) => new Promise((resolve, reject) =>
    connection.query({ sql, rowsAsArray: true }, (error, rows) => error ? reject(error) : resolve(rows)));
  const firstOf = async (sql) => (await ask(sql)).map((row) => Object.values(row)[0]);
  const fails = async (name, told) => {
    try {
      await ask(STATEMENTS[name]);
    } catch (error) {
      tell(told, error.errno);
      return error.message;
    }
    tell(told, 'no error');
    return '';
  };

  for (const name of ['databases', 'tables', 'columns', 'answered'])
    (await firstOf(STATEMENTS[name])).forEach((value) => tell(name, value));
  for (const column of ['deliver_at', 'namespace'])
    tell('refusal', (await fails('refused_' + column, 'refused')).includes(column));
  for (const namespace of ['welcome_emails', "x' OR '1'='1"])
    for (const row of await prepare(STATEMENTS.prepared, ["it's \\ ?", namespace, '2022-04-16']))
      Object.values(row).forEach((value) => tell('prepared', value));
  await ask(STATEMENTS.zone);
  const [until, json, payload, deliverAt, , decimal, unsigned, double] =
    Object.values((await ask(STATEMENTS.cells))[0]);
  tell('null', until);
  // One driver parses JSON by itself.
  tell('json', typeof json === 'string' ? json : JSON.stringify(json).replace(':', ': '));
  tell('payload', payload.toString('hex'));
  tell('deliver_at', deliverAt);
  tell('decimal', Number(decimal).toFixed(2)); // one driver makes a number of it
  tell('unsigned', unsigned);
  tell('double', double);
  let total = 0;
  await new Promise((resolve, reject) => connection.query(STATEMENTS.stream)
    .on('error', reject)
    .on('result', (row) => { total += Object.values(row)[0]; })
    .on('end', resolve));
  tell('streamed', total);
  await fails('failing', 'failed');
  tell('connection', (await firstOf('SELECT CONNECTION_ID()'))[0]);
  await fails('sleeping', 'killed');
  await ask(STATEMENTS.limit);
  await fails('sleeping', 'timeout');
  tell('after', (await firstOf('SELECT 1'))[0]);
  connection.end();
};
