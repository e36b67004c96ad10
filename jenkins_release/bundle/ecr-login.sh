#!/bin/sh
# Log Docker in to the registry, and renew the login: it is valid for twelve hours.
set -eu

HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
# shellcheck source=jenkins_release/bundle/lib/common.sh
. "$HERE/lib/common.sh"
# shellcheck source=jenkins_release/bundle/lib/ecr.sh
. "$HERE/lib/ecr.sh"

help() {
    cat <<EOF
Log Docker in to $REGISTRY.

usage: ecr-login.sh [options]

  --dir DIR        folder of the installation  [default: $(default_folder)]
  --method M       curl: sign the request here, with curl and no AWS software  [default if curl is installed]
                   aws: the AWS command line
                   helper: set up Docker's credential helper 'docker-credential-ecr-login', which fetches
                   a login whenever one is needed, without a timer
  --install-timer  log in now, and again every six hours, with a systemd timer, or else a line for cron. It uses the
                   settings that this shell has for Docker, proxies and certificates; run it again to change them.
                   The login is tried as the timer will run it; if that fails, no timer is set up
  --remove-timer   undo that
  --quiet          print nothing on success
  --help           this text
EOF
}

METHOD='' TIMER='' QUIET=''
set_folder "$(default_folder)"
while [ $# -gt 0 ]; do
    case $1 in
    --dir | --method)
        [ $# -gt 1 ] || usage_error "$1 needs a value"
        if [ "$1" = --dir ]; then set_folder "$2"; else METHOD=$2; fi
        shift
        ;;
    --install-timer) TIMER=install ;;
    --remove-timer) TIMER=remove ;;
    --quiet) QUIET=yes ;;
    --help | -h) help && exit 0 ;;
    *) usage_error "there is no option $1" ;;
    esac
    shift
done
case $METHOD in
'' | aws | curl | helper) ;;
*) usage_error "--method is curl, aws or helper, not $METHOD" ;;
esac
[ -d "$DIR" ] || die "there is no installation in $DIR" "run setup.sh, or name the folder with --dir"
[ "$(owner_of "$DIR")" = "$(id -u)" ] ||
    die "the folder $DIR belongs to user $(owner_of "$DIR")" \
        "run this as that user, without sudo: Docker keeps a login for each user"
[ -n "${HOME:-}" ] || die "HOME is not set, and user $(id -u) has no home in the list of users" \
    "set HOME to the folder in which Docker keeps the login, as .docker/config.json"
UNIT=$PROJECT-ecr-login
UNITS=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user SYSTEMCTL='systemctl --user'
if [ "$(id -u)" = 0 ]; then UNITS=/etc/systemd/system SYSTEMCTL=systemctl; fi
MARK="# $UNIT $DIR"
USER_NAME=$(user_name)
# Without a login session, as under su or cloud-init, systemctl needs it to find the user's manager.
if [ -z "${XDG_RUNTIME_DIR:-}" ] && [ -d "/run/user/$(id -u)" ]; then
    XDG_RUNTIME_DIR=/run/user/$(id -u)
    export XDG_RUNTIME_DIR
fi
quiet_say() { [ -n "$QUIET" ] || say "$*"; }

log_in() {
    require_docker
    [ -n "$(credential aws_access_key_id)" ] ||
        die "there is no access key in $(credentials_file)" "run setup.sh with the key that support sent"
    is_private "$(credentials_file)" || die "others can read $(credentials_file)" "chmod 600 it, and ask for a new key"
    token=$(ecr_token "$METHOD") || token=
    [ -n "$token" ] || die "no login for $REGISTRY" "setup.sh --check says more"
    # The token goes through a pipe; if Docker says why it refuses, that is shown.
    answer=$(printf '%s' "$token" | docker login --username AWS --password-stdin "$REGISTRY" 2>&1) ||
        die "Docker refuses the login: $(printf '%s' "$answer" | grep -v '^WARNING' | tail -n 1)"
    quiet_say "logged in to $REGISTRY; valid for twelve hours"
}

