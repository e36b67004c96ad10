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
    is_set_up
    before=$(cd "$DIR" && find . -type f -exec cksum {} + | sort)
    set_up
    status_is 0
    says "nothing to change"
    is "$before" "$(cd "$DIR" && find . -type f -exec cksum {} + | sort)"
    [ ! -e "$DIR/backups" ]
}

@test "a change keeps what was there in backups, and lines of the customer's own stay" {
    is_set_up
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
    is_set_up
    run $UNDER "$DIR/setup.sh" --set ACME_THREADS=8 --offline </dev/null
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
    mkdir -m 700 "$HOME/folder"
    for words in "--nonsense" "--dir" "--set X" "--set NO_SUCH=1" "--answers $BATS_TEST_TMPDIR/none" "--answers $HOME/folder"; do
        run $UNDER "$BUNDLE/setup.sh" $words </dev/null
        status_is 2
        says 'error: '
    done
    script setup.sh --help
    status_is 0
    says 'ACME_LEVEL' '--non-interactive'
}

@test "a product without settings lists none" {
    cp -r "$BUNDLE" "$BATS_TEST_TMPDIR/plain"
    echo '# none' >"$BATS_TEST_TMPDIR/plain/settings.txt"
    BUNDLE="$BATS_TEST_TMPDIR/plain" script setup.sh --help
    status_is 0
    is 'Settings:' "$(printf '%s\n' "$output" | tail -n 1)"
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
    script setup.sh --answers "$ANSWERS" --dir "$DIR/below" --offline
    status_is 1
    says 'cannot be made'
    script setup.sh --answers "$ANSWERS" --dir /usr --offline
    status_is 1
    is '' "$(ls -A "$TMPDIR")"
}

