// The matrix for mysql, which knows mysql_native_password alone: node mysql.js PORT USER PASSWORD MODE CA_FILE
const mysql = require('mysql');
const matrix = require('./matrix.js');

const connection = mysql.createConnection(matrix.options('127.0.0.1'));
const prepare = (sql, values) => new Promise((resolve, reject) =>
  connection.query(sql, values, (error, rows) => error ? reject(error) : resolve(rows)));
matrix.run(connection, prepare).catch((error) => { console.error(error); process.exit(1); });
