# What the public image does, as far as compose.yaml needs it: a user, a database, scripts, then the server.
set -eu
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
    secret=$(mktemp)
    printf '%s' "$POSTGRES_PASSWORD" > "$secret"
    initdb --pgdata "$data" --encoding UTF8 --username "$POSTGRES_USER" --pwfile "$secret" --auth-host scram-sha-256 --auth-local trust > /dev/null
    rm "$secret"
    echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
    pg_ctl --pgdata "$data" --options '-c listen_addresses=' --wait start
    createdb --username "$POSTGRES_USER" "$POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*.sql; do
        psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --file "$script"
    done
    pg_ctl --pgdata "$data" --wait stop
fi
exec postgres -D "$data" -c 'listen_addresses=*'