@test "killed at any step, then run again: the same installation, and nothing left behind" {
    deadly "$BUNDLE"
    BUNDLE="$BATS_TEST_TMPDIR/deadly"
    run_deadly 0 setup.sh --dir "$DIR" --answers "$ANSWERS" --offline
    status_is 0
    expected=$(cd "$DIR" && find . -type f | sort)
    last=$(wc -l <"$COUNT")
    for at in 1 $((last - 4)) $((last - 3)) $((last - 1)) "$last"; do
        rm -rf "$DIR"
        run_deadly "$at" setup.sh --dir "$DIR" --answers "$ANSWERS" --offline
        status_is 137
        rm -rf "${TMPDIR:?}"/* # what a killed process cannot remove itself
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
    is_set_up
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

@test "secrets never go through a name that another user can know beforehand" {
    planted env pem config ports error d
    answers ACME_HOST=docs.acme.example ACME_PASSWORD=correct-horse-battery
    BUNDLE="$PLANTED" set_up
    status_is 0
    grep -q correct-horse-battery "$DIR/.env"
    [ ! -e "$BATS_TEST_TMPDIR/stolen" ]
    [ -L "$(sed -n 1p "$BATS_TEST_TMPDIR/made").env" ]
    is 'directory 700' "$(cat "$BATS_TEST_TMPDIR/mode")"
}

@test "the folder for temporary files is gone after a signal" {
    # shellcheck disable=SC2016 # what a script does that is told to end in the middle of its work
    printf 'HERE=$1\n. "$HERE/lib/common.sh"\nprivate_folder\n: >"$PRIVATE/env"\nkill -TERM $$\n' >"$BATS_TEST_TMPDIR/cut.sh"
    run $UNDER "$BATS_TEST_TMPDIR/cut.sh" "$BUNDLE"
    status_is 143
    is '' "$(ls -A "$TMPDIR")"
}

@test "a place for temporary files where others may swap them is refused" {
    mkdir "$BATS_TEST_TMPDIR/shared"
    chmod 777 "$BATS_TEST_TMPDIR/shared"
    TMPDIR="$BATS_TEST_TMPDIR/shared" set_up
    status_is 1
    says 'others can rename what is in' 'TMPDIR'
    [ ! -e "$DIR" ]
    chmod 1777 "$BATS_TEST_TMPDIR/shared"
    TMPDIR="$BATS_TEST_TMPDIR/shared" set_up
    status_is 0
}

@test "an installation folder that every user may write to is refused, and nothing is written through a link in it" {
    mkdir "$DIR"
    chmod 777 "$DIR"
    echo mine >"$BATS_TEST_TMPDIR/mine"
    for name in .writable .env.new release.env.new; do ln -s "$BATS_TEST_TMPDIR/mine" "$DIR/$name"; done
    set_up
    status_is 1
    says 'every user can write to'
    is mine "$(cat "$BATS_TEST_TMPDIR/mine")"
    chmod 755 "$DIR"
    set_up
    status_is 0
    is mine "$(cat "$BATS_TEST_TMPDIR/mine")"
    rm "$DIR/.writable"
    nothing_left
}

@test "a release is installed while its tag names these images, and the access key is in no other place" {
    with_registry
    set_up_asking
    status_is 0
    says 'SkyDRM 8.1.0 is set up in'
    case $output in *withdrawn*) false ;; esac
    grep -q wJalr "$DIR/secrets/aws-credentials"
    nothing_left
}

@test "a withdrawn release is not installed: status 3, and nothing is written" {
    with_registry
    touch "$SERVED/withdrawn-8.1.0"
    set_up_asking
    status_is 3
    says 'SkyDRM 8.1.0 was withdrawn: the release tag skydrm/viewer:8.1.0 is gone' 'get the newest setup zip'
    set_up_asking --check
    status_is 3
    says 'FAIL  SkyDRM 8.1.0 was withdrawn'
    rm "$SERVED/withdrawn-8.1.0"
    echo '{"of":"something else"}' >"$SERVED/rms"
    set_up_asking
    status_is 3
    says 'SkyDRM 8.1.0 was withdrawn: the release tag skydrm/rms:8.1.0 names another image'
    [ ! -e "$DIR" ]
    is '' "$(ls -A "$TMPDIR")"
}

@test "without an answer nothing is installed, unless --offline says so" {
    with_registry
    local answer
    for answer in '403' '500' '404
<html>no such page</html>' 000; do
        printf '%s\n' "$answer" >"$SERVED/answer"
        set_up_asking
        status_is 1
        says 'whether SkyDRM 8.1.0 was withdrawn cannot be checked' '--offline'
        set_up_asking --check
        status_is 1
        says 'FAIL  whether SkyDRM 8.1.0 was withdrawn cannot be checked'
    done
    rm "$SERVED/answer"
    touch "$SERVED/down"
    set_up_asking
    status_is 1
    says 'cannot be checked: the ECR API at' 'does not answer'
    answers ACME_HOST=docs.acme.example
    set_up_asking
    status_is 1
    says 'there is no access key for asking the registry'
    [ ! -e "$DIR" ]
    set_up_asking --offline
    status_is 0
    says 'with --offline, it is not checked whether SkyDRM 8.1.0 was withdrawn'
}

@test "what is installed can be set up in another way after a withdrawal, but not be started" {
    with_registry
    set_up_asking
    status_is 0
    touch "$SERVED/withdrawn-8.1.0"
    set_up_asking --set ACME_PORT=9443
    status_is 0
    says 'SkyDRM 8.1.0 was withdrawn' 'upgrade.sh'
    is 9443 "$(setting ACME_PORT)"
    set_up_asking --set ACME_PORT=9444 --start
    status_is 3
    is 9443 "$(setting ACME_PORT)"
}

@test "without curl the AWS command line asks" {
    with_registry
    mkdir "$BATS_TEST_TMPDIR/no-curl"
    ln -s /usr/bin/* "$BATS_TEST_TMPDIR/no-curl/"
    rm -f "$BATS_TEST_TMPDIR/no-curl/curl" "$FAKES/curl"
    # shellcheck disable=SC2123 # the search path is meant
    PATH="$FAKES:${TOOLS:+$TOOLS:}$BATS_TEST_TMPDIR/no-curl"
    fake aws <<'EOF'
grep -q wJalr "$AWS_SHARED_CREDENTIALS_FILE" || exit 1
case "$*" in
*"imageTag=8.1.0 "*) ;;
*) exit 1 ;;
esac
[ ! -e "$SERVED/down" ] || { echo 'Could not connect to the endpoint URL' >&2 && exit 255; }
case "$*" in
*skydrm/viewer*) [ ! -e "$SERVED/withdrawn-8.1.0" ] || { printf 'None\tImageNotFound\n' && exit 0; } ;;
esac
name=${4#*/}
printf 'sha256:%s\tNone\n' "$(sha256sum <"$SERVED/$name" | cut -c1-64)"
EOF
    touch "$SERVED/down"
    set_up_asking
    status_is 1
    says 'Could not connect'
    rm "$SERVED/down"
    touch "$SERVED/withdrawn-8.1.0"
    set_up_asking
    status_is 3
    rm "$SERVED/withdrawn-8.1.0"
    set_up_asking
    status_is 0
}

@test "--check with --offline tries no login, and says so" {
    with_registry
    touch "$SERVED/down"
    set_up --check
    says 'note  with --offline neither the login was tried, nor whether SkyDRM 8.1.0 was withdrawn'
    case $output in *'the login fails'* | *'may log in'*) false ;; esac
}

@test "without HOME, as root's units and cloud-init run it: the home in the list of users counts" {
    fake getent <<EOF
[ "\$1 \$2" = "passwd $(id -u)" ] || exit 2
echo "customer:x:$(id -u):$(id -u)::$HOME:/bin/sh"
EOF
    run env -i PATH="$PATH" TMPDIR="$TMPDIR" $UNDER "$BUNDLE/setup.sh" --answers "$ANSWERS" --offline </dev/null
    status_is 0
    says "SkyDRM 8.1.0 is set up in $HOME/skydrm"
    # A user that is in no list needs --dir, and nothing else.
    fake getent <<<'exit 2'
    run env -i PATH="$PATH" TMPDIR="$TMPDIR" $UNDER "$BUNDLE/setup.sh" --answers "$ANSWERS" --offline --dir "$DIR" </dev/null
    status_is 0
}