set_up_helper() {
    ! have docker || ! is_snap ||
        die "Docker is from the snap store, and cannot run a credential helper" "use --install-timer instead"
    have docker-credential-ecr-login ||
        die "docker-credential-ecr-login is not installed" "install the package amazon-ecr-credential-helper"
    config=${DOCKER_CONFIG:-$HOME/.docker}/config.json
    if [ -s "$config" ] && tr -d ' \n\t' <"$config" | grep -q "\"$REGISTRY\":\"ecr-login\""; then
        quiet_say "the helper is set up in $config"
    elif [ -s "$config" ] && [ "$(tr -d ' \n\t' <"$config")" != '{}' ]; then
        say "add this to $config, beside what is there:"
        say "  \"credHelpers\": { \"$REGISTRY\": \"ecr-login\" }"
        die "$config has other settings, which this script does not rewrite"
    else
        mkdir -p -- "$(dirname -- "$config")"
        printf '{\n  "credHelpers": {\n    "%s": "ecr-login"\n  }\n}\n' "$REGISTRY" >"$config.new"
        mv -f -- "$config.new" "$config"
        quiet_say "the helper is set up in $config"
    fi
    # shellcheck disable=SC2031 # the caller's own, which nothing here changes
    shared=${AWS_SHARED_CREDENTIALS_FILE:-$HOME/.aws/credentials}
    if [ ! -e "$shared" ] && [ -n "$(credential aws_access_key_id)" ]; then
        mkdir -p -- "$(dirname -- "$shared")"
        cp -- "$(credentials_file)" "$shared"
        quiet_say "the access key is in $shared, where the helper looks for it"
    elif [ -e "$shared" ]; then
        quiet_say "the helper takes the access key from $shared: see that it has the one for $PRODUCT"
    fi
}

# What the timer runs: a script of mode 0600, because everyone can read units, crontabs and command lines, and a proxy's
# address may hold a password.
RENEWAL=$DIR/secrets/renew-login
# What may be needed for the login, and is not set when a timer runs.
SETTINGS='PATH HOME TMPDIR XDG_CONFIG_HOME XDG_RUNTIME_DIR HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy
    https_proxy no_proxy all_proxy CURL_CA_BUNDLE CURL_HOME SSL_CERT_FILE SSL_CERT_DIR OPENSSL_CONF AWS_CA_BUNDLE
    REQUESTS_CA_BUNDLE AWS_CONFIG_FILE AWS_ENDPOINT_URL AWS_ENDPOINT_URL_ECR DOCKER_HOST DOCKER_CONFIG DOCKER_CONTEXT
    DOCKER_API_VERSION DOCKER_CERT_PATH DOCKER_TLS DOCKER_TLS_VERIFY GNUPGHOME PASSWORD_STORE_DIR'

word() { # word TEXT: quoted as one word of sh
    printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}
