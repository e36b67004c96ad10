#!/bin/sh
# Log Docker in to the registry, and have that renewed: a login is good for twelve hours.
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
  --method M       curl: sign the request here, with curl and nothing of AWS  [default, where there is curl]
                   aws: the AWS command line
                   helper: set up Docker's credential helper 'docker-credential-ecr-login', which fetches
                   a login whenever one is needed; no timer then
  --install-timer  log in now, and again every six hours: a timer of systemd, or else a line for cron
  --remove-timer   take that back
  --quiet          say nothing when it works
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
UNIT=$PROJECT-ecr-login
UNITS=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user SYSTEMCTL='systemctl --user'
if [ "$(id -u)" = 0 ]; then UNITS=/etc/systemd/system SYSTEMCTL=systemctl; fi
MARK="# $UNIT $DIR"
quiet_say() { [ -n "$QUIET" ] || say "$*"; }

log_in() {
    have docker || die "Docker is not installed" "https://docs.docker.com/engine/install/ tells how to install it"
    [ -n "$(credential aws_access_key_id)" ] ||
        die "there is no access key in $(credentials_file)" "run setup.sh with the key that support sent"
    is_private "$(credentials_file)" || die "others can read $(credentials_file)" "chmod 600 it, and ask for a new key"
    token=$(ecr_token "$METHOD") || token=
    [ -n "$token" ] || die "no login for $REGISTRY" "setup.sh --check tells more"
    # The token goes through a pipe; where Docker says why it refuses, that is shown.
    answer=$(printf '%s' "$token" | docker login --username AWS --password-stdin "$REGISTRY" 2>&1) ||
        die "Docker refuses the login: $(printf '%s' "$answer" | grep -v '^WARNING' | tail -n 1)"
    quiet_say "logged in to $REGISTRY; good for twelve hours"
}

set_up_helper() {
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

unit_text() { # unit_text TEXT: between double quotes in a unit file (systemd.syntax(7)), % doubled
    printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g; s/%/%%/g; s/\$/$$/g'
}
install_systemd() {
    mkdir -p -- "$UNITS"
    {
        printf '[Unit]\nDescription=Log Docker in to the registry of %s\n\n[Service]\nType=oneshot\n' "$PRODUCT"
        for name in DOCKER_HOST DOCKER_CONFIG DOCKER_CONTEXT PATH; do
            eval "set_to=\${$name:-}"
            [ -z "$set_to" ] || printf 'Environment="%s=%s"\n' "$name" "$(printf '%s' "$set_to" | sed 's/%/%%/g')"
        done
        printf 'ExecStart=/bin/sh "%s/ecr-login.sh" --dir "%s" --quiet\n' "$(unit_text "$DIR")" "$(unit_text "$DIR")"
    } >"$UNITS/$UNIT.service"
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
    $SYSTEMCTL daemon-reload && $SYSTEMCTL enable --now "$UNIT.timer" >/dev/null 2>&1 || return 1
    if [ "$(id -u)" != 0 ]; then
        # Without lingering a user's timers run only while that user is logged in (loginctl(1)).
        loginctl enable-linger >/dev/null 2>&1 ||
            warn "the timer runs only while you are logged in: ask root for 'loginctl enable-linger $(id -un)'"
    fi
}
cron_text() { # cron_text TEXT: as a word of sh, with % as crontab(5) wants it
    printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g; s/%/\\\\%/g")"
}
install_cron() {
    line="$(($$ % 60)) */6 * * *"
    for name in DOCKER_HOST DOCKER_CONFIG DOCKER_CONTEXT PATH; do
        eval "set_to=\${$name:-}"
        [ -z "$set_to" ] || line="$line $name=$(cron_text "$set_to")"
    done
    line="$line /bin/sh $(cron_text "$DIR/ecr-login.sh") --dir $(cron_text "$DIR") --quiet $MARK"
    { crontab -l 2>/dev/null | grep -vF "$MARK" || true; echo "$line"; } | crontab -
}
remove_timer() {
    if [ -e "$UNITS/$UNIT.timer" ]; then
        $SYSTEMCTL disable --now "$UNIT.timer" >/dev/null 2>&1 || true
        rm -f -- "$UNITS/$UNIT.timer" "$UNITS/$UNIT.service"
        $SYSTEMCTL daemon-reload >/dev/null 2>&1 || true
    fi
    if have crontab && crontab -l 2>/dev/null | grep -qF "$MARK"; then
        { crontab -l | grep -vF "$MARK" || true; } | crontab -
    fi
}

if [ "$TIMER" = remove ]; then
    remove_timer
    quiet_say "the login is not renewed any more"
    exit 0
fi
if [ "$METHOD" = helper ]; then
    set_up_helper
    exit 0
fi
log_in
[ -n "$TIMER" ] || exit 0
remove_timer
if have systemctl && $SYSTEMCTL is-system-running 2>/dev/null | grep -Eq '^(running|degraded|starting)$' &&
    install_systemd; then
    quiet_say "renewed every six hours by the systemd timer $UNIT.timer of $(id -un)"
elif have crontab && install_cron; then
    quiet_say "renewed every six hours by the crontab of $(id -un)"
else
    die "neither systemd nor cron can be used to renew the login" "run ecr-login.sh before each pull"
fi
