# The matrix for DBI: perl matrix.pl mysql|MariaDB PORT USER PASSWORD MODE CA_FILE
use strict;
use warnings;
use utf8;
use DBI;

my ($driver, $port, $user, $password, $mode, $ca_file) = @ARGV;
utf8::decode($password);
binmode STDOUT, ':utf8';
$| = 1;
my %statements;
open my $file, '<:encoding(UTF-8)', 'statements.txt' or die;
while (<$file>) { chomp; my ($name, $sql) = split /=/, $_, 2; $statements{$name} = $sql; }

my $prefix = lc $driver;
my $words = "DBI:$driver:host=127.0.0.1;port=$port;database=z4";
$words .= ";${prefix}_ssl=1;${prefix}_ssl_ca_file=$ca_file;${prefix}_ssl_verify_server_cert=1" if $mode eq 'tls';
my %options = (RaiseError => 1, PrintError => 0, "${prefix}_server_prepare" => 1);
$options{mysql_enable_utf8mb4} = 1 if $driver eq 'mysql';
utf8::encode($password) if $driver eq 'mysql';
my $connection = DBI->connect($words, $user, $password, \%options);

sub tell_value { my ($name, $value) = @_; print $name, "\t", defined $value ? $value : 'NULL', "\n"; }
sub ask { return @{ $connection->selectall_arrayref($_[0]) } }

sub fails {
    my ($name, $told) = @_;
    if (eval { ask($statements{$name}); 1 }) { tell_value($told, 'no error'); return ''; }
    my $message = $@;
    tell_value($told, $connection->err);
    return $message;
}

for my $name (qw(databases tables columns answered)) { tell_value($name, $_->[0]) for ask($statements{$name}); }
for my $column (qw(deliver_at namespace)) {
    tell_value('refusal', index(fails("refused_$column", 'refused'), $column) >= 0 ? 'true' : 'false');
}
my $prepared = $connection->prepare($statements{prepared});
for my $namespace ('welcome_emails', "x' OR '1'='1") {
    $prepared->execute("it's \\ ?", $namespace, '2022-04-16');
    while (my $row = $prepared->fetchrow_arrayref) { tell_value('prepared', $_) for @$row; }
}
$connection->do($statements{zone});
my ($cells) = ask($statements{cells});
my @names = qw(null json payload deliver_at lateness decimal unsigned double);
tell_value($names[$_], $names[$_] eq 'payload' ? unpack('H*', $cells->[$_]) : $cells->[$_]) for 0 .. $#names;
# DBD::MariaDB 1.22 finds no rows where it does not store them; DBD::mysql none of a prepared statement.
my %unbuffered = $driver eq 'mysql' ? (mysql_use_result => 1, mysql_server_prepare => 0) : ();
my $streaming = $connection->prepare($statements{stream}, \%unbuffered);
$streaming->execute;
my $total = 0;
while (my $row = $streaming->fetchrow_arrayref) { $total += $row->[0]; }
tell_value('streamed', $total);
fails('failing', 'failed');
tell_value('connection', (ask('SELECT CONNECTION_ID()'))[0][0]);
fails('sleeping', 'killed');
$connection->do($statements{limit});
fails('sleeping', 'timeout');
tell_value('after', (ask('SELECT 1'))[0][0]);
$connection->disconnect;
