#!/usr/bin/env bats
# ecr-login.sh against a registry and an API that check signatures, tokens and rights as ECR does.
#   KEY SECRET          may log in            OFF_KEY OFF_SECRET      was switched off
#   POOR_KEY POOR_SECRET  has no right        TOKEN                   a registry token of the first

load helper

installed() { # an installation that has the key
    DIR="$BATS_TEST_TMPDIR/100% of a customer's folder"
    answers ACME_HOST=docs.acme.example AWS_ACCESS_KEY_ID="$KEY" AWS_SECRET_ACCESS_KEY="$SECRET"
    set_up --no-login
    status_is 0
    cp "$BUNDLE/release.env" "$BATS_TEST_TMPDIR/release.env"
    . "$BATS_TEST_TMPDIR/release.env"
}
logged_in() { grep -q "\"$REGISTRY\"" "$HOME/.docker/config.json" 2>/dev/null; }
log_in() { script ecr-login.sh --dir "$DIR" "$@"; }
noted() { # noted PROGRAM: what it is called with goes to a file
    fake "$1" <<EOF
printf '%s\n' "$1 \$*" >>"$BATS_TEST_TMPDIR/called"
exec $(command -v "$1") "\$@"
EOF
}

@test "with curl and nothing of AWS; no secret is in a command line or left in a file" {
    installed
    for program in curl docker sed od base64; do noted "$program"; done
    log_in
    status_is 0
    says 'logged in to' 'twelve hours'
    logged_in
    token=$(sed -n 's/.*"auth": "\(.*\)".*/\1/p' "$HOME/.docker/config.json" | base64 -d | sed 's/^AWS://')
    [ -n "$token" ]
    grep -q 'curl .*-K -' "$BATS_TEST_TMPDIR/called"
    grep -q 'docker login --username AWS --password-stdin' "$BATS_TEST_TMPDIR/called"
    is '' "$(grep -c -e "$SECRET" -e "$token" "$BATS_TEST_TMPDIR/called" | grep -v '^0')"
    case $output in *"$SECRET"* | *"$token"*) false ;; esac
    is "$DIR/secrets/aws-credentials" "$(grep -rl -- "$SECRET" "$BATS_TEST_TMPDIR" | grep -v /answers)"
    log_in --quiet
    status_is 0
    is '' "$output"
}

@test "with the AWS command line, by the key of this installation and no other" {
    installed
    fake aws <<'EOF'
[ "$*" = "ecr get-login-password --region us-east-1 --endpoint-url $AWS_ENDPOINT_URL_ECR" ] || exit 9
[ -z "${AWS_ACCESS_KEY_ID:-}${AWS_PROFILE:-}" ] || exit 9
grep -q "$KEY" "$AWS_SHARED_CREDENTIALS_FILE" || exit 9
echo "$TOKEN"
EOF
    AWS_ACCESS_KEY_ID=other AWS_PROFILE=other log_in --method aws
    status_is 0
    logged_in
}

