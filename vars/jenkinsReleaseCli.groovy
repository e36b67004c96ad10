// Internal: what every public step of this library shares. See jenkinsReleaseCli.txt.
import com.cloudbees.groovy.cps.NonCPS
import groovy.json.JsonSlurper

/**
 * Runs one verb of jenkins-release on the agent and returns its result.
 *
 * request:
 *   verb         group and verb, such as ['candidate', 'export']
 *   options      option to value, or to a List of values; '', null and an empty List leave it out
 *   flags        flag to boolean
 *   operands     values after the options
 *   credentials  kind to credentials id: smb, key, passphrase, aws, mail, webhook, customerKey,
 *                handoverPassphrase; aws may be a Map with aws or oidc, as jenkinsReleaseArguments checks it
 *   report       file that gets the result too, '' for none
 *   reportRefusal  whether report also gets the result of a verb that ends with a refusal
 *   names        regular expression, such as an option, to its name in steps and its name in forms, which begins
 *                with a field: for whatever is not spelled like its option
 */
Map call(Map request) {
    if (!env.WORKSPACE) {
        error 'configuration: this step needs a workspace\nhint: call it inside node, or give the stage an agent'
    }
    String folder = (env.WORKSPACE_TMP ?: env.WORKSPACE + '@tmp') + '/jenkins-release/' + UUID.randomUUID()
    String document = ''
    int status = 0
    try {
        // A file, not withEnv: that step expands $NAME in the values that it is given.
        writeFile file: folder + '/arguments', encoding: 'UTF-8', text: argumentLines(request)
        withEnv(surroundings(request, folder, userIds(currentBuild))) {
            status = findProgram()
            if (status == 0) {
                status = runBound(request)
            } else {
                error uninstalled(status)
            }
        }
        if (fileExists(folder + '/result.json')) {
            document = readFile(file: folder + '/result.json', encoding: 'UTF-8')
        }
        if (document && request.report && (status == 0 || (status == 3 && request.reportRefusal))) {
            writeFile file: request.report, encoding: 'UTF-8', text: document
        }
    } finally {
        dir(folder) { deleteDir() }
    }
    String failure = failureText(request.verb.join(' '), status, document)
    if (failure) {
        error inWordsOfTheCaller(failure, request, params)
    }
    return parse(document)
}

/** Version of the package that belongs to this library. */
String version() {
    return '0.1.0'
}

