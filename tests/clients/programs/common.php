<?php
// What both PHP drivers do: see pdo.php and mysqli.php, which say how to ask.
$statements = [];
foreach (file('statements.txt', FILE_IGNORE_NEW_LINES) as $line) {
    [$name, $statement] = explode('=', $line, 2);
    $statements[$name] = $statement;
}

function tell(string $name, mixed $value): void
{
    echo $name, "\t", $value ?? 'NULL', "\n";
    flush();
}

// $ask(sql) gives rows, $prepare(sql, parameters) too, $code(error) its number, $stream(sql) rows one by one.
function run_matrix(array $statements, callable $ask, callable $prepare, callable $stream, callable $code): void
{
    $fails = function (string $name, string $told) use ($statements, $ask, $code): string {
        try {
            $ask($statements[$name]);
        } catch (Exception $error) {
            tell($told, $code($error));
            return $error->getMessage();
        }
        tell($told, 'no error');
        return '';
    };
    foreach (['databases', 'tables', 'columns', 'answered'] as $name) {
        foreach ($ask($statements[$name]) as $row) {
            tell($name, $row[0]);
        }
    }
    foreach (['deliver_at', 'namespace'] as $column) {
        tell('refusal', str_contains($fails("refused_$column", 'refused'), $column) ? 'true' : 'false');
    }
    foreach (['welcome_emails', "x' OR '1'='1"] as $namespace) {
        foreach ($prepare($statements['prepared'], ["it's \\ ?", $namespace, '2022-04-16']) as $row) {
            tell('prepared', $row[0]);
            tell('prepared', $row[1]);
        }
    }
    $ask($statements['zone']);
    $cells = $prepare($statements['cells'], [])[0];
    foreach (['null', 'json', 'payload', 'deliver_at', 'lateness', 'decimal', 'unsigned', 'double'] as $at => $name) {
        tell($name, $name === 'payload' ? bin2hex($cells[$at]) : $cells[$at]);
    }
    $total = 0;
    foreach ($stream($statements['stream']) as $row) {
        $total += $row[0];
    }
    tell('streamed', $total);
    $fails('failing', 'failed');
    tell('connection', $ask('SELECT CONNECTION_ID()')[0][0]);
    $fails('sleeping', 'killed');
    $ask($statements['limit']);
    $fails('sleeping', 'timeout');
    tell('after', $ask('SELECT 1')[0][0]);
}
