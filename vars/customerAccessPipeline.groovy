// The job of support and DevOps for customers' access as one step. See customerAccessPipeline.txt.
import com.cloudbees.groovy.cps.NonCPS

void call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('customerAccessPipeline', arguments, [
        submitter: null,         // who may allow a change: user ids and groups, separated by commas
        label: 'release-customers', // label of the agents, on which nothing is built
        config: 'release.toml',  // relative to the workspace
        approvalDays: 3,         // how long the question stays
        lock: 'customer-access', // resource that changes share
        credentials: [:],        // ids: aws, handoverPassphrase
    ], ['aws', 'handoverPassphrase'])
    int days = given.approvalDays as int
    pipeline {
        agent none
        options {
            timestamps()
        }
        parameters {
            choice(name: 'ACTION', choices: ['doctor', 'list', 'audit', 'issue', 'rotate', 'revoke'],
                description: 'Required. What to do')
            string(name: 'CUSTOMER', description: 'Required, except for list and audit. Customer, such as ACME')
            choice(name: 'KIND', choices: ['iam-user', 'aws-account'],
                description: 'A user with a key, or an AWS account of the customer')
            string(name: 'ACCOUNT_ID', description: 'Required to issue to an aws-account. That account')
            string(name: 'TICKET', description: 'Required for issue. Ticket that asks for the access')
            string(name: 'NETWORKS', description: 'Networks that may pull, with blanks between them; empty for all')
            string(name: 'EXPIRES_DAYS', description: 'Days from now, to renew an access')
            string(name: 'SECRET', description: 'Secret in AWS Secrets Manager that gets the key')
            string(name: 'RECIPIENT', description: 'Or the public key that a hand-over file is encrypted for: age1...')
            string(name: 'REASON', description: 'Required for revoke. Why')
            booleanParam(name: 'UNDO', defaultValue: false, description: 'Take a rotation or a revocation back')
            booleanParam(name: 'DELETE', defaultValue: false, description: 'Delete what a revocation left')
            string(name: 'CUSTOMER_KEY',
                description: 'Id of the credentials with the key of the customer, for doctor and the proof of revoke')
        }
        stages {
            stage('Look') {
                agent { label given.label }
                steps {
                    script {
                        jenkinsReleaseOutcome(whatFor(params)) {
                            look(given)
                        }
                    }
                }
                post {
                    always {
                        archiveArtifacts artifacts: 'access/', allowEmptyArchive: true, fingerprint: true
                    }
                }
            }
            stage('Change') {
                when {
                    beforeOptions true
                    expression { isChange() }
                }
                options {
                    timeout(time: days, unit: 'DAYS')
                }
                steps {
                    script {
                        jenkinsReleaseOutcome(whatFor(params)) {
                            if (!env.TO_DO) { // restarted from here: ask about what would be done now
                                node(given.label) {
                                    checkout scm
                                    look(given)
                                }
                            }
                            if (env.TO_DO != 'nothing') {
                                String approver = ask(given)
                                jenkinsReleaseOutcome.say(whatFor(params), 'is done', ['let by ' + approver])
                                node(given.label) {
                                    checkout scm
                                    change(given)
                                }
                                jenkinsReleaseOutcome.say(whatFor(params), 'done')
                            }
                        }
                    }
                }
            }
        }
        post {
            failure {
                script {
                    jenkinsReleaseOutcome.ended(whatFor(params), 'failed')
                }
            }
            aborted {
                script {
                    jenkinsReleaseOutcome.ended(whatFor(params), 'aborted')
                }
            }
        }
    }
}

private boolean isChange() {
    return params.ACTION in ['issue', 'rotate', 'revoke']
}

/** What the action finds, or, for a change, what a dry run of the same command says that it would do. */
private void look(Map given) {
    jenkinsReleaseForm.require(neededFields(params), misplacedFields(params))
    dir('access') { deleteDir() }
    Map found = customerAccess(asked(given, isChange()))
    if (isChange()) {
        env.TO_DO = toDo(found)
        jenkinsReleaseOutcome.say(whatFor(params), env.TO_DO == 'nothing' ? 'nothing to do' : 'waits for an answer',
            env.TO_DO == 'nothing' ? [] : [env.TO_DO])
    } else {
        jenkinsReleaseOutcome.say(whatFor(params), 'done')
    }
}

/** Asks whether to do what was found. Outside any node: waiting holds no executor. */
private String ask(Map given) {
    try {
        return input(message: jenkinsReleaseOutcome.shown(params.CUSTOMER + ': ' + env.TO_DO + '?'), ok: 'Do it',
            submitter: given.submitter, submitterParameter: 'APPROVER')
    } catch (InterruptedException failure) {
        jenkinsReleaseOutcome.explain(whatFor(params), failure, 'nobody answered in ' + given.approvalDays + ' days')
        throw failure
    }
}

