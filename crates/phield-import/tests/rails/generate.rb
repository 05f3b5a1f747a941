# Writes fixtures.json: what real Active Record encryption stores, read back from the SQLite column that it was written to.
#
#   ruby generate.rb > fixtures.json
#
# Debian 13: apt-get install ruby-activerecord ruby-sqlite3. The versions that it ran with stand in the file. Values are
# synthetic. The tests read the file alone; Ruby is needed only to write it anew.
require "logger"
require "json"
require "active_record"

SALT = "c9d1e7b5fixturesaltfixturesalt00"
FIRST, SECOND, DETERMINISTIC = %w[first-primary-key-of-the-fixtures second-primary-key-of-the-fixture deterministic-key-of-the-fixtures]
TEXTS = {
  "name" => "Ada Lovelace", "ssn" => "999-12-3456", "empty" => "", "unicode" => "Zoë 王小明 \u{1F9EA}",
  "edge_140" => "x" * 140, "note" => "Synthetic progress note. " * 60,
}

ActiveRecord::Base.establish_connection(adapter: "sqlite3", database: ":memory:")
ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define { create_table(:rows) { |t| t.text :value; t.binary :bytes } }

def configure(digest:, primary: FIRST, references: false)
  ActiveRecord::Encryption.configure(
    primary_key: primary, deterministic_key: DETERMINISTIC, key_derivation_salt: SALT,
    hash_digest_class: digest, store_key_references: references
  )
end

# A model with what `encrypts` is given, and the column as it is stored.
def stored(attribute, value, **options)
  model = Class.new(ActiveRecord::Base) do
    self.table_name = "rows"
    def self.name = "Row"
    encrypts attribute, **options
  end
  row = model.create!(attribute => value)
  raw = model.connection.select_value("SELECT #{attribute} FROM rows WHERE id = #{row.id}")
  raise "does not read back" unless model.find(row.id).public_send(attribute) == value
  raw
end

cases = []
add = lambda do |name, digest, secret, value, message, **more|
  cases << { name:, digest:, secret:, value_hex: value.b.unpack1("H*"), message: }.merge(more)
end

{ "sha256" => OpenSSL::Digest::SHA256, "sha1" => OpenSSL::Digest::SHA1 }.each do |digest, hash|
  configure(digest: hash)
  TEXTS.each do |name, value|
    add.("#{name}, not deterministic", digest, FIRST, value, stored(:value, value))
    add.("#{name}, deterministic", digest, DETERMINISTIC, value, stored(:value, value, deterministic: true))
  end
end

# Several primary keys: the last one encrypts. With references, the message names its key.
[false, true].each do |references|
  configure(digest: OpenSSL::Digest::SHA256, primary: [FIRST, SECOND], references:)
  add.("rotated, references #{references}", "sha256", SECOND, "Ada", stored(:value, "Ada"), references:)
end

# Without compression, of an attribute with its own key, and an envelope: a data key for each value.
configure(digest: OpenSSL::Digest::SHA256)
long = TEXTS["note"]
own = "key-of-one-attribute-alone"
add.("own key", "sha256", own, "Ada", stored(:value, "Ada", key: own))
encryptor = ActiveRecord::Encryption::Encryptor.new(compress: false)
add.("not compressed", "sha256", FIRST, long, stored(:value, long, encryptor:))
provider = ActiveRecord::Encryption::EnvelopeEncryptionKeyProvider.new
[["Ada", "envelope"], [long, "envelope, compressed"]].each do |value, name|
  add.(name, "sha256", FIRST, value, stored(:value, value, key_provider: provider))
end

# What a binary column holds, and another encoding.
bytes = (0..255).to_a.pack("C*").b
add.("bytes", "sha256", FIRST, bytes, stored(:bytes, bytes), binary: true)
latin = "Zo\u00eb".encode("ISO-8859-1")
message = ActiveRecord::Encryption.encryptor.encrypt(latin, key_provider: ActiveRecord::Encryption.key_provider)
add.("ISO-8859-1", "sha256", FIRST, latin, message, binary: true)

versions = { ruby: RUBY_VERSION, activerecord: ActiveRecord.version.to_s, openssl: OpenSSL::VERSION }
puts JSON.pretty_generate(versions:, key_derivation_salt: SALT, cases:)
