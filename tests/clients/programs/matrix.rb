# The matrix for mysql2: ruby matrix.rb PORT USER PASSWORD MODE CA_FILE
require "mysql2"

$stdout.sync = true
port, user, password, mode, ca_file = ARGV
statements = File.readlines("statements.txt", chomp: true, encoding: "UTF-8").to_h { |line| line.split("=", 2) }
options = { host: "127.0.0.1", port: port.to_i, username: user, password: password, database: "z4", encoding: "utf8mb4" }
options.update(sslca: ca_file, ssl_mode: :verify_ca) if mode == "tls"
options.update(default_auth: "mysql_native_password") if mode == "native"
connection = Mysql2::Client.new(**options)

ask = ->(sql) { (connection.query(sql, as: :array, cast: false) || []).to_a }
tell = ->(name, value) { puts "#{name}\t#{value.nil? ? 'NULL' : value}" }
fails = lambda do |name, told|
  ask.call(statements[name])
  tell.call(told, "no error")
  ""
rescue Mysql2::Error => error
  tell.call(told, error.error_number)
  error.message
end

%w[databases tables columns answered].each do |name|
  ask.call(statements[name]).each { |row| tell.call(name, row[0]) }
end
%w[deliver_at namespace].each do |column|
  tell.call("refusal", fails.call("refused_#{column}", "refused").include?(column))
end
prepared = connection.prepare(statements["prepared"])
["welcome_emails", "x' OR '1'='1"].each do |namespace|
  prepared.execute("it's \\ ?", namespace, "2022-04-16", as: :array).each do |row|
    row.each { |cell| tell.call("prepared", cell) }
  end
end
prepared.close
ask.call(statements["zone"])
cells = ask.call(statements["cells"]).first
%w[null json payload deliver_at lateness decimal unsigned double].zip(cells) do |name, value|
  tell.call(name, name == "payload" ? value.unpack1("H*") : value)
end
rows = connection.query(statements["stream"], as: :array, stream: true, cache_rows: false)
tell.call("streamed", rows.sum { |row| row[0] })
fails.call("failing", "failed")
tell.call("connection", ask.call("SELECT CONNECTION_ID()")[0][0])
fails.call("sleeping", "killed")
ask.call(statements["limit"])
fails.call("sleeping", "timeout")
tell.call("after", ask.call("SELECT 1")[0][0])
connection.close
