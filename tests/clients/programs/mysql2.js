// The matrix for mysql2: node mysql2.js PORT USER PASSWORD MODE CA_FILE
const mysql2 = require('mysql2');
const matrix = require('./matrix.js');

const connection = mysql2.createConnection(matrix.options('127.0.0.1'));
const prepare = (sql, values) => new Promise((resolve, reject) =>
  connection.execute(sql, values, (error, rows) => error ? reject(error) : resolve(rows)));
matrix.run(connection, prepare).catch((error) => { console.error(error); process.exit(1); });