@test "why a login fails is told: key unknown, switched off, wrong secret, no right, clock, no answer" {
    installed
    with() { printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$1" "$2" >"$DIR/secrets/aws-credentials"; }
    with AKIAIOSFODNN7EXAMPLE "$SECRET"
    log_in
    status_is 1
    says 'AWS does not know this access key'
    with "$OFF_KEY" "$OFF_SECRET"
    log_in
    status_is 1
    says 'or it was switched off'
    with "$KEY" "$OFF_SECRET"
    log_in
    status_is 1
    says 'the secret does not belong to this access key'
    with "$POOR_KEY" "$POOR_SECRET"
    log_in
    status_is 1
    says 'may not log in to the registry'
    with "$KEY" "$SECRET"
    SETUP_NOW=20200101T000000Z log_in
    status_is 1
    says 'the clock of this machine is wrong'
    sed -i "s|^ECR_ENDPOINT=.*|ECR_ENDPOINT='http://127.0.0.1:1'|" "$DIR/.env"
    log_in
    status_is 1
    says 'does not answer'
    is '' "$(logged_in && echo yes)"
}

@test "what is missing or wrong is told before anything is tried" {
    log_in
    status_is 1
    says 'there is no installation'
    script ecr-login.sh --dir /usr
    status_is 1
    says 'belongs to user 0' 'without sudo'
    script ecr-login.sh --method magic
    status_is 2
    script ecr-login.sh --nonsense
    status_is 2
    set_up --no-login
    log_in
    status_is 1
    says 'there is no access key'
    installed
    chmod 644 "$DIR/secrets/aws-credentials"
    log_in
    status_is 1
    says 'others can read'
}

@test "without HOME, as root's units and cloud-init run it: the home in the list of users counts, or it says so" {
    installed
    fake getent <<EOF
[ "\$1 \$2" = "passwd $(id -u)" ] || exit 2
echo "customer:x:$(id -u):$(id -u)::$HOME:/bin/sh"
EOF
    run env -i PATH="$PATH" DOCKER_HOST="$DOCKER_HOST" $UNDER "$BUNDLE/ecr-login.sh" --dir "$DIR" </dev/null
    status_is 0
    logged_in
    rm -r "$HOME/.docker"
    fake getent <<<'exit 2'
    run env -i PATH="$PATH" DOCKER_HOST="$DOCKER_HOST" $UNDER "$BUNDLE/ecr-login.sh" --dir "$DIR" </dev/null
    status_is 1
    says 'HOME is not set' 'set HOME'
}

cron() { # a crontab, with a line of somebody else in it; a function, since busybox's shell has its own program
    fake systemctl <<<'exit 1'
    cat >>"$DIR/lib/common.sh" <<EOF
crontab() {
    case \$1 in
    -l) cat "$BATS_TEST_TMPDIR/crontab" ;;
    -) cat >"$BATS_TEST_TMPDIR/new" && mv "$BATS_TEST_TMPDIR/new" "$BATS_TEST_TMPDIR/crontab" ;;
    esac
}
EOF
    echo '0 1 * * * backup' >"$BATS_TEST_TMPDIR/crontab"
    BUNDLE=$DIR
}
run_as_cron() { # run what the last line of the crontab says, as cron(8) does
    local command
    # crontab(5): the command is what follows the fifth field, and \% stands for %.
    command=$(tail -n 1 "$BATS_TEST_TMPDIR/crontab" | cut -d' ' -f6- | sed 's/\\%/%/g')
    run env -i HOME="$HOME" LOGNAME=customer SHELL=/bin/sh PATH=/usr/bin:/bin /bin/sh -c "$command"
}
systemd() { # a systemctl that starts a service as systemd does: its command, in the manager's environment
    UNITS="$HOME/.config/systemd/user"
    fake systemctl <<EOF
echo "\$*" >>"$BATS_TEST_TMPDIR/systemctl"
case "\$*" in
*is-system-running) echo running ;;
*' start '*)
    [ ! -e "$BATS_TEST_TMPDIR/stuck" ] || exit 1
    exec /usr/bin/python3 - "$HOME" "$UNITS/\${*##* }" <<'PYTHON'
import shlex, subprocess, sys
home, unit = sys.argv[1:]
lines = [line.partition("=") for line in open(unit).read().splitlines()]
# systemd.exec(5), "Environment variables in spawned processes", for a user's service; systemd.syntax(7), "Quoting".
environ = {"HOME": home, "LOGNAME": "customer", "USER": "customer", "SHELL": "/bin/sh", "LANG": "C.UTF-8",
           "PATH": "/usr/local/bin:/usr/bin:/bin", "INVOCATION_ID": "0" * 32}
environ |= dict(word.split("=", 1) for name, _, text in lines if name == "Environment"
                for word in shlex.split(text.replace("%%", "%")))
words = [shlex.split(text.replace("%%", "%").replace("$$", "$")) for name, _, text in lines if name == "ExecStart"]
sys.exit(subprocess.run(words[0], env=environ, cwd=home, stdin=subprocess.DEVNULL).returncode)
PYTHON
    ;;
esac
EOF
    fake loginctl <<<'exit 1'
}
run_as_systemd() { run systemctl --user start skydrm-ecr-login.service; }

@test "renewed by cron: one line, which works as cron runs it; others' lines stay" {
    installed
    cron
    log_in --install-timer
    status_is 0
    name=$(id -un 2>/dev/null) || name=$(id -u)
    says "by the crontab of $name; its command"
    log_in --install-timer --quiet
    status_is 0
    is 2 "$(wc -l <"$BATS_TEST_TMPDIR/crontab" | tr -d ' ')"
    case $(tail -n 1 "$BATS_TEST_TMPDIR/crontab") in [0-9]*' */6 * * * '*) ;; *) false ;; esac
    rm -r "$HOME/.docker"
    run_as_cron
    status_is 0
    is '' "$output"
    logged_in
    log_in --remove-timer
    status_is 0
    is '0 1 * * * backup' "$(cat "$BATS_TEST_TMPDIR/crontab")"
    [ ! -e "$DIR/secrets/renew-login" ]
}

@test "renewed by cron: it says so if no cron runs" {
    installed
    cron
    if ! cat /proc/[0-9]*/comm 2>/dev/null | grep -qxE 'f?crond?'; then
        log_in --install-timer
        status_is 0
        says 'warning: no cron is running'
    fi
    cp /bin/sleep "$BATS_TEST_TMPDIR/crond"
    "$BATS_TEST_TMPDIR/crond" 60 3>&- &
    log_in --install-timer
    kill $!
    status_is 0
    case $output in *'no cron is running'*) false ;; esac
}