/** Finds or installs the program while no credential is bound, so that pip cannot leak one. */
private int findProgram() {
    return sh(label: 'find jenkins-release', returnStatus: true, script: '''#!/bin/sh
set -eu +x
is_wanted() {
    [ "$("$1" --version 2>/dev/null)" = "jenkins-release, version $JENKINS_RELEASE_VERSION" ]
}
stop() {
    printf 'jenkins-release: %s\\n' "$2" >&2
    exit "$1"
}

# Before anything that may be aborted: the step junit would show the checks of the build before.
sed -n 's/^--checks=//p' "$JENKINS_RELEASE_CALL/arguments" | while IFS= read -r report; do
    rm -f -- "$report"
done

program=$(command -v jenkins-release || true)
if [ -z "$program" ] || ! is_wanted "$program"; then
    python=${JENKINS_RELEASE_PYTHON:-python3}
    # No default: the same name on a public index would be someone else's program. Its value is not
    # shown: it may be a URL with a password.
    requirement=${JENKINS_RELEASE_REQUIREMENT:-}
    [ -n "$requirement" ] ||
        stop 2 "version $JENKINS_RELEASE_VERSION is not on PATH, and JENKINS_RELEASE_REQUIREMENT is not set"
    "$python" -I -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' ||
        stop 2 "$python is not Python 3.11 or newer with venv; set JENKINS_RELEASE_PYTHON"
    command -v flock >/dev/null || stop 2 'flock is missing; install util-linux'
    # Not in the workspace, which belongs to whoever builds there.
    home=${JENKINS_RELEASE_HOME:-${HOME:-}/.cache/jenkins-release}
    case $home/ in
    /.cache/*) stop 2 'neither HOME nor JENKINS_RELEASE_HOME is set' ;;
    "$WORKSPACE"/*) stop 2 "$home is in the workspace; set JENKINS_RELEASE_HOME to a folder outside" ;;
    /*) ;;
    *) stop 2 'JENKINS_RELEASE_HOME is not an absolute path' ;;
    esac
    (umask 077 && mkdir -p "$home") || stop 2 "$home cannot be made"
    [ -n "$(find "$home" -prune -user "$(id -u)" ! -perm -020 ! -perm -002)" ] ||
        stop 2 "$home belongs to another user, or others may write to it"
    # Kerberos is built here, so only where the administrator asks for it.
    packages=runtime.txt
    [ -z "${JENKINS_RELEASE_KERBEROS:-}" ] || packages=kerberos.txt
    sum=$(printf '%s' "$requirement" | sha256sum)
    venv=$home/$JENKINS_RELEASE_VERSION-${sum%% *}
    [ "$packages" = runtime.txt ] || venv=$venv-kerberos
    program=$venv/bin/jenkins-release
    # Builds at once on one agent share it: the first one installs, the others wait.
    exec 9>"$venv.lock"
    flock 9
    if [ ! -e "$venv/.complete" ]; then
        echo "jenkins-release: installing version $JENKINS_RELEASE_VERSION into $venv"
        pip() {
            "$venv/bin/python" -I -m pip --disable-pip-version-check "$@"
        }
        "$python" -I -m venv --clear "$venv" || stop 2 "$python cannot make a virtual environment"
        printf '%s\\n' "$requirement" >"$venv/requirement"
        # The wheel has to have the hash that the administrator chose; it brings the hashes of all the rest.
        pip download --quiet --no-deps --only-binary=:all: --require-hashes \\
            --dest "$venv/wheel" --requirement "$venv/requirement" ||
            stop 5 'pip cannot get what JENKINS_RELEASE_REQUIREMENT names; it takes a wheel with its --hash'
        "$venv/bin/python" -I -m zipfile --extract "$venv"/wheel/*.whl "$venv/unpacked"
        locked=$venv/unpacked/jenkins_release/requirements
        [ -f "$locked/$packages" ] || stop 2 'the wheel does not say which packages it was tested with'
        # What is built on this machine is built with packages that were checked too.
        if ! pip install --quiet --no-deps --require-hashes --requirement "$locked/build.txt" ||
            ! pip install --quiet --no-deps --require-hashes --no-build-isolation \\
                --requirement "$locked/$packages"; then
            stop 5 "pip cannot install the packages that version $JENKINS_RELEASE_VERSION needs"
        fi
        pip install --quiet --no-index --no-deps "$venv"/wheel/*.whl ||
            stop 2 'pip cannot install the wheel that JENKINS_RELEASE_REQUIREMENT names'
        is_wanted "$program" ||
            stop 2 "JENKINS_RELEASE_REQUIREMENT does not name version $JENKINS_RELEASE_VERSION"
        : >"$venv/.complete"
    fi
fi
printf '%s\\n' "$program" >"$JENKINS_RELEASE_CALL/program"
''')
}

/** Runs the program with the credentials bound. Jenkins' error about a wrong id gets a category. */
private int runBound(Map request) {
    int status = 0
    try {
        withCredentials(bindings(request.credentials)) {
            status = runProgram(request.verb.join(' '))
        }
    } catch (failure) {
        String told = failure.message ?: ''
        if (told.startsWith('Could not find credentials entry') || told.matches("Credentials '.*' is of type .*")) {
            error 'configuration: ' + told + '\nhint: check the id, and its kind in the table of docs/jenkins.md; ' +
                'a job can bind what lies in its own folder and in those above it, and the global credentials'
        }
        if (told.contains('is named AmazonWebServicesCredentialsBinding')) {
            error 'configuration: this Jenkins cannot bind AWS credentials\n' +
                'hint: install the plugin AWS Credentials, or let credentials.aws be the id of a username with password'
        }
        throw failure
    }
    return status
}

/** Runs the program; each argument is one line of a file and reaches it unchanged. */
private int runProgram(String verb) {
    return sh(label: 'jenkins-release ' + verb, returnStatus: true, script: '''#!/bin/sh
set -eu +x
program=$(cat "$JENKINS_RELEASE_CALL/program")
{
    IFS= read -r group
    IFS= read -r verb
    set -- "$group" "$verb" "--result=$JENKINS_RELEASE_CALL/result.json"
    if [ -n "${JENKINS_RELEASE_KEY_FILE:-}" ]; then
        set -- "$@" "--key=file2:$JENKINS_RELEASE_KEY_FILE"
    fi
    while IFS= read -r argument; do
        set -- "$@" "$argument"
    done
} <"$JENKINS_RELEASE_CALL/arguments"
exec "$program" "$@"
''')
}