@test "execute bits that a program for zips has lost are not needed, and come back in the installation" {
    with_registry
    fake docker <<<'[ "$1" != login ] || cat >/dev/null'
    chmod a-x "$BUNDLE"/*.sh
    script setup.sh --dir "$DIR" --answers "$ANSWERS"
    status_is 0
    says 'logged in to'
    run "$DIR/ecr-login.sh" --dir "$DIR"
    status_is 0
}

@test "answers that an editor of Windows wrote: a byte order mark and CRLF are passed over" {
    printf '\357\273\277# Answers of ACME\r\nACME_HOST=docs.acme.example\r\n\r\nACME_PORT=9443\r\nACME_TITLE='\''Our files'\''\r\nAWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\r\nAWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' >"$ANSWERS"
    set_up --no-login
    status_is 0
    is docs.acme.example "$(setting ACME_HOST)"
    is 9443 "$(setting ACME_PORT)"
    is 'Our files' "$(setting ACME_TITLE)"
    printf '[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = %s\n' wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY |
        cmp - "$DIR/secrets/aws-credentials"
    printf '\357\273\277ACME_HOST=docs.acme.example\r\n' >"$ANSWERS"
    set_up --set ACME_THREADS=9
    status_is 0
    is 9 "$(setting ACME_THREADS)"
    nothing_left
    printf '\377\376A\0C\0M\0E\0' >"$ANSWERS"
    set_up
    status_is 2
    says 'is UTF-16' 'save it as UTF-8'
}

@test "settings and an access key that were edited on Windows are read as they are meant" {
    answers ACME_HOST=docs.acme.example AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE \
        AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
    set_up --no-login --set ACME_PORT=9443
    echo "OWN='1'" >>"$DIR/.env"
    expected=$(cat "$DIR/.env")
    sed -i 's/$/\r/' "$DIR/.env" "$DIR/secrets/aws-credentials"
    answers "ACME_HOST=docs.acme.example"
    set_up --no-login
    status_is 0
    is "$expected" "$(cat "$DIR/.env")"
    printf '. "$HERE/lib/common.sh"\n. "$HERE/lib/ecr.sh"\ncredential aws_secret_access_key\n' >"$BATS_TEST_TMPDIR/key.sh"
    run env HERE="$BUNDLE" DIR="$DIR" $UNDER "$BATS_TEST_TMPDIR/key.sh"
    is wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY "$output"
}

@test "Docker of the snap store: a folder that it cannot see is refused before anything is written" {
    fake docker <<'EOF'
case "$*" in
"version -f {{.Server.Version}}") echo 28.4.0 ;;
"compose version"*) echo 2.39.1 ;;
esac
EOF
    fake_snap
    for folder in "$DIR" "$HOME/.acme/sky" "$HOME/snap/sky" "$HOME"; do
        script setup.sh --dir "$folder" --answers "$ANSWERS" --offline
        status_is 1
        says "is from the snap store, and does not see the folder $folder" "$HOME/skydrm"
        is '' "$(ls -A "$HOME")"
        script setup.sh --check --dir "$folder" --answers "$ANSWERS" --offline
        says "FAIL  Docker is from the snap store, and does not see the folder $folder"
    done
    [ ! -e "$DIR" ]
    script setup.sh --check --dir /mnt/sky --answers "$ANSWERS" --offline
    says "note  Docker is from the snap store, and sees /mnt/sky only after 'snap connect docker:removable-media'"
    # A link into the home is as good as the folder itself.
    mkdir "$HOME/sky"
    ln -s "$HOME/sky" "$BATS_TEST_TMPDIR/link"
    script setup.sh --dir "$BATS_TEST_TMPDIR/link" --answers "$ANSWERS" --offline
    status_is 0
}

@test "Podman is refused by its name, whether it poses as the command docker or answers in the daemon's place" {
    fake_podman
    set_up --check
    status_is 1
    says 'FAIL  the command docker is Podman 4.3.1' 'runs with Docker only'
    case $output in *'too old'*) false ;; esac
    set_up --start
    status_is 1
    says 'the command docker is Podman 4.3.1'
    fake docker <<'EOF'
case $* in
--version) echo 'Docker version 28.2.2, build e6534b4' ;;
'version -f {{.Server.Version}}') echo 4.3.1 ;;
'version -f {{range .Server.Components}}{{.Name}},{{end}}') echo 'Podman Engine,Conmon,OCI Runtime (crun),Engine,' ;;
esac
EOF
    set_up --check
    status_is 1
    says 'FAIL  what answers as the Docker daemon is Podman 4.3.1'
    set_up --start
    status_is 1
    says 'what answers as the Docker daemon is Podman 4.3.1'
}

@test "--timer without a login says that nothing is renewed" {
    for words in --no-login --offline; do
        script setup.sh --dir "$DIR" --answers "$ANSWERS" --offline --timer $words
        status_is 0
        says 'the login is not renewed' 'ecr-login.sh --install-timer'
    done
}