@test "renewed by cron: the line of another installation, whose folder has a longer name, stays too" {
    installed
    cron
    local other="0 */6 * * * /bin/sh '/srv$DIR/secrets/renew-login' # skydrm-ecr-login /srv$DIR"
    local longer="0 */6 * * * /bin/sh '$DIR-test/secrets/renew-login' # skydrm-ecr-login $DIR-test"
    printf '%s\n' "$other" "$longer" >"$BATS_TEST_TMPDIR/crontab"
    log_in --install-timer
    status_is 0
    log_in --remove-timer
    status_is 0
    is "$other
$longer" "$(cat "$BATS_TEST_TMPDIR/crontab")"
}

@test "renewed by a timer of systemd for this user, and taken back" {
    installed
    systemd
    log_in --install-timer
    status_is 0
    says 'skydrm-ecr-login.timer' 'loginctl enable-linger'
    grep -qx 'OnCalendar=\*-\*-\* 00/6:00:00' "$UNITS/skydrm-ecr-login.timer"
    grep -qx 'Persistent=true' "$UNITS/skydrm-ecr-login.timer"
    place=$(printf '%s' "$DIR" | sed 's/%/%%/g')
    grep -qxF "ExecStart=/bin/sh \"$place/secrets/renew-login\"" "$UNITS/skydrm-ecr-login.service"
    grep -qx -- '--user enable --now skydrm-ecr-login.timer' "$BATS_TEST_TMPDIR/systemctl"
    grep -qx -- '--user start skydrm-ecr-login.service' "$BATS_TEST_TMPDIR/systemctl"
    rm -r "$HOME/.docker"
    run_as_systemd
    status_is 0
    is '' "$output"
    logged_in
    # Root's services have no HOME.
    rm -r "$HOME/.docker"
    run env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin /bin/sh "$DIR/secrets/renew-login" </dev/null
    status_is 0
    logged_in
    log_in --remove-timer
    status_is 0
    is '' "$(ls "$UNITS")"
    [ ! -e "$DIR/secrets/renew-login" ]
    grep -qx -- '--user disable --now skydrm-ecr-login.timer' "$BATS_TEST_TMPDIR/systemctl"
}

behind_a_proxy() { # the API can be reached through a proxy only, which asks for a password
    /usr/bin/python3 - "$AWS_ENDPOINT_URL_ECR" >"$BATS_TEST_TMPDIR/port" 3>&- <<'PYTHON' &
import base64, http.client, http.server, sys, threading
class Proxy(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Proxy-Authorization"] != "Basic " + base64.b64encode(b"acme:pr%xy's").decode():
            return self.send_error(407)
        api = http.client.HTTPConnection(sys.argv[1].partition("//")[2])
        api.request("POST", "/", body, dict(self.headers))
        answer = api.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
threading.Timer(60, server.shutdown).start()
print(server.server_port, flush=True)
server.serve_forever()
PYTHON
    PROXY=$!
    until [ -s "$BATS_TEST_TMPDIR/port" ]; do sleep 0.05; done
    sed -i "s|^ECR_ENDPOINT=.*|ECR_ENDPOINT='http://api.ecr.invalid'|" "$DIR/.env"
    http_proxy="http://acme:pr%25xy's@127.0.0.1:$(cat "$BATS_TEST_TMPDIR/port")"
    export http_proxy HTTP_PROXY="$http_proxy" HTTPS_PROXY="$http_proxy" https_proxy="$http_proxy" \
        NO_PROXY='10.0.0.0/8,.acme.example' no_proxy='10.0.0.0/8,.acme.example' ALL_PROXY="$http_proxy" \
        CURL_CA_BUNDLE=ca.pem AWS_CA_BUNDLE="$PWD/ca.pem" SSL_CERT_FILE="$PWD/it's a \"ca\" \$HOME \\.pem"
    : >ca.pem
    fake curl <<EOF
for name in http_proxy HTTP_PROXY HTTPS_PROXY https_proxy NO_PROXY no_proxy ALL_PROXY CURL_CA_BUNDLE AWS_CA_BUNDLE SSL_CERT_FILE; do
    eval "printf '%s=%s\n' \$name \"\\\${\$name:-}\""
done >"$BATS_TEST_TMPDIR/environment"
exec $(command -v curl) "\$@"
EOF
}
same_environment() { # what curl found in the timer is what it was set up with; a path holds in any folder
    is "http_proxy=$http_proxy
HTTP_PROXY=$HTTP_PROXY
HTTPS_PROXY=$HTTPS_PROXY
https_proxy=$https_proxy
NO_PROXY=$NO_PROXY
no_proxy=$no_proxy
ALL_PROXY=$ALL_PROXY
CURL_CA_BUNDLE=$PWD/ca.pem
AWS_CA_BUNDLE=$AWS_CA_BUNDLE
SSL_CERT_FILE=$SSL_CERT_FILE" "$(cat "$BATS_TEST_TMPDIR/environment")"
}

@test "the timer has the proxy, its password and the CA files that the login was set up with; others cannot read them" {
    installed
    cd "$BATS_TEST_TMPDIR"
    behind_a_proxy
    for way in systemd cron; do
        $way
        log_in --install-timer
        status_is 0
        case $output in *pr%25xy*) false ;; esac
        rm -r "$HOME/.docker" environment
        run_as_$way
        status_is 0
        is '' "$output"
        logged_in
        same_environment
        is 600 "$(stat -c %a "$DIR/secrets/renew-login")"
        is "$DIR/secrets/renew-login" "$(grep -rl "pr%25xy" "$DIR" "$UNITS" crontab 2>/dev/null)"
        log_in --remove-timer
        is '' "$(grep -rl "pr%25xy" "$DIR" "$UNITS" crontab 2>/dev/null)"
    done
    kill "$PROXY"
}