/** Not @NonCPS: the kinds of credentials are symbols that only pipeline code can call. */
private List bindings(Map credentials) {
    List found = []
    if (credentials.smb) {
        found << usernamePassword(credentialsId: credentials.smb,
            usernameVariable: 'JENKINS_RELEASE_SMB_USER', passwordVariable: 'JENKINS_RELEASE_SMB_PASSWORD')
    }
    if (credentials.aws) {
        found << awsBinding(credentials.aws)
    }
    if (credentials.key) {
        found << file(credentialsId: credentials.key, variable: 'JENKINS_RELEASE_KEY_FILE')
    }
    if (credentials.passphrase) {
        found << string(credentialsId: credentials.passphrase, variable: 'JENKINS_RELEASE_KEY_PASSPHRASE')
    }
    if (credentials.mail) {
        found << usernamePassword(credentialsId: credentials.mail,
            usernameVariable: 'JENKINS_RELEASE_SMTP_USER', passwordVariable: 'JENKINS_RELEASE_SMTP_PASSWORD')
    }
    if (credentials.webhook) {
        found << string(credentialsId: credentials.webhook, variable: 'JENKINS_RELEASE_WEBHOOK_URL')
    }
    if (credentials.customerKey) {
        found << usernamePassword(credentialsId: credentials.customerKey,
            usernameVariable: 'JENKINS_RELEASE_CUSTOMER_KEY_ID',
            passwordVariable: 'JENKINS_RELEASE_CUSTOMER_KEY_SECRET')
    }
    if (credentials.handoverPassphrase) {
        found << string(credentialsId: credentials.handoverPassphrase, variable: 'JENKINS_RELEASE_HANDOVER_PASSPHRASE')
    }
    return found
}

/** An id alone is that of a username with password. Of AWS credentials, a session sets AWS_SESSION_TOKEN too. */
private Object awsBinding(Object aws) {
    if (!(aws instanceof Map)) {
        return usernamePassword(credentialsId: aws,
            usernameVariable: 'AWS_ACCESS_KEY_ID', passwordVariable: 'AWS_SECRET_ACCESS_KEY')
    }
    if (aws.oidc) {
        return file(credentialsId: aws.oidc, variable: 'AWS_WEB_IDENTITY_TOKEN_FILE')
    }
    Map binding = [$class: 'AmazonWebServicesCredentialsBinding', credentialsId: aws.aws,
        accessKeyVariable: 'AWS_ACCESS_KEY_ID', secretKeyVariable: 'AWS_SECRET_ACCESS_KEY']
    if (aws.role) {
        binding.roleArn = aws.role
        binding.roleSessionName = sessionName(aws)
    }
    if (aws.duration) {
        binding.roleSessionDurationSeconds = aws.duration as int
    }
    return binding
}

/** What CloudTrail shows: the build, unless the caller wants something else. STS takes 64 of these characters. */
private String sessionName(Map aws) {
    String name = aws.session ?: (env.BUILD_TAG ?: 'jenkins-' + env.BUILD_NUMBER).replaceAll('[^\\w+=,.@-]', '-')
    return name.length() > 64 ? name.substring(name.length() - 64) : name
}

/** Users who started this build, from Jenkins itself: a parameter cannot pretend to be one. */
private List<String> userIds(Object build) {
    List<String> found = []
    for (cause in build.getBuildCauses('hudson.model.Cause$UserIdCause')) {
        found << (cause.userId as String)
    }
    return found
}

