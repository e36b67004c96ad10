#!/usr/bin/env bats
# setup.sh: what it asks, checks and writes.

load helper

@test "without a question: files of mode 0600, a password is made, and nothing is left behind" {
    set_up
    status_is 0
    says "SkyDRM 8.1.0 is set up in $DIR" "no access key was given"
    is docs.acme.example "$(setting ACME_HOST)"
    is 8443 "$(setting ACME_PORT)"
    is "Our documents" "$(setting ACME_TITLE)"
    password=$(setting ACME_PASSWORD)
    is 48 "${#password}"
    is "host=docs.acme.example
password=$password title=Our documents @not@ @OTHER" "$(cat "$DIR/config/acme.conf")"
    is '' "$(find "$DIR" -type f ! -name '*.sh' ! -perm 600)"
    is '' "$(find "$DIR" -type d ! -perm 700)"
    is "$(id -u)" "$(setting RUN_UID)"
    nothing_left
}

@test "run twice: nothing changes, and no backup is made" {
    set_up
    before=$(cd "$DIR" && find . -type f -exec cksum {} + | sort)
    set_up
    status_is 0
    says "nothing to change"
    is "$before" "$(cd "$DIR" && find . -type f -exec cksum {} + | sort)"
    [ ! -e "$DIR/backups" ]
}

