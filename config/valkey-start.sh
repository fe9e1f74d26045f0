#!/bin/sh
# Starts Valkey, or Redis 6.2 or later, with config/valkey.conf and the users of config/valkey.acl.
#
# valkey-start.sh CONFIG SECRETS RUN DATA [option...]
#   SERVER   in the environment: the program, if it is not valkey-server
#   CONFIG   directory of valkey.conf and valkey.acl
#   SECRETS  directory with a file for each @name@ of valkey.acl; the password is its first line
#   RUN      directory for the users with their passwords' digests; only this user can read them
#   DATA     directory of the append-only file
set -eu
config=$1 secrets=$2 run=$3 data=$4
shift 4

umask 077
server=${SERVER:-valkey-server}
users=$(cat "$config/valkey.acl")
case $("$server" --version) in
*v=6.*) # knows no rights for some keys alone: the users get them for all of their keys
    users=$(printf '%s\n' "$users" | sed 's/%[RW]*~/~/g; s/(~[^ ]* -@all \([^)]*\))/\1/g')
    ;;
esac
for name in haraka_password worker_password; do
    password=$(head -n 1 "$secrets/$name" | tr -d '\r\n')
    if [ -z "$password" ]; then
        echo "valkey-start: $secrets/$name: the first line is empty, expected the password" >&2
        exit 78
    fi
    digest=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
    users=$(printf '%s\n' "$users" | sed "s/@$name@/$digest/")
done
printf '%s\n' "$users" >"$run/users.acl"
exec "$server" "$config/valkey.conf" --dir "$data" --aclfile "$run/users.acl" "$@"
