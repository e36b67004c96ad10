// The job of support and DevOps for customers' access as one step. See customerAccessPipeline.txt.
void call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('customerAccessPipeline', arguments, [
        submitter: null,         // who may let a change happen: user ids and groups, separated by commas
        label: 'docker',         // label of the agents
        config: 'release.toml',  // relative to the workspace
        approvalDays: 3,         // how long the question stays
        lock: 'customer-access', // resource that changes share
        credentials: [:],        // ids: aws, handoverPassphrase
    ], ['aws', 'handoverPassphrase'])
    int days = given.approvalDays as int
    pipeline {
        agent none
        parameters {
            choice(name: 'ACTION', choices: ['doctor', 'list', 'audit', 'issue', 'rotate', 'revoke'],
                description: 'What to do')
            string(name: 'CUSTOMER', description: 'Customer, such as ACME; empty for list and audit')
            string(name: 'TICKET', description: 'Ticket that asks for the access, for issue')
            string(name: 'REASON', description: 'Why, for revoke')
            string(name: 'SECRET', description: 'Secret in AWS Secrets Manager that gets the key')
            string(name: 'RECIPIENT', description: 'Or the public key that a hand-over file is encrypted for: age1...')
            string(name: 'NETWORKS', description: 'Networks that may pull, with blanks between them; empty for all')
            string(name: 'EXPIRES_DAYS', description: 'Days from now, to renew an access')
            choice(name: 'KIND', choices: ['iam-user', 'aws-account'],
                description: 'A user with a key, or an AWS account of the customer')
            string(name: 'ACCOUNT_ID', description: 'That account, for issue')
            booleanParam(name: 'UNDO', defaultValue: false, description: 'Take a rotation or a revocation back')
            booleanParam(name: 'DELETE', defaultValue: false, description: 'Delete what a revocation left')
        }
        stages {
            stage('Look') {
                agent { label given.label }
                steps {
                    script {
                        currentBuild.description = params.ACTION + ' ' + params.CUSTOMER
                        dir('access') { deleteDir() }
                        customerAccess(asked(given, isChange()))
                    }
                }
                post {
                    always {
                        archiveArtifacts artifacts: 'access/', allowEmptyArchive: true
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
                input { // is answered before the agent is taken
                    message params.ACTION + ' the access of ' + params.CUSTOMER +
                        '? What will be done is in the log of this build.'
                    ok 'Do it'
                    submitter given.submitter
                    submitterParameter 'APPROVER'
                }
                agent { label given.label }
                steps {
                    script {
                        currentBuild.description = params.ACTION + ' ' + params.CUSTOMER + ', let by ' + env.APPROVER
                        dir('access') { deleteDir() }
                        // Not an option of the stage: that would be held while the question waits.
                        lock(resource: given.lock) {
                            customerAccess(asked(given, false))
                        }
                    }
                }
                post {
                    always {
                        archiveArtifacts artifacts: 'access/', allowEmptyArchive: true
                        dir('access') { deleteDir() }
                    }
                }
            }
        }
    }
}

private boolean isChange() {
    return params.ACTION in ['issue', 'rotate', 'revoke']
}

/** The arguments of the one step: what does not go with the action is left out. */
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
        all.reason = params.KIND == 'iam-user' ? params.REASON : ''
        all.delete = params.DELETE
    }
    if (params.ACTION in ['rotate', 'revoke']) {
        all.undo = params.UNDO
    }
    if (params.ACTION in ['issue', 'rotate'] && params.KIND == 'iam-user') {
        all.secret = params.SECRET
        all.recipient = params.RECIPIENT
        all.credentials.handoverPassphrase = params.SECRET ? '' : given.credentials.handoverPassphrase
        all.folder = params.RECIPIENT || all.credentials.handoverPassphrase ? 'access' : ''
    }
    return all
}
