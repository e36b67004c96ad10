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

@test "renewed by cron: one line, which works as cron runs it; others' lines stay" {
    installed
    cron
    log_in --install-timer
    status_is 0
    says 'by the crontab of'
    log_in --install-timer --quiet
    status_is 0
    is 2 "$(wc -l <"$BATS_TEST_TMPDIR/crontab" | tr -d ' ')"
    line=$(tail -n 1 "$BATS_TEST_TMPDIR/crontab")
    case $line in [0-9]*' */6 * * * '*) ;; *) false ;; esac
    # crontab(5): the command is what follows the fifth field, and \% stands for %.
    command=$(printf '%s\n' "$line" | cut -d' ' -f6- | sed 's/\\%/%/g')
    rm -r "$HOME/.docker"
    run env -i HOME="$HOME" PATH=/usr/bin:/bin /bin/sh -c "$command"
    status_is 0
    logged_in
    log_in --remove-timer
    status_is 0
    is '0 1 * * * backup' "$(cat "$BATS_TEST_TMPDIR/crontab")"
}

@test "renewed by a timer of systemd for this user, and taken back" {
    installed
    fake systemctl <<EOF
echo "\$*" >>"$BATS_TEST_TMPDIR/systemctl"
case "\$*" in *is-system-running) echo running ;; esac
EOF
    fake loginctl <<<'exit 1'
    log_in --install-timer
    status_is 0
    says 'skydrm-ecr-login.timer' 'loginctl enable-linger'
    units="$HOME/.config/systemd/user"
    grep -qx 'OnCalendar=\*-\*-\* 00/6:00:00' "$units/skydrm-ecr-login.timer"
    grep -qx 'Persistent=true' "$units/skydrm-ecr-login.timer"
    place=$(printf '%s' "$DIR" | sed 's/%/%%/g')
    grep -qxF "ExecStart=/bin/sh \"$place/ecr-login.sh\" --dir \"$place\" --quiet" "$units/skydrm-ecr-login.service"
    grep -qxF "Environment=\"DOCKER_HOST=$DOCKER_HOST\"" "$units/skydrm-ecr-login.service"
    grep -qx -- '--user enable --now skydrm-ecr-login.timer' "$BATS_TEST_TMPDIR/systemctl"
    is '' "$(grep -rl "$SECRET" "$units")"
    log_in --remove-timer
    status_is 0
    is '' "$(ls "$units")"
    grep -qx -- '--user disable --now skydrm-ecr-login.timer' "$BATS_TEST_TMPDIR/systemctl"
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