renewal_text() {
    printf '# Made by ecr-login.sh --install-timer: the login, with the settings of the shell that it was run from.\n'
    for name in $SETTINGS; do
        eval "set_to=\${$name:-}"
        case $name:$set_to in
        *: | *:/*) ;;
        *_BUNDLE:* | *_FILE:* | *_DIR:* | *_CONFIG:* | *_CONF:* | *HOME:* | *_PATH:* | TMPDIR:*)
            # A timer runs in a different folder.
            [ ! -e "$set_to" ] || set_to=$PWD/$set_to
            ;;
        esac
        [ -z "$set_to" ] || printf 'export %s=%s\n' "$name" "$(word "$set_to")"
    done
    printf 'exec /bin/sh %s --dir %s --quiet%s\n' "$(word "$DIR/ecr-login.sh")" "$(word "$DIR")" "${METHOD:+ --method $METHOD}"
}
try_out() { # try_out WHO NAME=VALUE... COMMAND: end unless the command logs in, with no more than these settings
    try_who=$1
    shift
    try_said=$(cd / && env -i "$@" 2>&1 </dev/null) && return 0
    remove_timer
    printf '%s\n' "$try_said" >&2
    die "the login works here, but not as $try_who runs it: no timer is set up" \
        "settings of Docker, proxies and certificates were passed on; other settings of this shell were not"
}

unit_text() { # unit_text TEXT: between double quotes in a unit file (systemd.syntax(7)), % doubled
    printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g; s/%/%%/g; s/\$/$$/g'
}
install_systemd() {
    mkdir -p -- "$UNITS"
    cat >"$UNITS/$UNIT.service" <<EOF
[Unit]
Description=Log Docker in to the registry of $PRODUCT

[Service]
Type=oneshot
TimeoutStartSec=300
ExecStart=/bin/sh "$(unit_text "$RENEWAL")"
EOF
    cat >"$UNITS/$UNIT.timer" <<EOF
[Unit]
Description=Renew Docker's login to the registry of $PRODUCT

[Timer]
OnCalendar=*-*-* 00/6:00:00
RandomizedDelaySec=15min
Persistent=true

[Install]
WantedBy=timers.target
EOF
    # systemd complains about units that only it can read; nothing in them is secret.
    chmod 644 "$UNITS/$UNIT.service" "$UNITS/$UNIT.timer"
    $SYSTEMCTL daemon-reload && $SYSTEMCTL enable --now "$UNIT.timer" >/dev/null 2>&1 || return 1
    # The manager may have other groups and rights than this shell.
    $SYSTEMCTL start "$UNIT.service" >/dev/null 2>&1 || {
        remove_timer
        die "the login works here, but not as systemd runs it: no timer is set up" \
            "see 'journalctl${SYSTEMCTL#systemctl} -u $UNIT.service'; if you have just been added to the group docker, log out and in"
    }
    if [ "$(id -u)" != 0 ]; then
        # Without lingering, a user's timers run only while that user is logged in (loginctl(1)).
        loginctl enable-linger "$USER_NAME" >/dev/null 2>&1 ||
            warn "the timer runs only while you are logged in: ask root for 'loginctl enable-linger $USER_NAME'"
    fi
}
other_lines() { # the crontab without the line of this installation
    crontab -l 2>/dev/null |
        MARK=$MARK awk '{ mark = ENVIRON["MARK"] } substr($0, length($0) - length(mark) + 1) != mark' || true
}
install_cron() { # install_cron COMMAND: in a crontab % is written as \% (crontab(5))
    { other_lines && printf '%s */6 * * * %s %s\n' "$(($$ % 60))" "$(printf '%s' "$1" | sed 's/%/\\%/g')" "$MARK"; } | crontab -
}
cron_runs() { # whether a daemon runs crontabs; true if this user may not see that (hidepid of proc(5))
    [ ! -r /proc/1/comm ] || cat /proc/[0-9]*/comm 2>/dev/null | grep -qxE 'f?crond?'
}
remove_timer() {
    if [ -e "$UNITS/$UNIT.timer" ]; then
        $SYSTEMCTL disable --now "$UNIT.timer" >/dev/null 2>&1 || true
        rm -f -- "$UNITS/$UNIT.timer" "$UNITS/$UNIT.service"
        $SYSTEMCTL daemon-reload >/dev/null 2>&1 || true
    fi
    if have crontab && crontab -l 2>/dev/null | grep -qF "$MARK"; then
        other_lines | crontab -
    fi
    rm -f -- "$RENEWAL"
}

if [ "$TIMER" = remove ]; then
    remove_timer
    quiet_say "the login is no longer renewed"
    exit 0
fi
if [ "$METHOD" = helper ]; then
    set_up_helper
    exit 0
fi
log_in
[ -n "$TIMER" ] || exit 0
remove_timer
renewal_text | put "$RENEWAL" 600
if have systemctl && $SYSTEMCTL is-system-running 2>/dev/null | grep -Eq '^(running|degraded|starting)$'; then
    # What systemd.exec(5) sets: root's services have no HOME.
    set -- PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
    [ "$(id -u)" = 0 ] || set -- "$@" HOME="$HOME" XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-}"
    try_out systemd "$@" /bin/sh "$RENEWAL"
    if install_systemd; then
        quiet_say "renewed every six hours by the systemd timer $UNIT.timer of $USER_NAME, which was tried"
        exit 0
    fi
    rm -f -- "$UNITS/$UNIT.timer" "$UNITS/$UNIT.service"
fi
if have crontab; then
    command="/bin/sh $(word "$RENEWAL")"
    # What cron sets (crontab(5)).
    try_out cron HOME="$HOME" LOGNAME="$USER_NAME" SHELL=/bin/sh PATH=/usr/bin:/bin /bin/sh -c "$command"
    if install_cron "$command"; then
        quiet_say "renewed every six hours by the crontab of $USER_NAME; its command was tried as cron runs it"
        cron_runs || warn "no cron is running: start it, or the login is not renewed"
        exit 0
    fi
fi
remove_timer
die "neither systemd nor cron can be used to renew the login" "run ecr-login.sh before each pull"