private List<String> surroundings(Map request, String folder, List<String> users) {
    List<String> found = [
        'JENKINS_RELEASE_VERSION=' + version(),
        'JENKINS_RELEASE_CALL=' + folder,
    ]
    // Without a user the agent's account is recorded: an empty value unsets what a job parameter claims.
    // withEnv turns $$ back into $.
    found << 'BUILD_USER_ID=' + (users ? users[0].replace('$', '$$') : '')
    found << 'BUILD_USER='
    Object aws = request.credentials.aws
    if (aws) {
        // An empty value unsets it: the token of another login does not belong to the bound key. What is bound
        // is set inside of this, a token too.
        found << 'AWS_SESSION_TOKEN='
    }
    if (aws instanceof Map && aws.oidc) {
        // boto3 takes a key or a profile before a token file.
        found.addAll(['AWS_ACCESS_KEY_ID=', 'AWS_SECRET_ACCESS_KEY=', 'AWS_PROFILE=', 'AWS_DEFAULT_PROFILE='])
        found << 'AWS_ROLE_ARN=' + aws.role
        found << 'AWS_ROLE_SESSION_NAME=' + sessionName(aws)
    }
    return found
}

private String uninstalled(int status) {
    String category = status == 5 ? 'remote' : 'configuration'
    return category + ': jenkins-release ' + version() + ' is not on this agent and cannot be installed\n' +
        'hint: the log above says why; docs/jenkins.md says what an agent needs'
}

@NonCPS
private String argumentLines(Map request) {
    List<String> lines = []
    lines.addAll(request.verb)
    for (option in request.options) {
        for (value in (option.value instanceof List ? option.value : [option.value])) {
            if (value) {
                lines << (option.key + '=' + value)
            }
        }
    }
    for (flag in request.flags) {
        if (flag.value) {
            lines << flag.key
        }
    }
    if (request.operands) {
        lines << '--'
        lines.addAll(request.operands)
    }
    return lines.join('\n') + '\n'
}

/** Names an option as the caller knows it: as the field of the job's form, or else as the step's argument. */
@NonCPS
private String inWordsOfTheCaller(String failure, Map request, Map form) {
    Map known = ['--key file2:PATH or awskms:KEY': ['credentials.key', '']]
    known.putAll(request.names ?: [:])
    for (option in request.options.keySet() + request.flags.keySet()) {
        String argument = ''
        for (word in option.substring(2).split('-')) {
            argument += argument ? word.capitalize() : word
        }
        known[option] = known[option] ?: [argument, option.substring(2).replace('-', '_').toUpperCase()]
    }
    String told = failure
    if (request.credentials.aws instanceof Map) {
        Map aws = request.credentials.aws
        String whose = ' of credentials.aws (' + (aws.oidc ?: aws.aws) + ')'
        told = told.replace(' in AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN', whose)
            .replace(' in AWS_WEB_IDENTITY_TOKEN_FILE', whose).replace(' for AWS_WEB_IDENTITY_TOKEN_FILE', whose)
    }
    for (each in known) {
        String field = each.value[1] ? each.value[1].tokenize()[0] : ''
        String shown = form.containsKey(field) ? each.value[1] : each.value[0]
        told = told.replaceAll(each.key + '(?![\\w-])', shown)
    }
    return told
}

@NonCPS
private String failureText(String verb, int status, String document) {
    Map result = document ? parse(document) : [:]
    if (result.error) {
        Map failure = result.error
        return listed(failure.category + ': ' + failure.message, failure.reasons, failure.hint)
    }
    if (status != 0 || !document) {
        return listed('bug: jenkins-release ' + verb + ' ended with status ' + status + ' and left no result',
            [], 'the log above is all there is; 137 and 143 mean that it was killed')
    }
    return ''
}

@NonCPS
private String listed(String head, List<String> reasons, String hint) {
    List<String> lines = [head]
    for (reason in reasons) {
        lines << ('  - ' + reason)
    }
    if (hint) {
        lines << ('hint: ' + hint)
    }
    return lines.join('\n')
}

// Not JsonSlurperClassic, which makes plain Maps: the script sandbox refuses it.
@NonCPS
private Map parse(String document) {
    return plain(new JsonSlurper().parseText(document)) as Map
}

/** The slurper's own Maps do not survive a restart of the controller: they are copied into plain ones. */
@NonCPS
private Object plain(Object value) {
    if (value instanceof Map) {
        Map copy = [:]
        for (entry in value) {
            copy[entry.key] = plain(entry.value)
        }
        return copy
    }
    if (value instanceof List) {
        List copy = []
        for (each in value) {
            copy << plain(each)
        }
        return copy
    }
    return value
}
