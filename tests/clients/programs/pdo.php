<?php
// The matrix for PDO: php pdo.php PORT USER PASSWORD MODE CA_FILE
require 'common.php';
[, $port, $user, $password, $mode, $ca_file] = $argv;
$options = [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_EMULATE_PREPARES => false];
if ($mode === 'tls') {
    $options[PDO::MYSQL_ATTR_SSL_CA] = $ca_file;
}
$connection = new PDO("mysql:host=127.0.0.1;port=$port;dbname=z4;charset=utf8mb4", $user, $password, $options);
$prepare = function (string $sql, array $parameters) use ($connection): array {
    $statement = $connection->prepare($sql);
    $statement->execute($parameters);
    return $statement->columnCount() ? $statement->fetchAll(PDO::FETCH_NUM) : [];
};
$stream = function (string $sql) use ($connection): Generator {
    $connection->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, false);
    $statement = $connection->query($sql);
    while ($row = $statement->fetch(PDO::FETCH_NUM)) {
        yield $row;
    }
    $connection->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, true);
};
$ask = function (string $sql) use ($connection): array {
    $statement = $connection->query($sql);
    return $statement->columnCount() ? $statement->fetchAll(PDO::FETCH_NUM) : [];
};
run_matrix($statements, $ask, $prepare, $stream, fn (PDOException $error) => $error->errorInfo[1]);
