#!/bin/sh
# Makes the certificates of the demo anew: a private CA, the server certificate of `payments` and the client certificate that it
# demands, valid from 2020 to 2119, so that no clock is too early or too late for them. Needs openssl 1.1.1 or later. The CA's key
# is thrown away: nothing more can be signed with it.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# `openssl ca` is the one command of all versions that takes a start date; this is the least that it wants to be told.
cat > "$work/ca.conf" <<CONF
[ca]
default_ca = demo
[demo]
database = $work/index
new_certs_dir = $work
default_md = sha256
policy = names
rand_serial = yes
unique_subject = no
[names]
commonName = supplied
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:payments.demo.example
authorityKeyIdentifier = keyid
[client]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid
[req]
distinguished_name = subject
[subject]
CONF
: > "$work/index"

# request KEY NAME: a new key and the request to certify it.
request() {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2> /dev/null
  openssl req -new -config "$work/ca.conf" -key "$1" -subj "/CN=$2" -out "$work/request.csr"
}

# sign EXTENSIONS CERTIFICATE [-selfsign]
sign() {
  extensions=$1 certificate=$2
  shift 2
  openssl ca -batch -notext -config "$work/ca.conf" -keyfile "$work/ca.key" "$@" -in "$work/request.csr" \
    -extensions "$extensions" -startdate 20200101000000Z -enddate 21191231235959Z -out "$certificate" 2> "$work/log" ||
    { cat "$work/log" >&2; exit 1; }
}

request "$work/ca.key" "Outrider demo CA"
sign authority ca.pem -selfsign
request server.key payments.demo.example
sign server server.pem -cert ca.pem
request client.key "demo function"
sign client client.pem -cert ca.pem
chmod 600 server.key client.key
