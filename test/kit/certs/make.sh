#!/bin/sh
# Makes the certificates of this folder anew (OpenSSL 3). They are fixtures of the tests, trusted by nobody else; valid for 100 years.
# Each file but the two authorities' holds a certificate and its key.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
from=20200101000000Z
until=21200101000000Z

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$work/$1.key"; }

sign() { # file, common name, extensions (one a line), options of openssl ca
  file=$1 subject="/CN=$2" extensions=$3
  shift 3
  [ -f "$work/$file.key" ] || key "$file"
  openssl req -new -key "$work/$file.key" -subj "$subject" -out "$work/$file.csr"
  cat >"$work/$file.cnf" <<END
[ca]
default_ca = c
[c]
database = $work/index
new_certs_dir = $work
default_md = sha256
policy = p
rand_serial = yes
unique_subject = no
x509_extensions = x
[p]
commonName = supplied
[x]
$extensions
END
  : >"$work/index"
  openssl ca -batch -notext -config "$work/$file.cnf" -in "$work/$file.csr" -out "$work/$file.crt" "$@"
}

authority() { # file, common name
  key "$1"
  sign "$1" "$2" "basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign" -selfsign -keyfile "$work/$1.key" -startdate $from -enddate $until
  cp "$work/$1.crt" "$1.pem"
}

leaf() { # file, authority, common name, subjectAltName or "", extendedKeyUsage, first and last day
  names=""
  [ -z "$4" ] || names="subjectAltName = $4"
  sign "$1" "$3" "basicConstraints = CA:FALSE
extendedKeyUsage = $5
$names" -cert "$2.pem" -keyfile "$work/$2.key" -startdate "${6:-$from}" -enddate "${7:-$until}"
  cat "$work/$1.crt" "$work/$1.key" >"$1.pem"
}

authority ca "Outrider test authority"
authority other-ca "Another test authority"

server="DNS:localhost,DNS:api.test,DNS:*.wild.test,IP:127.0.0.1,IP:::1"
leaf server ca server "$server" serverAuth
leaf untrusted other-ca untrusted "$server" serverAuth
leaf wrong-host ca wrong-host "DNS:other.test" serverAuth
leaf cn-only ca api.test "" serverAuth
leaf partial-wildcard ca partial-wildcard "DNS:a*.test,DNS:*pi.test" serverAuth
leaf tld-wildcard ca tld-wildcard "DNS:*.test" serverAuth
leaf client-usage ca client-usage "$server" clientAuth
leaf expired ca expired "$server" serverAuth $from 20200102000000Z
leaf not-yet-valid ca not-yet-valid "$server" serverAuth 21190101000000Z $until
openssl genrsa -out "$work/rsa-1024.key" 1024
leaf rsa-1024 ca rsa-1024 "$server" serverAuth
openssl genrsa -out "$work/rsa-2048.key" 2048
leaf rsa-2048 ca rsa-2048 "$server" serverAuth
leaf client ca "the function" "" clientAuth
leaf other-client other-ca "a stranger" "" clientAuth
