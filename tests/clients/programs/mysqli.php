<?php
// The matrix for mysqli: php mysqli.php PORT USER PASSWORD MODE CA_FILE
require 'common.php';
[, $port, $user, $password, $mode, $ca_file] = $argv;
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
$connection = mysqli_init();
if ($mode === 'tls') {
    $connection->ssl_set(null, null, $ca_file, null, null);
}
$connection->real_connect('127.0.0.1', $user, $password, 'z4', (int) $port, null, $mode === 'tls' ? MYSQLI_CLIENT_SSL : 0);
$connection->set_charset('utf8mb4');
$rows = fn (mysqli_result|bool $result): array => is_bool($result) ? [] : $result->fetch_all(MYSQLI_NUM);
$prepare = function (string $sql, array $parameters) use ($connection, $rows): array {
    $statement = $connection->prepare($sql);
    $statement->execute($parameters);
    return $rows($statement->get_result());
};
$stream = function (string $sql) use ($connection): Generator {
    $result = $connection->query($sql, MYSQLI_USE_RESULT);
    while ($row = $result->fetch_row()) {
        yield $row;
    }
    $result->free();
};
$ask = fn (string $sql): array => $rows($connection->query($sql));
run_matrix($statements, $ask, $prepare, $stream, fn (mysqli_sql_exception $error) => $error->getCode());
