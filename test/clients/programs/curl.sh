#!/bin/sh
# curl with nothing said about a proxy. In front of the usual arguments: options of curl, in one word; the files are in TMPDIR.
set -eu
options=$1 governed=$2 blind=$3 plain=$4 file=$5
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

call() { # what, arguments of curl
  what=$1
  shift
  # shellcheck disable=SC2086
  status=$(curl $options --silent --show-error --output "$folder/$what" --write-out '%{http_code}' "$@")
  sum=$(sha256sum <"$folder/$what")
  echo "$what $status ${sum%% *}"
}

call get "$governed/bytes"
call post --data-binary "@$file" "$governed/echo"
call stream --request POST --upload-file - "$governed/echo" <"$file"
call plain "$plain/bytes"
call blind "$blind/bytes"