private void change(Map given) {
    dir('access') { deleteDir() }
    try {
        // Not an option of the stage: the lock would be held while the question waits.
        lock(resource: given.lock) {
            customerAccess(asked(given, false))
        }
    } finally {
        archiveArtifacts artifacts: 'access/', allowEmptyArchive: true, fingerprint: true
        dir('access') { deleteDir() }
    }
}

@NonCPS
private String toDo(Map found) {
    String proof = found.unproven ? '; it cannot be proven, because the user has two keys: fill in CUSTOMER_KEY, ' +
        'or finish the rotation first' : ''
    return found.done ? found.done.join('; ') + proof : 'nothing'
}

@NonCPS
private String whatFor(Map form) {
    return (form.ACTION ?: '') + (form.UNDO ? ', undo,' : '') + (form.DELETE ? ', delete,' : '') +
        (form.CUSTOMER ? ' ' + form.CUSTOMER : '')
}

@NonCPS
private List<String> neededFields(Map form) {
    List<String> needed = form.ACTION in ['list', 'audit'] ? [] : ['CUSTOMER']
    boolean account = form.KIND == 'aws-account'
    if (form.ACTION == 'issue') {
        needed.addAll(account ? ['TICKET', 'ACCOUNT_ID'] : ['TICKET'])
    }
    if (form.ACTION == 'revoke' && !account && !form.UNDO && !form.DELETE) {
        needed << 'REASON'
    }
    return needed
}

/** Fields that would be silently ignored: whoever filled them in expects something else. */
@NonCPS
private List<String> misplacedFields(Map form) {
    Map takes = [
        CUSTOMER: ['doctor', 'issue', 'rotate', 'revoke'], TICKET: ['issue'], REASON: ['revoke'],
        SECRET: ['issue', 'rotate'], RECIPIENT: ['issue', 'rotate'], NETWORKS: ['issue'], EXPIRES_DAYS: ['issue'],
        ACCOUNT_ID: ['issue'], UNDO: ['rotate', 'revoke'], DELETE: ['revoke'], CUSTOMER_KEY: ['doctor', 'revoke'],
    ]
    boolean account = form.KIND == 'aws-account'
    List<String> found = []
    for (entry in takes) {
        String value = form[entry.key] as String
        boolean filled = value?.trim() && value != 'false'
        if (filled && !(form.ACTION in entry.value)) {
            found << (entry.key + ' does not go with the ACTION ' + form.ACTION)
        } else if (filled && account && !(entry.key in ['CUSTOMER', 'TICKET', 'ACCOUNT_ID'])) {
            found << (entry.key + ' does not go with the KIND aws-account')
        } else if (filled && !account && entry.key == 'ACCOUNT_ID') {
            found << 'ACCOUNT_ID goes with the KIND aws-account'
        }
    }
    if (account && !(form.ACTION in ['issue', 'revoke'])) {
        found << ('the KIND aws-account does not go with the ACTION ' + form.ACTION)
    }
    List<List<String>> apart = [
        ['UNDO', 'DELETE'], ['SECRET', 'RECIPIENT'], ['UNDO', 'REASON'], ['DELETE', 'REASON'], ['UNDO', 'SECRET'],
        ['UNDO', 'RECIPIENT'], ['UNDO', 'CUSTOMER_KEY'], ['DELETE', 'CUSTOMER_KEY'],
    ]
    for (pair in apart) {
        if (form[pair[0]] && form[pair[1]]) {
            found << (pair.join(' and ') + ' exclude each other')
        }
    }
    return found
}

/** The arguments of the step: what does not belong to the action is left out. */
private Map asked(Map given, boolean dryRun) {
    Map all = [
        action: params.ACTION, customer: params.CUSTOMER, config: given.config, dryRun: dryRun,
        credentials: [aws: given.credentials.aws], report: 'access/result.json',
    ]
    if (params.ACTION in ['issue', 'revoke']) {
        all.kind = params.KIND
    }
    if (params.ACTION == 'issue') {
        all.ticket = params.TICKET
        all.networks = params.NETWORKS
        all.expiresDays = params.EXPIRES_DAYS
        all.accountId = params.ACCOUNT_ID
    }
    if (params.ACTION == 'revoke') {
        all.reason = params.REASON
        all.delete = params.DELETE
    }
    if (params.ACTION in ['rotate', 'revoke']) {
        all.undo = params.UNDO
    }
    if (params.ACTION in ['doctor', 'revoke'] && params.CUSTOMER_KEY) {
        all.credentials.customerKey = params.CUSTOMER_KEY
    }
    if (params.ACTION in ['issue', 'rotate'] && params.KIND == 'iam-user') {
        all.secret = params.SECRET
        all.recipient = params.RECIPIENT
        all.credentials.handoverPassphrase = params.SECRET ? '' : given.credentials.handoverPassphrase
        all.folder = params.RECIPIENT || all.credentials.handoverPassphrase ? 'access' : ''
    }
    return all
}