@test "a change keeps what was there in backups, and lines of the customer's own stay" {
    set_up
    echo "OWN_PROXY='http://proxy:3128'" >>"$DIR/.env"
    echo "# mine" >"$DIR/docker-compose.override.yml"
    old=$(setting ACME_PASSWORD)
    set_up --set ACME_PORT=9443
    status_is 0
    is 9443 "$(setting ACME_PORT)"
    is "$old" "$(setting ACME_PASSWORD)"
    is "http://proxy:3128" "$(setting OWN_PROXY)"
    is "# mine" "$(cat "$DIR/docker-compose.override.yml")"
    grep -q "^ACME_PORT='8443'" "$DIR"/backups/*/.env
}

@test "it can be run from the installation itself" {
    set_up
    run $UNDER "$DIR/setup.sh" --set ACME_THREADS=8 </dev/null
    status_is 0
    is 8 "$(setting ACME_THREADS)"
}

@test "every answer that cannot be taken is told, and nothing is written" {
    answers ACME_HOST=a_b ACME_PORT=70000 ACME_ADMIN_PORT=0 ACME_CERT=/nowhere.pem ACME_DATA=data \
        ACME_PASSWORD=short ACME_THREADS=many ACME_LEVEL=loud 'ACME_TITLE=a$(reboot)' ACME_COLOUR=red
    set_up
    status_is 2
    says 'ACME_HOST is no host name' 'ACME_PORT is no port' 'ACME_ADMIN_PORT is no port' \
        'ACME_CERT cannot be read' 'ACME_DATA is no absolute path' 'ACME_PASSWORD is too short' \
        'ACME_THREADS is no number' 'ACME_LEVEL is none of' 'ACME_TITLE may not hold' \
        'there is no setting ACME_COLOUR' 'nothing was written'
    [ ! -e "$DIR" ]
    is '' "$(ls -A "$TMPDIR")"
}

@test "two settings cannot have the same port, and a missing answer is an error" {
    answers ACME_PORT=8000 ACME_ADMIN_PORT=8000
    set_up
    status_is 2
    says 'ACME_HOST is missing' 'ACME_ADMIN_PORT is the port of ACME_PORT already'
}

@test "values that a shell or Compose would read are kept from both" {
    for value in "it's" 'a"b' 'a\b' 'a`id`b' '${HOME}' 'a|b'; do
        answers ACME_HOST=docs.acme.example "ACME_TITLE=$value"
        set_up
        status_is 2
        says 'ACME_TITLE may not hold'
    done
    answers ACME_HOST=docs.acme.example "ACME_TITLE=a"$'\t'"b"
    set_up
    status_is 2
    says 'ACME_TITLE holds a control character'
    answers ACME_HOST=docs.acme.example 'ACME_TITLE=a & b; c > d # e * f'
    set_up
    status_is 0
    grep -q 'title=a & b; c > d # e \* f ' "$DIR/config/acme.conf"
}

@test "passwords never come from a command line, nor from a file that others can read" {
    set_up --set ACME_PASSWORD=correct-horse-battery
    status_is 2
    says 'ACME_PASSWORD is a password'
    answers ACME_HOST=docs.acme.example ACME_PASSWORD=correct-horse-battery
    chmod 640 "$ANSWERS"
    set_up
    status_is 2
    says 'others can read'
    [ ! -e "$DIR" ]
}

@test "options that are wrong are told" {
    for words in "--nonsense" "--dir" "--set X" "--set NO_SUCH=1" "--answers $BATS_TEST_TMPDIR/none"; do
        run $UNDER "$BUNDLE/setup.sh" $words </dev/null
        status_is 2
        says 'error: '
    done
    script setup.sh --help
    status_is 0
    says 'ACME_LEVEL' '--non-interactive'
}

@test "the access key is stored with mode 0600 and never shown" {
    answers ACME_HOST=docs.acme.example AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE \
        AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
    set_up --no-login
    status_is 0
    case $output in *wJalr*) false ;; esac
    is 600 "$(stat -c %a "$DIR/secrets/aws-credentials")"
    grep -qx 'aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' "$DIR/secrets/aws-credentials"
    is '' "$(grep -rl wJalr "$DIR" | grep -v /secrets/)"
    answers AWS_ACCESS_KEY_ID=AKIAI44QH8DHBEXAMPLE
    set_up --no-login
    status_is 2
    says 'the secret access key of AKIAI44QH8DHBEXAMPLE is missing'
    answers AWS_ACCESS_KEY_ID='AKIA"; reboot' AWS_SECRET_ACCESS_KEY=x
    set_up --no-login
    status_is 2
}

certificate() { # certificate NAME HOST DAYS
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$BATS_TEST_TMPDIR/$1.key" \
        -out "$BATS_TEST_TMPDIR/$1.pem" -days "$3" -subj "/CN=$2" -addext "subjectAltName=DNS:$2" 2>/dev/null
}

@test "certificates: the right one is taken over, with its key; wrong ones are told" {
    cd "$BATS_TEST_TMPDIR"
    certificate good docs.acme.example 90
    certificate other mail.acme.example 90
    certificate soon docs.acme.example 3
    openssl x509 -in good.pem -signkey good.key -days -1 -out expired.pem 2>/dev/null || true
    echo nonsense >broken.pem
    openssl ec -in good.key -aes128 -passout pass:secret -out locked.key 2>/dev/null
    local tls="ACME_HOST=docs.acme.example"
    answers $tls ACME_CERT="$PWD/other.pem" ACME_KEY="$PWD/other.key" && set_up
    status_is 2 && says 'is not for the host docs.acme.example'
    answers $tls ACME_CERT="$PWD/broken.pem" ACME_KEY="$PWD/good.key" && set_up
    status_is 2 && says 'is no certificate in PEM'
    answers $tls ACME_CERT="$PWD/good.pem" ACME_KEY="$PWD/other.key" && set_up
    status_is 2 && says 'is not the key of'
    answers $tls ACME_CERT="$PWD/good.pem" ACME_KEY="$PWD/locked.key" && set_up
    status_is 2 && says 'or one with a passphrase'
    answers $tls ACME_KEY="$PWD/good.key" && set_up
    status_is 2 && says 'has no certificate that it belongs to'
    [ ! -e "$DIR" ]
    answers $tls ACME_CERT="$PWD/soon.pem" ACME_KEY="$PWD/soon.key" && set_up
    status_is 0 && says 'expires soon'
    answers $tls ACME_CERT="$PWD/good.pem" ACME_KEY="$PWD/good.key" && set_up
    status_is 0
    cmp good.key "$DIR/secrets/ACME_KEY.pem"
    # The source may go: what was taken over is good enough, and is not lost.
    rm good.key good.pem
    set_up
    status_is 0 && says 'nothing to change'
}

@test "an expired certificate is refused" {
    cd "$BATS_TEST_TMPDIR"
    certificate old docs.acme.example 1
    fake openssl <<'EOF'
case "$*" in *"-checkend 0"*) exit 1 ;; esac
exec /usr/bin/openssl "$@"
EOF
    answers ACME_HOST=docs.acme.example ACME_CERT="$PWD/old.pem" ACME_KEY="$PWD/old.key" && set_up
    status_is 2 && says 'has expired'
}

@test "a folder that cannot be written to or made is told" {
    mkdir "$DIR"
    chmod 500 "$DIR"
    set_up
    status_is 1
    says 'cannot be written to' '--dir'
    script setup.sh --answers "$ANSWERS" --dir "$DIR/below"
    status_is 1
    says 'cannot be made'
    script setup.sh --answers "$ANSWERS" --dir /usr
    status_is 1
    is '' "$(ls -A "$TMPDIR")"
}

@test "killed at any step, then run again: the same installation, and nothing left behind" {
    deadly "$BUNDLE"
    BUNDLE="$BATS_TEST_TMPDIR/deadly"
    run_deadly 0 setup.sh --dir "$DIR" --answers "$ANSWERS"
    status_is 0
    expected=$(cd "$DIR" && find . -type f | sort)
    last=$(wc -l <"$COUNT")
    for at in 1 $((last - 4)) $((last - 3)) $((last - 1)) "$last"; do
        rm -rf "$DIR"
        run_deadly "$at" setup.sh --dir "$DIR" --answers "$ANSWERS"
        status_is 137
        rm -f "$TMPDIR"/* # what a killed process cannot remove itself
        set_up
        status_is 0
        is "$expected" "$(cd "$DIR" && find . -path ./backups -prune -o -type f -print | sort)"
        nothing_left
    done
}

@test "two at the same time: the second one is told, unless the first is gone" {
    mkdir -p "$DIR/.lock"
    echo $$ >"$DIR/.lock/pid"
    set_up
    status_is 1
    says "another script (process $$)"
    echo 999999999 >"$DIR/.lock/pid"
    set_up
    status_is 0
    nothing_left
}

@test "a damaged bundle is not installed" {
    cp -r "$BUNDLE" "$BATS_TEST_TMPDIR/copy"
    echo '# more' >>"$BATS_TEST_TMPDIR/copy/lib/ecr.sh"
    BUNDLE="$BATS_TEST_TMPDIR/copy" set_up
    status_is 1
    says 'lib/ecr.sh is missing or altered'
    rm "$BATS_TEST_TMPDIR/copy/lib/check.sh" "$BATS_TEST_TMPDIR/copy/release.env"
    BUNDLE="$BATS_TEST_TMPDIR/copy" set_up
    status_is 1
    says 'release.env is missing'
}

@test "another release in the folder is a matter for upgrade.sh" {
    set_up
    BUNDLE="$NEXT" set_up
    status_is 1
    says 'SkyDRM 8.1.0 is installed' 'run upgrade.sh'
}

@test "links are not written through" {
    mkdir -p "$DIR"
    echo mine >"$BATS_TEST_TMPDIR/mine"
    ln -s "$BATS_TEST_TMPDIR/mine" "$DIR/.env"
    set_up
    status_is 1
    says "is a link"
    is mine "$(cat "$BATS_TEST_TMPDIR/mine")"
}

without_docker() { # a PATH with everything but Docker
    mkdir "$BATS_TEST_TMPDIR/few"
    ln -s /usr/bin/* "$BATS_TEST_TMPDIR/few/"
    rm -f "$BATS_TEST_TMPDIR/few"/docker*
    # shellcheck disable=SC2123 # the search path is meant
    PATH="${TOOLS:+$TOOLS:}$BATS_TEST_TMPDIR/few"
}

@test "without Docker it writes everything; --start and --check say what is missing" {
    without_docker
    set_up
    status_is 0
    set_up --start
    status_is 1
    says 'Docker is not installed'
    set_up --check
    status_is 1
    says 'FAIL  Docker is not installed' 'docs.docker.com'
}

@test "--check changes nothing, and tells of ports in use and of hosts that cannot be reached" {
    fake docker <<'EOF'
case "$*" in
"version -f {{.Server.Version}}") echo 19.03.1 ;;
"version -f"*) echo linux/riscv64 ;;
"compose version --short") echo 1.2.0 ;;
"info"*) echo / ;;
esac
EOF
    fake curl <<'EOF'
case "$*" in *layers.example.com*) exit 6 ;; *dkr.ecr*) exit 7 ;; esac
printf 'HTTP/1.1 404 Not Found\r\nDate: %s\r\n\r\n' "$(date -u -d "@$(($(date +%s) - 1000))" '+%a, %d %b %Y %H:%M:%S GMT')"
EOF
    python3 -c "
import socket, time
held = socket.create_server(('127.0.0.1', 0)); print(held.getsockname()[1], flush=True); time.sleep(30)
" >"$BATS_TEST_TMPDIR/port" 3>&- &
    local holder=$!
    until [ -s "$BATS_TEST_TMPDIR/port" ]; do sleep 0.05; done
    set_up --check --set ACME_PORT="$(cat "$BATS_TEST_TMPDIR/port")"
    kill "$holder"
    status_is 1
    says 'FAIL  Docker 19.03.1 is too old' 'FAIL  this machine is linux/riscv64' \
        'FAIL  Docker Compose 1.2.0 is too old' 'gets no more updates' \
        "FAIL  port $(cat "$BATS_TEST_TMPDIR/port") (ACME_PORT) is in use" 'ok    port 8444 (ACME_ADMIN_PORT) is free' \
        'FAIL  the name of https://layers.example.com cannot be resolved' \
        'eu-central-1.amazonaws.com is not reachable' \
        'ok    https://api.ecr.eu-central-1.amazonaws.com is reachable' 'FAIL  the clock is 100' \
        'no access key is set up yet' 'of the checks failed'
    [ ! -e "$DIR" ]
    is '' "$(ls -A "$TMPDIR")"
}