@test "the timer logs in by the method that it was set up with" {
    installed
    fake aws <<EOF
echo x >>"$BATS_TEST_TMPDIR/aws"
echo "$TOKEN"
EOF
    cron
    log_in --install-timer --method aws
    status_is 0
    rm "$BATS_TEST_TMPDIR/aws"
    run_as_cron
    status_is 0
    [ -e "$BATS_TEST_TMPDIR/aws" ]
}

@test "a login that works here and not in the timer's own environment: it says why, and there is no timer" {
    installed
    fake curl <<EOF
[ -n "\${ACME_TUNNEL:-}" ] || { echo 'curl: (7) the tunnel is closed' >&2 && exit 7; }
exec $(command -v curl) "\$@"
EOF
    export ACME_TUNNEL=open
    systemd
    log_in --install-timer
    status_is 1
    says 'the tunnel is closed' 'the login works here, but not as systemd runs it' 'no timer'
    is '' "$(ls "$UNITS" 2>/dev/null)"
    [ ! -e "$DIR/secrets/renew-login" ]
    cron
    log_in --install-timer
    status_is 1
    says 'the tunnel is closed' 'the login works here, but not as cron runs it' 'no timer'
    is '0 1 * * * backup' "$(cat "$BATS_TEST_TMPDIR/crontab")"
    [ ! -e "$DIR/secrets/renew-login" ]
}

@test "a service that systemd cannot run: it says where to look, and there is no timer" {
    installed
    systemd
    touch "$BATS_TEST_TMPDIR/stuck"
    log_in --install-timer
    status_is 1
    says 'not as systemd runs it' 'journalctl --user -u skydrm-ecr-login.service' 'group docker'
    is '' "$(ls "$UNITS")"
    [ ! -e "$DIR/secrets/renew-login" ]
}

@test "neither systemd nor cron: it says what to do instead" {
    installed
    fake systemctl <<<'exit 1'
    echo 'crontab() { return 1; }' >>"$DIR/lib/common.sh"
    BUNDLE=$DIR
    log_in --install-timer
    status_is 1
    says 'neither systemd nor cron' 'before each pull'
}

@test "Docker's credential helper is set up where nothing else is, and explained where something is" {
    installed
    log_in --method helper
    status_is 1
    says 'is not installed'
    fake docker-credential-ecr-login <<<'exit 0'
    log_in --method helper
    status_is 0
    grep -q "\"$REGISTRY\": \"ecr-login\"" "$HOME/.docker/config.json"
    is 600 "$(stat -c %a "$HOME/.aws/credentials")"
    log_in --method helper
    status_is 0
    echo '{"auths": {"other": {}}}' >"$HOME/.docker/config.json"
    log_in --method helper
    status_is 1
    says 'add this to' "\"credHelpers\": { \"$REGISTRY\": \"ecr-login\" }"
    is '{"auths": {"other": {}}}' "$(cat "$HOME/.docker/config.json")"
}

@test "Podman that poses as docker is refused by its name; Docker of the snap store has no use for a helper" {
    installed
    real_docker=$(command -v docker)
    fake_podman
    log_in
    status_is 1
    says 'the command docker is Podman 4.3.1'
    fake docker <<EOF
exec $real_docker "\$@"
EOF
    fake_snap
    fake docker-credential-ecr-login <<<'exit 0'
    log_in --method helper
    status_is 1
    says 'from the snap store' 'cannot run'
    [ ! -e "$HOME/.docker" ]
    log_in
    status_is 0
}
